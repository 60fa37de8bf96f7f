//! A watch that is being deleted: what it left in Parseable goes first, but it does not wait for ever.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use securitywatch_api::cluster::FINALIZER;
use tracing::{info, warn};

use crate::apply;
use crate::backoff;
use crate::context::{Context, Memory};
use crate::controller::{self, ReconcileError};
use crate::events::Announcement;
use crate::key::{WatchKey, WatchObject};
use crate::lock::lock;
use crate::sync::{Place, config, owner};

/// A server that cannot be reached does not hold up a deletion for longer.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// From one attempt to the next at most.
const RETRY: Duration = Duration::from_secs(30);

/// What to do next about a watch that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing of ours holds it.
    LetGo,
    /// The finalizer goes: nothing is outside any more.
    Release,
    /// The finalizer goes although something may be outside; this is why.
    GiveUp(String),
    /// Something must be removed now.
    Remove,
    /// A removal runs, or the next attempt is not due yet; this went wrong before.
    Wait(Option<String>),
}

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Deletion<'a> {
    /// Whether our finalizer is there.
    pub held: bool,
    /// How long the deletion has been asked for.
    pub age: SignedDuration,
    /// Whether it is known where something may be.
    pub placed: bool,
    /// Whether a sync or a removal runs.
    pub running: bool,
    /// What came of the last removal.
    pub removal: Option<&'a Result<(), String>>,
    /// Whether the next attempt is due.
    pub due: bool,
}

/// Decides what to do next.
#[must_use]
pub fn step(deletion: Deletion<'_>) -> Step {
    if !deletion.held {
        return Step::LetGo;
    }
    let wrong = match deletion.removal {
        Some(Ok(())) => return Step::Release,
        Some(Err(message)) => Some(message.clone()),
        None => None,
    };
    if deletion.age >= PATIENCE {
        return Step::GiveUp(wrong.unwrap_or_else(|| "the Secrets it needs are not there".into()));
    }
    if deletion.running || !deletion.due {
        return Step::Wait(wrong);
    }
    if deletion.placed { Step::Remove } else { Step::Wait(wrong) }
}

/// One pass over a watch that is being deleted.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn reconcile<K: WatchObject>(
    context: &Arc<Context>,
    object: &K,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
) -> Result<Action, ReconcileError> {
    let meta = object.meta();
    let asked = meta.deletion_timestamp.as_ref().map_or_else(Timestamp::now, |time| time.0);
    let age = Timestamp::now().duration_since(asked);
    let held = meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    if held && lock(memory).slot.place.is_none() {
        find_place(context, object, key, memory).await;
    }
    let next = {
        let memory = lock(memory);
        step(Deletion {
            held,
            age,
            placed: memory.slot.place.is_some(),
            running: memory.slot.running,
            removal: memory.slot.removal.as_ref(),
            due: memory.slot.removal_due.is_none_or(|due| due <= tokio::time::Instant::now()),
        })
    };
    let uid = meta.uid.clone().unwrap_or_default();
    match next {
        Step::LetGo => Ok(Action::await_change()),
        Step::Release => {
            apply::finalizer(context, object, false).await?;
            info!(watch = %key, "Everything it left is removed.");
            Ok(Action::await_change())
        }
        Step::GiveUp(why) => {
            let note = format!(
                "alerts may be left in Parseable: after {} minutes the watch goes without them: {why}",
                PATIENCE.as_mins()
            );
            warn!(watch = %key, why, "Gave up to remove what it left.");
            let told = [Announcement::warning("CleanupAbandoned", note)];
            apply::finalizer(context, object, false).await?;
            context.announcer.publish(&key.reference(&uid), &told, &context.metrics).await;
            Ok(Action::await_change())
        }
        Step::Remove => {
            start(context, key, memory, object);
            Ok(Action::requeue(RETRY))
        }
        Step::Wait(wrong) => {
            let why = wrong.unwrap_or_else(|| "waiting for its Secrets or its server".to_owned());
            let left = (PATIENCE - age).unsigned_abs();
            let message = format!(
                "its alerts in Parseable are being removed: {why}; the watch goes without them {} minutes after its deletion",
                PATIENCE.as_mins()
            );
            controller::deleting_status(context, object, key, memory, message).await?;
            Ok(Action::requeue(left.min(backoff::jitter(RETRY)) + Duration::from_secs(1)))
        }
    }
}

/// After a restart the place is not known: the spec and its Secrets tell, while they are there.
async fn find_place<K: WatchObject>(
    context: &Context,
    object: &K,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
) {
    let (checked, _) = controller::checked(object, key, memory);
    let Ok(checked) = &*checked else { return };
    let Some(target) = &checked.parseable else {
        // Without a target nothing is outside, unless a former one kept something: it is swept then.
        lock(memory).slot.removal = Some(Ok(()));
        return;
    };
    let Ok(reading) = controller::resolved(context, object, key, checked, memory).await else {
        return;
    };
    let wants_account = target.credentials.is_some();
    if wants_account && reading.resolved.account.is_none() {
        return;
    }
    let config = config(target, &reading.resolved, context.engine.settings.manage_outbound_policy);
    lock(memory).slot.place = Some(Place { config, stream: target.stream.clone() });
}

fn start<K: WatchObject>(
    context: &Context,
    key: &WatchKey,
    memory: &Arc<Mutex<Memory>>,
    object: &K,
) {
    let place = {
        let mut memory = lock(memory);
        let failures = memory.slot.failures.min(3);
        memory.slot.removal_due = Some(tokio::time::Instant::now() + backoff::after(failures + 1));
        memory.slot.place.clone()
    };
    if let Some(place) = place {
        let owner = owner(&context.engine.settings.cluster_id, key, object.meta());
        context.engine.remove(memory, key.clone(), place, owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Deletion<'static> = Deletion {
        held: true,
        age: SignedDuration::from_secs(10),
        placed: true,
        running: false,
        removal: None,
        due: true,
    };

    #[test]
    fn a_watch_without_our_finalizer_goes_at_once() {
        assert_eq!(step(Deletion { held: false, ..YOUNG }), Step::LetGo);
    }

    #[test]
    fn what_it_left_is_removed_and_then_it_goes() {
        assert_eq!(step(YOUNG), Step::Remove);
        assert_eq!(step(Deletion { running: true, ..YOUNG }), Step::Wait(None));
        assert_eq!(step(Deletion { removal: Some(&Ok(())), ..YOUNG }), Step::Release);
    }

    #[test]
    fn a_silent_server_holds_it_up_for_five_minutes() {
        let silent = Err("nobody answers".to_owned());
        let failed = Deletion { removal: Some(&silent), ..YOUNG };
        assert_eq!(step(failed), Step::Remove);
        let waits = Step::Wait(Some("nobody answers".into()));
        assert_eq!(step(Deletion { due: false, ..failed }), waits);
        let old = Deletion { age: PATIENCE, ..failed };
        assert_eq!(step(old), Step::GiveUp("nobody answers".into()));
        // Even while an attempt hangs.
        assert_eq!(step(Deletion { running: true, ..old }), Step::GiveUp("nobody answers".into()));
    }

    #[test]
    fn without_its_secrets_it_waits_for_them() {
        assert_eq!(step(Deletion { placed: false, ..YOUNG }), Step::Wait(None));
    }
}
