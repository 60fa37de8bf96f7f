//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

use crate::Result;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `look` finds something, and says what was seen last when it does not in time.
///
/// # Errors
/// The time is over; an error of `look` itself counts as not found yet.
pub async fn until<T, F>(what: &str, within: Duration, look: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    until_every(INTERVAL, what, within, look).await
}

/// The same for a look that costs, such as a program's start.
///
/// # Errors
/// As [`until`].
pub async fn until_every<T, F>(
    interval: Duration,
    what: &str,
    within: Duration,
    mut look: F,
) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
{
    let started = Instant::now();
    loop {
        let last = match look().await {
            Ok(found) => return Ok(found),
            Err(last) => last,
        };
        if started.elapsed() > within {
            return Err(format!("not within {within:?}: {what}; last seen: {last}").into());
        }
        tokio::time::sleep(interval).await;
    }
}
