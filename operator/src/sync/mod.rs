//! Watches and their Parseable servers: when to sync, and what came of it.
//!
//! A server may take seconds to answer, or never do. So a sync runs beside the passes over the watch: the pass starts it
//! when it is due, and the next pass finds what came of it.

mod desired;
mod engine;
mod servers;

use std::time::Duration;

use securitywatch_api::v1alpha1::conditions::reasons::{alerts_synced, shipping};
use securitywatch_parseable::{Failure, FailureClass, SyncReport};
use tokio::time::Instant;

use crate::backoff;
use crate::status::{AlertOutcome, Cure, Sync, Trouble};

pub use desired::{config, desired, destination, owner};
pub use engine::{Engine, Job, Settings};
pub use servers::{Live, check_restarts, sweep};

/// From one good sync to the next: so soon is a change by hand undone.
const RESYNC: Duration = Duration::from_secs(120);
/// The same while something is wrong that only a person can mend.
const REFUSED: Duration = Duration::from_secs(60);

/// What goes on between a watch and its server.
#[derive(Debug, Default)]
pub struct Slot {
    /// A sync or a removal runs.
    pub running: bool,
    /// What came of the last sync.
    pub done: Option<Done>,
    /// The next sync is due then.
    pub due: Option<Instant>,
    /// Syncs that failed in a row.
    pub failures: u32,
    /// Where the watch's alerts may be.
    pub place: Option<Place>,
    /// What came of the removal.
    pub removal: Option<Result<(), String>>,
    /// The next attempt to remove is due then.
    pub removal_due: Option<Instant>,
}

/// Where a watch's alerts may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The server and the account.
    pub config: securitywatch_parseable::ServerConfig,
    /// The stream.
    pub stream: String,
}

/// What came of a sync.
#[derive(Debug, Clone)]
pub struct Done {
    /// Of the spec that was synced.
    pub generation: i64,
    /// Of the Secrets it was synced with.
    pub fingerprint: String,
    /// In the words of the status.
    pub sync: Sync,
}

impl Slot {
    /// Whether a sync of this spec with these Secrets is due.
    #[must_use]
    pub fn is_due(&self, generation: i64, fingerprint: &str, now: Instant) -> bool {
        let same = self
            .done
            .as_ref()
            .is_some_and(|done| done.generation == generation && done.fingerprint == fingerprint);
        !self.running && (!same || self.due.is_none_or(|due| due <= now))
    }

    /// Takes what came of a sync and says when to come again.
    pub fn finish(&mut self, done: Done, cure: Option<Cure>, now: Instant) {
        self.running = false;
        self.failures = if cure.is_none() { 0 } else { self.failures.saturating_add(1) };
        let wait = match cure {
            None => backoff::jitter(RESYNC),
            Some(Cure::User) => backoff::jitter(REFUSED),
            Some(Cure::Retry) => backoff::after(self.failures),
            // A column comes with an event, which may come at any time.
            Some(Cure::Wait) => backoff::after(self.failures.min(4)),
        };
        self.due = Some(now + wait);
        self.done = Some(done);
    }
}

/// A failure in the words of the condition `Shipping`.
fn stream_trouble(failure: &Failure, account: &str) -> Trouble {
    let reason = match failure.class {
        FailureClass::Unreachable | FailureClass::ServerError => shipping::TARGET_UNREACHABLE,
        FailureClass::Unauthorized => shipping::UNAUTHORIZED,
        FailureClass::TargetDenied => shipping::TARGET_REFUSED,
        FailureClass::Unsupported => shipping::UNSUPPORTED,
        _ => shipping::STREAM_REJECTED,
    };
    Trouble { reason, message: message(failure, account), cure: cure(failure.class) }
}

/// A failure in the words of the condition `AlertsSynced`.
fn alert_trouble(failure: &Failure, account: &str) -> Trouble {
    let reason = match failure.class {
        FailureClass::Unreachable | FailureClass::ServerError => alerts_synced::TARGET_UNREACHABLE,
        FailureClass::Unauthorized => alerts_synced::UNAUTHORIZED,
        FailureClass::TargetDenied => alerts_synced::TARGET_REFUSED,
        FailureClass::Unsupported => alerts_synced::UNSUPPORTED,
        FailureClass::OutboundPolicy => alerts_synced::OUTBOUND_POLICY,
        FailureClass::ColumnPending => alerts_synced::COLUMN_MISSING,
        FailureClass::Conflict => alerts_synced::CONFLICT,
        FailureClass::StreamRejected | FailureClass::AlertRejected => alerts_synced::ALERT_REJECTED,
    };
    Trouble { reason, message: message(failure, account), cure: cure(failure.class) }
}

/// A refused account is mended in its Secret, whose name the server does not know.
fn message(failure: &Failure, account: &str) -> String {
    match failure.class {
        FailureClass::Unauthorized => format!("{} ({account})", failure.message),
        _ => failure.message.clone(),
    }
}

const fn cure(class: FailureClass) -> Cure {
    match class {
        FailureClass::Unreachable | FailureClass::ServerError => Cure::Retry,
        FailureClass::ColumnPending => Cure::Wait,
        _ => Cure::User,
    }
}

/// What came of a sync in the words of the status; `account` says where the account comes from.
#[must_use]
pub fn outcome(report: &SyncReport, account: &str) -> Sync {
    Sync {
        current: true,
        trouble: report.stream.as_ref().err().map(|failure| stream_trouble(failure, account)),
        alerts: report
            .alerts
            .iter()
            .map(|alert| AlertOutcome {
                name: alert.name.clone(),
                id: alert.id.clone(),
                state: alert.state,
                last_fired: alert.last_fired,
                trouble: alert.failure.as_ref().map(|failure| alert_trouble(failure, account)),
            })
            .collect(),
    }
}

/// The slowest cure of all that is wrong, by which the next attempt is timed; `None`: all is well.
#[must_use]
pub fn needed_cure(sync: &Sync) -> Option<Cure> {
    let troubles =
        sync.trouble.iter().chain(sync.alerts.iter().filter_map(|alert| alert.trouble.as_ref()));
    let rank = |cure: &Cure| match cure {
        Cure::Retry => 0,
        Cure::Wait => 1,
        Cure::User => 2,
    };
    // What comes right by itself is asked for soon, whatever else is wrong.
    troubles.map(|trouble| trouble.cure).min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Done {
        Done { generation: 1, fingerprint: "a".into(), sync: Sync::default() }
    }

    #[test]
    fn a_changed_spec_or_secret_is_synced_at_once() {
        let mut slot = Slot::default();
        let now = Instant::now();
        assert!(slot.is_due(1, "a", now));
        slot.finish(done(), None, now);
        assert!(!slot.is_due(1, "a", now));
        assert!(slot.is_due(2, "a", now));
        assert!(slot.is_due(1, "b", now));
        assert!(slot.is_due(1, "a", now + Duration::from_secs(150)));
        slot.running = true;
        assert!(!slot.is_due(2, "b", now));
    }

    #[test]
    fn a_silent_server_is_asked_more_and_more_rarely() {
        let mut slot = Slot::default();
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..6 {
            slot.finish(done(), Some(Cure::Retry), now);
            waits.push(slot.due.map_or(Duration::ZERO, |due| due - now));
        }
        assert!(waits[0] <= Duration::from_secs(6), "{waits:?}");
        assert!(waits[5] >= Duration::from_secs(100), "{waits:?}");
        slot.finish(done(), None, now);
        assert_eq!(slot.failures, 0);
    }
}
