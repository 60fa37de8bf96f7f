//! What the replica that acts does.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _};
use securitywatch_api::v1alpha1::{ClusterSecurityWatch, SecurityWatch};
use securitywatch_parseable::{Servers, TargetGuard};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::RunError;
use super::gate::{Gate, Part};
use super::watches;
use crate::alerts::{self, Door, Gatekeeper, Pager};
use crate::cli::RunArgs;
use crate::context::{Context, Memories};
use crate::controller;
use crate::daemonset::{Control, ProbeConfig};
use crate::events::Announcer;
use crate::health::Readiness;
use crate::ingest::{Desk, Ingest};
use crate::key::{WatchKind, WatchObject};
use crate::lock::lock;
use crate::nodes;
use crate::policies::Policies;
use crate::sync::{self, Engine, Live, Settings};
use crate::telemetry::Metrics;
use crate::triggers::{Pace, Triggers};

/// How often servers are asked whether they were restarted.
const RESTART_CHECK: Duration = Duration::from_secs(30);
/// How often what deleted watches left is looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(10);
/// Passes that run get so long to end before the process does.
const LAST_PASSES: Duration = Duration::from_secs(10);

/// Everything that was found out before.
pub(super) struct Setup<'a> {
    pub(super) args: &'a RunArgs,
    pub(super) probe: ProbeConfig,
    pub(super) guard: TargetGuard,
    pub(super) client: Client,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) cluster_id: String,
}

type Watches = Store<DeserializeGuard<SecurityWatch>>;
type ClusterWatches = Store<DeserializeGuard<ClusterSecurityWatch>>;

pub(super) async fn lead(
    setup: Setup<'_>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), RunError> {
    let context = context(&setup)?;
    let door = door(&setup)?.map(Arc::new);
    let (stopped, stopping) = watch::channel(false);
    let (namespaced, follow_namespaced) = watches::follow::<SecurityWatch>(Arc::clone(&context));
    let (clustered, follow_clustered) =
        watches::follow::<ClusterSecurityWatch>(Arc::clone(&context));
    let gate = Gate::new();
    let passes = passes(&context, &namespaced, &clustered, &stopping, gate.open());
    let control = Control {
        config: setup.probe,
        namespace: setup.args.namespace.clone(),
        deployment: setup.args.deployment.clone(),
        rollout: Arc::clone(&context.rollout),
        metrics: Arc::clone(&context.metrics),
    };
    let everything = || context.pace.add(context.memories.keys_where(|_| true));
    let ready = async {
        // A store that is dropped before it is ready means that the process ends.
        let _ = tokio::join!(namespaced.wait_until_ready(), clustered.wait_until_ready());
        setup.readiness.set(true);
        info!("The first lists are complete.");
        std::future::pending::<()>().await;
    };
    let nodes = nodes::watch(
        context.client.clone(),
        Arc::clone(&context.index),
        Arc::clone(&context.metrics),
        |uids| context.pace.add(context.memories.keys(uids)),
        || gate.known(Part::Reports),
    );
    let policies = context.policies.run(&context.client, &context.metrics, |changed| {
        let refers = |policy: &crate::context::Memory| match (changed, &policy.policy) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(changed), Some(policy)) => policy == changed,
        };
        for key in context.memories.keys_where(refers) {
            context.triggers.fire(key);
        }
    });
    let certificate = || door.as_ref().and_then(|door| lock(&door.certificate).clone());
    let desk = context.desk.run(
        &context.client,
        &context.namespace,
        &context.metrics,
        || ingest(&context, &namespaced, &clustered),
        certificate,
    );
    let reports = async {
        match &door {
            Some(door) => alerts::serve(&context, door).await,
            None => std::future::pending().await,
        }
    };
    // Polled in one task: where one ends or panics, all end.
    let work = async {
        tokio::select! {
            () = follow_namespaced => {}
            () = follow_clustered => {}
            () = control.run(context.client.clone(), everything, || gate.known(Part::Rollout)) => {}
            () = ready => {}
            () = nodes => {}
            () = policies => {}
            () = desk => {}
            ended = reports => return ended.map_err(RunError::from),
            () = context.pager.run(&context) => {}
            () = context.pace.run(&context.triggers) => {}
            () = housekeeping(&context, &namespaced, &clustered) => {}
        }
        Ok(())
    };
    let passes = tokio::spawn(passes);
    let abort = passes.abort_handle();
    let result = tokio::select! {
        ended = work => ended.and(Err(RunError::Ended)),
        () = stop => Ok(()),
    };
    // Nobody listens any more if this fails.
    let _ = stopped.send(true);
    if timeout(LAST_PASSES, passes).await.is_err() {
        warn!("Some passes did not end in time.");
        abort.abort();
    }
    context.engine.stop();
    context.pager.end(&context).await;
    result
}

/// What the reports of probes need; `None` where they are not received.
fn door(setup: &Setup<'_>) -> Result<Option<Door>, RunError> {
    let Some(address) = setup.args.alerts_addr else { return Ok(None) };
    let host = setup.probe.operator_host().ok_or(RunError::NoOperatorUrl)?;
    let account = &setup.probe.service_account_name;
    Ok(Some(Door {
        address,
        host,
        gatekeeper: Gatekeeper::new(setup.client.clone(), &setup.args.namespace, account),
        readiness: Arc::clone(&setup.readiness),
        certificate: Mutex::default(),
    }))
}

