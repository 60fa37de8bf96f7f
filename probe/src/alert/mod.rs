//! Alerts at once: each row is held against the watches' rules, and a hit calls the alert's targets.
//!
//! ## Firing and repeating
//! A *firing* is one alert's message, as rendered, at one target: hits of one rule with another pod in the
//! message are another firing. Its first hit calls the target at once. Hits after that are folded: while they keep
//! coming, the target is called again every `repeat.interval`, at most `repeat.times` more times, and
//! each call says how many hits it stands for since the one before. A firing ends when for `interval` ×
//! `times` no hit came and no call was made; the next hit calls at once again. Without `repeat` a firing is
//! called once, and ends after a minute without a hit.
//!
//! ## What a webhook gets
//! `POST`, `Content-Type: application/json`:
//!
//! | key | value |
//! |---|---|
//! | `alert`, `severity` | name and `critical`, `high`, `medium` or `low` |
//! | `watch` | the watch that holds the alert |
//! | `stream` | the watch's stream; absent without one |
//! | `message` | the alert's message, columns filled in |
//! | `rule` | the rule as text, without needless parentheses |
//! | `node`, `time` | where, and when the kernel saw it (RFC 3339, UTC) |
//! | `event_type`, `event_id` | of the event, as in the stream: look it up by `event_id` |
//! | `namespace`, `pod`, `binary` | of the event's process; absent when it has none |
//! | `call` | 1 is the first call of a firing |
//! | `hits` | events this call stands for, the one described being the first |
//!
//! Slack gets `{"text": …}`. An Alertmanager gets one alert with labels `alertname`, `severity`, `watch`, `stream`,
//! `node`, `namespace`, `pod`, `binary` and annotations `message`, `rule`, `event_id`, `hits`; a URL
//! without a path means its `/api/v2/alerts`.
//!
//! An answer other than 2xx, or none, is tried again: 408, 429, 5xx and transport errors up to five times with growing
//! random waits, anything else once more and only if the secret with the URL was changed meanwhile.

mod arm;
mod body;
mod call;
mod engine;
mod notify;
mod repeat;

pub use arm::{ArmError, arm, judge};
pub use call::{AlertReport, Outcome};
pub use engine::{AlertEngine, AlertSummary, ReportHook, WatchAlerts};
pub use notify::{NotifyError, NotifySettings};

use crate::secrets::SecretFile;
use securitywatch_api::rule::{Matcher, Template};
use securitywatch_api::secret::{Secret, SecretUrl};
use std::time::Duration;

/// An alert of a watch, ready to be judged.
#[derive(Debug, Clone)]
pub struct Alert {
    pub name: String,
    /// `critical`, `high`, `medium` or `low`
    pub severity: &'static str,
    pub message: Template,
    /// As the document has it, for the receivers.
    pub rule: String,
    pub matcher: Matcher,
    pub targets: Vec<Target>,
}

/// Whom to call, and how often.
#[derive(Debug, Clone)]
pub struct Target {
    pub receiver: Receiver,
    pub repeat: Option<Repeat>,
}

/// Calls after the first of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// From one call to the next.
    pub interval: Duration,
    /// How many at most, without the first.
    pub times: u32,
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
    /// `webhook`, `slack` or `alertmanager`
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Alertmanager { .. } => "alertmanager",
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
                format!("{} of secret {} key {}", self.kind(), file.name(), file.key())
            }
            Endpoint::Fixed(_) => self.kind().to_owned(),
        }
    }
}
