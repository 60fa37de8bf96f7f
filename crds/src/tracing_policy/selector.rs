//! Which calls a hook reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActionSelector, LabelSelector};

/// Selects calls: all of its filters must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KProbeSelector {
    /// A name for the selector, shown in metrics and status.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub label: Option<String>,
    /// Names of selectorsMacros that are merged into this selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 128)))]
    pub macros: Option<Vec<String>>,
    /// Filters on arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub match_args: Option<Vec<ArgSelector>>,
    /// Filters on the hook's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub match_data: Option<Vec<ArgSelector>>,
    /// Filters on the return value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub match_return_args: Option<Vec<ArgSelector>>,
    /// Filters on the process id.
    #[serde(rename = "matchPIDs", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub match_pids: Option<Vec<PidSelector>>,
    /// Filter on the process's binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1))]
    pub match_binaries: Option<Vec<BinarySelector>>,
    /// Filter on the binary of the process's parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1))]
    pub match_parent_binaries: Option<Vec<BinarySelector>>,
    /// Filters on the process's namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub match_namespaces: Option<Vec<NamespaceSelector>>,
    /// Filters on namespaces that changed since the process was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub match_namespace_changes: Option<Vec<NamespaceChangesSelector>>,
    /// Filters on the process's capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub match_capabilities: Option<Vec<CapabilitiesSelector>>,
    /// Filters on capabilities that changed since the process was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub match_capability_changes: Option<Vec<CapabilitiesSelector>>,
    /// Filters on the process's pod and container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub match_workloads: Option<Vec<WorkloadSelector>>,
    /// What happens on a match; without it the event is posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub match_actions: Option<Vec<ActionSelector>>,
    /// What happens when matchReturnArgs match as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub match_return_actions: Option<Vec<ActionSelector>>,
}

/// A filter on one argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgSelector {
    /// The argument, by its position in the function's argument list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31))]
    pub index: Option<i32>,
    /// The arguments, by their position in this hook's args; used instead of index.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), inner(range(min = 0, max = 31)))]
    pub args: Option<Vec<i32>>,
    /// How the argument relates to the values.
    pub operator: ArgOperator,
    /// Values, any of which may match; for a Not operator none may.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 4096)))]
    pub values: Option<Vec<String>>,
}

/// Tetragon's operators on arguments, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ArgOperator {
    Equal,
    NotEqual,
    Prefix,
    NotPrefix,
    Postfix,
    NotPostfix,
    GreaterThan,
    LessThan,
    GT,
    LT,
    InRange,
    NotInRange,
    InMap,
    NotInMap,
    Mask,
    SPort,
    NotSPort,
    SPortPriv,
    NotSPortPriv,
    DPort,
    NotDPort,
    DPortPriv,
    NotDPortPriv,
    SAddr,
    NotSAddr,
    DAddr,
    NotDAddr,
    Protocol,
    Family,
    State,
    CapabilitiesGained,
    FileType,
    NotFileType,
    SubString,
    SubStringIgnCase,
    CelExpr,
}

/// A filter on a binary's path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BinarySelector {
    /// How the path relates to the values.
    pub operator: BinaryOperator,
    /// Paths, or their beginnings or ends.
    #[schemars(length(max = 1024), inner(length(max = 4096)))]
    pub values: Vec<String>,
    /// Match the process's descendants too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_children: Option<bool>,
}

/// Operators on a binary's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum BinaryOperator {
    In,
    NotIn,
    Prefix,
    NotPrefix,
    Postfix,
    NotPostfix,
}

/// Membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum SetOperator {
    In,
    NotIn,
}

/// A filter on the process id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PidSelector {
    /// Whether the process id must be listed, or must not.
    pub operator: SetOperator,
    /// Process ids.
    #[schemars(length(max = 64), inner(range(min = 0, max = 4_294_967_295_i64)))]
    pub values: Vec<i64>,
    /// The ids are those of the process's own pid namespace.
    #[serde(rename = "isNamespacePID", skip_serializing_if = "Option::is_none")]
    pub is_namespace_pid: Option<bool>,
    /// Match the descendants of these processes too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow_forks: Option<bool>,
}

/// A filter on one of the process's namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSelector {
    /// Which namespace.
    pub namespace: NamespaceType,
    /// Whether the namespace must be listed, or must not.
    pub operator: SetOperator,
    /// Namespace inode numbers, or host_ns for the host's.
    #[schemars(length(max = 64), inner(length(max = 32)))]
    pub values: Vec<String>,
}

/// The kinds of Linux namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum NamespaceType {
    Uts,
    Ipc,
    Mnt,
    Pid,
    PidForChildren,
    Net,
    Time,
    TimeForChildren,
    Cgroup,
    User,
}

/// A filter on namespaces that changed since exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceChangesSelector {
    /// Whether one of the namespaces must have changed, or none may.
    pub operator: SetOperator,
    /// Which namespaces.
    #[schemars(length(max = 10))]
    pub values: Vec<NamespaceType>,
}

/// A filter on the process's capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapabilitiesSelector {
    /// Which set of capabilities; without the field the effective one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<CapabilitySet>,
    /// Whether the process must have one of the capabilities, or none.
    pub operator: SetOperator,
    /// Count only capabilities held in a user namespace other than the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_namespace_capability: Option<bool>,
    /// Capabilities, for example CAP_SYS_ADMIN.
    #[schemars(length(max = 64), inner(length(max = 64)))]
    pub values: Vec<String>,
}

/// The capability sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum CapabilitySet {
    Effective,
    Inheritable,
    Permitted,
}

/// A filter on the process's pod and container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSelector {
    /// Pods, by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
    /// Containers; the keys are name and repo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_selector: Option<LabelSelector>,
    /// Host processes; the only value is {}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
}
