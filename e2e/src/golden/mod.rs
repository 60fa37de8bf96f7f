//! Compares this probe's events with those recorded from Tetragon for the same policy and the same trigger.
//!
//! `recording` makes comparable processes out of event lines, `compare` finds the first difference, `cases`
//! reads a folder of cases, `conformance` runs them in a guest. The rules are those that came with the
//! recordings; what they leave open is a named entry of `races`, never a loosened comparison.

pub mod cases;
pub mod compare;
pub mod conformance;

mod mask;
mod races;
pub mod recording;
