//! One pass over a watch, the same for both kinds.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture};
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use securitywatch_api::v1alpha1::conditions::types;
use securitywatch_api::v1alpha1::{MAX_FAILING_NODES, WatchStatus};
use securitywatch_api::watch::CheckedWatch;
use securitywatch_parseable::KnownAlert;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::context::{Context, Memory, Reading};
use crate::error::Error;
use crate::key::{WatchKey, WatchObject, key_of};
use crate::lock::lock;
use crate::observe::{
    self, Checked, PolicyAnswer, judge_references, judge_spec, leaves_traces, policy_hash,
    policy_key, secret_namespace,
};
use crate::plan::{Finalizers, Plan, finalizers, plan};
use crate::policies::Lookup;
use crate::references::{self, Resolved};
use crate::status::{Facts, Judgement, Target, find};
use crate::sync::{Job, config, desired, owner};
use crate::{apply, backoff, deletion};

/// Passes that run at the same time.
pub const CONCURRENT: u16 = 8;
/// A watch is looked at so often although nothing changes.
const RESYNC: Duration = Duration::from_secs(600);
/// Secrets are read so often while they are right, and while something about them is wrong.
const REREAD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// All watches together read at most so many Secrets a second while nothing is wrong.
const READS_PER_SECOND: u32 = 20;

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Api(#[from] Error),
    /// A Secret could not be asked for.
    #[error("a Secret could not be read: the API server did not answer")]
    Unanswered,
}

impl ReconcileError {
    fn class(&self) -> &'static str {
        match self {
            Self::Api(error) => error.class(),
            Self::Unanswered => "unanswered",
        }
    }
}

/// Runs passes over the watches that the queue names, until it ends.
pub fn run<K: WatchObject>(
    context: Arc<Context>,
    store: Store<DeserializeGuard<K>>,
    queue: impl Stream<Item = WatchKey> + Send + 'static,
) -> impl Future<Output = ()> {
    let queue = queue.map(|key| Ok::<ObjectRef<DeserializeGuard<K>>, Infallible>(key.object_ref()));
    kube::runtime::applier(
        pass::<K>,
        failed::<K>,
        context,
        store,
        queue,
        Config::default().concurrency(CONCURRENT),
    )
    .for_each(|result| async move {
        if let Err(error) = result {
            // Failed passes were told already; the rest is about watches that are gone.
            debug!(%error, "A pass had no result.");
        }
    })
}

fn pass<K: WatchObject>(
    object: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, ReconcileError>> {
    async move {
        let _permit = context.permits.acquire().await;
        let start = Instant::now();
        let object = match &object.0 {
            Ok(object) => object,
            Err(error) => {
                let name = error.metadata.name.as_deref().unwrap_or_default();
                let namespace = error.metadata.namespace.as_deref().unwrap_or_default();
                context.metrics.malformed(K::KIND.as_str());
                warn!(kind = K::KIND.as_str(), namespace, name, %error, "A watch cannot be read and is left alone.");
                return Ok(Action::await_change());
            }
        };
        let result = reconcile(object, &context).await;
        context.metrics.reconciled(K::KIND.as_str(), start.elapsed());
        result
    }
    .boxed()
}

fn failed<K: WatchObject>(
    object: Arc<DeserializeGuard<K>>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    context.metrics.failed(K::KIND.as_str(), error.class());
    let meta = kube::Resource::meta(&*object);
    let key = key_of::<K>(meta);
    let failures = {
        let memory = context.memories.of(meta.uid.as_deref().unwrap_or_default(), &key);
        let mut memory = lock(&memory);
        memory.failures = memory.failures.saturating_add(1);
        memory.failures
    };
    if error.class() == "conflict" && failures < 3 {
        // Our copy was old; the new one is on its way.
        return Action::requeue(Duration::from_millis(200));
    }
    warn!(watch = %key, failures, %error, "A pass failed and is repeated.");
    Action::requeue(backoff::after(failures))
}

async fn reconcile<K: WatchObject>(
    object: &K,
    context: &Arc<Context>,
) -> Result<Action, ReconcileError> {
    let meta = object.meta();
    let key = key_of::<K>(meta);
    let uid = meta.uid.clone().unwrap_or_default();
    let memory = context.memories.of(&uid, &key);
    if meta.deletion_timestamp.is_some() {
        return deletion::reconcile(context, object, &key, &memory).await;
    }
    lock(&memory).nudge(annotations(object));
    let (checked, inline_hash) = checked(object, &key, &memory);
    let policy = policy(context, &key, &checked, &memory);
    let previous = previous(object, &memory);
    if previous.is_some() && matches!(policy, PolicyAnswer::Known(_, Lookup::Pending)) {
        // It will be known in a moment; until then the last status is the best one.
        return Ok(Action::requeue(Duration::from_secs(1)));
    }
    let reading = match &*checked {
        Ok(checked) => Some(resolved(context, object, &key, checked, &memory).await?),
        Err(_) => None,
    };
    let resolved = reading.as_ref().map(|reading| Arc::clone(&reading.resolved));
    let hash = inline_hash.or_else(|| policy_hash(object.watch_spec(), &policy));
    let facts = facts(
        context,
        object,
        &memory,
        Pieces {
            checked: &checked,
            policy: &policy,
            resolved: resolved.as_deref(),
            hash,
            previous: previous.as_ref(),
        },
    );
    lock(&memory).ready = previous.as_ref().map_or("Unknown", ready);
    let planned = plan(&facts);
    let again_in = planned.again_in;
    carry_out(context, object, &key, &memory, planned).await?;
    let mut wait = backoff::jitter(RESYNC);
    if let (Ok(checked), Some(resolved)) = (&*checked, &resolved) {
        keep_finalizer(context, object, checked, &memory).await?;
        sync_if_due(context, object, &key, checked, resolved, &memory, previous.as_ref());
    }
    let mut memory = lock(&memory);
    memory.failures = 0;
    let now = Instant::now();
    let dues =
        [reading.map(|reading| reading.due), memory.slot.due.filter(|_| !memory.slot.running)];
    for due in dues.into_iter().flatten() {
        wait = wait.min(due.saturating_duration_since(now));
    }
    wait = again_in.map_or(wait, |again| wait.min(again));
    Ok(Action::requeue(wait.max(Duration::from_secs(1))))
}

fn annotations<K: WatchObject>(object: &K) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    object.meta().annotations.hash(&mut hasher);
    hasher.finish()
}

