//! When a hit becomes a call: pure, on the time it is given.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::watch::Repeat;

/// How long a firing without `repeat` lasts after its last hit.
const QUIET_WITHOUT_REPEAT: Duration = Duration::from_secs(60);
/// Firings one target keeps apart. Beyond, the one idle longest is forgotten: a message that differs in every event
/// must not cost memory without end.
const MAX_FIRINGS: usize = 256;

/// A call that is due now.
#[derive(Debug)]
pub struct Due<H> {
    /// The first hit it stands for.
    pub hit: H,
    /// 1 is the first call of the firing.
    pub call: u32,
    /// Events it stands for.
    pub hits: u64,
    /// Made at the moment of its hit, not at the end of an interval.
    pub at_once: bool,
}

/// The firings of one alert at one target. `H` is what a call tells of a hit.
#[derive(Debug)]
pub struct Firings<H> {
    interval: Duration,
    /// With the first.
    max_calls: u32,
    quiet: Duration,
    by_message: HashMap<String, Firing<H>>,
}

#[derive(Debug)]
struct Firing<H> {
    calls: u32,
    last_call: Instant,
    last_hit: Instant,
    /// The first hit since the last call, and how many events there were.
    folded: Option<(H, u64)>,
}

impl<H> Firings<H> {
    /// As `spec.alerts[].targets[].repeat` says.
    #[must_use]
    pub fn new(repeat: Option<Repeat>) -> Self {
        let (interval, times) = repeat.map_or((QUIET_WITHOUT_REPEAT, 0), |r| (r.interval, r.times));
        Self {
            interval,
            max_calls: times.saturating_add(1),
            quiet: interval.saturating_mul(times.max(1)),
            by_message: HashMap::new(),
        }
    }

    /// Without end: a message that keeps coming is told of once an interval.
    #[must_use]
    pub fn endless(interval: Duration) -> Self {
        Self { interval, max_calls: u32::MAX, quiet: interval, by_message: HashMap::new() }
    }

    /// How many messages are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_message.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_message.is_empty()
    }

    /// Takes a hit that stands for so many events; `describe` is asked only for one that a call will tell of.
    pub fn hit(
        &mut self,
        now: Instant,
        message: &str,
        events: u64,
        describe: impl FnOnce() -> H,
    ) -> Option<Due<H>> {
        if self.by_message.get(message).is_some_and(|f| f.is_over(now, self.quiet)) {
            self.by_message.remove(message);
        }
        let Some(firing) = self.by_message.get_mut(message) else {
            self.make_room();
            let firing = Firing { calls: 1, last_call: now, last_hit: now, folded: None };
            self.by_message.insert(message.to_owned(), firing);
            return Some(Due { hit: describe(), call: 1, hits: events, at_once: true });
        };
        firing.last_hit = now;
        if firing.calls >= self.max_calls {
            return None;
        }
        let at_once = firing.folded.is_none();
        let (_, hits) = firing.folded.get_or_insert_with(|| (describe(), 0));
        *hits += events;
        firing.call_if_due(now, self.interval).map(|due| Due { at_once, ..due })
    }

    /// Calls whose interval has passed; ends what has been quiet long enough.
    pub fn tick(&mut self, now: Instant, mut call: impl FnMut(Due<H>)) {
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
        // One with nothing to tell first.
        let idle = self.by_message.iter().min_by_key(|(_, f)| (f.folded.is_some(), f.last_hit));
        let idle = idle.map(|(message, _)| message.clone());
        if let Some(message) = idle {
            self.by_message.remove(&message);
        }
    }
}

impl<H> Firing<H> {
    fn call_if_due(&mut self, now: Instant, interval: Duration) -> Option<Due<H>> {
        if now.saturating_duration_since(self.last_call) < interval {
            return None;
        }
        let (hit, hits) = self.folded.take()?;
        self.calls = self.calls.saturating_add(1);
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

    fn repeat(interval: u64, times: u32) -> Firings<()> {
        Firings::new(Some(Repeat { interval: Duration::from_secs(interval), times }))
    }

    /// (second, call, hits) of every call that `hits` (in seconds) cause, with a tick every second.
    fn calls(mut firings: Firings<()>, hits: &[u64], until: u64) -> Vec<(u64, u32, u64)> {
        let start = Instant::now();
        let mut calls = Vec::new();
        for second in 0..=until {
            let now = start + Duration::from_secs(second);
            for _ in hits.iter().filter(|h| **h == second) {
                if let Some(due) = firings.hit(now, "m", 1, || ()) {
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
            assert!(firings.hit(now, &format!("pod {n}"), 1, || ()).is_some());
        }
        assert_eq!(firings.by_message.len(), MAX_FIRINGS);
        let now = start + Duration::from_millis(10_000);
        assert!(firings.hit(now, "pod 9999", 1, || ()).is_none(), "the latest is remembered");
    }

    #[test]
    fn a_hit_may_stand_for_many_events() {
        let mut firings = repeat(10, 5);
        let start = Instant::now();
        let hits = |due: Option<Due<()>>| due.map(|due| (due.call, due.hits));
        assert_eq!(hits(firings.hit(start, "m", 7, || ())), Some((1, 7)));
        assert_eq!(hits(firings.hit(start, "m", 5, || ())), None);
        let later = start + Duration::from_secs(10);
        assert_eq!(hits(firings.hit(later, "m", 2, || ())), Some((2, 7)));
    }

    #[test]
    fn an_endless_firing_is_told_once_an_interval_and_forgotten_when_quiet() {
        let mut firings = Firings::endless(Duration::from_secs(1));
        let start = Instant::now();
        let mut told = Vec::new();
        for n in 0..=3000u64 {
            let now = start + Duration::from_millis(n);
            told.extend(firings.hit(now, "m", 1, || ()).map(|due| due.hits));
        }
        assert_eq!((told.len(), told.iter().sum::<u64>()), (4, 3001));
        firings.tick(start + Duration::from_secs(5), |_| ());
        assert!(firings.is_empty());
    }
}
