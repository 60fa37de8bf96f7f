//! Locks that are held for a few instructions and never across an `await`.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic elsewhere ends the program anyway, so what it left behind does no harm.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
