//! The finalizer is there only while something outside of the cluster has to go with the watch: one that
//! is there for nothing would be one more way for a deletion to hang.

use securitywatch_api::cluster::FINALIZER;

/// What to do about the finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finalizers {
    /// It is as it should be.
    Keep,
    /// Something outside will have to be removed.
    Add,
    /// Nothing is outside any more, once it is removed.
    Remove,
}

/// Decides about the finalizer of a watch that is not being deleted.
#[must_use]
pub fn finalizers(present: &[String], leaves_traces: bool) -> Finalizers {
    let has = present.iter().any(|finalizer| finalizer == FINALIZER);
    match (has, leaves_traces) {
        (false, true) => Finalizers::Add,
        (true, false) => Finalizers::Remove,
        _ => Finalizers::Keep,
    }
}
