//! SecurityWatch's API: the Kubernetes types, TracingPolicy in full, validation and the rule language.
//!
//! This crate knows no IO: operator and probe share it and judge a document the same way.

pub mod alerting;
pub mod backoff;
pub mod cluster;
pub mod columns;
pub mod compile;
pub mod crd;
pub mod document;
pub mod field;
pub mod nearest;
pub mod policy;
pub mod rule;
pub mod secret;
pub mod tracing_policy;
pub mod v1alpha1;
pub mod watch;
