//! The scope bits of policies: each generation of a policy that selects pods has one of its own.
//!
//! An exchange gives the new generation a new bit, which is set for the pods it selects before its hooks
//! speak. So the old hooks never act by the new selectors, nor the new ones by the old, and still one store
//! turns from the one to the other.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use securitywatch_api::policy::PodScope;

use crate::cgroups::SCOPE_BITS;

/// Knows the pods of this node and keeps their bits.
pub trait ScopeKeeper: Send + Sync + Debug {
    /// A generation is about to speak. On return, bit `bit` of every known pod and container says whether `pods`
    /// selects it, whatever the bit said before; from now on the same goes for each that comes or changes.
    ///
    /// # Errors
    /// In words: the policy is not loaded.
    fn begin(&self, bit: u32, pods: &PodScope) -> Result<(), String>;

    /// No hook looks at the bit any more. What it says from now on does not matter.
    fn end(&self, bit: u32);
}

/// A machine without pods.
#[derive(Debug)]
pub struct NoPods;

impl ScopeKeeper for NoPods {
    fn begin(&self, _: u32, _: &PodScope) -> Result<(), String> {
        Err("this machine's pods are not known outside of a cluster: leave podSelector and containerSelector out, or run the policy in a cluster".to_owned())
    }

    fn end(&self, _: u32) {}
}

/// The bits in use.
#[derive(Debug, Clone, Default)]
pub(super) struct BitPool(Arc<Mutex<Vec<u32>>>);

/// A bit in use, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Bit {
    number: u32,
    pool: BitPool,
}

impl BitPool {
    pub(super) fn take(&self) -> Option<Bit> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = (0..SCOPE_BITS as u32).find(|bit| !used.contains(bit))?;
        used.push(number);
        Some(Bit { number, pool: self.clone() })
    }
}

impl Bit {
    pub(super) const fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Bit {
    fn drop(&mut self) {
        let mut used = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|bit| *bit != self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_given_to_one_at_a_time() {
        let pool = BitPool::default();
        let bits: Vec<Bit> = std::iter::from_fn(|| pool.take()).collect();
        let mut numbers: Vec<u32> = bits.iter().map(Bit::number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), SCOPE_BITS);
        drop(bits);
        assert_eq!(pool.take().unwrap().number(), 0);
    }
}
