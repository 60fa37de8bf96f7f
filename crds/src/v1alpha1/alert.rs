//! Alerts: a rule over events, a message and whom to call.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretKeyRef, SecretRef, rules};

/// A rule over events, a message and whom to call when an event matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSpec {
    /// The alert's name, unique in this watch.
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = rules::ALERT_NAME.validations()))]
    pub name: String,
    /// How bad it is; without the field medium.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What the receivers read; {column} stands for that column of the event, for example
    /// {process_exec_process_pod_name}.
    #[schemars(length(min = 1, max = 2048))]
    pub message: String,
    /// When the alert fires: conditions on columns of the event, joined by and, or and !(), for example
    /// (process_exec_process_binary =% "/usr/bin/curl"). Operators: = != =% (contains) !% ~ (regular
    /// expression) on text, = != < <= > >= on numbers.
    #[schemars(length(min = 1, max = 4096))]
    pub rule: String,
    /// Whom to call.
    #[schemars(length(min = 1, max = 8))]
    pub targets: Vec<AlertTarget>,
}

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Severity {
    Critical,
    High,
    #[default]
    Medium,
    Low,
}

impl Severity {
    /// The word used in documents and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// One receiver of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.webhook), has(self.slack), has(self.alertmanager)].exists_one(x, x)",
    "message": rules::ONE_RECEIVER
}]))]
pub struct AlertTarget {
    /// An HTTP endpoint that is sent the alert by POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookTarget>,
    /// A Slack incoming webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackTarget>,
    /// A Prometheus Alertmanager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<AlertmanagerTarget>,
    /// Call again after the first call. Without it the receiver is called once per firing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

/// An HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookTarget {
    /// Secret and key that hold the URL.
    pub url_from: SecretKeyRef,
    /// Headers sent with each call. Not for passwords or tokens: whoever may read the watch reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Accept any certificate. Without it certificates are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tls_check: Option<bool>,
}

/// A Slack incoming webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlackTarget {
    /// Secret and key that hold the URL.
    pub url_from: SecretKeyRef,
}

/// A Prometheus Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertmanagerTarget {
    /// Secret and key that hold the URL of its alerts endpoint.
    pub url_from: SecretKeyRef,
    /// Secret with keys username and password, for a server that asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Accept any certificate. Without it certificates are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tls_check: Option<bool>,
}

/// Calls after the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repeat {
    /// Time between two calls, for example 10s.
    #[schemars(length(min = 2, max = 16), extend("x-kubernetes-validations" = rules::interval_validations()))]
    pub interval: String,
    /// How often the call is repeated.
    #[schemars(range(min = 1, max = 1000))]
    pub times: i32,
}
