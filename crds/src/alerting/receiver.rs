//! What receivers have in common, whoever calls them.

use serde_json::Value;
use url::Url;

use super::body;
use super::call::Call;

/// What stands at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiverKind {
    /// Any HTTP endpoint.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// A Prometheus Alertmanager.
    Alertmanager,
}

impl ReceiverKind {
    /// As in a spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// What it is sent, as JSON, by `POST`.
    #[must_use]
    pub fn body(self, call: &Call) -> Value {
        match self {
            Self::Webhook => body::webhook(call),
            Self::Slack => body::slack(call),
            Self::Alertmanager => body::alertmanager(call),
        }
    }

    /// Where it is sent to.
    #[must_use]
    pub fn endpoint(self, mut url: Url) -> Url {
        if self == Self::Alertmanager && url.path() == "/" {
            url.set_path("/api/v2/alerts");
        }
        url
    }
}

/// What an answer means for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// It may later.
    Later,
    /// It will not with this URL, body and login.
    Refused,
}

impl Verdict {
    /// Of an answer's status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            408 | 429 | 500..=599 => Self::Later,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_alertmanager_without_a_path_has_its_own() {
        let at =
            |kind: ReceiverKind, url: &str| kind.endpoint(Url::parse(url).unwrap()).to_string();
        assert_eq!(
            at(ReceiverKind::Alertmanager, "http://am:9093"),
            "http://am:9093/api/v2/alerts"
        );
        assert_eq!(at(ReceiverKind::Alertmanager, "http://am/x"), "http://am/x");
        assert_eq!(at(ReceiverKind::Webhook, "http://hook"), "http://hook/");
    }

    #[test]
    fn what_may_work_later_is_told_from_what_will_not() {
        use Verdict::{Delivered, Later, Refused};
        for (status, verdict) in [
            (204, Delivered),
            (301, Refused),
            (404, Refused),
            (408, Later),
            (429, Later),
            (503, Later),
        ] {
            assert_eq!(Verdict::of(status), verdict, "{status}");
        }
    }
}
