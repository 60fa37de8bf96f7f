//! Events of pods that nobody knows yet wait a moment for the API server and the runtime.
//!
//! Only events of such a container wait, and all of it, in order: an exit does not overtake its exec, while the
//! events of other pods and of the host pass at once. An event waits two seconds at most; then it and what
//! follows it from the same container goes out with what is known. None is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Association, Event};

/// Longest wait.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Most events that wait; beyond, the oldest go out first.
pub const MAX_HELD: usize = 10_000;

/// Where the hold looks for what is known.
pub trait Source {
    /// Tells the association what is known of it by now.
    fn learn(&self, association: &Association);
    /// Tells it that nothing more is waited for.
    fn give_up(&self, association: &Association);
}

/// See the module documentation.
#[derive(Debug)]
pub struct Hold<S> {
    source: S,
    /// In the order in which they came.
    waiting: VecDeque<Event>,
    /// What they wait for, each once, and since when: few, so that the events of others need not look at those that
    /// wait.
    unknown: Vec<(Instant, Arc<Association>)>,
}

impl<S: Source> Hold<S> {
    /// Nothing waits yet.
    #[must_use]
    pub const fn new(source: S) -> Self {
        Self { source, waiting: VecDeque::new(), unknown: Vec::new() }
    }

    /// Takes an event; calls `emit` with it if it need not wait.
    pub fn take(&mut self, event: Event, emit: &mut dyn FnMut(Event)) {
        let parent = event.parent.as_ref().and_then(|parent| parent.association.as_deref());
        if let Some(association) = parent {
            self.source.learn(association);
        }
        let Some(association) = &event.process.association else {
            emit(event);
            return;
        };
        self.source.learn(association);
        let waits = self.unknown.iter().any(|(_, unknown)| Arc::ptr_eq(unknown, association));
        if association.pod().is_some() {
            if waits {
                // Those before it became known with it.
                self.release(None, emit);
            }
            emit(event);
            return;
        }
        if !waits {
            self.unknown.push((Instant::now(), Arc::clone(association)));
        }
        self.waiting.push_back(event);
        if self.waiting.len() > MAX_HELD {
            self.give_up_oldest(emit);
        }
    }

    /// Lets out what has become known or has waited long enough.
    pub fn look(&mut self, now: Instant, emit: &mut dyn FnMut(Event)) {
        if !self.waiting.is_empty() {
            self.release(Some(now), emit);
        }
    }

