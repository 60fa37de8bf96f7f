//! The product as a whole: a real node, a guest with containerd and a kubelet, where operator and probe run as
//! the chart's pods, and other pods do what watches are for.

pub mod place;
pub mod pods;
pub mod scenarios;
pub mod webhook;

/// What nodes call this machine's loopback.
pub const HOST: &str = "10.0.2.2";
/// The image that every node has, with a shell, curl, wget, cat and nsenter.
pub const TOOLS: &str = "securitywatch.local/tools:1";
