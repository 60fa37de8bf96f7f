//! What a pass looks at: the spec, its Secrets and policy objects, the nodes' reports.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::{MAX_FAILING_NODES, WatchStatus};
use securitywatch_api::watch::CheckedWatch;
use tokio::time::Instant;

use super::{RESYNC, ReconcileError};
use crate::context::{Context, Memory, Reading};
use crate::key::{WatchKey, WatchObject};
use crate::lock::lock;
use crate::observe::{
    self, Checked, PolicyAnswer, judge_references, judge_spec, policy_hash, policy_key,
    secret_namespace,
};
use crate::references::{self, Resolved};
use crate::status::{Facts, Judgement, Target};
use crate::{apply, backoff};

/// Secrets are read so often while they are right, and while something about them is wrong.
const REREAD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// All watches together read at most so many Secrets a second while nothing is wrong.
const READS_PER_SECOND: u32 = 20;

pub(super) fn annotations<K: WatchObject>(object: &K) -> u64 {
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

pub(super) fn policy(
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
pub(super) fn previous<K: WatchObject>(object: &K, memory: &Mutex<Memory>) -> Option<WatchStatus> {
    match &lock(memory).written {
        Some((status, version)) if *version > apply::version(object.meta()) => Some(status.clone()),
        _ => object.watch_status().cloned(),
    }
}

/// What is known of a watch before it is put together.
pub(super) struct Pieces<'a> {
    pub(super) checked: &'a Checked,
    pub(super) policy: &'a PolicyAnswer,
    pub(super) resolved: Option<&'a Resolved>,
    pub(super) hash: Option<String>,
    pub(super) previous: Option<&'a WatchStatus>,
}

pub(super) fn facts<'a, K: WatchObject>(
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
    if let Some(checked) = checked {
        let targets = checked.alerts.iter().map(|alert| (alert.name.as_str(), alert.targets.len()));
        context.pager.keep(uid, &targets.collect());
    }
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
        event_log: context.event_log,
        alerts: checked
            .map(|checked| checked.alerts.iter().map(|alert| alert.name.clone()).collect())
            .unwrap_or_default(),
        fired: context.pager.fired(uid),
        deletion: None,
    }
}

/// Now, in the whole seconds that a status has.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
