//! Which changes of a status are worth an Event: transitions only, and each told once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use securitywatch_api::v1alpha1::WatchStatus;
use securitywatch_api::v1alpha1::conditions::reasons::{
    accepted, alerts_synced, resolved_refs, shipping,
};
use securitywatch_api::v1alpha1::conditions::types;

use crate::events::Announcement;
use crate::status::{Facts, Truth, failures, find, nodes};

/// What a condition was and is.
struct Turn<'a> {
    before: Option<&'a Condition>,
    now: Option<&'a Condition>,
    generation: i64,
}

impl Turn<'_> {
    fn turned(&self) -> bool {
        let said = |condition: &Condition| (condition.status.clone(), condition.reason.clone());
        self.before.map(said) != self.now.map(said)
    }

    fn is(&self, truth: Truth) -> bool {
        self.now.is_some_and(|condition| condition.status == truth.as_str())
    }

    fn was(&self, truth: Truth) -> bool {
        self.before.is_some_and(|condition| condition.status == truth.as_str())
    }

    /// Whether it holds now, and did not before for this generation.
    fn came_true(&self) -> bool {
        let same = self.before.and_then(|before| before.observed_generation);
        self.is(Truth::True) && !(self.was(Truth::True) && same == Some(self.generation))
    }

    fn had_reason(&self, reason: &str) -> bool {
        self.before.is_some_and(|condition| condition.reason == reason)
    }

    fn reason(&self) -> &str {
        self.now.map_or("", |condition| &condition.reason)
    }

    fn message(&self) -> String {
        self.now.map_or_else(String::new, |condition| condition.message.clone())
    }
}

pub(super) fn announcements(facts: &Facts<'_>, new: &WatchStatus) -> Vec<Announcement> {
    let conditions = |status: Option<&WatchStatus>| {
        status.and_then(|s| s.conditions.clone()).unwrap_or_default()
    };
    let (before, now) = (conditions(facts.previous), conditions(Some(new)));
    let turn = |kind| Turn {
        before: find(&before, kind),
        now: find(&now, kind),
        generation: facts.generation,
    };
    let mut told = Vec::new();
    told.extend(of_accepted(&turn(types::ACCEPTED)));
    told.extend(of_references(&turn(types::RESOLVED_REFS)));
    told.extend(of_nodes(facts, &turn(types::PROGRAMMED)));
    told.extend(of_target(&turn(types::SHIPPING), &turn(types::ALERTS_SYNCED)));
    told.extend(of_alerts(&turn(types::ALERTS_SYNCED)));
    told
}

fn of_accepted(turn: &Turn<'_>) -> Option<Announcement> {
    if turn.came_true() {
        return Some(Announcement::normal("PolicyAccepted", turn.message()));
    }
    let refused = turn.is(Truth::False) && (turn.turned() || changed_words(turn));
    let reason = if turn.reason() == accepted::UNSUPPORTED_HOOK {
        "PolicyUnsupported"
    } else {
        "PolicyRefused"
    };
    refused.then(|| Announcement::warning(reason, turn.message()))
}

/// Whether the same failure has another cause now.
fn changed_words(turn: &Turn<'_>) -> bool {
    turn.before.map(|condition| &condition.message) != turn.now.map(|condition| &condition.message)
}

fn of_references(turn: &Turn<'_>) -> Option<Announcement> {
    if !turn.turned() || turn.is(Truth::True) {
        let mended = turn.is(Truth::True) && (turn.was(Truth::False) || turn.was(Truth::Unknown));
        return mended.then(|| Announcement::normal("ReferencesResolved", turn.message()));
    }
    let reason = match turn.reason() {
        resolved_refs::SECRET_NOT_FOUND => "SecretMissing",
        resolved_refs::SECRET_KEY_MISSING => "SecretKeyMissing",
        resolved_refs::SECRET_INVALID => "SecretInvalid",
        resolved_refs::FORBIDDEN => "ReferenceForbidden",
        resolved_refs::POLICY_NOT_FOUND | resolved_refs::POLICY_KIND_MISSING => "PolicyMissing",
        "" => return None,
        _ => "ReferenceRefused",
    };
    Some(Announcement::warning(reason, turn.message()))
}

/// One event for the first nodes that fail and one when too many do, not one a node.
fn of_nodes(facts: &Facts<'_>, turn: &Turn<'_>) -> Vec<Announcement> {
    let mut told = Vec::new();
    let failed_before = facts
        .previous
        .filter(|status| status.observed_generation == Some(facts.generation))
        .and_then(|status| status.nodes.as_ref()?.failed)
        .unwrap_or(0);
    let failed = facts.reports.failed;
    let newly_too_many = turn.is(Truth::False) && turn.turned();
    if turn.now.is_some() && failed > 0 && (failed_before == 0 || newly_too_many) {
        let note = format!("{} cannot load the policy: {}", nodes(failed), failures(facts));
        told.push(Announcement::warning("NodeLoadFailed", note));
    } else if newly_too_many {
        told.push(Announcement::warning("NoEligibleNodes", turn.message()));
    }
    if turn.came_true() {
        let note = format!("loaded on {}", turn.message());
        told.push(Announcement::normal("RolloutComplete", note));
    }
    told
}

/// The target is one, whether nodes or the operator find it silent.
fn of_target(ships: &Turn<'_>, alerts: &Turn<'_>) -> Option<Announcement> {
    let silent = shipping::TARGET_UNREACHABLE;
    let before = ships.had_reason(silent) || alerts.had_reason(silent);
    let silent_now = [ships, alerts].into_iter().find(|turn| turn.reason() == silent);
    match (before, silent_now) {
        (false, Some(turn)) => Some(Announcement::warning("TargetUnreachable", turn.message())),
        (true, None) if ships.now.is_some() && !ships.is(Truth::False) => {
            Some(Announcement::normal("TargetRecovered", ships.message()))
        }
        _ => of_refusal(ships),
    }
}

/// The target answers, and not kindly.
fn of_refusal(ships: &Turn<'_>) -> Option<Announcement> {
    let refused =
        ships.is(Truth::False) && ships.turned() && ships.reason() != shipping::TARGET_UNREACHABLE;
    if refused {
        let reason = match ships.reason() {
            shipping::UNAUTHORIZED => "TargetUnauthorized",
            shipping::STREAM_REJECTED => "StreamRejected",
            shipping::BACKPRESSURE => "EventsDropped",
            _ => "TargetRefused",
        };
        return Some(Announcement::warning(reason, ships.message()));
    }
    let mended = ships.was(Truth::False) && ships.turned() && ships.is(Truth::True);
    mended.then(|| Announcement::normal("TargetRecovered", ships.message()))
}

fn of_alerts(turn: &Turn<'_>) -> Option<Announcement> {
    let lost = alerts_synced::NOT_DELIVERED;
    match (turn.had_reason(lost), turn.reason() == lost) {
        (false, true) => {
            return Some(Announcement::warning("AlertNotDelivered", turn.message()));
        }
        (true, true) => return None,
        (true, false) if turn.is(Truth::True) => {
            return Some(Announcement::normal(
                "AlertDelivered",
                "no call of an alert fails any more",
            ));
        }
        _ => {}
    }
    let refused = turn.is(Truth::False)
        && (turn.turned() || changed_words(turn))
        && ![alerts_synced::TARGET_UNREACHABLE, alerts_synced::UNAUTHORIZED]
            .contains(&turn.reason());
    refused.then(|| Announcement::warning("AlertRejected", turn.message()))
}
