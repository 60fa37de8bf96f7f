//! What the nodes report, added up per watch as the reports come in.

mod index;
mod intern;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

pub use index::Index;
pub use watch::watch;

/// What the nodes say about one watch, as the wanted generation and policy go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reports {
    /// Nodes that have it.
    pub loaded: u32,
    /// Nodes that are at it.
    pub loading: u32,
    /// Nodes that cannot.
    pub failed: u32,
    /// Nodes that need not.
    pub skipped: u32,
    /// Nodes that speak about another generation or policy.
    pub stale: u32,
    /// Some of the nodes that cannot, ordered by name.
    pub failing: Vec<NodeFailure>,
    /// How many nodes cannot, by reason.
    pub reasons: BTreeMap<String, u32>,
    /// What becomes of the events.
    pub shipping: Shipping,
}

/// A node that cannot load a watch, or cannot ship its events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFailure {
    /// The node.
    pub node: String,
    /// One word.
    pub reason: String,
    /// What is wrong and what to do; empty where too many different texts came in.
    pub message: String,
}

/// What becomes of a watch's events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shipping {
    /// Nodes that have had no event yet.
    pub idle: u32,
    /// Nodes whose events arrive.
    pub delivering: u32,
    /// Nodes whose events wait.
    pub failing: u32,
    /// One of the nodes whose events wait, for the reason most of them have.
    pub example: Option<NodeFailure>,
    /// Events that will never arrive.
    pub dropped: u64,
    /// When the target last took events, to the minute.
    pub last_shipped: Option<Timestamp>,
}
