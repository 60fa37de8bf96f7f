//! How long to wait before trying again.

use std::time::Duration;

/// Exponential with full jitter: the wait is anywhere up to a bound that doubles, so that a thousand nodes that
/// failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first bound.
    pub base: Duration,
    /// The last bound.
    pub cap: Duration,
    /// A server cannot make us wait longer than this by `Retry-After`.
    pub longest_asked: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Between these bounds; a server may ask for two minutes.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, longest_asked: Duration::from_secs(120) }
    }

    /// The wait after `failures` in a row (1 is the first), at least what the server asked for.
    #[must_use]
    pub fn delay(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let jitter = self.bound(failures).mul_f64(fastrand::f64());
        match asked {
            // All who were told the same time must not come back at that moment.
            Some(asked) => asked.min(self.longest_asked) + jitter.min(self.base),
            None => jitter,
        }
    }

    fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (1..=8).map(|n| backoff.bound(n).as_millis()).collect();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(backoff.bound(u32::MAX), backoff.cap);
    }

    #[test]
    fn waits_spread_below_the_bound() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..1000).map(|_| backoff.delay(4, None)).collect();
        assert!(waits.iter().all(|w| *w <= Duration::from_secs(4)));
        let short = waits.iter().filter(|w| **w < Duration::from_secs(2)).count();
        assert!((350..650).contains(&short), "{short} of 1000 in the lower half");
    }

    #[test]
    fn what_the_server_asks_is_the_least_but_bounded() {
        let backoff = Backoff::default();
        let asked = Duration::from_secs(7);
        let wait = backoff.delay(1, Some(asked));
        assert!(wait >= asked && wait <= asked + backoff.base);
        assert!(
            backoff.delay(1, Some(Duration::from_secs(9999)))
                <= backoff.longest_asked + backoff.base
        );
    }
}