    /// Lets out everything.
    pub fn flush(&mut self, emit: &mut dyn FnMut(Event)) {
        while !self.waiting.is_empty() {
            self.give_up_oldest(emit);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn give_up_oldest(&mut self, emit: &mut dyn FnMut(Event)) {
        if let Some((_, oldest)) = self.unknown.first() {
            self.source.give_up(oldest);
        }
        self.release(None, emit);
    }

    /// In the order in which they came.
    fn release(&mut self, now: Option<Instant>, emit: &mut dyn FnMut(Event)) {
        let Self { source, waiting, unknown } = self;
        let before = unknown.len();
        unknown.retain(|(since, association)| {
            source.learn(association);
            let is_late = now.is_some_and(|now| now.saturating_duration_since(*since) >= PATIENCE);
            if association.pod().is_none() && is_late {
                source.give_up(association);
            }
            association.pod().is_none()
        });
        if unknown.len() == before {
            return;
        }
        let is_unknown = |event: &Event| {
            event
                .process
                .association
                .as_ref()
                .is_some_and(|association| association.pod().is_none())
        };
        for event in std::mem::take(waiting) {
            if is_unknown(&event) {
                waiting.push_back(event);
            } else {
                emit(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::{Cell, RefCell};
    use std::collections::HashSet;

    use super::*;
    use crate::event::{Body, Grade, Process, WallTime};

    #[derive(Default)]
    struct Known(RefCell<HashSet<String>>, Cell<usize>);

    impl Source for &Known {
        fn learn(&self, association: &Association) {
            self.1.set(self.1.get() + 1);
            if self.0.borrow().contains(&*association.pod_uid) {
                association.learn(Grade::Named, Arc::default());
            }
        }

        fn give_up(&self, association: &Association) {
            association.learn(Grade::Partial, Arc::default());
        }
    }

    fn process(uid: &str) -> Arc<Process> {
        let association = Association::new(uid.into(), "".into(), "");
        Arc::new(Process { association: Some(Arc::new(association)), ..Process::default() })
    }

    fn event(seq: u64, process: &Arc<Process>) -> Event {
        let process = process.clone();
        Event { seq, time: WallTime(0), process, parent: None, tid: 1, body: Body::Exec }
    }

    /// The numbers of the events that `act` lets out.
    fn out(act: impl FnOnce(&mut dyn FnMut(Event))) -> Vec<u64> {
        let mut numbers = Vec::new();
        act(&mut |event| numbers.push(event.seq));
        numbers
    }

    #[test]
    fn only_what_is_not_known_waits() {
        let known = Known::default();
        known.0.borrow_mut().insert("b".into());
        let (a, b, host) = (process("a"), process("b"), Arc::new(Process::default()));
        let mut hold = Hold::new(&known);
        assert!(out(|emit| hold.take(event(1, &a), emit)).is_empty());
        assert_eq!(out(|emit| hold.take(event(2, &b), emit)), [2]);
        assert_eq!(out(|emit| hold.take(event(3, &host), emit)), [3]);
        assert!(out(|emit| hold.take(event(4, &a), emit)).is_empty());
        assert!(out(|emit| hold.look(Instant::now(), emit)).is_empty());
        known.0.borrow_mut().insert("a".into());
        assert_eq!(out(|emit| hold.look(Instant::now(), emit)), [1, 4]);
        assert!(hold.is_empty());
    }

    #[test]
    fn events_of_others_do_not_look_at_those_that_wait() {
        let known = Known::default();
        known.0.borrow_mut().insert("b".into());
        let (a, b) = (process("a"), process("b"));
        let mut hold = Hold::new(&known);
        for seq in 0..100 {
            assert!(out(|emit| hold.take(event(seq, &a), emit)).is_empty());
        }
        let before = known.1.get();
        assert_eq!(out(|emit| hold.take(event(100, &b), emit)), [100]);
        assert_eq!(known.1.get() - before, 1, "its own pod is looked up, and no other");
    }

    #[test]
    fn an_event_does_not_overtake_those_of_its_container() {
        let known = Known::default();
        let a = process("a");
        let mut hold = Hold::new(&known);
        assert!(out(|emit| hold.take(event(1, &a), emit)).is_empty());
        known.0.borrow_mut().insert("a".into());
        assert_eq!(out(|emit| hold.take(event(2, &a), emit)), [1, 2]);
    }

    #[test]
    fn after_two_seconds_a_container_is_waited_for_no_longer() {
        let known = Known::default();
        let (a, b) = (process("a"), process("b"));
        let mut hold = Hold::new(&known);
        out(|emit| hold.take(event(1, &a), emit));
        let late = Instant::now() + PATIENCE;
        std::thread::sleep(Duration::from_millis(2));
        out(|emit| hold.take(event(2, &b), emit));
        out(|emit| hold.take(event(3, &a), emit));
        assert_eq!(out(|emit| hold.look(late, emit)), [1, 3], "b has time left");
        assert_eq!(out(|emit| hold.take(event(4, &a), emit)), [4]);
        assert_eq!(out(|emit| hold.flush(emit)), [2]);
    }

    #[test]
    fn the_oldest_go_first_when_too_many_wait() {
        let known = Known::default();
        let (a, b) = (process("a"), process("b"));
        let mut hold = Hold::new(&known);
        out(|emit| hold.take(event(0, &a), emit));
        for seq in 1..MAX_HELD as u64 {
            let process = if seq == 5 { &a } else { &b };
            assert!(out(|emit| hold.take(event(seq, process), emit)).is_empty());
        }
        assert_eq!(hold.len(), MAX_HELD);
        assert_eq!(out(|emit| hold.take(event(MAX_HELD as u64, &b), emit)), [0, 5]);
        assert_eq!(hold.len(), MAX_HELD - 1);
    }
}
