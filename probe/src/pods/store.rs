//! The pods of this node, by the uid that their cgroups have. Pure: events of the watch in.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;

use super::known::KnownPod;

/// How long a deleted pod stays known: its last processes and their events outlive the object.
const LINGER: Duration = Duration::from_secs(300);
/// Most deleted pods that are kept.
const MAX_DELETED: usize = 1024;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Store {
    /// By the API server's uid.
    pods: HashMap<String, Arc<KnownPod>>,
    /// From a cgroup's uid to the API server's.
    by_cgroup: HashMap<String, String>,
    deleted: HashMap<String, Arc<KnownPod>>,
    /// Cgroup uids of these, the oldest first.
    order: VecDeque<(Instant, String)>,
    /// The list that is being read.
    incoming: Option<HashSet<String>>,
    listed: bool,
}

impl Store {
    /// Takes one event. Says the cgroup uids of the pods that are others now; one that is deleted stays what it was.
    pub fn apply(&mut self, event: Event<KnownPod>, now: Instant) -> Vec<String> {
        let changed = match event {
            Event::Init => {
                self.incoming = Some(HashSet::new());
                None
            }
            Event::InitApply(pod) => {
                if let Some(incoming) = &mut self.incoming {
                    incoming.insert(pod.uid.clone());
                }
                // One that is there is there: no need to wait for the others.
                self.insert(pod)
            }
            Event::InitDone => {
                let incoming = self.incoming.take().unwrap_or_default();
                let gone: Vec<String> =
                    self.pods.keys().filter(|uid| !incoming.contains(*uid)).cloned().collect();
                self.listed = true;
                return gone.iter().filter_map(|uid| self.delete(uid, now)).collect();
            }
            Event::Apply(pod) => self.insert(pod),
            Event::Delete(pod) => self.delete(&pod.uid, now),
        };
        changed.into_iter().collect()
    }

    fn insert(&mut self, pod: KnownPod) -> Option<String> {
        if self.pods.get(&pod.uid).is_some_and(|known| **known == pod) {
            return None;
        }
        let cgroup_uid = pod.cgroup_uid.clone();
        // Two mirrors of one static pod: the later is a forgery, or the former is about to be deleted.
        let owner = self.by_cgroup.entry(cgroup_uid.clone()).or_insert_with(|| pod.uid.clone());
        let is_owner = *owner == pod.uid;
        self.pods.insert(pod.uid.clone(), Arc::new(pod));
        is_owner.then_some(cgroup_uid)
    }

    /// Its processes end later than the object: it stays known for a while.
    fn delete(&mut self, uid: &str, now: Instant) -> Option<String> {
        let pod = self.pods.remove(uid)?;
        let cgroup_uid = pod.cgroup_uid.clone();
        if self.by_cgroup.get(&cgroup_uid).is_none_or(|owner| owner != uid) {
            return None;
        }
        self.by_cgroup.remove(&cgroup_uid);
        self.deleted.insert(cgroup_uid.clone(), pod);
        self.order.push_back((now, cgroup_uid.clone()));
        let heir = self.pods.values().find(|pod| pod.cgroup_uid == cgroup_uid)?.uid.clone();
        self.by_cgroup.insert(cgroup_uid.clone(), heir);
        Some(cgroup_uid)
    }

    /// Forgets pods that were deleted long ago, unless `is_used` says that some of their cgroups are there. Says which.
    pub fn expire(&mut self, now: Instant, is_used: impl Fn(&str) -> bool) -> Vec<String> {
        let mut forgotten = Vec::new();
        let mut kept = VecDeque::new();
        let excess = self.order.len().saturating_sub(MAX_DELETED);
        for (n, (since, uid)) in std::mem::take(&mut self.order).into_iter().enumerate() {
            let is_old = now.saturating_duration_since(since) >= LINGER && !is_used(&uid);
            if n >= excess && !is_old {
                kept.push_back((since, uid));
            } else if self.deleted.remove(&uid).is_some() && !self.by_cgroup.contains_key(&uid) {
                forgotten.push(uid);
            }
        }
        self.order = kept;
        forgotten
    }