/// The spec with its meaning, found out once for each generation.
pub(crate) fn checked<K: WatchObject>(
    object: &K,
    key: &WatchKey,
    memory: &Mutex<Memory>,
) -> (Arc<Checked>, Option<String>) {
    let generation = object.meta().generation.unwrap_or(0);
    if let Some((known, checked, hash)) = &lock(memory).checked
        && *known == generation
    {
        return (Arc::clone(checked), hash.clone());
    }
    let checked = Arc::new(observe::check(key, object.watch_spec()));
    let hash = policy_hash(object.watch_spec(), &PolicyAnswer::Unasked);
    let mut memory = lock(memory);
    memory.checked = Some((generation, Arc::clone(&checked), hash.clone()));
    (checked, hash)
}

fn policy(
    context: &Context,
    key: &WatchKey,
    checked: &Checked,
    memory: &Mutex<Memory>,
) -> PolicyAnswer {
    let reference = checked.as_ref().ok().and_then(|checked| checked.policy_ref.as_ref());
    let named = reference.map(|reference| (reference, policy_key(key, reference)));
    lock(memory).policy = named.as_ref().and_then(|(_, key)| key.clone().ok());
    match named {
        None => PolicyAnswer::Unasked,
        Some((_, Err(why))) => PolicyAnswer::NotPermitted(why),
        Some((reference, Ok(policy))) => {
            let found = context.policies.look(reference.kind, &policy);
            PolicyAnswer::Known(reference.clone(), found)
        }
    }
}

/// The watch's Secrets: as they were read a little ago, or read now.
pub(crate) async fn resolved<K: WatchObject>(
    context: &Context,
    object: &K,
    key: &WatchKey,
    checked: &CheckedWatch,
    memory: &Arc<Mutex<Memory>>,
) -> Result<Reading, ReconcileError> {
    let generation = object.meta().generation.unwrap_or(0);
    let now = Instant::now();
    let known = lock(memory).reading.clone();
    if let Some(reading) = &known
        && reading.generation == generation
        && reading.due > now
    {
        return Ok(reading.clone());
    }
    let namespace = secret_namespace(key, &context.namespace);
    let names = references::names(checked);
    let secrets = if may_read(context, namespace) {
        references::read(&context.client, namespace, &names).await
    } else {
        names.iter().map(|name| (name.clone(), references::Found::Forbidden)).collect()
    };
    let resolved = references::resolve(namespace, checked, &secrets);
    if resolved.unanswered {
        // What was known a moment ago is likelier right than nothing.
        return known
            .filter(|reading| reading.generation == generation)
            .map(|reading| Reading { due: now + Duration::from_secs(5), ..reading })
            .ok_or(ReconcileError::Unanswered);
    }
    let due = now + reread(context, &resolved, names.len(), memory);
    let reading = Reading { generation, resolved: Arc::new(resolved), due };
    let changed = {
        let mut memory = lock(memory);
        let before = memory.reading.replace(reading.clone());
        before.is_none_or(|before| before.resolved.ingest != reading.resolved.ingest)
    };
    if changed {
        context.desk.changed();
    }
    Ok(reading)
}

