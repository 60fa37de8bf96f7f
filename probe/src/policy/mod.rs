//! Policies in the kernel: compiled, attached, replaced and removed while the probe runs.

pub mod config;
mod scopes;
mod set;

pub use scopes::{NoPods, ScopeKeeper};
pub use set::{ApplyError, HookReport, HookTable, LoadedHook, PolicySet};
