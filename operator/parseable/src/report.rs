//! What a pass found and did.

use jiff::Timestamp;
use securitywatch_api::v1alpha1::AlertState;

use crate::failure::Failure;

/// What [`crate::Server::sync`] found and did.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncReport {
    /// Whether the stream is there and keeps its data as long as asked. With a failure here the alerts may still
    /// be in place: a server that is not reached is not one that lost them.
    pub stream: Result<(), Failure>,
    /// One for each desired alert, in their order.
    pub alerts: Vec<AlertOutcome>,
    /// For Kubernetes Events; empty when everything was as it should be.
    pub changes: Vec<Change>,
    /// The server's alert API, when it is known.
    pub generation: Option<Generation>,
}

/// One alert after a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertOutcome {
    /// The alert's name in the spec.
    pub name: String,
    /// The server's id, when the alert is there; also beside a failure (a target may be at fault). `None` on the old
    /// generation, which gives no ids.
    pub id: Option<String>,
    /// What the server says about it.
    pub state: Option<AlertState>,
    /// When it last turned from not triggered to triggered.
    pub last_fired: Option<Timestamp>,
    /// Why it is not, or not wholly, as it should be.
    pub failure: Option<Failure>,
}

/// The alert API of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// To 1.7.3: one `{"version":"v1","alerts":[...]}` document for each stream.
    Document,
    /// From 2.4.1: `/alerts` with SQL, and `/targets`.
    Sql,
    /// Between them (1.7.4 to 2.4.0), or something unknown: alerts are not supported.
    Unsupported,
}

/// Something that a pass changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// For programs.
    pub kind: ChangeKind,
    /// One sentence.
    pub message: String,
}

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The stream was not there.
    StreamCreated,
    /// The stream keeps its data for another time now.
    RetentionSet,
    /// The outbound policy allows a receiver now, or again.
    PolicyPut,
    /// An alert was missing and was made.
    AlertCreated,
    /// The spec changed.
    AlertUpdated,
    /// The spec has it no more, the watch is gone, or it was there twice.
    AlertDeleted,
    /// Somebody changed or deleted it, and it is as it was again.
    AlertRepaired,
    /// The server had restarted, which ends all alerts for good; it has a new id now.
    AlertRecreated,
    /// It had stopped being evaluated, and was started again.
    AlertRevived,
    /// A receiver was written again because somebody had changed or deleted it.
    TargetRepaired,
}

impl Change {
    pub(crate) fn new(kind: ChangeKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The reason of a Kubernetes Event.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            ChangeKind::StreamCreated => "StreamCreated",
            ChangeKind::RetentionSet => "RetentionSet",
            ChangeKind::PolicyPut => "OutboundPolicySet",
            ChangeKind::AlertCreated => "AlertCreated",
            ChangeKind::AlertUpdated => "AlertUpdated",
            ChangeKind::AlertDeleted => "AlertDeleted",
            ChangeKind::AlertRepaired => "AlertRepaired",
            ChangeKind::AlertRecreated => "AlertRecreated",
            ChangeKind::AlertRevived => "AlertRevived",
            ChangeKind::TargetRepaired => "TargetRepaired",
        }
    }

    /// Something had gone wrong on the server's side: an Event of type Warning.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::AlertRepaired
                | ChangeKind::AlertRecreated
                | ChangeKind::AlertRevived
                | ChangeKind::TargetRepaired
        )
    }
}

/// What [`crate::Server::check_restart`] saw since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// The same process, or this is the first look.
    No,
    /// Another process on the same data: its alerts are dead. Sync every watch of this server now.
    Restarted,
    /// Another or an emptied server. Sync every watch of this server now.
    Replaced,
    /// The account may not read the server's metrics; a sync finds dead alerts another way.
    Unknown,
}

/// What [`crate::Server::sweep`] and [`crate::Server::remove`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Alerts.
    pub alerts: usize,
    /// Targets.
    pub targets: usize,
}