    /// The pod whose cgroups have this uid.
    #[must_use]
    pub fn get(&self, cgroup_uid: &str) -> Option<&Arc<KnownPod>> {
        let living = self.by_cgroup.get(cgroup_uid).and_then(|uid| self.pods.get(uid));
        living.or_else(|| self.deleted.get(cgroup_uid))
    }

    /// The uids of the cgroups of all pods, those that were deleted lately included.
    pub fn cgroup_uids(&self) -> impl Iterator<Item = &String> {
        self.by_cgroup.keys().chain(self.deleted.keys())
    }

    /// Whether a whole list has come.
    #[must_use]
    pub const fn is_listed(&self) -> bool {
        self.listed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(uid: &str, name: &str) -> KnownPod {
        KnownPod {
            uid: uid.into(),
            cgroup_uid: uid.into(),
            name: name.into(),
            ..KnownPod::default()
        }
    }

    fn name<'a>(store: &'a Store, uid: &str) -> Option<&'a str> {
        Some(store.get(uid)?.name.as_str())
    }

    #[test]
    fn a_list_replaces_what_was_known_before() {
        let (mut store, now) = (Store::default(), Instant::now());
        assert_eq!(store.apply(Event::InitApply(pod("a", "a")), now), ["a"]);
        assert!(!store.is_listed() && name(&store, "a") == Some("a"), "known before the list ends");
        store.apply(Event::InitDone, now);
        store.apply(Event::Init, now);
        assert_eq!(store.apply(Event::InitApply(pod("b", "b")), now), ["b"]);
        store.apply(Event::InitDone, now);
        assert!(store.is_listed());
        assert!(store.apply(Event::Apply(pod("b", "b")), now).is_empty(), "nothing new");
        assert!(
            store.pods.len() == 1 && name(&store, "a") == Some("a"),
            "deleted, and still known"
        );
    }

    #[test]
    fn a_deleted_pod_stays_known_for_five_minutes_and_while_its_processes_run() {
        let (mut store, now) = (Store::default(), Instant::now());
        for uid in ["a", "b"] {
            store.apply(Event::Apply(pod(uid, uid)), now);
            store.apply(Event::Delete(pod(uid, uid)), now);
        }
        assert!(store.expire(now + LINGER - Duration::from_secs(1), |_| false).is_empty());
        assert_eq!(store.expire(now + LINGER, |uid| uid == "b"), ["a"]);
        assert_eq!((name(&store, "a"), name(&store, "b")), (None, Some("b")));
        assert_eq!(store.cgroup_uids().count(), 1);
    }

    #[test]
    fn a_storm_of_pods_does_not_grow_the_store() {
        let (mut store, now) = (Store::default(), Instant::now());
        for n in 0..2 * MAX_DELETED {
            store.apply(Event::Apply(pod(&n.to_string(), "")), now);
            store.apply(Event::Delete(pod(&n.to_string(), "")), now);
            store.expire(now, |_| true);
        }
        assert_eq!((store.deleted.len(), store.order.len()), (MAX_DELETED, MAX_DELETED));
        assert!(store.get(&(2 * MAX_DELETED - 1).to_string()).is_some(), "the youngest stay");
    }

    #[test]
    fn a_second_mirror_of_a_static_pod_gets_nothing_while_the_first_is_there() {
        let mirror = |uid: &str| KnownPod { cgroup_uid: "hash".into(), ..pod(uid, uid) };
        let (mut store, now) = (Store::default(), Instant::now());
        assert_eq!(store.apply(Event::Apply(mirror("first")), now), ["hash"]);
        assert!(store.apply(Event::Apply(mirror("second")), now).is_empty());
        assert_eq!(name(&store, "hash"), Some("first"));
        assert_eq!(store.apply(Event::Delete(mirror("first")), now), ["hash"]);
        assert_eq!(name(&store, "hash"), Some("second"));
        assert!(store.expire(now + LINGER, |_| false).is_empty(), "the uid is in use");
        assert_eq!(name(&store, "hash"), Some("second"));
    }
}
