//! The queue between batching and delivery: bounded, in memory.
//!
//! The shape is that of a durable queue of segments, which can take its place: `push` says what it had to
//! drop, `next` lends a batch out, and only `ack` forgets it. A batch that was lent out counts against the bound and is
//! never dropped, since it may be on the wire.

use crate::event::WallTime;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What is lost first when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What policies observed. Dropped first: a flood of one hook must not cost process records.
    Telemetry,
    /// Exec, exit and enforcement.
    Lifecycle,
}

/// What a queue must know of an item.
pub trait Load {
    /// Memory held, in bytes.
    fn bytes(&self) -> usize;
    /// Events in it.
    fn rows(&self) -> u64;
    /// See [`Class`].
    fn class(&self) -> Class;
    /// The time of its first event.
    fn oldest(&self) -> WallTime;
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub bytes: usize,
    pub rows: u64,
    /// The time of the oldest event in it.
    pub oldest: Option<WallTime>,
}

/// A batch lent out for delivery.
#[derive(Debug)]
#[must_use = "a lease that is not acknowledged keeps its place in the queue"]
pub struct Lease<B> {
    id: u64,
    pub batch: B,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Spool<B> {
    budget_bytes: AtomicUsize,
    state: Mutex<State<B>>,
    ready: Notify,
}

#[derive(Debug)]
struct State<B> {
    waiting: VecDeque<B>,
    waiting_bytes: usize,
    /// (id, bytes, rows, oldest) of what is lent out
    lent: Vec<(u64, usize, u64, WallTime)>,
    next_id: u64,
    closed: bool,
}

impl<B: Load> Spool<B> {
    /// A queue of at most `budget_bytes`, what is lent out included.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lent: Vec::new(),
            next_id: 0,
            closed: false,
        };
        let budget_bytes = AtomicUsize::new(budget_bytes);
        Self { budget_bytes, state: Mutex::new(state), ready: Notify::new() }
    }

    /// Changes the bound; what it holds stays until the next batch needs room.
    pub fn set_budget(&self, bytes: usize) {
        self.budget_bytes.store(bytes, Relaxed);
    }

    /// Appends a batch; never waits. Returns the events that had to be dropped for it: the oldest telemetry first, then the
    /// oldest of the rest, and the batch itself when all else is on the wire.
    #[must_use = "what was dropped is to be counted"]
    pub fn push(&self, batch: B) -> u64 {
        let mut state = self.lock();
        let mut dropped = 0;
        while state.bytes() + batch.bytes() > self.budget_bytes.load(Relaxed) {
            let Some(victim) = state.take_victim(batch.class()) else {
                return dropped + batch.rows();
            };
            dropped += victim.rows();
        }
        state.waiting_bytes += batch.bytes();
        state.waiting.push_back(batch);
        drop(state);
        self.ready.notify_one();
        dropped
    }

    /// Waits for a batch; `None` when the queue is closed and nothing waits any more. One reader at a time.
    pub async fn next(&self) -> Option<Lease<B>> {
        loop {
            {
                let mut state = self.lock();
                if let Some(lease) = state.lend() {
                    return Some(lease);
                }
                if state.closed {
                    return None;
                }
            }
            self.ready.notified().await;
        }
    }

    /// Forgets a batch that was settled, delivered or not.
    pub fn ack(&self, lease: Lease<B>) {
        self.lock().lent.retain(|(id, ..)| *id != lease.id);
    }

    /// No batch comes any more: [`Spool::next`] ends after the last one.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// What it holds now, lent out or waiting.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        let waiting = state.waiting.iter().map(|b| (b.rows(), b.oldest()));
        let lent = state.lent.iter().map(|(_, _, rows, oldest)| (*rows, *oldest));
        let mut usage = Usage { bytes: state.bytes(), ..Usage::default() };
        for (rows, oldest) in waiting.chain(lent) {
            usage.rows += rows;
            usage.oldest = Some(usage.oldest.map_or(oldest, |o| o.min(oldest)));
        }
        usage
    }

    // A panic elsewhere leaves the queue itself whole: each change is one step.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Load> State<B> {
    fn bytes(&self) -> usize {
        self.waiting_bytes + self.lent.iter().map(|(_, bytes, ..)| bytes).sum::<usize>()
    }

    fn lend(&mut self) -> Option<Lease<B>> {
        let batch = self.waiting.pop_front()?;
        self.waiting_bytes -= batch.bytes();
        self.next_id += 1;
        self.lent.push((self.next_id, batch.bytes(), batch.rows(), batch.oldest()));
        Some(Lease { id: self.next_id, batch })
    }

    /// The one to drop so that `incoming` fits; telemetry never displaces lifecycle.
    fn take_victim(&mut self, incoming: Class) -> Option<B> {
        let telemetry = self.waiting.iter().position(|b| b.class() == Class::Telemetry);
        let at = match (telemetry, incoming) {
            (Some(at), _) => at,
            (None, Class::Lifecycle) => 0,
            (None, Class::Telemetry) => return None,
        };
        let victim = self.waiting.remove(at)?;
        self.waiting_bytes -= victim.bytes();
        Some(victim)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    #[derive(Debug)]
    struct Item(Class, usize, u64);

    impl Load for Item {
        fn bytes(&self) -> usize {
            self.1
        }
        fn rows(&self) -> u64 {
            self.2
        }
        fn class(&self) -> Class {
            self.0
        }
        fn oldest(&self) -> WallTime {
            WallTime(i64::try_from(self.2).unwrap())
        }
    }

    use Class::{Lifecycle, Telemetry};

    async fn rows_left(spool: &Spool<Item>) -> Vec<u64> {
        spool.close();
        let mut rows = Vec::new();
        while let Some(lease) = spool.next().await {
            rows.push(lease.batch.rows());
            spool.ack(lease);
        }
        rows
    }

    #[tokio::test]
    async fn the_oldest_telemetry_goes_first_and_lifecycle_last() {
        let spool = Spool::new(40);
        assert_eq!(spool.push(Item(Lifecycle, 10, 1)), 0);
        assert_eq!(spool.push(Item(Telemetry, 10, 2)), 0);
        assert_eq!(spool.push(Item(Telemetry, 10, 4)), 0);
        assert_eq!(spool.push(Item(Lifecycle, 10, 8)), 0);
        assert_eq!(spool.push(Item(Telemetry, 10, 16)), 2);
        assert_eq!(spool.push(Item(Lifecycle, 10, 32)), 4);
        assert_eq!(spool.push(Item(Lifecycle, 10, 64)), 16);
        assert_eq!(
            spool.push(Item(Telemetry, 10, 128)),
            128,
            "telemetry never displaces lifecycle"
        );
        assert_eq!(spool.push(Item(Lifecycle, 10, 256)), 1);
        assert_eq!(rows_left(&spool).await, [8, 32, 64, 256]);
    }

    #[tokio::test]
    async fn what_is_lent_counts_and_is_not_dropped() {
        let spool = Spool::new(20);
        assert_eq!(spool.push(Item(Telemetry, 15, 1)), 0);
        let lease = spool.next().await.unwrap();
        assert_eq!(spool.push(Item(Lifecycle, 10, 2)), 2, "no room beside what is on the wire");
        assert_eq!(spool.usage(), Usage { bytes: 15, rows: 1, oldest: Some(WallTime(1)) });
        spool.ack(lease);
        assert_eq!(spool.usage(), Usage::default());
        assert_eq!(spool.push(Item(Lifecycle, 10, 3)), 0);
        assert_eq!(
            spool.push(Item(Lifecycle, 21, 4)),
            3 + 4,
            "a batch beyond the bound is lost too"
        );
        assert_eq!(rows_left(&spool).await, Vec::<u64>::new());
    }

    #[tokio::test]
    async fn the_reader_wakes_for_a_batch_and_for_the_end() {
        let spool = Arc::new(Spool::<Item>::new(100));
        let reader = tokio::spawn({
            let spool = spool.clone();
            async move {
                let mut rows = Vec::new();
                while let Some(lease) = spool.next().await {
                    rows.push(lease.batch.rows());
                    spool.ack(lease);
                }
                rows
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(spool.push(Item(Telemetry, 1, 7)), 0);
        tokio::task::yield_now().await;
        spool.close();
        assert_eq!(reader.await.unwrap(), [7]);
    }
}
