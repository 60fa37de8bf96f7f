//! What is known of each cgroup of a pod: pure, fed by the kernel side's records and the scan at the start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::names::{self, Named};

/// How long a removed cgroup stays known, in boot-time ns: records of its processes may still be under way.
const LINGER_NS: u64 = 60_000_000_000;
/// Most removed cgroups that are kept.
const MAX_REMOVED: usize = 4096;
/// Most cgroups in all; the kernel side's table is smaller, and what is not in that is not reported as removed.
const MAX_CGROUPS: usize = 65_536;

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

impl CgroupFacts {
    /// The facts of a cgroup directly below one with the facts `above`; `None` for the host's.
    /// `is_roots`: root made it.
    #[must_use]
    pub fn below(above: Option<&Self>, id: u64, name: &str, is_roots: bool) -> Option<Self> {
        let facts = |uid: &str, container_cgroup, container_id: Option<&str>| Self {
            id,
            pod_uid: uid.into(),
            container_cgroup,
            container_id: container_id.map(Arc::from),
            name: name.into(),
        };
        match above {
            // Whatever a pod names its cgroups, it stays that pod.
            Some(above) if above.container_cgroup != 0 => {
                Some(Self { id, name: name.into(), ..above.clone() })
            }
            Some(_) if names::is_monitor(name) => None,
            Some(above) => Some(facts(&above.pod_uid, id, names::container_id(name))),
            None if !is_roots => None,
            None => names::pod(name).map(|named| match named {
                Named::Pod { uid } => facts(&uid, 0, None),
                Named::Container { uid, id: container } => facts(&uid, id, Some(container)),
            }),
        }
    }
}

/// A cgroup that was made; see [`CgroupFacts`].
#[derive(Debug)]
pub struct Made<'a> {
    pub id: u64,
    pub container: u64,
    pub pod: &'a [u8],
    pub name: &'a [u8],
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

    /// All that are known.
    pub fn all(&self) -> impl Iterator<Item = &Arc<CgroupFacts>> {
        self.cgroups.values()
    }

    /// A cgroup that is there.
    pub fn insert(&mut self, facts: CgroupFacts) {
        if self.cgroups.len() < MAX_CGROUPS {
            self.cgroups.insert(facts.id, Arc::new(facts));
        }
    }

    /// A cgroup as the kernel side tells of it; returns what was made of that.
    pub fn made(&mut self, cgroup: &Made<'_>) -> CgroupFacts {
        let name = String::from_utf8_lossy(cgroup.name);
        let container_id = match cgroup.container {
            0 => None,
            own if own == cgroup.id => names::container_id(&name).map(Arc::from),
            above => self.get(above).and_then(|facts| facts.container_id.clone()),
        };
        let facts = CgroupFacts {
            id: cgroup.id,
            pod_uid: String::from_utf8_lossy(cgroup.pod).into(),
            container_cgroup: cgroup.container,
            container_id,
            name: name.into(),
        };
        self.insert(facts.clone());
        facts
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

    const UID: &str = "0f6ee3a2-6a43-4a3c-9c5c-4f9d0c9be1aa";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn facts(id: u64) -> CgroupFacts {
        CgroupFacts {
            id,
            pod_uid: "uid".into(),
            container_cgroup: id,
            container_id: None,
            name: "name".into(),
        }
    }

    /// The facts at the end of a path; its parts are numbered from 1.
    fn at(path: &str) -> Option<CgroupFacts> {
        let mut above = None;
        for (n, name) in path.split('/').enumerate() {
            above = CgroupFacts::below(above.as_ref(), n as u64 + 1, name, true);
        }
        above
    }

    #[test]
    fn paths_of_every_driver_and_runtime() {
        let uid = UID.replace('-', "_");
        let slice =
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
        // Path, number of the container's part (0: the pod's own), whether that names the container.
        for (path, container, named) in [
            (slice.clone(), 0, false),
            (format!("{slice}/cri-containerd-{ID}.scope"), 4, true),
            (format!("{slice}/crio-{ID}.scope"), 4, true),
            (format!("{slice}/crio-{ID}.scope/container"), 4, true),
            (format!("{slice}/docker-{ID}.scope"), 4, true),
            (format!("{slice}/cri-containerd-{ID}.scope/init.scope"), 4, true),
            (format!("{slice}/cri-containerd-{ID}.scope/system.slice/x.service"), 4, true),
            (format!("{slice}/cri-containerd-{ID}.scope/docker/{}", "f".repeat(64)), 4, true),
            (
                format!("{slice}/cri-containerd-{ID}.scope/kubepods/pod{}", UID.replace('0', "1")),
                4,
                true,
            ),
            (format!("{slice}/something"), 4, false),
            (format!("kubepods/burstable/pod{UID}"), 0, false),
            (format!("kubepods/burstable/pod{UID}/{ID}"), 4, true),
            (format!("kubepods/pod{UID}/crio-{ID}"), 3, true),
            (format!("kubepods/besteffort/pod{UID}/{ID}/container"), 4, true),
            (
                format!(
                    "docker/{}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid}.slice/cri-containerd-{ID}.scope",
                    "e".repeat(64)
                ),
                6,
                true,
            ),
            (
                format!(
                    "system.slice/containerd.service/kubepods-burstable-pod{uid}.slice:cri-containerd:{ID}"
                ),
                3,
                true,
            ),
        ] {
            let found = at(&path).unwrap();
            assert_eq!(&*found.pod_uid, UID, "{path}");
            assert_eq!(found.container_cgroup, container, "{path}");
            assert_eq!(found.container_id.as_deref(), named.then_some(ID), "{path}");
            assert_eq!(Some(&*found.name), path.rsplit('/').next(), "{path}");
        }
    }

    #[test]
    fn what_is_of_no_pod() {
        let slice = format!("kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        for path in [
            "system.slice/kubelet.service".to_owned(),
            format!("system.slice/docker-{ID}.scope"),
            format!("machine.slice/libpod-{ID}.scope/container"),
            "kubepods.slice".to_owned(),
            format!("{slice}/crio-conmon-{ID}.scope"),
        ] {
            assert_eq!(at(&path), None, "{path}");
        }
        let by_a_user = CgroupFacts::below(None, 1, &format!("pod{UID}"), false);
        assert_eq!(by_a_user, None, "a user who may make cgroups cannot make a pod");
    }

    #[test]
    fn what_the_kernel_side_tells_is_what_the_path_tells() {
        let slice = format!("kubepods-pod{}.slice", UID.replace('-', "_"));
        let path = format!("{slice}/crio-{ID}.scope/container");
        let mut table = Table::default();
        for (n, name) in path.split('/').enumerate() {
            let id = n as u64 + 1;
            let (pod, name) = (UID.as_bytes(), name.as_bytes());
            table.made(&Made { id, container: if n == 0 { 0 } else { 2 }, pod, name });
        }
        for (id, path) in [(1, slice.as_str()), (3, path.as_str())] {
            assert_eq!(table.get(id).unwrap().as_ref(), &at(path).unwrap());
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
        for id in 0..2 * MAX_CGROUPS as u64 {
            table.insert(facts(u64::MAX - id));
        }
        assert_eq!(table.len(), MAX_CGROUPS);
    }
}
