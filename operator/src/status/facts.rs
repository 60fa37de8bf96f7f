//! What the status of a watch is made of: plain data.

use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;

use securitywatch_api::v1alpha1::{AlertState, WatchStatus};

use crate::alerts::Fired;

use crate::nodes::Reports;

/// Everything that is known about a watch when its status is written.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The spec's generation.
    pub generation: i64,
    /// The status written last.
    pub previous: Option<&'a WatchStatus>,
    /// Now, to the second.
    pub now: Timestamp,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Whether the spec is understood.
    pub accepted: Judgement,
    /// Whether what it names exists.
    pub references: Judgement,
    /// Hash of the policy that nodes are to load.
    pub policy_hash: Option<String>,
    /// The probes; `None` before the DaemonSet was seen.
    pub rollout: Option<Rollout>,
    /// What the nodes say.
    pub reports: Reports,
    /// Where events go.
    pub target: Option<Target>,
    /// Whether nodes keep events in files too.
    pub event_log: bool,
    /// The names of the spec's alerts, in its order.
    pub alerts: Vec<String>,
    /// What came of their calls since this process acts.
    pub fired: BTreeMap<String, Fired>,
    /// Present while the watch is being deleted and something outside must go first.
    pub deletion: Option<String>,
}

impl Facts<'_> {
    /// Whether the last status was about the same generation with the same policy.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.previous.is_some_and(|previous| {
            previous.observed_generation == Some(self.generation)
                && previous.policy_hash == self.policy_hash
        })
    }

    /// Whether everything that the spec refers to is there.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        matches!(self.references, Judgement::Yes { .. })
    }
}

/// Whether something holds, with a reason and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It does.
    Yes {
        /// Details, with numbers.
        message: String,
    },
    /// It does not, and a user has to act.
    No {
        /// A condition reason.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// It cannot be told, and somebody has to act.
    Unclear {
        /// A condition reason.
        reason: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The probes, as their DaemonSet counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rollout {
    /// Nodes that should run one.
    pub desired: u32,
    /// Nodes that do.
    pub running: u32,
    /// Whether the numbers are about the DaemonSet as it is now.
    pub counted: bool,
}

/// Where events go and what the operator knows about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The stream.
    pub stream: String,
    /// What came of the last sync; `None` before the first one.
    pub sync: Option<Sync>,
}

/// What came of a sync with Parseable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sync {
    /// Whether it was about the spec and the Secrets as they are now.
    pub current: bool,
    /// What is wrong with the server or the stream.
    pub trouble: Option<Trouble>,
    /// The alerts, in the order of the spec.
    pub alerts: Vec<AlertOutcome>,
}

/// What came of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertOutcome {
    /// Its name in the spec.
    pub name: String,
    /// Its id in Parseable.
    pub id: Option<String>,
    /// What Parseable says about it.
    pub state: Option<AlertState>,
    /// When it last fired.
    pub last_fired: Option<Timestamp>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// Why something outside the cluster is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A condition reason.
    pub reason: &'static str,
    /// One sentence: who answered what, and what to mend.
    pub message: String,
    /// What it takes to cure it.
    pub cure: Cure,
}

/// What it takes to cure trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Somebody has to mend something.
    User,
    /// Trying again.
    Retry,
    /// Time: what is missing comes by itself.
    Wait,
}
