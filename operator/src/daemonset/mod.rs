//! The probe's DaemonSet: one for all watches.
//!
//! Its template is compiled in and its values come from the chart. Nothing that a watch says reaches it:
//! whoever may write a watch must not be able to steer a privileged pod.

mod config;
mod control;
mod template;
#[cfg(test)]
mod tests;

pub use config::{ConfigError, EventLog, ProbeConfig, load};
pub use control::{Control, rollout};
pub use template::{Place, render};
