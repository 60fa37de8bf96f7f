//! The status of a watch, as a function of what is known.
//!
//! Nothing here reads a clock or talks to anybody: facts in, status out.

mod alerts;
mod condition;
mod facts;
mod programmed;
mod ready;
mod shipping;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::SignedDuration;
use securitywatch_api::v1alpha1::conditions::{reasons, types};
use securitywatch_api::v1alpha1::{AlertCounts, FailingNode, MAX_FAILING_NODES, WatchStatus};

pub use condition::{Draft, Effect, Truth, cut, find};
pub use facts::{AlertOutcome, Cure, Facts, Judgement, Rollout, Sync, Target, Trouble};
pub use programmed::{Counts, failures, nodes};

use ready::Part;

/// Longest message of a failing node.
const NODE_MESSAGE_CHARS: usize = 512;

/// A status, and when it has to be drawn again although nothing changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// The status.
    pub status: WatchStatus,
    /// A grace ends then.
    pub again_in: Option<SignedDuration>,
}

/// Draws the status.
#[must_use]
pub fn draw(facts: &Facts<'_>) -> Drawn {
    let accepted = judged(types::ACCEPTED, reasons::accepted::VALID, &facts.accepted);
    let resolved =
        judged(types::RESOLVED_REFS, reasons::resolved_refs::RESOLVED, &facts.references);
    let valid = accepted.effect == Effect::Fine;
    let running = valid && !facts.suspended && facts.deletion.is_none();
    let counts = if running { Counts::of(facts) } else { Counts::default() };
    let mut drafts = vec![accepted];
    if valid {
        drafts.push(resolved);
    }
    if running {
        drafts.push(programmed::draft(facts, counts));
        drafts.push(shipping::draft(facts));
        drafts.push(alerts::draft(facts));
    }
    let previous =
        facts.previous.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let settled: Vec<_> =
        drafts.iter().map(|draft| draft.settle(previous, facts.generation, facts.now)).collect();
    let (head, again_in) = head(facts, counts, &drafts, &settled, previous);
    let head = head.iter().map(|draft| draft.settle(previous, facts.generation, facts.now));
    let mut conditions: Vec<_> = head.collect();
    // Ready first, what explains it behind, what may be absent last.
    let tail = conditions.split_off(1.min(conditions.len()));
    conditions.extend(settled);
    conditions.extend(tail);
    Drawn { status: status(facts, running, counts, conditions), again_in }
}

/// `Ready`, then `Reconciling` or `Stalled` where one of them is true.
fn head(
    facts: &Facts<'_>,
    counts: Counts,
    drafts: &[Draft],
    settled: &[Condition],
    previous: &[Condition],
) -> (Vec<Draft>, Option<SignedDuration>) {
    if let Some(message) = &facts.deletion {
        let ready = Draft::pending(types::READY, reasons::ready::DELETING, message);
        let reconciling = Draft {
            truth: Truth::True,
            ..Draft::pending(types::RECONCILING, reasons::reconciling::RETRYING, message)
        };
        return (vec![ready, reconciling], None);
    }
    if facts.suspended {
        let message = "unloaded on all nodes because spec.suspend is true";
        return (vec![Draft::pending(types::READY, reasons::ready::SUSPENDED, message)], None);
    }
    let parts: Vec<_> =
        drafts.iter().zip(settled).map(|(draft, condition)| Part { draft, condition }).collect();
    let sum = ready::sum(
        &parts,
        previous,
        ready::Judged { now: facts.now, same: facts.is_same() },
        waiting(facts, counts, drafts),
        fine(facts, counts),
    );
    let rest = sum.reconciling.into_iter().chain(sum.stalled);
    (std::iter::once(sum.ready).chain(rest).collect(), sum.again_in)
}

fn judged(kind: &'static str, yes: &'static str, judgement: &Judgement) -> Draft {
    match judgement {
        Judgement::Yes { message } => Draft::fine(kind, yes, message),
        Judgement::No { reason, message } => Draft::stalled(kind, reason, message),
        Judgement::Unclear { reason, message } => {
            Draft { truth: Truth::Unknown, ..Draft::stalled(kind, reason, message) }
        }
    }
}

