//! Waiting times.

use std::time::Duration;

/// First and longest wait after failures.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long to wait after the `failures`th failure in a row.
#[must_use]
pub fn after(failures: u32) -> Duration {
    let doubled = RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(10));
    jitter(doubled.min(RETRY.1))
}

/// `period` give or take a fifth: what started together does not come back together.
#[must_use]
pub fn jitter(period: Duration) -> Duration {
    period.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let about = |wait: Duration, seconds: f64| {
            let wait = wait.as_secs_f64();
            assert!(
                (seconds * 0.8..=seconds * 1.2).contains(&wait),
                "{wait} is not about {seconds}"
            );
        };
        about(after(1), 5.0);
        about(after(2), 10.0);
        about(after(6), 160.0);
        about(after(7), 300.0);
        about(after(u32::MAX), 300.0);
    }
}
