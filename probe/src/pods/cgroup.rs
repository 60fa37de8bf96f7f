//! The association of each container's cgroup, which its processes share.

use std::collections::HashMap;
use std::sync::Arc;

use super::Pods;
use crate::cgroups::{self, CgroupFacts};
use crate::event::Association;

/// Beyond, those that no process has are forgotten.
const MAX_ASSOCIATIONS: usize = 8192;

/// For the thread that reads the records.
#[derive(Debug)]
pub struct Associations {
    pods: Pods,
    /// By the container's cgroup, or the pod's own.
    by_cgroup: HashMap<u64, Shown>,
}

#[derive(Debug)]
struct Shown {
    association: Arc<Association>,
    /// Of the pods, when the labels were compared last.
    version: u64,
}

impl Associations {
    /// None yet.
    #[must_use]
    pub fn new(pods: Pods) -> Self {
        Self { pods, by_cgroup: HashMap::new() }
    }

    /// A cgroup was made, or was there at the start.
    pub fn made(&self, facts: &CgroupFacts) {
        self.pods.cgroup_made(facts);
    }

    /// A cgroup was removed. Processes that were in it keep what they have.
    pub fn gone(&mut self, cgroup: u64) {
        self.by_cgroup.remove(&cgroup);
        self.pods.cgroup_gone(cgroup);
    }

    /// The association for a process that is started in the cgroup now.
    pub fn of(&mut self, facts: &CgroupFacts) -> Arc<Association> {
        let cgroup = if facts.container_cgroup == 0 { facts.id } else { facts.container_cgroup };
        let version = self.pods.version();
        if self.by_cgroup.len() >= MAX_ASSOCIATIONS {
            // Of cgroups that are gone, for whose last processes they were made anew.
            self.by_cgroup.retain(|_, shown| Arc::strong_count(&shown.association) > 1);
        }
        let shown = self
            .by_cgroup
            .entry(cgroup)
            .or_insert_with(|| Shown { association: Arc::new(association(facts)), version });
        if shown.version != version {
            shown.version = version;
            // Earlier processes keep the labels that the pod had when they were started.
            if self.pods.has_other_labels(&shown.association) {
                shown.association = Arc::new(association(facts));
            }
        }
        Arc::clone(&shown.association)
    }
}

fn association(facts: &CgroupFacts) -> Association {
    let id = facts.container_id.clone().unwrap_or_default();
    Association::new(facts.pod_uid.clone(), id, cgroups::runtime(&facts.name))
}