/// What `Ready` says while work goes on.
fn waiting(facts: &Facts<'_>, counts: Counts, drafts: &[Draft]) -> (&'static str, String) {
    let heard = facts.reports.loaded + facts.reports.loading + facts.reports.stale;
    let programmed = drafts.iter().find(|draft| draft.kind == types::PROGRAMMED);
    let rolling = programmed.is_some_and(|draft| draft.effect == Effect::Progress);
    if rolling && heard == 0 && counts.failed == 0 && counts.desired > 0 {
        let message = format!(
            "no report from {} yet: kubectl get securitywatchnodes, and the probe's pods, say more",
            nodes(counts.desired)
        );
        return (reasons::ready::NODES_UNREPORTED, message);
    }
    let counted = facts.rollout.is_some_and(|rollout| rollout.counted);
    let open =
        drafts.iter().filter(|draft| matches!(draft.effect, Effect::Progress | Effect::Retry));
    let words = open.map(|draft| match draft.kind {
        types::PROGRAMMED if counted => format!("loaded on {}", draft.message),
        _ => draft.message.clone(),
    });
    (reasons::ready::PROGRESSING, words.collect::<Vec<_>>().join("; "))
}

/// What `Ready` says when all is well.
fn fine(facts: &Facts<'_>, counts: Counts) -> String {
    let mut message = format!("loaded on {} of {}", counts.ready, nodes(counts.desired));
    if facts.target.is_some() {
        let ships = facts.reports.shipping.delivering > 0;
        message.push_str(if ships { ", shipping" } else { ", no events yet" });
    }
    let state = if facts.target.is_some() { "in sync" } else { "armed" };
    match facts.alerts.len() {
        0 => {}
        1 => message.push_str(&format!(", 1 alert {state}")),
        alerts => message.push_str(&format!(", {alerts} alerts {state}")),
    }
    if let Some(why) = alerts::undelivered(facts) {
        message.push_str(&format!("; {why}"));
    }
    message
}

fn status(
    facts: &Facts<'_>,
    running: bool,
    counts: Counts,
    conditions: Vec<Condition>,
) -> WatchStatus {
    let failing: Vec<_> = if running {
        facts.reports.failing.iter().take(MAX_FAILING_NODES).map(failing_node).collect()
    } else {
        Vec::new()
    };
    let alert_counts = if running || facts.suspended {
        alerts::counts(facts)
    } else {
        AlertCounts {
            desired: Some(0),
            synced: Some(0),
            failed: Some(0),
            summary: Some("0/0".into()),
        }
    };
    WatchStatus {
        observed_generation: Some(facts.generation),
        conditions: Some(conditions),
        nodes: Some(counts.to_status()),
        failing_nodes: (!failing.is_empty()).then_some(failing),
        policy_hash: facts.policy_hash.clone(),
        last_shipped_time: facts.reports.shipping.last_shipped.map(Time),
        alert_counts: Some(alert_counts),
        alerts: alerts::statuses(facts),
    }
}

fn failing_node(failure: &crate::nodes::NodeFailure) -> FailingNode {
    FailingNode {
        name: failure.node.clone(),
        reason: Some(failure.reason.clone()),
        message: (!failure.message.is_empty()).then(|| cut(&failure.message, NODE_MESSAGE_CHARS)),
    }
}

/// Whether `new` says anything that `old` does not. Times alone are no news: a write for them would
/// be the next reason to write.
#[must_use]
pub fn differs(old: Option<&WatchStatus>, new: &WatchStatus) -> bool {
    let Some(old) = old else { return true };
    let conditions = |status: &WatchStatus| {
        let mut conditions: Vec<_> = status
            .conditions
            .iter()
            .flatten()
            .map(|c| {
                (
                    c.type_.clone(),
                    c.status.clone(),
                    c.reason.clone(),
                    c.message.clone(),
                    c.observed_generation,
                )
            })
            .collect();
        conditions.sort();
        conditions
    };
    let rest = |status: &WatchStatus| WatchStatus {
        conditions: None,
        last_shipped_time: None,
        ..status.clone()
    };
    conditions(old) != conditions(new) || rest(old) != rest(new)
}
