//! The documents of a server, as far as they are looked at. Everything that may be missing is optional: versions differ.

use jiff::Timestamp;
use securitywatch_api::v1alpha1::AlertState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `GET /about`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    #[serde(default)]
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) deployment_id: Option<String>,
}

/// `GET /logstream/{s}/schema`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct SchemaDocument {
    #[serde(default)]
    pub(crate) fields: Vec<SchemaField>,
}

/// A column.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SchemaField {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) data_type: Value,
}

/// `GET /logstream/{s}/retention`: a list of these.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RetentionTask {
    #[serde(default)]
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) duration: String,
}

/// The body of POST and PUT `/alerts`; the order of its fields is that of its hash.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AlertBody {
    pub(crate) title: String,
    pub(crate) severity: &'static str,
    pub(crate) query: String,
    pub(crate) alert_type: &'static str,
    pub(crate) threshold_config: Threshold,
    pub(crate) eval_config: EvalConfig,
    pub(crate) notification_config: NotificationConfig,
    /// Sorted.
    pub(crate) targets: Vec<String>,
    pub(crate) tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Threshold {
    pub(crate) operator: String,
    pub(crate) value: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EvalConfig {
    pub(crate) rolling_window: RollingWindow,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RollingWindow {
    pub(crate) eval_start: String,
    pub(crate) eval_end: String,
    /// Minutes.
    pub(crate) eval_frequency: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NotificationConfig {
    /// Minutes. 0 would end the server's handler.
    pub(crate) interval: u64,
}

/// An item of `GET /alerts`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AlertSummary {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
}

impl AlertSummary {
    pub(crate) fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }
}

/// `GET /alerts/{id}`, and the answer of POST and PUT.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredAlert {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) severity: String,
    #[serde(default)]
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) threshold_config: Threshold,
    #[serde(default)]
    pub(crate) eval_config: EvalConfig,
    #[serde(default)]
    pub(crate) notification_config: NotificationConfig,
    #[serde(default)]
    pub(crate) targets: Vec<String>,
    #[serde(default)]
    pub(crate) tags: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    last_triggered_at: Option<String>,
}

impl StoredAlert {
    pub(crate) fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created.as_deref().and_then(time)
    }

    pub(crate) fn last_triggered(&self) -> Option<Timestamp> {
        self.last_triggered_at.as_deref().and_then(time)
    }

    pub(crate) fn state(&self) -> AlertState {
        match self.state.as_str() {
            "triggered" => AlertState::Triggered,
            "not-triggered" => AlertState::NotTriggered,
            "disabled" => AlertState::Disabled,
            _ => AlertState::Unknown,
        }
    }
}

/// RFC 3339, or what lists show: `2026-11-22 01:54:01.511140372 UTC`.
fn time(text: &str) -> Option<Timestamp> {
    match text.strip_suffix(" UTC") {
        Some(rest) => format!("{rest}Z").parse().ok(),
        None => text.parse().ok(),
    }
}

/// An item of `GET /targets`: bare, or since 2.9.5 wrapped with what the policy says.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum ListedTarget {
    Wrapped {
        target: StoredTarget,
        enabled: bool,
        #[serde(default)]
        error: Option<String>,
    },
    Bare(StoredTarget),
}

impl ListedTarget {
    /// The target, and why the server does not call it. To recognise, never to show.
    pub(crate) fn parts(self) -> (StoredTarget, Option<String>) {
        match self {
            Self::Wrapped { target, enabled: false, error } => {
                (target, Some(error.unwrap_or_default()))
            }
            Self::Wrapped { target, .. } | Self::Bare(target) => (target, None),
        }
    }
}

/// What can be seen of a target. Some versions show its secrets, so it has no `Debug` of its own.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredTarget {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
    /// `alertManager` is shown as `webhook`.
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) endpoint: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) skip_tls_check: bool,
    #[serde(default)]
    pub(crate) username: Option<String>,
}

impl std::fmt::Debug for StoredTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTarget").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `/alert-target-policy`. All six are needed to write it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct OutboundPolicy {
    pub(crate) allow_private: bool,
    pub(crate) allowed_domains: Vec<String>,
    pub(crate) allowed_cidrs: Vec<String>,
    pub(crate) denied_domains: Vec<String>,
    pub(crate) denied_cidrs: Vec<String>,
    pub(crate) allow_invalid_tls: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_lists_and_of_alerts_are_the_same() {
        let of_list = time("2026-11-22 01:54:01.511140372 UTC");
        assert!(of_list.is_some());
        assert_eq!(of_list, time("2026-11-22T01:54:01.511140372Z"));
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn targets_of_old_and_new_servers_are_read() {
        let read = |text: &str| -> (StoredTarget, Option<String>) {
            serde_json::from_str::<ListedTarget>(text).unwrap().parts()
        };
        let bare = r#"{"id":"X","name":"n","type":"webhook","endpoint":"http://********","username":null}"#;
        let (target, refusal) = read(bare);
        assert_eq!(refusal, None);
        assert_eq!(
            read(&format!(r#"{{"target":{bare},"enabled":false,"error":"e"}}"#)),
            (target, Some("e".to_owned()))
        );
    }
}