fn may_read(context: &Context, namespace: &str) -> bool {
    context.watch_namespaces.is_empty()
        || namespace == context.namespace
        || context.watch_namespaces.iter().any(|watched| watched == namespace)
}

/// Soon while a Secret, or an account, is wrong; else so that all watches together do not read too much.
fn reread(
    context: &Context,
    resolved: &Resolved,
    secrets: usize,
    memory: &Mutex<Memory>,
) -> Duration {
    let refused = {
        let memory = lock(memory);
        let sync = memory.slot.done.as_ref().map(|done| &done.sync);
        sync.is_some_and(|sync| {
            sync.trouble.is_some() || sync.alerts.iter().any(|alert| alert.trouble.is_some())
        })
    };
    if !resolved.problems.is_empty() || refused {
        return backoff::jitter(REREAD.1);
    }
    if secrets == 0 {
        return RESYNC;
    }
    let all = u32::try_from(context.memories.len().saturating_mul(secrets)).unwrap_or(u32::MAX);
    backoff::jitter(REREAD.0.max(Duration::from_secs((all / READS_PER_SECOND).into())))
}

/// The newest status: what this process wrote, unless the copy at hand is newer.
fn previous<K: WatchObject>(object: &K, memory: &Mutex<Memory>) -> Option<WatchStatus> {
    match &lock(memory).written {
        Some((status, version)) if *version > apply::version(object.meta()) => Some(status.clone()),
        _ => object.watch_status().cloned(),
    }
}

struct Pieces<'a> {
    checked: &'a Checked,
    policy: &'a PolicyAnswer,
    resolved: Option<&'a Resolved>,
    hash: Option<String>,
    previous: Option<&'a WatchStatus>,
}

fn facts<'a, K: WatchObject>(
    context: &Context,
    object: &K,
    memory: &Mutex<Memory>,
    pieces: Pieces<'a>,
) -> Facts<'a> {
    let meta = object.meta();
    let generation = meta.generation.unwrap_or(0);
    let uid = meta.uid.as_deref().unwrap_or_default();
    let checked = pieces.checked.as_ref().ok();
    let references = match (checked, pieces.resolved) {
        (Some(checked), Some(resolved)) => judge_references(checked, resolved, pieces.policy),
        _ => Judgement::Yes { message: String::new() },
    };
    // A policy that is not known yet has no hash, and no node can have loaded it.
    let unknown =
        checked.is_some_and(|checked| checked.policy_ref.is_some()) && pieces.hash.is_none();
    let reports = if unknown {
        crate::nodes::Reports::default()
    } else {
        lock(&context.index).reports(uid, generation, pieces.hash.as_deref(), MAX_FAILING_NODES)
    };
    let target = checked.and_then(|checked| checked.parseable.as_ref()).map(|target| {
        let done = lock(memory).slot.done.clone();
        let sync = done.map(|done| crate::status::Sync {
            current: done.generation == generation,
            ..done.sync
        });
        Target { stream: target.stream.clone(), sync }
    });
    Facts {
        generation,
        previous: pieces.previous,
        now: now(),
        suspended: object.watch_spec().suspend.unwrap_or(false),
        accepted: judge_spec(pieces.checked, pieces.policy),
        references,
        policy_hash: pieces.hash,
        rollout: *lock(&context.rollout),
        reports,
        target,
        alerts: checked
            .map(|checked| checked.alerts.iter().map(|alert| alert.name.clone()).collect())
            .unwrap_or_default(),
        deletion: None,
    }
}

/// Now, in the whole seconds that a status has.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Writes the status of a watch whose deletion is held up.
pub(crate) async fn deleting_status<K: WatchObject>(
    context: &Context,
    object: &K,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
    message: String,
) -> Result<(), ReconcileError> {
    let (checked, hash) = checked(object, key, memory);
    let previous = previous(object, memory);
    let pieces = Pieces {
        checked: &checked,
        policy: &PolicyAnswer::Unasked,
        resolved: None,
        hash,
        previous: previous.as_ref(),
    };
    let facts = Facts { deletion: Some(message), ..facts(context, object, memory, pieces) };
    let planned = Plan { announcements: Vec::new(), ..plan(&facts) };
    carry_out(context, object, key, memory, planned).await
}

