//! `SecurityWatch` and `ClusterSecurityWatch`: one spec, two scopes.

// Each printcolumn repeats its type: that is no slip.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AlertSpec, EventFilters, TargetSpec, WatchStatus, rules};
use crate::tracing_policy::TracingPolicySpec;

/// What to watch in the kernel, where its events go and whom to alert.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "securitywatch.io",
    version = "v1alpha1",
    kind = "SecurityWatch",
    plural = "securitywatches",
    singular = "securitywatch",
    shortname = "sw",
    category = "security-watch",
    namespaced,
    status = "WatchStatus",
    derive = "PartialEq",
    doc = "Watches the pods of its own namespace: hooks the kernel on every node, ships the events to Parseable and fires alerts.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes.summary"),
    printcolumn(name = "Alerts", type_ = "string", json_path = ".status.alertCounts.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Stream",
        type_ = "string",
        priority = 1,
        json_path = ".spec.target.parseable.stream"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityWatchSpec {
    /// Which calls the kernel reports. Without it only process exec and exit are reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing_policy: Option<PolicySource>,
    /// Which events leave the node, and what is hidden in them. Without it all events in scope leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventFilters>,
    /// Where the events go. Without it they stay in the node's event log, where the installation keeps one, and alerts
    /// still fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSpec>,
    /// Rules over the events, and whom to call when one matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub alerts: Option<Vec<AlertSpec>>,
    /// Unload the watch everywhere and keep the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// The spec of a `ClusterSecurityWatch`: exactly that of a `SecurityWatch`.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "securitywatch.io",
    version = "v1alpha1",
    kind = "ClusterSecurityWatch",
    plural = "clustersecuritywatches",
    singular = "clustersecuritywatch",
    shortname = "csw",
    category = "security-watch",
    status = "WatchStatus",
    derive = "PartialEq",
    doc = "Watches every pod and the hosts themselves: hooks the kernel on every node, ships the events to Parseable and fires alerts.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.nodes.summary"),
    printcolumn(name = "Alerts", type_ = "string", json_path = ".status.alertCounts.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Stream",
        type_ = "string",
        priority = 1,
        json_path = ".spec.target.parseable.stream"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(transparent)]
pub struct ClusterSecurityWatchSpec {
    /// The shared spec.
    pub watch: SecurityWatchSpec,
}

/// What both kinds of watch have.
pub trait Watch: kube::Resource {
    /// The spec, the same for both kinds.
    fn watch_spec(&self) -> &SecurityWatchSpec;
    /// The status, absent before the operator has seen the object.
    fn watch_status(&self) -> Option<&WatchStatus>;
}

impl Watch for SecurityWatch {
    fn watch_spec(&self) -> &SecurityWatchSpec {
        &self.spec
    }
    fn watch_status(&self) -> Option<&WatchStatus> {
        self.status.as_ref()
    }
}

impl Watch for ClusterSecurityWatch {
    fn watch_spec(&self) -> &SecurityWatchSpec {
        &self.spec.watch
    }
    fn watch_status(&self) -> Option<&WatchStatus> {
        self.status.as_ref()
    }
}

/// A TracingPolicy, written here or named.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.spec) != has(self.ref)",
    "message": rules::ONE_POLICY
}]))]
pub struct PolicySource {
    /// The policy itself: the spec of a cilium.io/v1alpha1 TracingPolicy, field for field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<TracingPolicySpec>,
    /// An existing TracingPolicy object.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<PolicyRef>,
}

/// An existing TracingPolicy object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRef {
    /// TracingPolicy, or TracingPolicyNamespaced for one in the watch's own namespace.
    pub kind: PolicyKind,
    /// The object's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME.validations()))]
    pub name: String,
}

/// Kinds of policy objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum PolicyKind {
    TracingPolicy,
    TracingPolicyNamespaced,
}
