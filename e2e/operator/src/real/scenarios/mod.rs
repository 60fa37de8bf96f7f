//! What must hold on a real node, a file a subject.

mod association;
mod enforcement;
mod faults;
mod recovery;
mod update;
mod walkthroughs;

use super::place::Place;
use crate::scenario::Scenario;

/// What every run looks at.
pub const REGULAR: &[&[Scenario<Place>]] =
    &[walkthroughs::SCENARIOS, enforcement::SCENARIOS, update::SCENARIOS];

/// Too long for an emulated node of a busy machine, or not yet seen to hold on one: run with `--trial`, behind the regular
/// ones, whose pods they use. The last ones take the node away.
pub const TRIAL: &[&[Scenario<Place>]] =
    &[faults::SCENARIOS, association::SCENARIOS, recovery::SCENARIOS];
