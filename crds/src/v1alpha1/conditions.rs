//! Condition types and their reasons. Both are API: tools and people match on them.

/// Condition types.
pub mod types {
    /// Sums up; Unknown while rolling out, False only for a definite failure.
    pub const READY: &str = "Ready";
    /// The spec is understood.
    pub const ACCEPTED: &str = "Accepted";
    /// Secrets and policies that the spec names exist.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// The nodes have loaded the policy.
    pub const PROGRAMMED: &str = "Programmed";
    /// Events reach the target.
    pub const SHIPPING: &str = "Shipping";
    /// Parseable holds the alerts, and their calls arrive.
    pub const ALERTS_SYNCED: &str = "AlertsSynced";
    /// Present only while work goes on.
    pub const RECONCILING: &str = "Reconciling";
    /// Present only while a user has to act; never together with `Reconciling`.
    pub const STALLED: &str = "Stalled";
}

/// Reasons, by the condition they belong to. `Ready=False` and `Stalled` repeat the reason of the
/// condition that failed first.
pub mod reasons {
    /// Of `Ready`.
    pub mod ready {
        /// True: everything below holds.
        pub const ALL_READY: &str = "AllReady";
        /// Unknown: rolling out, or first contact.
        pub const PROGRESSING: &str = "Progressing";
        /// Unknown: no node has reported yet.
        pub const NODES_UNREPORTED: &str = "NodesUnreported";
        /// Unknown: `spec.suspend` is set.
        pub const SUSPENDED: &str = "Suspended";
        /// Unknown: the object is being deleted and what it made outside the cluster is not removed yet.
        pub const DELETING: &str = "Deleting";
    }
    /// Of `Accepted`.
    pub mod accepted {
        /// True.
        pub const VALID: &str = "Valid";
        /// False: a field is wrong.
        pub const INVALID_POLICY: &str = "InvalidPolicy";
        /// False: the policy asks for something that is not supported.
        pub const UNSUPPORTED_HOOK: &str = "UnsupportedHook";
        /// False: another watch already claims what this one asks for.
        pub const CONFLICTING_WATCH: &str = "ConflictingWatch";
        /// False: more hooks or watches than the cluster allows.
        pub const LIMIT_EXCEEDED: &str = "LimitExceeded";
    }
    /// Of `ResolvedRefs`.
    pub mod resolved_refs {
        /// True.
        pub const RESOLVED: &str = "Resolved";
        /// False: a Secret does not exist.
        pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
        /// False: a Secret lacks a key.
        pub const SECRET_KEY_MISSING: &str = "SecretKeyMissing";
        /// False: what a Secret holds cannot be used, for example no URL.
        pub const SECRET_INVALID: &str = "SecretInvalid";
        /// False: the TracingPolicy object does not exist.
        pub const POLICY_NOT_FOUND: &str = "PolicyNotFound";
        /// False: the cluster has no TracingPolicy objects at all.
        pub const POLICY_KIND_MISSING: &str = "PolicyKindMissing";
        /// False: the reference leaves what the watch may name.
        pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
        /// Unknown: the operator may not read it.
        pub const FORBIDDEN: &str = "Forbidden";
    }
    /// Of `Programmed`.
    pub mod programmed {
        /// True.
        pub const LOADED_ON_ALL_NODES: &str = "LoadedOnAllNodes";
        /// True: so few nodes fail that the watch as a whole works.
        pub const LOADED_ON_MOST_NODES: &str = "LoadedOnMostNodes";
        /// False: too many nodes cannot load it.
        pub const LOAD_FAILED: &str = "LoadFailed";
        /// False: no node is selected.
        pub const NO_ELIGIBLE_NODES: &str = "NoEligibleNodes";
        /// False: the kernels cannot do what the policy asks for.
        pub const KERNEL_UNSUPPORTED: &str = "KernelUnsupported";
        /// Unknown.
        pub const ROLLING_OUT: &str = "RollingOut";
    }
    /// Of `Shipping`.
    pub mod shipping {
        /// True.
        pub const DELIVERING: &str = "Delivering";
        /// False: nobody answers.
        pub const TARGET_UNREACHABLE: &str = "TargetUnreachable";
        /// False: the server refuses the credentials.
        pub const UNAUTHORIZED: &str = "Unauthorized";
        /// False: the server refuses the stream or its rows.
        pub const STREAM_REJECTED: &str = "StreamRejected";
        /// False: events were dropped because the target is too slow.
        pub const BACKPRESSURE: &str = "Backpressure";
        /// False: the operator's settings do not allow the target's address.
        pub const TARGET_REFUSED: &str = "TargetRefused";
        /// False: the server is of a generation that is not supported.
        pub const UNSUPPORTED: &str = "Unsupported";
        /// True: the spec has no target.
        pub const NO_TARGET: &str = "NoTarget";
        /// Unknown.
        pub const NO_EVENTS_YET: &str = "NoEventsYet";
    }
    /// Of `AlertsSynced`.
    pub mod alerts_synced {
        /// True.
        pub const SYNCED: &str = "Synced";
        /// True: the spec has none.
        pub const NO_ALERTS: &str = "NoAlerts";
        /// False: the server refuses an alert.
        pub const ALERT_REJECTED: &str = "AlertRejected";
        /// False: nobody answers.
        pub const TARGET_UNREACHABLE: &str = super::shipping::TARGET_UNREACHABLE;
        /// False: the server refuses the credentials.
        pub const UNAUTHORIZED: &str = super::shipping::UNAUTHORIZED;
        /// False: the operator's settings do not allow the target's address.
        pub const TARGET_REFUSED: &str = super::shipping::TARGET_REFUSED;
        /// False: the server is of a generation that is not supported.
        pub const UNSUPPORTED: &str = super::shipping::UNSUPPORTED;
        /// True: the spec has no target; the alerts fire from the nodes all the same.
        pub const NO_TARGET: &str = super::shipping::NO_TARGET;
        /// False: the last call of a receiver did not arrive.
        pub const NOT_DELIVERED: &str = "NotDelivered";
        /// False: the server's outbound policy does not let it call a receiver.
        pub const OUTBOUND_POLICY: &str = "OutboundPolicy";
        /// Unknown: a column that the rule or the message names comes with the first event that has it.
        pub const COLUMN_MISSING: &str = "ColumnMissing";
        /// False: an alert of that name belongs to somebody else.
        pub const CONFLICT: &str = "Conflict";
        /// Unknown.
        pub const PENDING: &str = "Pending";
    }
    /// Of a `SecurityWatchNode`'s own conditions, beside those of the same conditions of a watch.
    pub mod node {
        /// `Ready` is True: processes are seen.
        pub const WATCHING: &str = "Watching";
        /// Any is Unknown: the probe was stopped, and nothing is seen until it runs again.
        pub const STOPPED: &str = "Stopped";
        /// `Programmed` is True.
        pub const ALL_LOADED: &str = "AllLoaded";
        /// `Programmed` is Unknown: work goes on.
        pub const LOADING: &str = "Loading";
    }
    /// Of a policy in a node's report, beside those of the conditions and of the hooks.
    pub mod node_policy {
        /// Loaded, and some of the pods it is about may be missed: the message says which, and why.
        pub const PODS_UNKNOWN: &str = "PodsUnknown";
        /// Skipped: the policy's nodeSelector selects other nodes.
        pub const NODE_NOT_SELECTED: &str = "NodeNotSelected";
        /// Loaded: whether the nodeSelector selects the node is not known.
        pub const NODE_UNKNOWN: &str = "NodeUnknown";
        /// Loading: the TracingPolicy objects are not known yet.
        pub const AWAITING_POLICY: &str = "AwaitingPolicy";
        /// Shipping is idle: the account to ship with has not come to the node yet.
        pub const AWAITING_ACCOUNT: &str = "AwaitingAccount";
    }
    /// Of `Reconciling`.
    pub mod reconciling {
        /// Work goes on.
        pub const PROGRESSING: &str = super::ready::PROGRESSING;
        /// The last attempt failed and will be repeated.
        pub const RETRYING: &str = "Retrying";
    }
}
