//! What every pass over a watch shares, and what is remembered of each watch to make the next pass cheaper.
//!
//! Nothing here is needed for the right outcome: an operator that starts anew finds it all again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kube::Client;
use securitywatch_api::v1alpha1::WatchStatus;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::alerts::Pager;
use crate::events::Announcer;
use crate::ingest::Desk;
use crate::key::WatchKey;
use crate::lock::lock;
use crate::nodes::Index;
use crate::observe::Checked;
use crate::policies::{Policies, PolicyKey};
use crate::references::Resolved;
use crate::status::Rollout;
use crate::sync::{Engine, Slot};
use crate::telemetry::Metrics;
use crate::triggers::{Pace, Triggers};

/// What every pass shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's namespace.
    pub namespace: String,
    /// Namespaces whose Secrets may be read; empty: all.
    pub watch_namespaces: Vec<String>,
    /// Of each watch.
    pub memories: Memories,
    /// What the nodes report.
    pub index: Arc<Mutex<Index>>,
    /// The probes' pods.
    pub rollout: Arc<Mutex<Option<Rollout>>>,
    /// Policy objects that watches refer to.
    pub policies: Arc<Policies>,
    /// Whether nodes keep events in files.
    pub event_log: bool,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Writes Events.
    pub announcer: Arc<Announcer>,
    /// Passes that may run at the same time, over both kinds.
    pub permits: Semaphore,
    /// Talks to Parseable.
    pub engine: Engine,
    /// Calls the receivers of alerts.
    pub pager: Pager,
    /// Keeps the nodes' accounts.
    pub desk: Arc<Desk>,
    /// Watches to look at.
    pub triggers: Arc<Triggers>,
    /// Watches to look at soon.
    pub pace: Arc<Pace>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// What is remembered of a watch.
#[derive(Debug)]
pub struct Memory {
    /// Its name.
    pub key: WatchKey,
    /// The spec of a generation with its meaning, and the hash of the policy in it.
    pub checked: Option<(i64, Arc<Checked>, Option<String>)>,
    /// Its Secrets, and when to read them again.
    pub reading: Option<Reading>,
    /// The policy object it refers to.
    pub policy: Option<PolicyKey>,
    /// The status as this process wrote it last, with the resource version that came of it: the object
    /// in the cache may be older.
    pub written: Option<(WatchStatus, u64)>,
    /// Of its annotations: who changes one wants everything looked at now.
    pub annotations: Option<u64>,
    /// Passes that failed in a row.
    pub failures: u32,
    /// Status of `Ready`, for the metrics.
    pub ready: &'static str,
    /// What goes on with Parseable.
    pub slot: Slot,
}

/// Secrets as they were read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// For this generation.
    pub generation: i64,
    /// What they gave.
    pub resolved: Arc<Resolved>,
    /// To be read again then.
    pub due: Instant,
}

impl Memory {
    /// Looks at everything anew where an annotation changed.
    pub fn nudge(&mut self, annotations: u64) {
        if self.annotations.replace(annotations).is_some_and(|before| before != annotations) {
            let now = Instant::now();
            if let Some(reading) = &mut self.reading {
                reading.due = now;
            }
            self.slot.due = Some(now);
        }
    }

    fn new(key: WatchKey) -> Self {
        Self {
            key,
            checked: None,
            reading: None,
            policy: None,
            written: None,
            annotations: None,
            failures: 0,
            ready: "Unknown",
            slot: Slot::default(),
        }
    }
}

/// Memories by uid.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<Arc<str>, Arc<Mutex<Memory>>>>);

impl Memories {
    /// The memory of a watch, new or old.
    pub fn of(&self, uid: &str, key: &WatchKey) -> Arc<Mutex<Memory>> {
        let mut memories = lock(&self.0);
        if let Some(memory) = memories.get(uid) {
            return Arc::clone(memory);
        }
        let memory = Arc::new(Mutex::new(Memory::new(key.clone())));
        memories.insert(uid.into(), Arc::clone(&memory));
        memory
    }

    /// The memory of a watch, if there is one.
    pub fn get(&self, uid: &str) -> Option<Arc<Mutex<Memory>>> {
        lock(&self.0).get(uid).cloned()
    }

    /// Forgets a watch.
    pub fn forget(&self, uid: &str) -> Option<Arc<Mutex<Memory>>> {
        lock(&self.0).remove(uid)
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<Mutex<Memory>>)> {
        lock(&self.0).iter().map(|(uid, memory)| (Arc::clone(uid), Arc::clone(memory))).collect()
    }

    /// The names of the watches with these uids.
    pub fn keys(&self, uids: &[Arc<str>]) -> Vec<WatchKey> {
        let memories = lock(&self.0);
        uids.iter()
            .filter_map(|uid| memories.get(uid))
            .map(|memory| lock(memory).key.clone())
            .collect()
    }

    /// The names of the watches for which `wanted` holds.
    pub fn keys_where(&self, wanted: impl Fn(&Memory) -> bool) -> Vec<WatchKey> {
        let memories = self.all();
        memories
            .iter()
            .filter_map(|(_, memory)| {
                let memory = lock(memory);
                wanted(&memory).then(|| memory.key.clone())
            })
            .collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
