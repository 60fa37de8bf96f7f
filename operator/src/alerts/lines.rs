//! The lines to the receivers: for each target of each alert its firings, and room for a few calls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use securitywatch_api::alerting::{Due, Firings, Hit, Kept};
use securitywatch_api::watch::Repeat;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls to one target at a time, and calls that wait: a dead one delays no other, and fills no memory.
const IN_FLIGHT: usize = 4;
const WAITING: usize = 64;
/// Firings of all lines together.
const MAX_FIRINGS: usize = 8192;

/// One target of one alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LineKey {
    /// The watch's uid.
    pub(super) watch: Arc<str>,
    pub(super) alert: Arc<str>,
    /// Its place in the alert's list.
    pub(super) target: usize,
}

#[derive(Debug)]
struct Line {
    repeat: Option<Repeat>,
    firings: Firings<Hit>,
    slots: Slots,
    /// Another process's, of a watch that is not known here yet.
    is_handed_over: bool,
}

impl Line {
    fn new(repeat: Option<Repeat>, slots: Slots) -> Self {
        let firings = Firings::new(repeat).following_calls();
        Self { repeat, firings, slots, is_handed_over: false }
    }
}

/// A firing of a line, to be kept.
#[derive(Debug)]
pub(super) struct KeptLine {
    pub(super) line: LineKey,
    pub(super) repeat: Option<Repeat>,
    /// When the firing ends by itself.
    pub(super) quiet: Duration,
    pub(super) firing: Kept<Hit>,
}

/// Room for calls to one target.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    flying: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// A place in the queue of a target.
#[derive(Debug)]
pub(super) struct Place {
    flying: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Slots {
    fn new() -> Self {
        Self { flying: Arc::new(Semaphore::new(IN_FLIGHT)), waiting: Arc::default() }
    }

    /// A place in the queue, while there is one.
    pub(super) fn enter(&self) -> Option<Place> {
        let entered =
            self.waiting.fetch_update(Relaxed, Relaxed, |n| (n < WAITING).then_some(n + 1));
        let (flying, waiting) = (Arc::clone(&self.flying), Arc::clone(&self.waiting));
        entered.is_ok().then(|| Place { flying, waiting })
    }
}

impl Place {
    /// Waits for the turn.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.flying).acquire_owned().await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}

/// A call that is due on a line.
#[derive(Debug)]
pub(super) struct DueOn {
    pub(super) line: LineKey,
    pub(super) due: Due<Hit>,
    pub(super) slots: Slots,
}

/// All lines that something is remembered of.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: HashMap<LineKey, Line>,
    firings: usize,
}

impl Lines {
    /// Whether there is no room for another message.
    pub(super) fn is_full(&self) -> bool {
        self.firings >= MAX_FIRINGS
    }

    /// Takes a hit that stands for so many events.
    pub(super) fn hit(
        &mut self,
        key: LineKey,
        repeat: Option<Repeat>,
        now: Instant,
        hit: &Hit,
        events: u64,
    ) -> Option<DueOn> {
        let new = || Line::new(repeat, Slots::new());
        let line = self.lines.entry(key.clone()).or_insert_with(new);
        if line.repeat != repeat {
            *line = Line::new(repeat, line.slots.clone());
        }
        let before = line.firings.len();
        let due = line.firings.hit(now, &hit.message, events, || hit.clone());
        self.firings += line.firings.len().saturating_sub(before);
        Some(DueOn { line: key, due: due?, slots: line.slots.clone() })
    }

    /// Calls whose interval has passed; forgets what is over. Lines of watches that are not known yet wait.
    pub(super) fn tick(&mut self, now: Instant, is_known: impl Fn(&str) -> bool) -> Vec<DueOn> {
        let mut all = Vec::new();
        self.lines.retain(|key, line| {
            if line.is_handed_over && !is_known(&key.watch) {
                return true;
            }
            line.is_handed_over = false;
            let slots = &line.slots;
            line.firings.tick(now, |due| {
                all.push(DueOn { line: key.clone(), due, slots: slots.clone() });
            });
            !line.firings.is_empty()
        });
        self.firings = self.lines.values().map(|line| line.firings.len()).sum();
        all
    }

    /// A call has come to its end, whichever that was.
    pub(super) fn over(&mut self, key: &LineKey, message: &str, call: u32) {
        if let Some(line) = self.lines.get_mut(key) {
            line.firings.over(message, call);
        }
    }

