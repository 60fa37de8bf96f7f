//! Which watches have to be looked at again, and how soon.
//!
//! Node reports come by thousands. A watch is looked at for them at once, and then at most every five
//! seconds; and however many watches there are, only so many in a second, so that a node that joins does
//! not make the API server write every status at the same time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::Stream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::key::{WatchKey, WatchKind};
use crate::lock::lock;

/// From one look at a watch for the sake of nodes to the next.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(5);
/// How often waiting watches are let through, and how many each time.
const BATCH: (Duration, usize) = (Duration::from_millis(200), 8);

/// Watches to look at now.
#[derive(Debug, Default)]
pub struct Triggers {
    queues: [Queue; 2],
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<HashSet<WatchKey>>,
    filled: Notify,
}

impl Triggers {
    fn queue(&self, kind: WatchKind) -> &Queue {
        &self.queues[usize::from(kind == WatchKind::Cluster)]
    }

    /// Look at this watch now. It waits in the queue once, however often it is asked for.
    pub fn fire(&self, key: WatchKey) {
        let queue = self.queue(key.kind);
        lock(&queue.waiting).insert(key);
        queue.filled.notify_one();
    }

    /// The watches of a kind to look at, without end.
    pub fn stream(self: Arc<Self>, kind: WatchKind) -> impl Stream<Item = WatchKey> + Send {
        let buffer: VecDeque<WatchKey> = VecDeque::new();
        futures::stream::unfold((self, buffer), move |(triggers, mut buffer)| async move {
            loop {
                if let Some(key) = buffer.pop_front() {
                    return Some((key, (triggers, buffer)));
                }
                let queue = triggers.queue(kind);
                buffer.extend(lock(&queue.waiting).drain());
                if buffer.is_empty() {
                    queue.filled.notified().await;
                }
            }
        })
    }
}

/// Holds back what node reports and pod counts ask for.
#[derive(Debug, Default)]
pub struct Pace {
    dirty: Mutex<Dirty>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Dirty {
    order: VecDeque<WatchKey>,
    members: HashSet<WatchKey>,
    last: HashMap<WatchKey, Instant>,
}

impl Dirty {
    fn add(&mut self, key: WatchKey) {
        if self.members.insert(key.clone()) {
            self.order.push_back(key);
        }
    }

    /// Takes at most `most` watches whose time has come, first come first served.
    fn due(&mut self, now: Instant, most: usize) -> Vec<WatchKey> {
        let mut due = Vec::new();
        self.order.retain(|key| {
            let early =
                self.last.get(key).is_some_and(|last| now.duration_since(*last) < PUBLISH_INTERVAL);
            if early || due.len() >= most {
                return true;
            }
            due.push(key.clone());
            false
        });
        for key in &due {
            self.members.remove(key);
            self.last.insert(key.clone(), now);
        }
        self.last.retain(|_, last| now.duration_since(*last) < PUBLISH_INTERVAL);
        due
    }
}

impl Pace {
    /// Look at these watches soon.
    pub fn add(&self, keys: impl IntoIterator<Item = WatchKey>) {
        let mut dirty = lock(&self.dirty);
        let before = dirty.order.len();
        keys.into_iter().for_each(|key| dirty.add(key));
        if dirty.order.len() > before {
            self.filled.notify_one();
        }
    }

    /// Lets watches through until dropped.
    pub async fn run(&self, triggers: &Triggers) {
        loop {
            let due = lock(&self.dirty).due(Instant::now(), BATCH.1);
            due.into_iter().for_each(|key| triggers.fire(key));
            if lock(&self.dirty).order.is_empty() {
                self.filled.notified().await;
            } else {
                sleep(BATCH.0).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> WatchKey {
        WatchKey { kind: WatchKind::Cluster, namespace: None, name: name.into() }
    }

    #[test]
    fn the_first_report_counts_at_once_and_the_next_after_five_seconds() {
        let mut dirty = Dirty::default();
        let start = Instant::now();
        dirty.add(key("a"));
        assert_eq!(dirty.due(start, 8), [key("a")]);
        dirty.add(key("a"));
        dirty.add(key("a"));
        assert_eq!(dirty.due(start + Duration::from_secs(4), 8), []);
        assert_eq!(dirty.due(start + Duration::from_secs(5), 8), [key("a")]);
        assert_eq!(dirty.due(start + Duration::from_secs(60), 8), []);
    }

    #[test]
    fn many_watches_take_turns() {
        let mut dirty = Dirty::default();
        let start = Instant::now();
        for name in ["a", "b", "c"] {
            dirty.add(key(name));
        }
        assert_eq!(dirty.due(start, 2), [key("a"), key("b")]);
        dirty.add(key("a"));
        assert_eq!(dirty.due(start, 2), [key("c")]);
    }
}
