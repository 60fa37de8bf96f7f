//! Which pod and container a cgroup belongs to, and which policies apply there.
//!
//! The kernel side (`bpf/cgroup.bpf.c`) keeps the same table by itself: a cgroup is known there before a
//! process can be in it. What it cannot know is which policies select a pod; that is written by [`ScopeMaps`].

mod layout;
mod names;
mod scan;
mod scope;
mod seed;
mod table;

pub use layout::{Kind, Layout, LayoutError};
pub use names::{container_id, runtime};
pub use scan::scan;
pub use scope::{SCOPE_BITS, ScopeBits, ScopeMaps, ScopeMapsError};
pub use seed::{Seeded, seed};
pub use table::{CgroupFacts, Made, Table};
