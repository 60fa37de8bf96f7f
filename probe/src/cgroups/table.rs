//! What is known of each cgroup of a pod: pure, fed by the kernel side's records and the scan at the start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How long a removed cgroup stays known, in boot-time ns: records of its processes may still be under way.
const LINGER_NS: u64 = 60_000_000_000;
/// Most removed cgroups that are kept.
const MAX_REMOVED: usize = 4096;

/// A cgroup of a pod: the pod's own, a container's, or one below a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupFacts {
    /// The kernel's id of it.
    pub id: u64,
    /// As in `metadata.uid`; of a static pod the hash that its mirror carries as annotation
    /// `kubernetes.io/config.hash`.
    pub pod_uid: Arc<str>,
    /// The id of the container's cgroup: this one, or the one above it that is directly below the pod's. 0 for
    /// the pod's own, in which no container runs.
    pub container_cgroup: u64,
    /// 64 hexadecimal digits; `None` for the pod's own and for what a runtime names in another way.
    pub container_id: Option<Arc<str>>,
    /// The last part of its path.
    pub name: Arc<str>,
}

/// All cgroups of pods, and for a while those that are gone.
#[derive(Debug, Default)]
pub struct Table {
    cgroups: HashMap<u64, Arc<CgroupFacts>>,
    removed: VecDeque<(u64, u64)>,
}

impl Table {
    /// A cgroup's facts; `None` for one that is of no pod.
    #[must_use]
    pub fn get(&self, cgroup: u64) -> Option<&Arc<CgroupFacts>> {
        self.cgroups.get(&cgroup)
    }

    /// A cgroup that is there.
    pub fn insert(&mut self, facts: CgroupFacts) {
        self.cgroups.insert(facts.id, Arc::new(facts));
    }

    /// The cgroup was removed at `time` (boot ns).
    pub fn remove(&mut self, cgroup: u64, time: u64) {
        if !self.cgroups.contains_key(&cgroup) {
            return;
        }
        self.removed.push_back((time.saturating_add(LINGER_NS), cgroup));
        if self.removed.len() > MAX_REMOVED
            && let Some((_, oldest)) = self.removed.pop_front()
        {
            self.cgroups.remove(&oldest);
        }
    }

    /// Forgets what was removed long enough before `now` (boot ns).
    pub fn expire(&mut self, now: u64) {
        while let Some((until, cgroup)) = self.removed.front().copied() {
            if until > now {
                break;
            }
            self.removed.pop_front();
            self.cgroups.remove(&cgroup);
        }
    }

    /// Cgroups known, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cgroups.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn facts(id: u64) -> CgroupFacts {
        CgroupFacts {
            id,
            pod_uid: "uid".into(),
            container_cgroup: id,
            container_id: None,
            name: "name".into(),
        }
    }

    #[test]
    fn a_removed_cgroup_stays_known_for_a_minute() {
        let mut table = Table::default();
        table.insert(facts(7));
        table.remove(7, 1_000);
        table.remove(8, 1_000);
        table.expire(1_000 + LINGER_NS - 1);
        assert_eq!(&*table.get(7).unwrap().pod_uid, "uid");
        table.expire(1_000 + LINGER_NS);
        assert!(table.get(7).is_none() && table.is_empty());
    }

    #[test]
    fn a_storm_of_containers_does_not_grow_the_table() {
        let mut table = Table::default();
        for id in 0..2 * MAX_REMOVED as u64 {
            table.insert(facts(id));
            table.remove(id, id);
        }
        assert_eq!(table.len(), MAX_REMOVED);
        assert!(table.get(2 * MAX_REMOVED as u64 - 1).is_some(), "the youngest stay");
    }
}
