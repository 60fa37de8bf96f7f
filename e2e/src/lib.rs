//! Tests against real parts: guest kernels and events recorded from a real Tetragon.

pub mod bench;
pub mod built;
pub mod demo;
pub mod golden;
pub mod guest;
pub mod scoped;
