//! Whose a process is: the pods of this node, their containers, and the policies that select them.
//!
//! The kernel says of each cgroup which pod it is of, by the names alone (`cgroups`). `follow` brings the pods from the
//! API server into the `store`, which keeps what is `known` of each; `runtime` reads what the container runtime has
//! written of a container, which is earlier. `associate` joins the three, `hold` lets an event wait until that is
//! possible, and `scope` brings the policies' selectors into the kernel. [`Pods`] is what all of them share.

pub mod associate;
mod cgroup;
pub mod follow;
pub mod hold;
pub mod known;
pub mod runtime;
pub mod scope;
pub mod store;
mod workload;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;
use securitywatch_api::policy::PodScope;

use crate::cgroups::CgroupFacts;
use crate::event::{Association, Grade};
use crate::policy::ScopeKeeper;
use associate::associate;
pub use cgroup::Associations;
use known::KnownPod;
use runtime::{RuntimeReader, RuntimeRecord};
use scope::{PodView, ScopeSink, Scopes, container_bits, pod_bits};
use store::Store;

/// How long a container that is gone stays known: its last events may wait.
const CONTAINER_LINGER: Duration = Duration::from_secs(60);
/// A watch that fails for a moment is nobody's business.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pods of this node.
#[derive(Debug, Clone)]
pub struct Pods(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts what an association may be learnt from.
    version: AtomicU64,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// By cgroup.
    containers: HashMap<u64, PodContainer>,
    /// By container id.
    records: HashMap<String, RuntimeRecord>,
    scopes: Scopes,
    reader: Option<RuntimeReader>,
    /// Whether the runtime's records can be read here; `None` before the first container.
    runtime: Option<Result<(), String>>,
    /// Since when the pods are not followed, and why.
    away: Option<(Instant, String)>,
}

/// The cgroup of a container.
#[derive(Debug)]
struct PodContainer {
    pod_uid: Arc<str>,
    id: Arc<str>,
    removed: Option<Instant>,
}

impl Default for Pods {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl Pods {
    /// None are known yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let state = State {
            store: Store::default(),
            containers: HashMap::new(),
            records: HashMap::new(),
            scopes: Scopes::default(),
            reader: None,
            runtime: None,
            away: Some((now, "the API server has not answered yet".to_owned())),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), version: AtomicU64::new(1) }))
    }

    // A panic elsewhere leaves the state whole: each change is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// From now on the policies' scopes are written to the kernel.
    pub fn write_scopes(&self, sink: Box<dyn ScopeSink>) {
        self.lock().scopes.write_to(sink);
    }

    /// From now on the runtime's records below `root` are read.
    ///
    /// # Errors
    /// No thread.
    pub fn read_runtime(&self, root: &std::path::Path) -> io::Result<()> {
        let pods = self.clone();
        let reader = RuntimeReader::start(root.to_owned(), move |id, record| {
            pods.runtime_says(id, record);
        })?;
        let mut state = self.lock();
        for container in state.containers.values() {
            reader.ask(&container.id);
        }
        state.reader = Some(reader);
        Ok(())
    }

    /// What the watch of the pods says.
    pub fn apply(&self, event: Event<KnownPod>) {
        let mut state = self.lock();
        if matches!(event, Event::InitDone) {
            state.away = None;
        }
        let changed = state.store.apply(event, Instant::now());
        for uid in &changed {
            state.select(uid);
        }
        drop(state);
        if !changed.is_empty() {
            self.changed();
        }
    }

    /// The watch of the pods has failed; the next whole list ends that.
    pub fn cannot_follow(&self, why: String) {
        let mut state = self.lock();
        let since = state.away.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        state.away = Some((since, why));
    }

    /// A cgroup of a pod was made, or was there at the start.
    pub fn cgroup_made(&self, facts: &CgroupFacts) {
        let Some(id) = facts.container_id.clone().filter(|_| facts.container_cgroup == facts.id)
        else {
            return;
        };
        let container = PodContainer { pod_uid: facts.pod_uid.clone(), id, removed: None };
        let mut state = self.lock();
        if let Some(reader) = &state.reader {
            reader.ask(&container.id);
        }
        state.containers.insert(facts.id, container);
        state.select(&facts.pod_uid);
    }

    /// A cgroup of a pod was removed: nothing runs in it any more.
    pub fn cgroup_gone(&self, cgroup: u64) {
        let mut state = self.lock();
        if let Some(container) = state.containers.get_mut(&cgroup) {
            container.removed = Some(Instant::now());
            state.scopes.remove_container(cgroup);
        }
    }

    fn runtime_says(&self, id: String, record: io::Result<RuntimeRecord>) {
        let mut state = self.lock();
        match record {
            Ok(record) => {
                let uid = record.pod_uid.clone();
                state.runtime = Some(Ok(()));
                state.records.insert(id, record);
                state.select(&uid);
            }
            // A container may be gone before it is looked at; so one that was found outweighs all that were not.
            Err(error) => {
                tracing::debug!(container = id, %error, "The runtime's record of a container cannot be read");
                state.runtime.get_or_insert_with(|| Err(error.to_string()));
                return;
            }
        }
        drop(state);
        self.changed();
    }

    /// Forgets what is long gone, and tries again what failed; to be called every few seconds.
    pub fn tick(&self, now: Instant) {
        let mut state = self.lock();
        let state = &mut *state;
        let is_over = |container: &PodContainer| {
            let removed = container.removed;
            removed.is_some_and(|at| now.saturating_duration_since(at) >= CONTAINER_LINGER)
        };
        let records = &mut state.records;
        state.containers.retain(|_, container| {
            let keep = !is_over(container);
            if !keep {
                records.remove(&*container.id);
            }
            keep
        });
        let containers = &state.containers;
        let is_used =
            |uid: &str| containers.values().any(|c| c.removed.is_none() && *c.pod_uid == *uid);
        for uid in state.store.expire(now, is_used) {
            state.scopes.remove_pod(&uid);
        }
        for uid in state.scopes.take_failed() {
            state.select(&uid);
        }
    }

    /// Why a watch that selects pods may miss some; `None` when it misses none. `by_container` is one with a
    /// containerSelector.
    #[must_use]
    pub fn gap(&self, by_container: bool, now: Instant) -> Option<String> {
        let state = self.lock();
        if let Some(failure) = state.scopes.failure() {
            return Some(failure);
        }
        if let Some((since, why)) = &state.away
            && now.saturating_duration_since(*since) >= PATIENCE
        {
            return Some(if state.store.is_listed() {
                format!(
                    "changes of this node's pods cannot be followed: {why}; new pods have no labels, and a podSelector does not select them"
                )
            } else {
                format!(
                    "pods of this node cannot be listed: {why}; events have no labels and no workload, and a podSelector selects none"
                )
            });
        }
        match &state.runtime {
            Some(Err(why)) if by_container => Some(format!(
                "the container runtime's records cannot be read here ({why}), so a containerSelector selects a container only when the API server has its status, a second or more after its start"
            )),
            _ => None,
        }
    }

    /// All that is known of an association.
    fn look_up(&self, association: &Association) -> (Grade, crate::event::Pod) {
        let state = self.lock();
        let pod = state.store.get(&association.pod_uid);
        let record = state.records.get(&*association.container_id);
        associate(association, pod.map(|pod| &**pod), record)
    }

    /// Whether the labels of a pod are others than those its processes show.
    fn has_other_labels(&self, association: &Association) -> bool {
        let Some(shown) = association.pod() else { return false };
        let state = self.lock();
        state.store.get(&association.pod_uid).is_some_and(|pod| pod.labels != shown.labels)
    }
}

