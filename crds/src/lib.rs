//! SecurityWatch's API: the Kubernetes types, TracingPolicy in full, validation and the rule language.
//!
//! This crate knows no IO: operator and probe share it and judge a document the same way.

pub mod field;
pub mod policy;
pub mod rule;
