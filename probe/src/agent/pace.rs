//! When a report is written. Pure.

use std::time::{Duration, Instant};

use super::report::Change;

/// The least time between two writes.
const GAP: Duration = Duration::from_secs(3);
/// The least time between two writes that only bring figures.
const FIGURES_GAP: Duration = Duration::from_secs(60);
/// Writes that may follow each other closely; after these, one each [`REFILL`].
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(30);
/// Waits after a write that failed: doubling between these.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Spreads writes: over time, and over the nodes of a cluster by a random wait.
#[derive(Debug)]
pub struct Pace {
    jitter: Duration,
    /// When a change was first noticed, and the wait that fell to it.
    noticed: Option<(Instant, Duration)>,
    last: Option<Instant>,
    spent: u32,
    refilled: Instant,
    failures: u32,
}

impl Pace {
    /// Waits of up to `jitter` before each write.
    #[must_use]
    pub const fn new(jitter: Duration, now: Instant) -> Self {
        Self { jitter, noticed: None, last: None, spent: 0, refilled: now, failures: 0 }
    }

    /// When to write, if at all.
    pub fn due(&mut self, change: Change, now: Instant) -> Option<Instant> {
        if change == Change::Nothing {
            self.noticed = None;
            return None;
        }
        let jitter = self.jitter;
        let (noticed, wait) = *self.noticed.get_or_insert_with(|| (now, random(jitter)));
        let gap = match (self.failures, change) {
            (0, Change::Figures) => FIGURES_GAP,
            (0, _) if self.spent >= BURST => REFILL,
            (0, _) => GAP,
            (failures, _) => {
                let longest = RETRY.0.saturating_mul(1 << failures.min(6)).min(RETRY.1);
                longest / 2 + random(longest / 2)
            }
        };
        let earliest = self.last.map_or(noticed, |last| last + gap);
        Some((noticed + wait).max(earliest))
    }

    /// A write was tried.
    pub fn wrote(&mut self, done: bool, now: Instant) {
        let refills = now.saturating_duration_since(self.refilled).as_secs() / REFILL.as_secs();
        self.spent = self.spent.saturating_sub(u32::try_from(refills).unwrap_or(u32::MAX));
        if refills > 0 || self.spent == 0 {
            self.refilled = now;
        }
        self.last = Some(now);
        if done {
            self.spent += 1;
            (self.failures, self.noticed) = (0, None);
        } else {
            self.failures += 1;
        }
    }
}

fn random(up_to: Duration) -> Duration {
    up_to.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NONE: Duration = Duration::ZERO;

    fn after(pace: &mut Pace, change: Change, now: Instant) -> Duration {
        pace.due(change, now).unwrap().saturating_duration_since(now)
    }

    #[test]
    fn nothing_is_never_due() {
        let now = Instant::now();
        assert_eq!(Pace::new(NONE, now).due(Change::Nothing, now), None);
    }

    #[test]
    fn nodes_do_not_write_at_the_same_moment() {
        let (now, jitter) = (Instant::now(), Duration::from_secs(30));
        let waits: Vec<_> =
            (0..50).map(|_| after(&mut Pace::new(jitter, now), Change::State, now)).collect();
        assert!(waits.iter().all(|wait| *wait <= jitter));
        let (low, high) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*high - *low > Duration::from_secs(10), "{low:?} {high:?}");
        let mut pace = Pace::new(jitter, now);
        let first = pace.due(Change::State, now);
        assert_eq!(pace.due(Change::State, now + Duration::from_secs(1)), first, "drawn once");
    }

    #[test]
    fn states_come_soon_and_figures_in_their_own_time() {
        let now = Instant::now();
        let mut pace = Pace::new(NONE, now);
        assert_eq!(after(&mut pace, Change::State, now), NONE);
        pace.wrote(true, now);
        assert_eq!(after(&mut pace, Change::State, now), GAP);
        assert_eq!(after(&mut pace, Change::Figures, now), FIGURES_GAP);
    }

    #[test]
    fn a_node_that_changes_all_the_time_is_slowed_down() {
        let mut now = Instant::now();
        let mut pace = Pace::new(NONE, now);
        let mut writes = 0;
        let end = now + Duration::from_secs(3600);
        while now < end {
            now = pace.due(Change::State, now).unwrap().max(now);
            pace.wrote(true, now);
            writes += 1;
        }
        let by_refill = 3600 / u32::try_from(REFILL.as_secs()).unwrap();
        assert!((by_refill..by_refill + 2 * BURST).contains(&writes), "{writes}");
    }

    #[test]
    fn a_failed_write_is_tried_again_less_and_less_often() {
        let now = Instant::now();
        let mut pace = Pace::new(NONE, now);
        let mut longest = NONE;
        for failures in 1..12 {
            pace.wrote(false, now);
            let wait = after(&mut pace, Change::Figures, now);
            assert!(wait >= RETRY.0 && wait <= RETRY.1, "{failures}: {wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest >= RETRY.1 / 2);
        pace.wrote(true, now);
        assert_eq!(after(&mut pace, Change::State, now + GAP), NONE);
    }
}
