//! Tetragon's export filters and redaction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which events leave the node, and what is hidden in them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFilters {
    /// An event leaves when one of these matches. Without any, all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub allow: Option<Vec<EventFilter>>,
    /// An event stays when one of these matches; this wins over allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub deny: Option<Vec<EventFilter>>,
    /// What is replaced by ***** in arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub redact: Option<Vec<Redaction>>,
}

/// A filter on events: all of its fields must match, and within a field any value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFilter {
    /// Kinds of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub event_set: Option<Vec<EventType>>,
    /// Regular expressions on the binary's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub binary_regex: Option<Vec<String>>,
    /// Regular expressions on the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub arguments_regex: Option<Vec<String>>,
    /// Regular expressions on the path of the parent's binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub parent_binary_regex: Option<Vec<String>>,
    /// Regular expressions on the parent's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub parent_arguments_regex: Option<Vec<String>>,
    /// Namespaces of the pod; the empty string stands for host processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub namespace: Option<Vec<String>>,
    /// Regular expressions on the pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub pod_regex: Option<Vec<String>>,
    /// Regular expressions on the container's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub container_name_regex: Option<Vec<String>>,
    /// Label selectors on the pod, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    pub labels: Option<Vec<String>>,
    /// Names of the policies that reported the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub policy_names: Option<Vec<String>>,
    /// Whether the process is an exec probe of its container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<bool>,
    /// Whether the process descends from its container's first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_init_tree: Option<bool>,
}

/// Kinds of events, by Tetragon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum EventType {
    ProcessExec,
    ProcessExit,
    ProcessKprobe,
    ProcessTracepoint,
    ProcessLoader,
    ProcessUprobe,
    ProcessThrottle,
    ProcessLsm,
    ProcessUsdt,
}

/// What is hidden in the arguments of processes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redaction {
    /// Regular expressions; what their groups match is replaced by *****.
    #[schemars(length(min = 1, max = 32), inner(length(max = 512)))]
    pub redact: Vec<String>,
    /// Regular expressions on the binary's path; without any, all binaries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 512)))]
    pub binary_regex: Option<Vec<String>>,
}
