//! Hits that were taken, so that one that is reported again causes nothing again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// Hits that are remembered; the oldest is forgotten.
const MAX_SEEN: usize = 65_536;

/// Identifies a hit of an alert.
pub(super) type HitKey = [u8; 16];

/// The key of a hit. The node is part of it: one node cannot make the operator take another's hits for seen.
pub(super) fn key(watch: &str, alert: &str, node: &str, event_id: &str) -> HitKey {
    let mut hash = Sha256::new();
    for part in [watch, alert, node, event_id] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut key = HitKey::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

/// How many calls of a hit are still under way.
#[derive(Debug)]
pub(super) struct Progress(watch::Sender<usize>);

impl Progress {
    fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// One more; it is over when the ticket is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Ticket {
        self.0.send_modify(|calls| *calls += 1);
        Ticket(Arc::clone(self))
    }

    pub(super) fn is_done(&self) -> bool {
        *self.0.borrow() == 0
    }

    pub(super) async fn done(&self) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|calls| *calls == 0).await;
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Progress>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.send_modify(|calls| *calls = calls.saturating_sub(1));
    }
}

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hits: HashMap<HitKey, Arc<Progress>>,
    order: VecDeque<HitKey>,
}

/// Whether a hit was taken before.
#[derive(Debug)]
pub(super) enum Look {
    /// It was not, and now it is.
    New(Arc<Progress>),
    /// It was.
    Again(Arc<Progress>),
}

impl Seen {
    pub(super) fn look(&mut self, key: HitKey) -> Look {
        if let Some(progress) = self.hits.get(&key) {
            return Look::Again(Arc::clone(progress));
        }
        if self.order.len() >= MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.hits.remove(&oldest);
        }
        let progress = Arc::new(Progress::new());
        self.hits.insert(key, Arc::clone(&progress));
        self.order.push_back(key);
        Look::New(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_is_new_once_for_each_node_and_alert() {
        let mut seen = Seen::default();
        let mut is_new = |key| matches!(seen.look(key), Look::New(_));
        assert!(is_new(key("u", "a", "n1", "r-1")));
        assert!(!is_new(key("u", "a", "n1", "r-1")));
        assert!(is_new(key("u", "a", "n2", "r-1")));
        assert!(is_new(key("u", "b", "n1", "r-1")));
        // Lengths are part of it.
        assert!(is_new(key("ua", "", "n1", "r-1")));
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let mut seen = Seen::default();
        let number = |n: usize| key("u", "a", "n", &n.to_string());
        for n in 0..=MAX_SEEN {
            seen.look(number(n));
        }
        assert_eq!((seen.hits.len(), seen.order.len()), (MAX_SEEN, MAX_SEEN));
        assert!(matches!(seen.look(number(MAX_SEEN)), Look::Again(_)));
        assert!(matches!(seen.look(number(0)), Look::New(_)), "the oldest was forgotten");
    }

    #[tokio::test]
    async fn a_hit_is_done_when_its_last_call_is_over() {
        let mut seen = Seen::default();
        let Look::New(progress) = seen.look(key("u", "a", "n", "r")) else { unreachable!() };
        let (one, two) = (progress.begin(), progress.begin());
        drop(one);
        assert!(!progress.is_done());
        drop(two);
        progress.done().await;
        assert!(progress.is_done());
    }
}
