//! What must hold on a real node, a file a subject.

mod association;
mod enforcement;
mod faults;
mod recovery;
mod update;
mod walkthroughs;

use super::place::Place;
use crate::scenario::Scenario;

/// What every run looks at. The pods of the first ones are used by those that follow.
pub const REGULAR: &[&[Scenario<Place>]] = &[
    walkthroughs::SCENARIOS,
    enforcement::SCENARIOS,
    update::SCENARIOS,
    faults::SCENARIOS,
    recovery::SCENARIOS,
];

/// Those that take an emulated node many minutes.
pub const LONG: &[&[Scenario<Place>]] = &[association::SCENARIOS, recovery::RESET];
