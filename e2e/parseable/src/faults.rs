//! Failures on demand.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How one ingest fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Spec", into = "Spec")]
pub enum Fault {
    /// This status and text, nothing stored.
    Status(u16, String),
    /// The connection is reset (RST) before the body is read.
    Reset,
    /// The connection is closed after the body is read, nothing stored, no answer.
    Close,
    /// The connection is reset when the first piece of the body has come.
    DropMidBody,
    /// The events are stored, then the connection is closed without the answer: a retry doubles them.
    StoreThenClose,
    /// The answer comes this much later.
    Delay(Duration),
}

/// The JSON form: `{"kind":"status","status":503,"text":"..."}`, `{"kind":"delay","ms":200}`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Spec {
    Status {
        status: u16,
        #[serde(default)]
        text: String,
    },
    Reset,
    Close,
    DropMidBody,
    StoreThenClose,
    Delay {
        ms: u64,
    },
}

impl From<Spec> for Fault {
    fn from(spec: Spec) -> Self {
        match spec {
            Spec::Status { status, text } => Self::Status(status, text),
            Spec::Reset => Self::Reset,
            Spec::Close => Self::Close,
            Spec::DropMidBody => Self::DropMidBody,
            Spec::StoreThenClose => Self::StoreThenClose,
            Spec::Delay { ms } => Self::Delay(Duration::from_millis(ms)),
        }
    }
}

impl From<Fault> for Spec {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Status(status, text) => Self::Status { status, text },
            Fault::Reset => Self::Reset,
            Fault::Close => Self::Close,
            Fault::DropMidBody => Self::DropMidBody,
            Fault::StoreThenClose => Self::StoreThenClose,
            Fault::Delay(delay) => Self::Delay { ms: delay.as_millis() as u64 },
        }
    }
}

/// What goes wrong next, in the order it was asked for.
#[derive(Debug, Default)]
pub struct Faults {
    queue: Mutex<VecDeque<(u64, Fault)>>,
}

impl Faults {
    /// The next `count` ingests fail so, after those already asked for. The credentials are not looked at.
    pub fn next_ingests(&self, count: u64, fault: Fault) {
        if count > 0 {
            self.queue().push_back((count, fault));
        }
    }

    /// Everything works again.
    pub fn clear(&self) {
        self.queue().clear();
    }

    /// Ingests that are still to fail.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.queue().iter().map(|(count, _)| count).sum()
    }

    pub(crate) fn take(&self) -> Option<Fault> {
        let mut queue = self.queue();
        let (count, fault) = queue.front_mut()?;
        let fault = fault.clone();
        *count -= 1;
        if *count == 0 {
            queue.pop_front();
        }
        Some(fault)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(u64, Fault)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
