//! When a hit becomes a call: pure, on the time it is given.

use super::Repeat;
use super::call::Hit;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a firing without `repeat` lasts after its last hit.
const QUIET_WITHOUT_REPEAT: Duration = Duration::from_secs(60);
/// Firings one target keeps apart. Beyond, the one idle longest is forgotten: a message that differs in every event
/// must not cost memory without end.
const MAX_FIRINGS: usize = 256;

/// A call that is due now.
#[derive(Debug)]
pub(super) struct Due {
    /// The first hit it stands for.
    pub hit: Hit,
    /// 1 is the first call of the firing.
    pub call: u32,
    pub hits: u64,
    /// Made at the moment of its hit, not at the end of an interval.
    pub at_once: bool,
}

/// The firings of one alert at one target.
#[derive(Debug)]
pub(super) struct Firings {
    interval: Duration,
    /// With the first.
    max_calls: u32,
    quiet: Duration,
    by_message: HashMap<String, Firing>,
}

#[derive(Debug)]
struct Firing {
    calls: u32,
    last_call: Instant,
    last_hit: Instant,
    /// The first hit since the last call, and how many there were.
    folded: Option<(Hit, u64)>,
}

impl Firings {
    pub fn new(repeat: Option<Repeat>) -> Self {
        let (interval, times) = repeat.map_or((QUIET_WITHOUT_REPEAT, 0), |r| (r.interval, r.times));
        Self {
            interval,
            max_calls: times.saturating_add(1),
            quiet: interval.saturating_mul(times.max(1)),
            by_message: HashMap::new(),
        }
    }

    /// Takes a hit; `describe` is asked only for one that a call will tell of.
    pub fn hit(
        &mut self,
        now: Instant,
        message: &str,
        describe: impl FnOnce() -> Hit,
    ) -> Option<Due> {
        if self.by_message.get(message).is_some_and(|f| f.is_over(now, self.quiet)) {
            self.by_message.remove(message);
        }
        let Some(firing) = self.by_message.get_mut(message) else {
            self.make_room();
            let firing = Firing { calls: 1, last_call: now, last_hit: now, folded: None };
            self.by_message.insert(message.to_owned(), firing);
            return Some(Due { hit: describe(), call: 1, hits: 1, at_once: true });
        };
        firing.last_hit = now;
        if firing.calls >= self.max_calls {
            return None;
        }
        let at_once = firing.folded.is_none();
        let (_, hits) = firing.folded.get_or_insert_with(|| (describe(), 0));
        *hits += 1;
        firing.call_if_due(now, self.interval).map(|due| Due { at_once, ..due })
    }

    /// Calls whose interval has passed; ends what has been quiet long enough.
    pub fn tick(&mut self, now: Instant, mut call: impl FnMut(Due)) {
        let (interval, quiet) = (self.interval, self.quiet);
        self.by_message.retain(|_, firing| {
            if let Some(due) = firing.call_if_due(now, interval) {
                call(due);
            }
            !firing.is_over(now, quiet)
        });
    }

    fn make_room(&mut self) {
        if self.by_message.len() < MAX_FIRINGS {
            return;
        }
        let idle = self.by_message.iter().min_by_key(|(_, f)| f.last_hit).map(|(m, _)| m.clone());
        if let Some(message) = idle {
            self.by_message.remove(&message);
        }
    }
}

impl Firing {
    fn call_if_due(&mut self, now: Instant, interval: Duration) -> Option<Due> {
        if now.saturating_duration_since(self.last_call) < interval {
            return None;
        }
        let (hit, hits) = self.folded.take()?;
        self.calls += 1;
        self.last_call = now;
        Some(Due { hit, call: self.calls, hits, at_once: false })
    }

    fn is_over(&self, now: Instant, quiet: Duration) -> bool {
        let last = self.last_hit.max(self.last_call);
        self.folded.is_none() && now.saturating_duration_since(last) >= quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat(interval: u64, times: u32) -> Firings {
        Firings::new(Some(Repeat { interval: Duration::from_secs(interval), times }))
    }

    /// (second, call, hits) of every call that `hits` (in seconds) cause, with a tick every second.
    fn calls(mut firings: Firings, hits: &[u64], until: u64) -> Vec<(u64, u32, u64)> {
        let start = Instant::now();
        let mut calls = Vec::new();
        for second in 0..=until {
            let now = start + Duration::from_secs(second);
            for _ in hits.iter().filter(|h| **h == second) {
                if let Some(due) = firings.hit(now, "m", Hit::default) {
                    calls.push((second, due.call, due.hits));
                }
            }
            firings.tick(now, |due| calls.push((second, due.call, due.hits)));
        }
        calls
    }

    #[test]
    fn one_hit_is_one_call() {
        assert_eq!(calls(repeat(10, 5), &[0], 200), [(0, 1, 1)]);
        assert_eq!(calls(Firings::new(None), &[0], 200), [(0, 1, 1)]);
    }

    #[test]
    fn hits_within_an_interval_fold_into_the_next_call() {
        assert_eq!(calls(repeat(10, 5), &[0, 1, 2, 3], 200), [(0, 1, 1), (10, 2, 3)]);
    }

    #[test]
    fn a_hit_after_a_silent_interval_calls_at_once() {
        assert_eq!(calls(repeat(10, 5), &[0, 15, 16], 200), [(0, 1, 1), (15, 2, 1), (25, 3, 1)]);
    }

    #[test]
    fn a_stream_of_hits_is_told_times_more_times_and_then_no_more() {
        let every_second: Vec<u64> = (0..=100).collect();
        let calls = calls(repeat(10, 3), &every_second, 100);
        assert_eq!(
            calls.iter().map(|c| (c.0, c.1)).collect::<Vec<_>>(),
            [(0, 1), (10, 2), (20, 3), (30, 4)]
        );
        assert_eq!(
            calls.iter().map(|c| c.2).sum::<u64>(),
            31,
            "each hit up to the last call is counted once"
        );
    }

    #[test]
    fn after_interval_times_times_of_quiet_it_fires_anew() {
        assert_eq!(calls(repeat(10, 2), &[0, 21], 100), [(0, 1, 1), (21, 1, 1)]);
        assert_eq!(calls(repeat(10, 2), &[0, 19], 100), [(0, 1, 1), (19, 2, 1)]);
        assert_eq!(calls(Firings::new(None), &[0, 30, 89, 150], 300), [(0, 1, 1), (150, 1, 1)]);
    }

    #[test]
    fn a_call_counts_as_activity_too() {
        assert_eq!(calls(repeat(10, 1), &[0, 1, 11], 18), [(0, 1, 1), (10, 2, 1)]);
    }

    #[test]
    fn messages_are_firings_of_their_own_and_bounded() {
        let mut firings = repeat(10, 5);
        let start = Instant::now();
        for n in 0..10_000u64 {
            let now = start + Duration::from_millis(n);
            assert!(firings.hit(now, &format!("pod {n}"), Hit::default).is_some());
        }
        assert_eq!(firings.by_message.len(), MAX_FIRINGS);
        let now = start + Duration::from_millis(10_000);
        assert!(firings.hit(now, "pod 9999", Hit::default).is_none(), "the latest is remembered");
    }
}
