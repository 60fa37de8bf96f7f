//! The operator: rolls out the probe, keeps Parseable in sync and says how every watch is doing.
//!
//! `observe -> plan -> apply`: what is known about a watch becomes plain data (`observe`), from which pure
//! functions (`plan`, `status`) make what is to be written, which `apply` writes. Everything is level-triggered: a
//! pass looks at what is and needs no memory of what was, except to be cheaper.

pub mod alerts;
pub mod apply;
pub mod backoff;
pub mod cli;
pub mod context;
pub mod controller;
pub mod daemonset;
pub mod deletion;
pub mod error;
pub mod events;
pub mod health;
pub mod ingest;
pub mod key;
pub mod lease;
pub mod lock;
pub mod nodes;
pub mod observe;
pub mod plan;
pub mod policies;
pub mod references;
pub mod run;
pub mod status;
pub mod sync;
pub mod telemetry;
pub mod triggers;

/// Length of a watch request: a connection that died silently is noticed five seconds later.
pub const WATCH_SECONDS: u32 = 60;
