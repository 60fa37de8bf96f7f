//! `SecurityWatchNode`: what one node's probe says about itself and about each policy.
//!
//! One object per node, named like the node and owned by it, so that it goes when the node goes. It is
//! written by that node's probe alone and only when something changed: at thousands of nodes every
//! write counts.

// Each printcolumn repeats its type: that is no slip.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::status::{condition_list, date_time};

/// A `SecurityWatchNode` has no spec: nobody tells a node anything through it.
#[derive(
    CustomResource, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "securitywatch.io",
    version = "v1alpha1",
    kind = "SecurityWatchNode",
    plural = "securitywatchnodes",
    singular = "securitywatchnode",
    shortname = "swn",
    category = "security-watch",
    no_spec,
    status = "SecurityWatchNodeStatus",
    derive = "PartialEq",
    doc = "What the probe of one node reports: its kernel, what that kernel can do, the state of each policy and what was lost. Named like the Node that owns it; written by that node's probe.",
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
    printcolumn(name = "Kernel", type_ = "string", json_path = ".status.kernel.release"),
    printcolumn(name = "Policies", type_ = "string", json_path = ".status.policySummary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Probe",
        type_ = "string",
        priority = 1,
        json_path = ".status.probeVersion"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
pub struct SecurityWatchNodeSpec {}

/// What the probe of one node reports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityWatchNodeStatus {
    /// Ready says whether the probe reports events; Programmed whether all of its policies are loaded;
    /// Shipping whether events reach their targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Option<Vec<Condition>>,
    /// The probe's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub probe_version: Option<String>,
    /// The node's kernel, and what trial programs could do on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelReport>,
    /// The policies this node was asked to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"])
    )]
    pub policies: Option<Vec<NodePolicy>>,
    /// Loaded and wanted policies as one word, for example 3/3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub policy_summary: Option<String>,
    /// Events lost since the probe started, by cause; rounded, and only causes that happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cause"])
    )]
    pub lost: Option<Vec<LossReport>>,
}

/// The node's kernel, and what trial programs could do on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KernelReport {
    /// The kernel's release, as uname prints it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub release: Option<String>,
    /// Whether the kernel carries its type information.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub btf: Option<bool>,
    /// Classes of hooks, each proven by loading and attaching a trial program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub backends: Option<Vec<Backend>>,
}

/// One class of hooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// The class, for example kprobe, fentry or lsm.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Whether the trial program ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<bool>,
    /// What the kernel answered when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// One policy on this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicy {
    /// The watch's uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// The watch, as Kind/namespace/name or Kind/name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub watch: Option<String>,
    /// The generation of the watch this entry speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
    /// Hash of the policy as this node read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub hash: Option<String>,
    /// Whether it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<NodePolicyState>,
    /// One word for programs, for example FunctionNotFound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// What is wrong, with the field's path, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What each hook was attached by, in the order of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "atomic"))]
    pub hooks: Option<Vec<HookReport>>,
    /// Whether this node's events of the watch reach its target; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping: Option<ShippingReport>,
}

/// One hook of a policy on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookReport {
    /// The function or syscall.
    #[schemars(length(max = 256))]
    pub call: String,
    /// What it was attached by, for example fentry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub backend: Option<String>,
    /// What happens to a process for a matching call, besides that it is reported; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
}

/// What happens to a process for a matching call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It gets SIGKILL; the call itself may still complete.
    Killed,
}

/// Whether a policy is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum NodePolicyState {
    Loaded,
    Loading,
    Failed,
    Skipped,
}

/// Whether a watch's events leave this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShippingReport {
    /// What happens to the events.
    pub state: ShippingState,
    /// Why they do not arrive, as one word for programs: a reason of the watch's condition Shipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// What is wrong and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// Events of this watch that will never arrive, since the probe started; rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub dropped: Option<i64>,
    /// When the target last took events, rounded; written only together with another change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "last_shipped")]
    pub last_shipped_time: Option<Time>,
}

/// What happens to a watch's events on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ShippingState {
    /// No event yet, and the target not asked.
    Idle,
    Delivering,
    /// Kept, for the target does not take them now; see the reason.
    Failing,
}

fn last_shipped(_: &mut SchemaGenerator) -> Schema {
    date_time(
        "When the target last took events, rounded; written only together with another change.",
    )
}

/// Events lost for one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LossReport {
    /// The cause, the same word as in the metrics.
    #[schemars(length(min = 1, max = 64))]
    pub cause: String,
    /// How many events.
    #[schemars(range(min = 0))]
    pub events: i64,
}
