//! SecurityWatch probe.

pub mod event;