async fn carry_out<K: WatchObject>(
    context: &Context,
    object: &K,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
    planned: Plan,
) -> Result<(), ReconcileError> {
    let Some(status) = planned.status else { return Ok(()) };
    let uid = object.meta().uid.clone().unwrap_or_default();
    let Some(version) = apply::status::<K>(context, key, &uid, &status).await? else {
        return Ok(());
    };
    {
        let mut memory = lock(memory);
        memory.ready = ready(&status);
        memory.written = Some((status, version));
    }
    let about = key.reference(&uid);
    context.announcer.publish(&about, &planned.announcements, &context.metrics).await;
    Ok(())
}

fn ready(status: &WatchStatus) -> &'static str {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    match find(conditions, types::READY).map(|ready| ready.status.as_str()) {
        Some("True") => "True",
        Some("False") => "False",
        _ => "Unknown",
    }
}

async fn keep_finalizer<K: WatchObject>(
    context: &Context,
    object: &K,
    checked: &CheckedWatch,
    memory: &Arc<Mutex<Memory>>,
) -> Result<(), ReconcileError> {
    let present = object.meta().finalizers.clone().unwrap_or_default();
    match finalizers(&present, leaves_traces(checked)) {
        Finalizers::Keep => {}
        Finalizers::Add => apply::finalizer(context, object, true).await?,
        Finalizers::Remove => {
            let clean = {
                let memory = lock(memory);
                let generation = object.meta().generation.unwrap_or(0);
                let synced = memory.slot.done.as_ref().is_some_and(|done| {
                    done.generation == generation && done.sync.trouble.is_none()
                });
                match (&checked.parseable, &memory.slot.removal, &memory.slot.place) {
                    // A sync without alerts has removed them.
                    (Some(_), ..) => synced,
                    (None, Some(Ok(())), _) | (None, _, None) => true,
                    (None, ..) => false,
                }
            };
            if clean {
                apply::finalizer(context, object, false).await?;
            }
        }
    }
    Ok(())
}

fn sync_if_due<K: WatchObject>(
    context: &Context,
    object: &K,
    key: &WatchKey,
    checked: &CheckedWatch,
    resolved: &Resolved,
    memory: &Arc<Mutex<Memory>>,
    previous: Option<&WatchStatus>,
) {
    let owner = owner(&context.engine.settings.cluster_id, key, object.meta());
    let Some(target) = &checked.parseable else {
        return leave_target(context, key, memory, owner);
    };
    // Without all Secrets an alert would be sent without its receivers, or taken for deleted.
    if checked.suspended || !resolved.problems.is_empty() {
        return;
    }
    let generation = object.meta().generation.unwrap_or(0);
    let fingerprint = resolved.book.fingerprint();
    if !lock(memory).slot.is_due(generation, &fingerprint, Instant::now()) {
        return;
    }
    let about = key.reference(&owner.uid);
    let Some(desired) = desired(owner, target, checked, resolved) else { return };
    let known = previous
        .and_then(|status| status.alerts.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|alert| {
            Some(KnownAlert { name: alert.name.clone(), id: alert.parseable_id.clone()? })
        })
        .collect();
    let config = config(target, resolved, context.engine.settings.manage_outbound_policy);
    let account = target.credentials.as_ref().map_or_else(
        || "the spec names no credentials".to_owned(),
        |secret| {
            let namespace = secret_namespace(key, &context.namespace);
            format!("secret {namespace}/{}", secret.secret_name)
        },
    );
    let job =
        Job { key: key.clone(), about, config, desired, known, account, generation, fingerprint };
    context.engine.sync(memory, job);
}

/// The target is gone from the spec: what was left there goes, tried until it is done.
fn leave_target(
    context: &Context,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
    owner: securitywatch_parseable::Owner,
) {
    let place = {
        let mut memory = lock(memory);
        let slot = &mut memory.slot;
        slot.done = None;
        if slot.running || slot.place.is_none() {
            return;
        }
        if matches!(slot.removal, Some(Ok(()))) {
            slot.place = None;
            slot.removal = None;
            slot.due = None;
            context.engine.servers.forget(&owner.uid);
            return;
        }
        if slot.due.is_some_and(|due| due > Instant::now()) && slot.removal.is_some() {
            return;
        }
        slot.due = Some(Instant::now() + backoff::after(slot.failures + 1));
        slot.place.clone()
    };
    if let Some(place) = place {
        context.engine.remove(memory, key.clone(), place, owner);
    }
}
