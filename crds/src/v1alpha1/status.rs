//! What the operator reports about a watch. Every field is optional: it is written in parts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Most nodes named in [`WatchStatus::failing_nodes`].
pub const MAX_FAILING_NODES: usize = 10;

/// Whether the watch works, and where it does not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// The generation of the spec this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready sums up; Accepted, ResolvedRefs, Programmed, Shipping and AlertsSynced say what is behind
    /// it; Reconciling or Stalled is there while it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "condition_list")]
    pub conditions: Option<Vec<Condition>>,
    /// How many nodes have loaded the watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
    /// Nodes that could not load the watch, at most ten of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub failing_nodes: Option<Vec<FailingNode>>,
    /// Hash of the policy the nodes are asked to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub policy_hash: Option<String>,
    /// When an event last reached the stream, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "last_shipped_time")]
    pub last_shipped_time: Option<Time>,
    /// How many alerts are in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_counts: Option<AlertCounts>,
    /// The state of each alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub alerts: Option<Vec<AlertStatus>>,
}

/// How many nodes have loaded the watch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes that should have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub desired: Option<i32>,
    /// Nodes that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ready: Option<i32>,
    /// Nodes that cannot load it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed: Option<i32>,
    /// Nodes whose report is about an older generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub stale: Option<i32>,
    /// Ready and desired as one word, for example 4998/5000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
}

/// A node that could not load the watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailingNode {
    /// The node's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One word for programs, for example FunctionNotFound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// What is wrong and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// How many alerts are in place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertCounts {
    /// Alerts of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub desired: Option<i32>,
    /// Alerts in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub synced: Option<i32>,
    /// Alerts that were refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed: Option<i32>,
    /// Synced and desired as one word, for example 2/2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
}

/// The state of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// The alert's name in the spec.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// The alert's id in Parseable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub parseable_id: Option<String>,
    /// What Parseable says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<AlertState>,
    /// When it last fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "last_fired")]
    pub last_fired: Option<Time>,
    /// Why the last call of a receiver did not arrive; absent when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub undelivered: Option<String>,
}

/// What Parseable says about an alert, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum AlertState {
    Triggered,
    NotTriggered,
    Disabled,
    Unknown,
}

fn last_shipped_time(_: &mut SchemaGenerator) -> Schema {
    date_time("When an event last reached the stream, to the minute.")
}

fn last_fired(_: &mut SchemaGenerator) -> Schema {
    date_time("When it last fired.")
}

/// A point in time, which the derive cannot describe by itself.
pub(super) fn date_time(description: &str) -> Schema {
    json_schema!({
        "description": description, "type": "string", "format": "date-time", "nullable": true
    })
}

/// metav1's conditions, keyed by type: without the key, server-side apply would take the list as one
/// value and two writers would overwrite each other.
pub(super) fn condition_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "nullable": true,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "What the condition speaks about.",
                    "type": "string", "minLength": 1, "maxLength": 316
                },
                "status": {
                    "description": "Whether it holds.",
                    "type": "string", "enum": ["True", "False", "Unknown"]
                },
                "observedGeneration": {
                    "description": "The generation of the spec the condition speaks about.",
                    "type": "integer", "format": "int64", "minimum": 0
                },
                "lastTransitionTime": {
                    "description": "When status last changed.",
                    "type": "string", "format": "date-time"
                },
                "reason": {
                    "description": "One word for programs.",
                    "type": "string", "minLength": 1, "maxLength": 1024
                },
                "message": {
                    "description": "What is the case and what to do about it.",
                    "type": "string", "maxLength": 32768
                }
            }
        }
    })
}
