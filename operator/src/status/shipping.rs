//! `Shipping`: whether events reach the target.

use k8s_openapi::jiff::SignedDuration;
use securitywatch_api::v1alpha1::conditions::{reasons::shipping, types};

use super::condition::{Draft, Effect, Truth, UNREACHABLE_GRACE, carried};
use super::facts::{Cure, Facts, Target, Trouble};
use super::programmed::{nodes, too_many};

pub(super) fn draft(facts: &Facts<'_>) -> Draft {
    let Some(target) = &facts.target else {
        let message = if facts.event_log {
            "no target: events stay in each node's event log"
        } else {
            "no target, and nodes keep no event log (chart value probe.eventLog.enabled): events are not kept"
        };
        return Draft::fine(types::SHIPPING, shipping::NO_TARGET, message);
    };
    let ships = &facts.reports.shipping;
    let counted = ships.idle + ships.delivering + ships.failing;
    if ships.failing > 0 && too_many(ships.failing, counted) {
        return nodes_fail(facts, target);
    }
    if target.sync.is_none()
        && let Some(draft) = carried(types::SHIPPING, facts)
        && (draft.effect != Effect::Fine || ships.delivering == 0)
    {
        return draft;
    }
    let trouble = target.sync.as_ref().and_then(|sync| sync.trouble.as_ref());
    if let Some(trouble) = trouble
        // Where the nodes get through, the alerts say what the operator cannot do.
        && (ships.delivering == 0 || facts.alerts.is_empty() || trouble.cure == Cure::User)
    {
        return from_trouble(types::SHIPPING, trouble);
    }
    if ships.delivering > 0 {
        let mut message = format!("stream {}; {} dropped", target.stream, ships.dropped);
        if ships.failing > 0 {
            message.push_str(&format!("; events wait on {}", nodes(ships.failing)));
        }
        return Draft::fine(types::SHIPPING, shipping::DELIVERING, message);
    }
    if target.sync.is_none() {
        let stream = &target.stream;
        let message = if facts.is_resolved() {
            format!("stream {stream} is being set up")
        } else {
            format!("stream {stream} waits for what ResolvedRefs misses")
        };
        return Draft::pending(types::SHIPPING, shipping::NO_EVENTS_YET, message);
    }
    // The stream is there and takes events; whether one ever comes is not up to us.
    let message = format!("stream {} is ready; no node has had an event yet", target.stream);
    Draft {
        effect: Effect::Fine,
        ..Draft::pending(types::SHIPPING, shipping::NO_EVENTS_YET, message)
    }
}

fn nodes_fail(facts: &Facts<'_>, target: &Target) -> Draft {
    let ships = &facts.reports.shipping;
    let example = ships.example.clone().unwrap_or_default();
    let reason = known(&example.reason);
    let trouble = Trouble {
        reason,
        message: format!(
            "events for stream {} wait on {}: {}{}",
            target.stream,
            nodes(ships.failing),
            if example.message.is_empty() { &example.reason } else { &example.message },
            if ships.dropped > 0 { format!("; {} dropped", ships.dropped) } else { String::new() }
        ),
        cure: if [shipping::TARGET_UNREACHABLE, shipping::BACKPRESSURE].contains(&reason) {
            Cure::Retry
        } else {
            Cure::User
        },
    };
    from_trouble(types::SHIPPING, &trouble)
}

/// A node's word, if it is one of the condition's reasons.
fn known(reason: &str) -> &'static str {
    [
        shipping::UNAUTHORIZED,
        shipping::STREAM_REJECTED,
        shipping::BACKPRESSURE,
        shipping::TARGET_REFUSED,
    ]
    .into_iter()
    .find(|known| *known == reason)
    .unwrap_or(shipping::TARGET_UNREACHABLE)
}

/// A condition that fails, or waits, as the trouble does.
pub(super) fn from_trouble(kind: &'static str, trouble: &Trouble) -> Draft {
    let (truth, effect, grace) = match trouble.cure {
        Cure::User => (Truth::False, Effect::Stall, SignedDuration::ZERO),
        Cure::Retry => (Truth::False, Effect::Retry, UNREACHABLE_GRACE),
        Cure::Wait => (Truth::Unknown, Effect::Progress, SignedDuration::ZERO),
    };
    Draft { kind, truth, reason: trouble.reason, message: trouble.message.clone(), effect, grace }
}
