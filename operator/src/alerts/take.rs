//! What a reported hit is, by the watches as they are now, and what it causes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use securitywatch_api::alerting::wire::{HitAnswer, ReportedHit, cut};
use securitywatch_api::alerting::{AlertFacts, Hit, ReceiverKind};
use securitywatch_api::watch::{Alert, CheckedWatch, Receiver};
use tokio::time::timeout;

use super::lines::LineKey;
use super::pager::State;
use super::seen::{Look, Progress, key};
use crate::context::Context;
use crate::key::WatchKey;
use crate::lock::lock;

/// How long an answer waits for calls to end. Most receivers answer in a moment: then the probe can forget the hit.
const PATIENCE: Duration = Duration::from_secs(2);
/// A hit of a watch or alert that is not known may be ahead of the news of it by so much.
const NEWS: SignedDuration = SignedDuration::from_secs(120);
/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 4096;
/// One hit stands for no more events than this.
const MAX_EVENTS: u64 = 1_000_000;

/// What becomes of a hit.
#[derive(Debug)]
enum Taken {
    /// It is over with it.
    Done,
    /// It cannot be judged yet.
    Later,
    /// Calls may be under way.
    Under(Arc<Progress>),
}

/// Takes the hits of a node and says which of them are to be reported again.
pub(super) async fn take(context: &Arc<Context>, node: &str, hits: Vec<ReportedHit>) -> HitAnswer {
    let taken: Vec<Taken> =
        hits.into_iter().map(|hit| take_one(context, node, hit, Timestamp::now())).collect();
    let under_way = taken.iter().filter_map(|taken| match taken {
        Taken::Under(progress) => Some(progress.done()),
        Taken::Done | Taken::Later => None,
    });
    // Over or not, the answer says how it stands.
    let _ = timeout(PATIENCE, join_all(under_way)).await;
    let is_pending = |taken: &Taken| match taken {
        Taken::Done => false,
        Taken::Later => true,
        Taken::Under(progress) => !progress.is_done(),
    };
    let pending = taken.iter().enumerate().filter(|(_, taken)| is_pending(taken));
    HitAnswer { pending: pending.map(|(place, _)| place).collect() }
}

/// A watch as far as its alerts go.
pub(super) struct Known {
    key: WatchKey,
    generation: i64,
    pub(super) checked: Arc<crate::observe::Checked>,
    /// Whether its Secrets were read.
    pub(super) is_resolved: bool,
}

pub(super) fn known(context: &Context, watch: &str) -> Option<Known> {
    let memory = context.memories.get(watch)?;
    let memory = lock(&memory);
    let (generation, checked, _) = memory.checked.as_ref()?;
    Some(Known {
        key: memory.key.clone(),
        generation: *generation,
        checked: Arc::clone(checked),
        is_resolved: memory.reading.is_some(),
    })
}

fn take_one(context: &Arc<Context>, node: &str, hit: ReportedHit, now: Timestamp) -> Taken {
    let count = |outcome| context.metrics.alert_hit(outcome);
    let time = Timestamp::from_nanosecond(hit.time_ns.into()).unwrap_or(now);
    // News of the watch may still be on its way; what is old is of a watch that is gone.
    let unknown = || {
        if now.duration_since(time) < NEWS {
            return Taken::Later;
        }
        count("unknown");
        Taken::Done
    };
    let Some(watch) = known(context, &hit.watch) else { return unknown() };
    let Ok(checked) = &*watch.checked else { return unknown() };
    let Some(alert) = checked.alerts.iter().find(|alert| alert.name == hit.alert) else {
        if hit.generation > watch.generation {
            return unknown();
        }
        count("unknown");
        return Taken::Done;
    };
    if checked.suspended {
        count("suspended");
        return Taken::Done;
    }
    if !is_in_scope(&watch.key, &hit) {
        count("foreign");
        return Taken::Done;
    }
    if !watch.is_resolved {
        return Taken::Later;
    }
    let seen = key(&hit.watch, &hit.alert, node, &hit.event_id);
    let mut state = lock(&context.pager.state);
    if !state.has_read_log || state.lines.is_full() {
        return Taken::Later;
    }
    let progress = match state.seen.look(seen) {
        Look::New(progress) => progress,
        Look::Again(progress) => {
            count("again");
            return Taken::Under(progress);
        }
    };
    let due = due(&mut state, alert, node, hit, time);
    drop(state);
    count(if due.is_empty() { "folded" } else { "fired" });
    for due in due {
        context.pager.call(context, due, Some(progress.begin()));
    }
    Taken::Under(progress)
}

/// A namespaced watch is about its own namespace's pods, whatever a node says.
fn is_in_scope(key: &WatchKey, hit: &ReportedHit) -> bool {
    key.namespace.is_none() || key.namespace == hit.namespace
}

fn due(
    state: &mut State,
    alert: &Alert,
    node: &str,
    hit: ReportedHit,
    time: Timestamp,
) -> Vec<super::lines::DueOn> {
    let message = cut(&alert.message.render(&hit), MESSAGE_BYTES);
    let events = hit.events.clamp(1, MAX_EVENTS);
    let (watch, name): (Arc<str>, Arc<str>) = (hit.watch.into(), hit.alert.into());
    let hit = Hit {
        message,
        time_ns: hit.time_ns,
        time_text: time.to_string(),
        node: node.to_owned(),
        event_type: hit.event_type,
        event_id: hit.event_id,
        namespace: hit.namespace,
        pod: hit.pod,
        binary: hit.binary,
    };
    let now = Instant::now();
    let targets = alert.targets.iter().enumerate();
    let due = targets.filter_map(|(target, spec)| {
        let line = LineKey { watch: Arc::clone(&watch), alert: Arc::clone(&name), target };
        state.lines.hit(line, spec.repeat, now, &hit, events)
    });
    due.collect()
}

/// What a call on a line is about.
pub(super) struct LineFacts {
    pub(super) alert: AlertFacts,
    pub(super) kind: ReceiverKind,
}

/// `None`: the spec has this target no more, or the watch is suspended.
pub(super) fn facts(context: &Context, line: &LineKey) -> Option<LineFacts> {
    let watch = known(context, &line.watch)?;
    let checked = watch.checked.as_ref().as_ref().ok()?;
    if checked.suspended {
        return None;
    }
    let (alert, receiver) = target(checked, line)?;
    let stream = checked.parseable.as_ref().map(|target| target.stream.clone());
    let facts = AlertFacts::new(watch.key.to_string(), stream, alert);
    Some(LineFacts { alert: facts, kind: receiver.kind() })
}

/// The alert and the receiver of a line, as the spec has them now.
pub(super) fn target<'a>(
    checked: &'a CheckedWatch,
    line: &LineKey,
) -> Option<(&'a Alert, &'a Receiver)> {
    let alert = checked.alerts.iter().find(|alert| alert.name == *line.alert)?;
    Some((alert, &alert.targets.get(line.target)?.receiver))
}
