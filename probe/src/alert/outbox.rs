//! Hits on their way to the operator: bounded, and each one kept until the operator has done with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use securitywatch_api::alerting::wire::{FULL_BYTES, MAX_HITS, ReportedHit};
use tokio::sync::Notify;

/// Hits that wait at most, and how long they are together. What comes then is lost: an attacker who can cause alerts
/// must not push out the first ones.
const MAX_WAITING: usize = 4096;
const MAX_BYTES: usize = 8 << 20;
/// A hit that the operator has not done with is reported again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// One that the operator did not do with for so long will not be done with.
const HOPELESS: Duration = Duration::from_secs(600);

const QUEUE_FULL: &str = "alert_queue_full";
const REFUSED: &str = "alert_refused";
/// Causes by which hits are lost.
pub const HIT_LOSSES: [&str; 2] = [QUEUE_FULL, REFUSED];

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
    emptied: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    next: u64,
    /// Counts changes.
    version: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    /// Of watch, alert and message.
    fold: u64,
    hit: ReportedHit,
    size: usize,
    since: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The operator has never seen it, so more events may be counted into it.
    Fresh,
    /// It is being reported; whether it was fresh.
    Flying(bool),
    /// The operator may have seen it; to be reported again from then on.
    Again(Instant),
}

/// Hits to report, with their ids.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub ids: Vec<u64>,
    pub hits: Vec<ReportedHit>,
}

