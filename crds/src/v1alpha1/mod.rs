//! The `securitywatch.io/v1alpha1` types.
//!
//! Rules of this API: nothing in a spec has a schema default (the server would write it into users'
//! objects, and a Git-driven deployment would see drift); an absent optional field is resolved in
//! code. Every list, string and map is bounded. Secrets are named, never written here, and always
//! live in the watch's own namespace. The doc comments are what `kubectl explain` shows.

mod alert;
pub mod conditions;
mod events;
mod node;
pub mod rules;
mod status;
mod target;
mod watch;

pub use alert::{
    AlertSpec, AlertTarget, AlertmanagerTarget, Repeat, Severity, SlackTarget, WebhookTarget,
};
pub use events::{EventFilter, EventFilters, EventType, Redaction};
pub use node::{
    Backend, Enforcement, HookReport, KernelReport, LossReport, NodePolicy, NodePolicyState,
    SecurityWatchNode, SecurityWatchNodeSpec, SecurityWatchNodeStatus, ShippingReport,
    ShippingState,
};
pub use status::{
    AlertCounts, AlertState, AlertStatus, FailingNode, MAX_FAILING_NODES, NodeCounts, WatchStatus,
};
pub use target::{ParseableTarget, SecretKeyRef, SecretRef, TargetSpec};
pub use watch::{
    ClusterSecurityWatch, ClusterSecurityWatchSpec, PolicyKind, PolicyRef, PolicySource,
    SecurityWatch, SecurityWatchSpec, Watch,
};

/// API group of all kinds here.
pub const GROUP: &str = "securitywatch.io";
/// Version of all kinds here.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of a document of these kinds.
pub const API_VERSION: &str = "securitywatch.io/v1alpha1";

/// Most alerts one watch may hold.
pub const MAX_ALERTS: usize = 64;
