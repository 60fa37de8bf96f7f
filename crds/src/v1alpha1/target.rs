//! Where events go, and how Secrets are named.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Where the events go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// A stream of a Parseable server.
    pub parseable: ParseableTarget,
}

/// A stream of a Parseable server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParseableTarget {
    /// The server, for example http://parseable.parseable.svc.
    #[schemars(length(min = 8, max = 1024), extend("x-kubernetes-validations" = rules::URL.validations()))]
    pub url: String,
    /// The stream; it is created when it does not exist.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-validations" = rules::STREAM.validations()))]
    pub stream: String,
    /// How long the stream keeps events, in days, for example 30d. Without it the stream's own setting
    /// stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 5), extend("x-kubernetes-validations" = rules::RETENTION.validations()))]
    pub retention: Option<String>,
    /// Secret with the account that manages the stream and its alerts: keys username and password, or
    /// apiKey. Nodes use it too when ingestCredentials is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretRef>,
    /// Secret with an account that may only ingest; the only one that nodes get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingest_credentials: Option<SecretRef>,
}

/// A Secret in the watch's own namespace (for a ClusterSecurityWatch: the operator's).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME.validations()))]
    pub secret_name: String,
}

/// One key of a Secret in the watch's own namespace (for a ClusterSecurityWatch: the operator's).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME.validations()))]
    pub secret_name: String,
    /// The key in the Secret.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::SECRET_KEY.validations()))]
    pub key: String,
}
