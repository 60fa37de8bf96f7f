//! One pass over a watch, the same for both kinds.

mod carry;
mod look;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::context::Context;
use crate::error::Error;
use crate::key::{WatchKey, WatchObject, key_of};
use crate::lock::lock;
use crate::observe::{PolicyAnswer, policy_hash};
use crate::plan::plan;
use crate::policies::Lookup;
use crate::{backoff, deletion};

pub(crate) use carry::deleting_status;
pub(crate) use look::{checked, resolved};

use carry::{carry_out, keep_finalizer, ready, sync_if_due};
use look::{Pieces, annotations, facts, policy, previous};

/// Passes that run at the same time.
pub const CONCURRENT: u16 = 8;
/// A watch is looked at so often although nothing changes.
const RESYNC: Duration = Duration::from_secs(600);
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
    let idle = !memory.slot.running;
    let dues = [
        reading.map(|reading| reading.due),
        memory.slot.due.filter(|_| idle),
        memory.slot.removal_due.filter(|_| idle),
    ];
    for due in dues.into_iter().flatten() {
        wait = wait.min(due.saturating_duration_since(now));
    }
    wait = again_in.map_or(wait, |again| wait.min(again));
    Ok(Action::requeue(wait.max(Duration::from_secs(1))))
}
