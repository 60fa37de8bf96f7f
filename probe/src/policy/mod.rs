//! Policies in the kernel: compiled, attached, replaced and removed while the probe runs.

pub mod config;
mod set;

pub use set::{ApplyError, HookReport, HookTable, LoadedHook, PolicySet};
