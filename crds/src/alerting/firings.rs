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
    /// Whether [`Self::over`] is told of each call.
    follows_calls: bool,
    by_message: HashMap<String, Firing<H>>,
}

#[derive(Debug)]
struct Firing<H> {
    calls: u32,
    /// `None`: what was kept of it had no call yet.
    last_call: Option<Instant>,
    last_hit: Instant,
    /// The first hit since the last call, and how many events there were.
    folded: Option<(H, u64)>,
    /// In the order of their numbers.
    under_way: Vec<UnderWay<H>>,
}

/// A call that has not come to its end.
#[derive(Debug)]
struct UnderWay<H> {
    call: u32,
    /// The call before it.
    before: Option<Instant>,
    /// What it tells of and nobody would report again.
    folded: Option<(H, u64)>,
}

/// What is kept of a firing beyond the end of a process. The times are ages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<H> {
    /// As rendered.
    pub message: String,
    /// Calls that came to their end.
    pub calls: u32,
    /// Of the last of them.
    pub called: Option<Duration>,
    /// Of the last hit or call.
    pub active: Duration,
    /// What no call that came to its end has told of, and would not be reported again: the first hit, and the number of
    /// events.
    pub folded: Option<(H, u64)>,
}

impl<H: Clone> Firings<H> {
    /// As `spec.alerts[].targets[].repeat` says.
    #[must_use]
    pub fn new(repeat: Option<Repeat>) -> Self {
        let (interval, times) = repeat.map_or((QUIET_WITHOUT_REPEAT, 0), |r| (r.interval, r.times));
        Self {
            interval,
            max_calls: times.saturating_add(1),
            quiet: interval.saturating_mul(times.max(1)),
            follows_calls: false,
            by_message: HashMap::new(),
        }
    }

    /// Without end: a message that keeps coming is told of once an interval.
    #[must_use]
    pub fn endless(interval: Duration) -> Self {
        Self { interval, max_calls: u32::MAX, quiet: interval, ..Self::new(None) }
    }

    /// Knows which calls are under way: whoever makes them tells [`Self::over`] of the end of each.
    #[must_use]
    pub fn following_calls(self) -> Self {
        Self { follows_calls: true, ..self }
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

    /// A firing ends after so long without a hit or a call.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.quiet
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
        let (interval, follows_calls) = (self.interval, self.follows_calls);
        let Some(firing) = self.by_message.get_mut(message) else {
            self.make_room();
            let mut firing = Firing::new(now);
            let due = firing.call(now, (describe(), events), true, follows_calls);
            self.by_message.insert(message.to_owned(), firing);
            return Some(due);
        };
        firing.last_hit = now;
        if firing.calls >= self.max_calls {
            return None;
        }
        let at_once = firing.folded.is_none();
        let (_, hits) = firing.folded.get_or_insert_with(|| (describe(), 0));
        *hits += events;
        firing.call_if_due(now, interval, at_once, follows_calls)
    }

    /// Calls whose interval has passed; ends what has been quiet long enough.
    pub fn tick(&mut self, now: Instant, mut call: impl FnMut(Due<H>)) {
        let (interval, quiet, follows_calls) = (self.interval, self.quiet, self.follows_calls);
        self.by_message.retain(|_, firing| {
            if let Some(due) = firing.call_if_due(now, interval, false, follows_calls) {
                call(due);
            }
            !firing.is_over(now, quiet)
        });
    }

    /// A call has come to its end, whichever that was.
    pub fn over(&mut self, message: &str, call: u32) {
        if let Some(firing) = self.by_message.get_mut(message) {
            firing.under_way.retain(|under_way| under_way.call != call);
        }
    }

    /// What the next process should know. A call under way counts as not made: who reported its hit reports it again.
    pub fn keep(&self, now: Instant) -> impl Iterator<Item = Kept<H>> {
        self.by_message.iter().filter_map(move |(message, firing)| firing.keep(message, now))
    }

