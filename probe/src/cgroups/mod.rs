//! Which pod and container a cgroup belongs to, and which policies apply there.
//!
//! The kernel side (`bpf/cgroup.bpf.c`) keeps the same table by itself: a cgroup is known there before a
//! process can be in it. What it cannot know is which policies select a pod; that is written by [`ScopeMaps`].

mod scope;
mod table;

pub use scope::{SCOPE_BITS, ScopeBits, ScopeMaps, ScopeMapsError};
pub use table::{CgroupFacts, Table};