fn context(setup: &Setup<'_>) -> Result<Arc<Context>, RunError> {
    let triggers = Arc::new(Triggers::default());
    let announcer = Arc::new(Announcer::new(setup.client.clone(), &setup.args.pod_name));
    let engine = Engine::new(
        Settings {
            cluster_id: setup.cluster_id.clone(),
            manage_outbound_policy: setup.args.manage_outbound_policy,
            servers_call: setup.args.parseable_calls_receivers,
        },
        Servers::new(setup.guard.clone()),
        Arc::clone(&triggers),
        Arc::clone(&setup.metrics),
        Arc::clone(&announcer),
    );
    Ok(Arc::new(Context {
        client: setup.client.clone(),
        namespace: setup.args.namespace.clone(),
        watch_namespaces: setup.args.watch_namespace.clone(),
        memories: Memories::default(),
        index: Arc::default(),
        rollout: Arc::new(Mutex::new(None)),
        policies: Arc::new(Policies::default()),
        event_log: setup.probe.event_log.as_ref().is_some_and(|log| log.enabled),
        metrics: Arc::clone(&setup.metrics),
        announcer,
        permits: Semaphore::new(controller::CONCURRENT.into()),
        engine,
        pager: Pager::new(setup.guard.clone())?,
        desk: Arc::new(Desk::default()),
        triggers,
        pace: Arc::new(Pace::default()),
    }))
}

/// The passes over both kinds, until told to stop.
fn passes(
    context: &Arc<Context>,
    namespaced: &Watches,
    clustered: &ClusterWatches,
    stopping: &watch::Receiver<bool>,
    gate: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    use futures::StreamExt as _;
    let until = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that the sender is gone: then it is over as well.
        let _ = stopping.wait_for(|stopped| *stopped).await;
    };
    let queue = |kind| {
        let stream = Arc::clone(&context.triggers).stream(kind);
        stream.take_until(Box::pin(until(stopping.clone())))
    };
    let stopped = until(stopping.clone());
    let first = controller::run::<SecurityWatch>(
        Arc::clone(context),
        namespaced.clone(),
        queue(WatchKind::Namespaced),
    );
    let second = controller::run::<ClusterSecurityWatch>(
        Arc::clone(context),
        clustered.clone(),
        queue(WatchKind::Cluster),
    );
    async move {
        tokio::select! {
            () = gate => {}
            () = stopped => return,
        }
        futures::join!(first, second);
    }
}

/// The uids of the watches in a store; `None` before its first list.
fn uids<K: WatchObject>(store: &Store<DeserializeGuard<K>>) -> Option<Vec<String>> {
    // Ready at once or not yet.
    futures::FutureExt::now_or_never(store.wait_until_ready())?.ok()?;
    Some(store.state().iter().filter_map(|object| object.meta().uid.clone()).collect())
}

fn all_uids(namespaced: &Watches, clustered: &ClusterWatches) -> Option<HashSet<String>> {
    let mut all: HashSet<String> = uids(namespaced)?.into_iter().collect();
    all.extend(uids(clustered)?);
    Some(all)
}

/// The account of each watch there is, as far as it is known.
fn ingest(
    context: &Context,
    namespaced: &Watches,
    clustered: &ClusterWatches,
) -> Option<BTreeMap<String, Ingest>> {
    let account = |uid: &String| {
        let Some(memory) = context.memories.get(uid) else { return Ingest::Unknown };
        let memory = lock(&memory);
        match (&memory.reading, &memory.checked) {
            (Some(reading), _) => {
                reading.resolved.ingest.clone().map_or(Ingest::None, Ingest::Account)
            }
            // A spec that is not understood has no account, but may have had one a moment ago.
            (None, _) => Ingest::Unknown,
        }
    };
    Some(
        all_uids(namespaced, clustered)?
            .into_iter()
            .map(|uid| {
                let ingest = account(&uid);
                (uid, ingest)
            })
            .collect(),
    )
}

async fn housekeeping(context: &Arc<Context>, namespaced: &Watches, clustered: &ClusterWatches) {
    let every = |period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let restarts = async {
        let mut ticks = every(RESTART_CHECK);
        loop {
            ticks.tick().await;
            sync::check_restarts(context).await;
        }
    };
    let sweeps = async {
        let mut ticks = every(SWEEP);
        // The first tick comes at once: nothing is known of any server then.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let Some(live) = all_uids(namespaced, clustered) else { continue };
            forget_gone(context, &live);
            sync::sweep(context, &Live(live)).await;
        }
    };
    let gauges = async {
        let mut ticks = every(GAUGES);
        loop {
            ticks.tick().await;
            set_gauges(context);
        }
    };
    let endless: [futures::future::BoxFuture<'_, ()>; 3] =
        [Box::pin(restarts), Box::pin(sweeps), Box::pin(gauges)];
    join_all(endless).await;
}

/// Watches that were deleted while nobody looked.
fn forget_gone(context: &Context, live: &HashSet<String>) {
    for (uid, _) in context.memories.all() {
        if !live.contains(&*uid) {
            watches::forget(context, &uid);
        }
    }
    context.pager.forget_others(live);
}

fn set_gauges(context: &Context) {
    let mut counts: BTreeMap<(&'static str, &'static str), usize> = BTreeMap::new();
    for kind in WatchKind::ALL {
        for ready in ["True", "False", "Unknown"] {
            counts.insert((kind.as_str(), ready), 0);
        }
    }
    for (_, memory) in context.memories.all() {
        let memory = lock(&memory);
        *counts.entry((memory.key.kind.as_str(), memory.ready)).or_default() += 1;
    }
    for ((kind, ready), count) in counts {
        context.metrics.watches(kind, ready, count);
    }
}
