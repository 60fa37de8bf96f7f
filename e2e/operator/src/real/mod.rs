//! The product as a whole: a real node, a guest with containerd and a kubelet, where operator and probe run as
//! the chart's pods, and other pods do what watches are for.

pub mod place;
pub mod pods;
pub mod scenarios;
pub mod webhook;
