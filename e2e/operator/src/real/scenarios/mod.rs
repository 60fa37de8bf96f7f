//! What must hold on a real node, a file a subject.

mod association;
mod enforcement;
mod faults;
mod recovery;
mod update;
mod walkthroughs;

use super::place::Place;
use crate::scenario::Scenario;

/// All of them, in the order they run: the last ones take the node away.
pub const ALL: &[&[Scenario<Place>]] = &[
    walkthroughs::SCENARIOS,
    association::SCENARIOS,
    enforcement::SCENARIOS,
    update::SCENARIOS,
    faults::SCENARIOS,
    recovery::SCENARIOS,
];
