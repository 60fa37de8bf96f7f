//! Alerts at once: each row is held against the watches' rules. On a single machine a hit calls the alert's targets; in a
//! cluster it is reported to the operator, which calls them. When a hit becomes a call, and what a receiver gets:
//! [`securitywatch_api::alerting`].
//!
//! An answer other than 2xx, or none, is tried again: 408, 429, 5xx and transport errors up to five times with growing
//! random waits, anything else once more and only if the secret with the URL was changed meanwhile.

mod arm;
mod call;
mod engine;
mod link;
mod notify;
mod outbox;
mod report;

pub use arm::{ArmError, arm, judge};
pub use call::{AlertReport, Outcome};
pub use engine::{AlertEngine, AlertSummary, ArmedWatch, ReportHook, WatchAlerts};
pub use notify::{NotifyError, NotifySettings};
pub use outbox::HIT_LOSSES;
pub use report::{OperatorSettings, Reported};

use crate::secrets::SecretFile;
use securitywatch_api::alerting::{AlertFacts, ReceiverKind};
use securitywatch_api::rule::{Matcher, Template};
use securitywatch_api::secret::{Secret, SecretUrl};
use securitywatch_api::watch::Repeat;
use std::sync::Arc;

/// An alert of a watch, ready to be judged.
#[derive(Debug, Clone)]
pub struct Alert {
    pub facts: Arc<AlertFacts>,
    pub message: Template,
    pub matcher: Matcher,
    pub targets: Vec<Target>,
}

/// Whom to call, and how often.
#[derive(Debug, Clone)]
pub struct Target {
    pub receiver: Receiver,
    pub repeat: Option<Repeat>,
}

/// What stands at the other end.
#[derive(Debug, Clone)]
pub enum Receiver {
    Webhook { url: Endpoint, headers: Vec<(String, Secret)>, skip_tls_check: bool },
    Slack { url: Endpoint },
    Alertmanager { url: Endpoint, login: Option<Login>, skip_tls_check: bool },
}

/// A URL that is a secret.
#[derive(Debug, Clone)]
pub enum Endpoint {
    File(SecretFile),
    Fixed(SecretUrl),
}

/// Basic authentication.
#[derive(Debug, Clone)]
pub enum Login {
    File { username: SecretFile, password: SecretFile },
    Fixed { username: String, password: Secret },
}

impl Receiver {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> ReceiverKind {
        match self {
            Self::Webhook { .. } => ReceiverKind::Webhook,
            Self::Slack { .. } => ReceiverKind::Slack,
            Self::Alertmanager { .. } => ReceiverKind::Alertmanager,
        }
    }

    const fn url(&self) -> &Endpoint {
        match self {
            Self::Webhook { url, .. } | Self::Slack { url } | Self::Alertmanager { url, .. } => url,
        }
    }

    const fn skips_tls_check(&self) -> bool {
        match self {
            Self::Webhook { skip_tls_check, .. } | Self::Alertmanager { skip_tls_check, .. } => {
                *skip_tls_check
            }
            Self::Slack { .. } => false,
        }
    }

    /// For messages: the kind and the place of the URL, never the URL.
    fn describe(&self) -> String {
        match self.url() {
            Endpoint::File(file) => {
                format!("{} of secret {} key {}", self.kind().as_str(), file.name(), file.key())
            }
            Endpoint::Fixed(_) => self.kind().as_str().to_owned(),
        }
    }
}
