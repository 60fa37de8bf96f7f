//! What must hold, a file a subject.

pub mod alerts;
pub mod api;
pub mod bad_input;
pub mod health;
pub mod leader;
pub mod life;
pub mod nodes;
pub mod parseable;
pub mod rights;
pub mod scale;
pub mod watches;

use crate::scenario::Scenario;

/// All of them, in the order they run: those that take the operator away come last.
pub const ALL: &[&[Scenario]] = &[
    api::SCENARIOS,
    rights::SCENARIOS,
    life::SCENARIOS,
    parseable::SCENARIOS,
    alerts::SCENARIOS,
    bad_input::SCENARIOS,
    health::SCENARIOS,
    scale::SCENARIOS,
    leader::SCENARIOS,
];
