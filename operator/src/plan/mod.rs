//! From what is known to what is to be done: pure.

mod announce;
mod finalizer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use securitywatch_api::v1alpha1::WatchStatus;

use crate::events::Announcement;
use crate::status::{Facts, differs, draw};

pub use finalizer::{Finalizers, finalizers};

/// What is to be done about a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status to write; `None`: what is there says it already.
    pub status: Option<WatchStatus>,
    /// What to announce once that is written.
    pub announcements: Vec<Announcement>,
    /// Look again then although nothing changes.
    pub again_in: Option<Duration>,
}

/// Plans.
#[must_use]
pub fn plan(facts: &Facts<'_>) -> Plan {
    let drawn = draw(facts);
    let again_in = drawn
        .again_in
        // A second more: the times in a status are whole seconds.
        .map(|wait| wait.unsigned_abs() + Duration::from_secs(1));
    if !differs(facts.previous, &drawn.status) {
        return Plan { status: None, announcements: Vec::new(), again_in };
    }
    let announcements = announce::announcements(facts, &drawn.status);
    Plan { status: Some(drawn.status), announcements, again_in }
}
