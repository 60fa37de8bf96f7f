//! Tetragon's TracingPolicy language (`cilium.io/v1alpha1`), every field of its 1.8 schema.
//!
//! These types only say what a document may contain; [`crate::compile`] says what it means and
//! refuses what cannot be honoured. The doc comments are what `kubectl explain` shows.

mod action;
mod argument;
mod hook;
mod scope;
mod selector;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use action::{ActionName, ActionSelector, RateLimitScope};
pub use argument::{ArgSource, ArgType, KProbeArg, ReturnArgAction};
pub use hook::{
    IgnoreCall, IgnoreDigest, KProbeSpec, LsmHookSpec, TracepointSpec, UProbeSpec, UsdtSpec,
};
pub use scope::{
    EnforcerSpec, LabelExpression, LabelOperator, LabelSelector, ListSpec, ListType, OptionSpec,
};
pub use selector::{
    ArgOperator, ArgSelector, BinaryOperator, BinarySelector, CapabilitiesSelector, CapabilitySet,
    KProbeSelector, NamespaceChangesSelector, NamespaceSelector, NamespaceType, PidSelector,
    SetOperator, WorkloadSelector,
};

/// API group and version of a TracingPolicy document.
pub const API_VERSION: &str = "cilium.io/v1alpha1";

/// What to hook in the kernel and which calls to report, in the language of Tetragon's TracingPolicy
/// (cilium.io/v1alpha1), field for field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingPolicySpec {
    /// Kernel functions and syscalls to hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub kprobes: Option<Vec<KProbeSpec>>,
    /// Kernel functions to hook by a BPF trampoline; same fields as kprobes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub fentries: Option<Vec<KProbeSpec>>,
    /// Kernel tracepoints to hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub tracepoints: Option<Vec<TracepointSpec>>,
    /// Functions of user-space binaries to hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uprobes: Option<Vec<UProbeSpec>>,
    /// Statically defined probes of user-space binaries to hook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub usdts: Option<Vec<UsdtSpec>>,
    /// Linux Security Module hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub lsmhooks: Option<Vec<LsmHookSpec>>,
    /// Report every binary and library that is mapped for execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader: Option<bool>,
    /// Pods the policy applies to, by label. The label k8s:io.kubernetes.pod.namespace stands for the
    /// pod's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Containers the policy applies to; the keys are name and repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_selector: Option<LabelSelector>,
    /// Applies the policy to host processes too; the only value is {}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
    /// Nodes the policy is loaded on, by node label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Named lists of functions or syscalls, used as "list:NAME".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub lists: Option<Vec<ListSpec>>,
    /// Syscalls that NotifyEnforcer may kill or override.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub enforcers: Option<Vec<EnforcerSpec>>,
    /// Switches for this policy, for example policy-mode or disable-kprobe-multi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub options: Option<Vec<OptionSpec>>,
    /// Selectors by name, merged into the selectors that list the name under macros.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub selectors_macros: Option<BTreeMap<String, KProbeSelector>>,
}