impl Outbox {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), emptied: Notify::new(), metrics }
    }

    // Each change is one step: a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a hit. Never waits; `fold` tells hits with the same message.
    pub fn push(&self, fold: u64, hit: ReportedHit) {
        let mut state = self.lock();
        let same = |waiting: &&mut Waiting| waiting.fold == fold && waiting.stage == Stage::Fresh;
        if let Some(waiting) = state.waiting.iter_mut().find(same) {
            waiting.hit.events = waiting.hit.events.saturating_add(hit.events);
            state.version += 1;
            return;
        }
        let size = hit.size();
        if state.waiting.len() >= MAX_WAITING || state.bytes + size > MAX_BYTES {
            drop(state);
            self.metrics.lost(QUEUE_FULL, hit.events);
            return;
        }
        state.add(fold, hit, size, Stage::Fresh);
        drop(state);
        self.changed.notify_one();
    }

    /// Takes hits that an earlier process left: the operator may have seen them.
    pub fn restore(&self, hits: Vec<ReportedHit>) {
        let mut state = self.lock();
        for hit in hits.into_iter().take(MAX_WAITING) {
            let size = hit.size();
            state.add(0, hit, size, Stage::Again(Instant::now()));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// What is to be reported now. While the operator is away, `again` only: what it never saw can still be folded.
    pub fn take(&self, now: Instant, again_only: bool) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut state = self.lock();
        let any_again =
            state.waiting.iter().any(|waiting| matches!(waiting.stage, Stage::Again(_)));
        for waiting in &mut state.waiting {
            let fresh = match waiting.stage {
                Stage::Again(from) if from <= now => false,
                Stage::Fresh if !again_only || !any_again => true,
                _ => continue,
            };
            if batch.ids.len() >= MAX_HITS || bytes > FULL_BYTES {
                break;
            }
            bytes += waiting.size;
            waiting.stage = Stage::Flying(fresh);
            batch.ids.push(waiting.id);
            batch.hits.push(waiting.hit.clone());
        }
        batch
    }

    /// The operator answered: these it has not done with, all others of the batch it has.
    pub fn answered(&self, batch: &Batch, pending: &[usize], now: Instant) {
        let mut hopeless = 0;
        self.settle(batch, |place, waiting| {
            if !pending.contains(&place) {
                return false;
            }
            waiting.stage = Stage::Again(now + AGAIN);
            let given_up = now.saturating_duration_since(waiting.since) >= HOPELESS;
            hopeless += if given_up { waiting.hit.events } else { 0 };
            !given_up
        });
        if hopeless > 0 {
            self.metrics.lost(REFUSED, hopeless);
        }
    }

    /// There was no answer. `unseen`: the operator cannot have seen them.
    pub fn unanswered(&self, batch: &Batch, unseen: bool, now: Instant) {
        self.settle(batch, |_, waiting| {
            let fresh = unseen && waiting.stage == Stage::Flying(true);
            waiting.stage = if fresh { Stage::Fresh } else { Stage::Again(now) };
            true
        });
    }

    /// The operator will never take them.
    pub fn refused(&self, batch: &Batch) {
        let events = batch.hits.iter().map(|hit| hit.events).sum();
        self.metrics.lost(REFUSED, events);
        self.settle(batch, |_, _| false);
    }

    /// Keeps those for which `keep` holds.
    fn settle(&self, batch: &Batch, mut keep: impl FnMut(usize, &mut Waiting) -> bool) {
        let mut state = self.lock();
        let mut freed = 0;
        state.waiting.retain_mut(|waiting| {
            // Both are in the order of ids.
            let Ok(place) = batch.ids.binary_search(&waiting.id) else { return true };
            let kept = keep(place, waiting);
            freed += if kept { 0 } else { waiting.size };
            kept
        });
        state.bytes = state.bytes.saturating_sub(freed);
        state.version += 1;
        let is_empty = state.waiting.is_empty();
        drop(state);
        self.changed.notify_one();
        if is_empty {
            self.emptied.notify_one();
        }
    }

    /// Ends when something has changed since it ended last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends when nothing waits.
    pub async fn emptied(&self) {
        while !self.lock().waiting.is_empty() {
            self.emptied.notified().await;
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Everything that waits, if it is not what it was at version `seen`, once the oldest waits for `age`.
    pub fn newer_than(
        &self,
        seen: &mut u64,
        age: Duration,
        now: Instant,
    ) -> Option<Vec<ReportedHit>> {
        let state = self.lock();
        let is_old = |waiting: &Waiting| now.saturating_duration_since(waiting.since) >= age;
        if state.version == *seen || !(state.waiting.is_empty() || state.waiting.iter().any(is_old))
        {
            return None;
        }
        *seen = state.version;
        Some(state.waiting.iter().map(|waiting| waiting.hit.clone()).collect())
    }
}

impl State {
    fn add(&mut self, fold: u64, hit: ReportedHit, size: usize, stage: Stage) {
        let id = self.next;
        self.next += 1;
        self.bytes += size;
        self.version += 1;
        self.waiting.push_back(Waiting { id, fold, hit, size, since: Instant::now(), stage });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::metrics::CauseLabel;

    fn outbox() -> Outbox {
        Outbox::new(Arc::new(Metrics::new()))
    }

    fn hit(event: usize) -> ReportedHit {
        ReportedHit {
            watch: "u".into(),
            generation: 1,
            alert: "a".into(),
            event_id: format!("r-{event}"),
            event_type: "process_exec".into(),
            time_ns: 0,
            columns: BTreeMap::new(),
            namespace: None,
            pod: None,
            binary: None,
            events: 1,
        }
    }

    fn ids(batch: &Batch) -> Vec<&str> {
        batch.hits.iter().map(|hit| hit.event_id.as_str()).collect()
    }

    fn lost(outbox: &Outbox, cause: &'static str) -> u64 {
        outbox.metrics.lost.get(&CauseLabel { cause }).map_or(0, |counter| counter.get())
    }

    #[test]
    fn a_hit_stays_until_the_operator_has_done_with_it() {
        let (outbox, now) = (outbox(), Instant::now());
        outbox.push(1, hit(1));
        outbox.push(2, hit(2));
        let batch = outbox.take(now, false);
        assert_eq!(ids(&batch), ["r-1", "r-2"]);
        assert!(outbox.take(now, false).ids.is_empty(), "both are on their way");
        outbox.answered(&batch, &[1], now);
        assert_eq!(outbox.len(), 1);
        assert!(outbox.take(now, false).ids.is_empty(), "not at once");
        let again = outbox.take(now + AGAIN, false);
        assert_eq!(ids(&again), ["r-2"]);
        outbox.unanswered(&again, false, now + AGAIN);
        let last = outbox.take(now + AGAIN, true);
        outbox.answered(&last, &[], now + AGAIN);
        assert_eq!((outbox.len(), outbox.lock().bytes), (0, 0));
    }

    #[test]
    fn events_are_counted_into_a_hit_that_nobody_has_seen() {
        let (outbox, now) = (outbox(), Instant::now());
        outbox.push(1, hit(1));
        outbox.push(1, hit(2));
        let batch = outbox.take(now, false);
        assert_eq!((ids(&batch), batch.hits[0].events), (vec!["r-1"], 2));
        // On its way, and afterwards perhaps seen.
        outbox.push(1, hit(3));
        outbox.unanswered(&batch, false, now);
        outbox.push(1, hit(4));
        let while_away = outbox.take(now, true);
        assert_eq!((ids(&while_away), while_away.hits[0].events), (vec!["r-1"], 2));
        // Nobody was there at all.
        outbox.unanswered(&while_away, true, now);
        let all = outbox.take(now, false);
        assert_eq!(ids(&all), ["r-1", "r-3"]);
        assert_eq!(all.hits[1].events, 2);
    }

    #[test]
    fn nobody_was_there_so_a_fresh_hit_is_fresh_again() {
        let (outbox, now) = (outbox(), Instant::now());
        outbox.push(1, hit(1));
        let batch = outbox.take(now, true);
        outbox.unanswered(&batch, true, now);
        outbox.push(1, hit(2));
        let batch = outbox.take(now, true);
        assert_eq!((batch.hits.len(), batch.hits[0].events), (1, 2));
    }

    #[test]
    fn the_first_hits_stay_and_the_rest_is_counted() {
        let (outbox, now) = (outbox(), Instant::now());
        for event in 0..MAX_WAITING + 7 {
            outbox.push(event as u64, hit(event));
        }
        assert_eq!((outbox.len(), lost(&outbox, QUEUE_FULL)), (MAX_WAITING, 7));
        let batch = outbox.take(now, false);
        assert_eq!((batch.hits.len(), batch.hits[0].event_id.as_str()), (MAX_HITS, "r-0"));
        outbox.refused(&batch);
        assert_eq!(lost(&outbox, REFUSED), MAX_HITS as u64);
        assert_eq!(outbox.len(), MAX_WAITING - MAX_HITS);
    }

    #[test]
    fn what_the_operator_never_does_with_is_given_up() {
        let (outbox, now) = (outbox(), Instant::now());
        outbox.push(1, hit(1));
        let late = now + HOPELESS + AGAIN;
        let batch = outbox.take(late, false);
        outbox.answered(&batch, &[0], late);
        assert_eq!((outbox.len(), lost(&outbox, REFUSED)), (0, 1));
    }

    #[test]
    fn what_waits_for_long_is_worth_a_file() {
        let (outbox, now) = (outbox(), Instant::now());
        let (mut seen, age) = (0, Duration::from_secs(1));
        outbox.push(1, hit(1));
        assert_eq!(outbox.newer_than(&mut seen, age, now), None, "it may be gone in a moment");
        let later = now + age * 2;
        assert_eq!(outbox.newer_than(&mut seen, age, later).map(|hits| hits.len()), Some(1));
        assert_eq!(outbox.newer_than(&mut seen, age, later), None, "nothing new");
        let batch = outbox.take(later, false);
        outbox.answered(&batch, &[], later);
        assert_eq!(outbox.newer_than(&mut seen, age, later), Some(Vec::new()));
    }
}