    /// Goes on with what another process kept.
    pub fn resume(&mut self, now: Instant, kept: Kept<H>) {
        self.make_room();
        let at = |age: Duration| now.checked_sub(age).unwrap_or(now);
        let firing = Firing {
            calls: kept.calls,
            last_call: kept.called.map(at),
            last_hit: at(kept.active),
            folded: kept.folded,
            under_way: Vec::new(),
        };
        self.by_message.insert(kept.message, firing);
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

impl<H: Clone> Firing<H> {
    fn new(now: Instant) -> Self {
        Self { calls: 0, last_call: None, last_hit: now, folded: None, under_way: Vec::new() }
    }

    fn call_if_due(
        &mut self,
        now: Instant,
        interval: Duration,
        at_once: bool,
        follows_calls: bool,
    ) -> Option<Due<H>> {
        if self.last_call.is_some_and(|last| now.saturating_duration_since(last) < interval) {
            return None;
        }
        let told = self.folded.take()?;
        Some(self.call(now, told, at_once, follows_calls))
    }

    fn call(&mut self, now: Instant, told: (H, u64), at_once: bool, follows_calls: bool) -> Due<H> {
        self.calls = self.calls.saturating_add(1);
        let before = self.last_call.replace(now);
        if follows_calls {
            let folded = (!at_once).then(|| told.clone());
            self.under_way.push(UnderWay { call: self.calls, before, folded });
        }
        let (hit, hits) = told;
        Due { hit, call: self.calls, hits, at_once }
    }

    fn is_over(&self, now: Instant, quiet: Duration) -> bool {
        self.folded.is_none()
            && self.under_way.is_empty()
            && now.saturating_duration_since(self.last_active()) >= quiet
    }

    fn last_active(&self) -> Instant {
        self.last_call.map_or(self.last_hit, |last_call| last_call.max(self.last_hit))
    }

    /// `None`: nothing would be lost.
    fn keep(&self, message: &str, now: Instant) -> Option<Kept<H>> {
        let under_way = u32::try_from(self.under_way.len()).unwrap_or(u32::MAX);
        let calls = self.calls.saturating_sub(under_way);
        let told = self.under_way.iter().filter_map(|under_way| under_way.folded.as_ref());
        let folded = told
            .chain(&self.folded)
            .cloned()
            .reduce(|(hit, events), (_, more)| (hit, events.saturating_add(more)));
        let called = self.under_way.first().map_or(self.last_call, |first| first.before);
        let age = |of: Instant| now.saturating_duration_since(of);
        (calls > 0 || folded.is_some()).then(|| Kept {
            message: message.to_owned(),
            calls,
            called: called.map(age),
            active: age(self.last_active()),
            folded,
        })
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

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// What another process would go on with.
    fn handed_over(from: &Firings<u64>, to: Firings<u64>, now: Instant) -> Firings<u64> {
        let mut to = to.following_calls();
        from.keep(now).for_each(|kept| to.resume(now, kept));
        to
    }

    fn two_repeats() -> Firings<u64> {
        Firings::new(Some(Repeat { interval: second(10), times: 2 }))
    }

    #[test]
    fn the_next_process_goes_on_where_this_one_ended() {
        let start = Instant::now();
        let mut first = two_repeats().following_calls();
        assert!(first.hit(start, "m", 1, || 1).is_some());
        first.over("m", 1);
        assert!(first.hit(start + second(4), "m", 3, || 2).is_none());
        let mut next = handed_over(&first, two_repeats(), start + second(5));
        assert!(next.hit(start + second(6), "m", 1, || 3).is_none(), "the interval still runs");
        let mut calls = Vec::new();
        for n in 6..=10 {
            next.tick(start + second(n), |due| calls.push((n, due.hit, due.call, due.hits)));
        }
        assert_eq!(calls, [(10, 2, 2, 4)]);
        // The last of three calls is under way when this one ends too: its hit is reported again, and calls again.
        next.over("m", 2);
        assert!(next.hit(start + second(20), "m", 1, || 4).is_some_and(|due| due.call == 3));
        let mut last = handed_over(&next, two_repeats(), start + second(21));
        assert!(last.hit(start + second(22), "m", 1, || 4).is_some_and(|due| due.call == 3));
        last.over("m", 3);
        assert!(last.hit(start + second(35), "m", 1, || 5).is_none(), "the spec wants no more");
    }

    #[test]
    fn a_call_that_is_under_way_is_kept_as_not_made() {
        let start = Instant::now();
        let mut first = two_repeats().following_calls();
        first.hit(start, "m", 1, || 1);
        assert_eq!(first.keep(start).count(), 0, "its hit is reported again");
        first.over("m", 1);
        first.hit(start + second(1), "m", 5, || 2);
        let mut due = Vec::new();
        first.tick(start + second(10), |call| due.push((call.call, call.hits)));
        assert_eq!(due, [(2, 5)]);
        first.hit(start + second(11), "m", 2, || 3);
        let kept: Vec<_> = first.keep(start + second(12)).collect();
        let wanted = Kept {
            message: "m".into(),
            calls: 1,
            called: Some(second(12)),
            active: second(1),
            folded: Some((2, 7)),
        };
        assert_eq!(kept, [wanted], "nobody would report what was folded again");
        let mut next = handed_over(&first, two_repeats(), start + second(12));
        next.tick(start + second(12), |call| due.push((call.call, call.hits)));
        assert_eq!(due[1..], [(2, 7)]);
    }

    #[test]
    fn a_firing_does_not_end_while_a_call_is_under_way() {
        let start = Instant::now();
        let mut firings = Firings::new(None).following_calls();
        firings.hit(start, "m", 1, || 1);
        firings.tick(start + second(100), |_| ());
        assert_eq!(firings.len(), 1);
        firings.over("m", 1);
        firings.tick(start + second(100), |_| ());
        assert!(firings.is_empty());
    }
}
