//! Where a policy applies, and the parts of it that stand beside the hooks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects by labels; all of its parts must hold, and an empty one selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 253}))]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Conditions on labels; all of them must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub match_expressions: Option<Vec<LabelExpression>>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelExpression {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label relates to the values.
    pub operator: LabelOperator,
    /// Values for In and NotIn; absent for Exists and DoesNotExist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub values: Option<Vec<String>>,
}

/// How a label relates to the listed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A named list of functions or syscalls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSpec {
    /// The name hooks use, as in "list:NAME".
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The members; absent for generated lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), inner(length(max = 256)))]
    pub values: Option<Vec<String>>,
    /// What the members are, or how the list is generated.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ListType>,
    /// Regular expression for generated_ftrace lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub pattern: Option<String>,
    /// The members were checked already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validated: Option<bool>,
}

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ListType {
    Syscalls,
    GeneratedSyscalls,
    GeneratedFtrace,
}

/// Syscalls that NotifyEnforcer may act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnforcerSpec {
    /// Syscalls, or lists as "list:NAME".
    #[schemars(length(max = 256), inner(length(max = 256)))]
    pub calls: Vec<String>,
}

/// One switch of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OptionSpec {
    /// The switch's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Its value, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub value: Option<String>,
}
