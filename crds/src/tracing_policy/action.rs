//! What happens when a selector matches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One action and its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.argNewSymbol), has(self.argNewAddr), has(self.argNewOffset)].filter(x, x).size() <= 1",
    "message": "an override goes to one of argNewSymbol, argNewAddr or argNewOffset"
}]))]
pub struct ActionSelector {
    /// What to do.
    pub action: ActionName,
    /// Override and NotifyEnforcer: the value the function returns instead, for example -1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -4095, max = 4095))]
    pub arg_error: Option<i32>,
    /// Signal and NotifyEnforcer: the signal's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64))]
    pub arg_sig: Option<i32>,
    /// TrackSock and UntrackSock: index of the socket argument.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31))]
    pub arg_sock: Option<i32>,
    /// GetUrl: the URL to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub arg_url: Option<String>,
    /// DnsLookup: the name to look up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub arg_fqdn: Option<String>,
    /// Set: index of the argument to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31))]
    pub arg_index: Option<i32>,
    /// Set: the value to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub arg_value: Option<i64>,
    /// Override of a uprobe: registers to set, as register=value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 128)))]
    pub arg_regs: Option<Vec<String>>,
    /// Override of a uprobe: function to run instead, by symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub arg_new_symbol: Option<String>,
    /// Override of a uprobe: function to run instead, by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub arg_new_addr: Option<i64>,
    /// Override of a uprobe: function to run instead, by offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub arg_new_offset: Option<i64>,
    /// Post: time within which an equal event is not reported again; a number of seconds, or with a
    /// suffix s, m or h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub rate_limit: Option<String>,
    /// Post: what the rate limit counts by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_scope: Option<RateLimitScope>,
    /// Post: add the kernel stack to the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_stack_trace: Option<bool>,
    /// Post: add the user stack to the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_stack_trace: Option<bool>,
    /// Post on LSM hooks: add the file's IMA hash to the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ima_hash: Option<bool>,
}

/// Tetragon's actions, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum ActionName {
    Post,
    NoPost,
    Sigkill,
    Signal,
    Override,
    NotifyEnforcer,
    CleanupEnforcerNotification,
    TrackSock,
    UntrackSock,
    GetUrl,
    DnsLookup,
    Set,
}

/// What a rate limit counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RateLimitScope {
    Thread,
    Process,
    Global,
}
