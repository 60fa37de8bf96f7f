//! What a pass does: status, events, finalizer, and the start of a sync.

use std::sync::{Arc, Mutex};

use securitywatch_api::v1alpha1::WatchStatus;
use securitywatch_api::v1alpha1::conditions::types;
use securitywatch_api::watch::CheckedWatch;
use securitywatch_parseable::{KnownAlert, Owner};
use tokio::time::Instant;

use super::ReconcileError;
use super::look::{Pieces, checked, facts, previous};
use crate::context::{Context, Memory};
use crate::key::{WatchKey, WatchObject};
use crate::lock::lock;
use crate::observe::{PolicyAnswer, leaves_traces, secret_namespace};
use crate::plan::{Finalizers, Plan, finalizers, plan};
use crate::references::Resolved;
use crate::status::{Facts, find};
use crate::sync::{Job, config, desired, owner};
use crate::{apply, backoff};

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

pub(super) async fn carry_out<K: WatchObject>(
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

/// Status of `Ready`, as one of the words that metrics have.
pub(super) fn ready(status: &WatchStatus) -> &'static str {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    match find(conditions, types::READY).map(|ready| ready.status.as_str()) {
        Some("True") => "True",
        Some("False") => "False",
        _ => "Unknown",
    }
}

pub(super) async fn keep_finalizer<K: WatchObject>(
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

pub(super) fn sync_if_due<K: WatchObject>(
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
    let calls = context.engine.settings.servers_call;
    let Some(desired) = desired(owner, target, checked, resolved, calls) else { return };
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
fn leave_target(context: &Context, key: &WatchKey, memory: &Arc<Mutex<Memory>>, owner: Owner) {
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
            slot.removal_due = None;
            context.engine.servers.forget(&owner.uid);
            return;
        }
        if slot.removal_due.is_some_and(|due| due > Instant::now()) {
            return;
        }
        slot.removal_due = Some(Instant::now() + backoff::after(slot.failures + 1));
        slot.place.clone()
    };
    if let Some(place) = place {
        context.engine.remove(memory, key.clone(), place, owner);
    }
}