impl hold::Source for Pods {
    fn learn(&self, association: &Association) {
        if !association.is_to_look(self.version()) {
            return;
        }
        let (grade, pod) = self.look_up(association);
        if grade > Grade::Partial {
            association.learn(grade, Arc::new(pod));
        }
    }

    fn give_up(&self, association: &Association) {
        let (grade, pod) = self.look_up(association);
        association.learn(grade, Arc::new(pod));
    }
}

impl State {
    /// Brings what selects a pod and its containers into the kernel.
    fn select(&mut self, uid: &str) {
        let Self { store, containers, records, scopes, .. } = self;
        let of_pod =
            || containers.iter().filter(|(_, c)| *c.pod_uid == *uid && c.removed.is_none());
        let record = |c: &PodContainer| records.get(&*c.id).filter(|r| r.pod_uid == uid);
        let pod = store.get(uid);
        let namespace = || of_pod().find_map(|(_, c)| Some(record(c)?.namespace.as_str()));
        let view = match pod {
            Some(pod) => PodView { namespace: &pod.namespace, labels: Some(&pod.labels) },
            None => match namespace() {
                Some(namespace) => PodView { namespace, labels: None },
                None => return,
            },
        };
        scopes.set_pod(uid, pod_bits(&scopes.selecting, view));
        for (cgroup, container) in of_pod() {
            let started = pod.and_then(|pod| pod.instance(&container.id));
            let named = match (started, record(container)) {
                (Some((known, instance)), _) => Some((&known.name, &instance.image_name)),
                (None, Some(record)) => Some((&record.container_name, &record.image_name)),
                (None, None) => None,
            };
            if let Some((name, image)) = named {
                let bits = container_bits(&scopes.selecting, view, name, image);
                scopes.set_container(uid, *cgroup, bits);
            }
        }
    }

    fn select_all(&mut self) {
        let mut uids: Vec<String> = self.store.cgroup_uids().cloned().collect();
        uids.extend(self.containers.values().map(|container| container.pod_uid.to_string()));
        uids.sort_unstable();
        uids.dedup();
        for uid in uids {
            self.select(&uid);
        }
    }
}

impl ScopeKeeper for Pods {
    fn begin(&self, bit: u32, pods: &PodScope) -> Result<(), String> {
        let mut state = self.lock();
        state.scopes.selecting.insert(bit, pods.clone());
        state.select_all();
        // A pod that does not fit into the kernel's table is outside of every scope; the policy works for the others,
        // and the report says so.
        Ok(())
    }

    fn end(&self, bit: u32) {
        self.lock().scopes.selecting.remove(&bit);
    }
}

#[cfg(test)]
mod tests;
