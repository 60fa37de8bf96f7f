//! The cgroups of pods and, in a cluster, what is known of the pods.

use std::sync::Arc;

use crate::cgroups::{CgroupFacts, Made, Table};
use crate::pods::Associations;
use crate::process_cache::Place;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Places {
    table: Table,
    associations: Option<Associations>,
}

impl Places {
    /// Starts with the cgroups that are there.
    #[must_use]
    pub fn new(table: Table, associations: Option<Associations>) -> Self {
        if let Some(associations) = &associations {
            for cgroup in table.all() {
                associations.made(cgroup);
            }
        }
        Self { table, associations }
    }

    /// A cgroup's facts; `None` for one that is of no pod.
    #[must_use]
    pub fn facts(&self, cgroup: u64) -> Option<&Arc<CgroupFacts>> {
        self.table.get(cgroup)
    }

    /// For a process that is started in this cgroup, or enters it.
    pub fn place(&mut self, cgroup: u64) -> Place {
        let Some(facts) = self.table.get(cgroup) else { return Place::default() };
        let association = self.associations.as_mut().map(|all| all.of(facts));
        Place { cgroup: Some(Arc::clone(facts)), association }
    }

    /// A cgroup was made.
    pub fn made(&mut self, made: &Made<'_>) {
        self.table.made(made);
        if let (Some(associations), Some(cgroup)) = (&self.associations, self.table.get(made.id)) {
            associations.made(cgroup);
        }
    }

    /// A cgroup was removed at `time` (boot ns).
    pub fn gone(&mut self, cgroup: u64, time: u64) {
        self.table.remove(cgroup, time);
        if let Some(associations) = &mut self.associations {
            associations.gone(cgroup);
        }
    }

    /// Forgets what was removed long enough before `now` (boot ns).
    pub fn expire(&mut self, now: u64) {
        self.table.expire(now);
    }
}
