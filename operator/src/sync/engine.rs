//! Runs syncs and removals beside the passes over the watches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use securitywatch_parseable::{
    AlertOutcome, Desired, Failure, KnownAlert, Owner, Server, ServerConfig, Servers, SyncReport,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{Done, Place, needed_cure, outcome};
use crate::context::Memory;
use crate::events::{Announcement, Announcer};
use crate::key::WatchKey;
use crate::lock::lock;
use crate::telemetry::Metrics;
use crate::triggers::Triggers;

/// Syncs that run at the same time, over all servers.
const CONCURRENT: usize = 8;
/// A whole sync, of up to 64 alerts with several requests each, must be over by then.
const SYNC_DEADLINE: Duration = Duration::from_secs(180);

/// What is the same for all watches.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Identifies the cluster.
    pub cluster_id: String,
    /// Put the servers' outbound policy.
    pub manage_outbound_policy: bool,
    /// Let the servers call the receivers of alerts too.
    pub servers_call: bool,
}

/// Runs syncs.
#[derive(Debug)]
pub struct Engine {
    /// The same for all watches.
    pub settings: Settings,
    /// The servers in use.
    pub servers: Servers,
    permits: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
    triggers: Arc<Triggers>,
    metrics: Arc<Metrics>,
    announcer: Arc<Announcer>,
}

/// A sync to be run.
#[derive(Debug)]
pub struct Job {
    /// The watch.
    pub key: WatchKey,
    /// For Events.
    pub about: ObjectReference,
    /// The server and the account.
    pub config: ServerConfig,
    /// What is wanted there.
    pub desired: Desired,
    /// Ids out of the status.
    pub known: Vec<KnownAlert>,
    /// Where the account comes from: `secret shop/admin`.
    pub account: String,
    /// Of the spec.
    pub generation: i64,
    /// Of the Secrets.
    pub fingerprint: String,
}

impl Engine {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        servers: Servers,
        triggers: Arc<Triggers>,
        metrics: Arc<Metrics>,
        announcer: Arc<Announcer>,
    ) -> Self {
        Self {
            settings,
            servers,
            permits: Arc::new(Semaphore::new(CONCURRENT)),
            tasks: Mutex::new(JoinSet::new()),
            triggers,
            metrics,
            announcer,
        }
    }

    /// Starts a sync. What came of it is left in the memory, and the watch is looked at again.
    pub fn sync(&self, memory: &Arc<Mutex<Memory>>, job: Job) {
        let left = {
            let mut memory = lock(memory);
            memory.slot.running = true;
            memory.slot.removal = None;
            memory.slot.removal_due = None;
            let place = Place { config: job.config.clone(), stream: job.desired.stream.clone() };
            let before = memory.slot.place.replace(place.clone());
            before.filter(|before| {
                before.config.url != place.config.url || before.stream != place.stream
            })
        };
        let (memory, servers) = (Arc::clone(memory), self.servers.clone());
        let (permits, triggers) = (Arc::clone(&self.permits), Arc::clone(&self.triggers));
        let (metrics, announcer) = (Arc::clone(&self.metrics), Arc::clone(&self.announcer));
        self.spawn(async move {
            let _permit = permits.acquire().await;
            if let Some(left) = left {
                leave(&servers, &left, &job.desired.owner).await;
            }
            let report = synced(&servers, &job).await;
            let sync = outcome(&report, &job.account);
            let cure = needed_cure(&sync);
            metrics.synced(if cure.is_none() { "ok" } else { "failed" });
            let done = Done { generation: job.generation, fingerprint: job.fingerprint, sync };
            lock(&memory).slot.finish(done, cure, Instant::now());
            triggers.fire(job.key);
            let told: Vec<_> = report.changes.iter().map(announcement).collect();
            announcer.publish(&job.about, &told, &metrics).await;
        });
    }

    /// Starts the removal of everything that the watch left at `place`.
    pub fn remove(&self, memory: &Arc<Mutex<Memory>>, key: WatchKey, place: Place, owner: Owner) {
        lock(memory).slot.running = true;
        let (memory, servers) = (Arc::clone(memory), self.servers.clone());
        let (permits, triggers) = (Arc::clone(&self.permits), Arc::clone(&self.triggers));
        self.spawn(async move {
            let _permit = permits.acquire().await;
            let result = removed(&servers, &place, &owner).await;
            {
                let mut memory = lock(&memory);
                memory.slot.running = false;
                memory.slot.failures =
                    if result.is_ok() { 0 } else { memory.slot.failures.saturating_add(1) };
                memory.slot.removal = Some(result.map_err(|failure| failure.message));
            }
            triggers.fire(key);
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                warn!(%error, "A sync ended in a panic.");
            }
        }
        tasks.spawn(task);
    }

    /// Ends what runs: who does not act any more must not talk to servers either.
    pub fn stop(&self) {
        lock(&self.tasks).abort_all();
    }
}

fn server(servers: &Servers, config: &ServerConfig) -> Result<Server, Failure> {
    servers.get(config)
}

async fn synced(servers: &Servers, job: &Job) -> SyncReport {
    let server = match server(servers, &job.config) {
        Ok(server) => server,
        Err(failure) => return failed(job, &failure),
    };
    match timeout(SYNC_DEADLINE, server.sync(&job.desired, &job.known)).await {
        Ok(report) => report,
        Err(_) => failed(job, &late(job.config.url.as_str())),
    }
}

/// A report that says the same of everything; what is known of the alerts' ids stays.
fn failed(job: &Job, failure: &Failure) -> SyncReport {
    let alerts = job.desired.alerts.iter().map(|alert| AlertOutcome {
        name: alert.name.clone(),
        id: job.known.iter().find(|known| known.name == alert.name).map(|known| known.id.clone()),
        state: None,
        last_fired: None,
        failure: Some(failure.clone()),
    });
    SyncReport {
        stream: Err(failure.clone()),
        alerts: alerts.collect(),
        changes: Vec::new(),
        generation: None,
    }
}

fn late(url: &str) -> Failure {
    Failure {
        class: securitywatch_parseable::FailureClass::Unreachable,
        message: format!(
            "{url} is too slow: a sync was not over after {} s",
            SYNC_DEADLINE.as_secs()
        ),
    }
}

async fn removed(servers: &Servers, place: &Place, owner: &Owner) -> Result<(), Failure> {
    let server = server(servers, &place.config)?;
    match timeout(SYNC_DEADLINE, server.remove(owner, &place.stream)).await {
        Ok(result) => result.map(|removed| debug!(?removed, watch = owner.title, "Removed.")),
        Err(_) => Err(late(place.config.url.as_str())),
    }
}

/// The watch has another target now: removes what it left at the old one, once. If that fails, it stays.
async fn leave(servers: &Servers, place: &Place, owner: &Owner) {
    if let Err(failure) = removed(servers, place, owner).await {
        warn!(watch = owner.title, error = failure.message, "Alerts stay at the former target.");
    }
}

fn announcement(change: &securitywatch_parseable::Change) -> Announcement {
    Announcement {
        warning: change.is_warning(),
        reason: change.reason(),
        note: change.message.clone(),
    }
}