    /// What the next process should know.
    pub(super) fn keep(&self, now: Instant) -> Vec<KeptLine> {
        let of = |(key, line): (&LineKey, &Line)| {
            let (key, repeat, quiet) = (key.clone(), line.repeat, line.firings.quiet());
            let kept: Vec<_> = line.firings.keep(now).collect();
            kept.into_iter().map(move |firing| KeptLine {
                line: key.clone(),
                repeat,
                quiet,
                firing,
            })
        };
        self.lines.iter().flat_map(of).collect()
    }

    /// Goes on with what another process kept.
    pub(super) fn resume(
        &mut self,
        key: LineKey,
        repeat: Option<Repeat>,
        now: Instant,
        kept: Kept<Hit>,
    ) {
        let handed_over = || Line { is_handed_over: true, ..Line::new(repeat, Slots::new()) };
        self.lines.entry(key).or_insert_with(handed_over).firings.resume(now, kept);
        self.firings += 1;
    }

    /// Forgets a watch.
    pub(super) fn forget(&mut self, watch: &str) {
        self.lines.retain(|key, _| &*key.watch != watch);
    }

    /// Forgets all watches but these.
    pub(super) fn forget_others(&mut self, watches: &HashSet<String>) {
        self.lines.retain(|key, _| watches.contains(&*key.watch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: usize) -> LineKey {
        LineKey { watch: "u".into(), alert: "a".into(), target }
    }

    fn hit(message: &str) -> Hit {
        Hit { message: message.into(), ..Hit::default() }
    }

    fn repeat(seconds: u64) -> Option<Repeat> {
        Some(Repeat { interval: Duration::from_secs(seconds), times: 2 })
    }

    #[test]
    fn each_target_repeats_by_itself() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        assert!(lines.hit(line(0), repeat(10), start, &hit("m"), 1).is_some());
        assert!(lines.hit(line(1), None, start, &hit("m"), 1).is_some());
        assert!(lines.hit(line(0), repeat(10), start, &hit("m"), 4).is_none());
        assert!(lines.hit(line(1), None, start, &hit("m"), 4).is_none());
        let due = lines.tick(start + Duration::from_secs(10), |_| true);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].line.target, due[0].due.call, due[0].due.hits), (0, 2, 4));
    }

    #[test]
    fn another_repeat_begins_anew_and_a_watch_that_is_gone_is_forgotten() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        lines.hit(line(0), repeat(10), start, &hit("m"), 1);
        assert!(lines.hit(line(0), repeat(20), start, &hit("m"), 1).is_some());
        lines.hit(line(0), repeat(20), start, &hit("m"), 1);
        lines.forget("u");
        assert!(lines.tick(start + Duration::from_secs(20), |_| true).is_empty());
    }

    #[test]
    fn what_is_over_takes_no_memory() {
        let (mut lines, start) = (Lines::default(), Instant::now());
        for n in 0..500 {
            lines.hit(line(n), None, start, &hit("m"), 1);
        }
        assert_eq!(lines.firings, 500);
        for n in 0..500 {
            lines.over(&line(n), "m", 1);
        }
        lines.tick(start + Duration::from_secs(60), |_| true);
        assert!(lines.lines.is_empty() && lines.firings == 0);
    }

    #[test]
    fn what_another_process_kept_waits_for_its_watch() {
        let (mut before, start) = (Lines::default(), Instant::now());
        before.hit(line(0), repeat(10), start, &hit("m"), 1);
        before.over(&line(0), "m", 1);
        before.hit(line(0), repeat(10), start, &hit("m"), 4);
        let mut lines = Lines::default();
        for KeptLine { line, repeat, firing, .. } in before.keep(start) {
            lines.resume(line, repeat, start, firing);
        }
        let later = start + Duration::from_secs(30);
        assert!(lines.tick(later, |_| false).is_empty());
        let due = lines.tick(later, |watch| watch == "u");
        assert_eq!((due.len(), due[0].due.call, due[0].due.hits), (1, 2, 4));
        lines.forget_others(&HashSet::from(["another".to_owned()]));
        assert!(lines.lines.is_empty());
    }

    #[test]
    fn a_queue_has_an_end() {
        let slots = Slots::new();
        let places: Vec<_> = std::iter::from_fn(|| slots.enter()).collect();
        assert_eq!(places.len(), WAITING);
        drop(places);
        assert!(slots.enter().is_some());
    }
}
