//! `Ready`, `Reconciling` and `Stalled`: the sum of the others.
//!
//! kstatus and Argo CD read these: Unknown while work goes on, False only for a definite failure;
//! `Reconciling` and `Stalled` are there only while they are true, and never both.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use securitywatch_api::v1alpha1::conditions::{reasons, types};

use super::condition::{Draft, Effect, Truth, UNREACHABLE_GRACE, find};

/// A condition with the time since which it is so.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) draft: &'a Draft,
    pub(super) condition: &'a Condition,
}

impl Part<'_> {
    fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.condition.last_transition_time.0)
    }
}

/// The sum, and when it has to be drawn again although nothing changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) ready: Draft,
    pub(super) reconciling: Option<Draft>,
    pub(super) stalled: Option<Draft>,
    pub(super) again_in: Option<SignedDuration>,
}

/// When the sum is drawn and whether it is about the same as the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) now: Timestamp,
    /// The same generation with the same policy. What is new is judged anew: `kubectl wait` must not see
    /// the readiness of what was before.
    pub(super) same: bool,
}

/// Draws the sum of `parts`, which stand in the order in which their failures count. `waiting` is what
/// `Ready` says while work goes on, `fine` what it says when all is well.
pub(super) fn sum(
    parts: &[Part<'_>],
    previous: &[Condition],
    judged: Judged,
    waiting: (&'static str, String),
    fine: String,
) -> Sum {
    let now = judged.now;
    let was_ready = judged.same
        && find(previous, types::READY).is_some_and(|ready| ready.status == Truth::True.as_str());
    let mut again_in: Option<SignedDuration> = None;
    let mut spared = None;
    let mut effects = Vec::new();
    for part in parts.iter().filter(|part| part.draft.effect != Effect::Fine) {
        let first_contact = !was_ready && part.draft.effect == Effect::Retry;
        let grace = if first_contact { UNREACHABLE_GRACE } else { part.draft.grace };
        let left = grace - part.age(now);
        if (was_ready || first_contact) && left > SignedDuration::ZERO {
            again_in = Some(again_in.map_or(left, |soonest| soonest.min(left)));
            if part.draft.effect == Effect::Retry {
                spared.get_or_insert(part.draft);
            }
            if first_contact {
                effects.push((Effect::Progress, part.draft));
            }
            continue;
        }
        effects.push((part.draft.effect, part.draft));
    }
    let of = |wanted: Effect| {
        effects.iter().find(|(effect, _)| *effect == wanted).map(|(_, draft)| *draft)
    };
    let failed = effects.iter().find(|(effect, _)| matches!(effect, Effect::Stall | Effect::Retry));
    let stalled = of(Effect::Stall).map(|draft| copy(draft, types::STALLED, Truth::True));
    let reconciling = match (&stalled, of(Effect::Retry).or(spared), of(Effect::Progress)) {
        (Some(_), ..) | (None, None, None) => None,
        (None, Some(draft), _) => Some(Draft {
            reason: reasons::reconciling::RETRYING,
            ..copy(draft, types::RECONCILING, Truth::True)
        }),
        (None, None, Some(draft)) => Some(Draft {
            reason: reasons::reconciling::PROGRESSING,
            ..copy(draft, types::RECONCILING, Truth::True)
        }),
    };
    let ready = match (failed, of(Effect::Progress)) {
        (Some((_, draft)), _) => copy(
            draft,
            types::READY,
            if draft.truth == Truth::Unknown { Truth::Unknown } else { Truth::False },
        ),
        (None, Some(_)) => Draft::pending(types::READY, waiting.0, waiting.1),
        (None, None) => Draft::fine(types::READY, reasons::ready::ALL_READY, fine),
    };
    Sum { ready, reconciling, stalled, again_in }
}

fn copy(draft: &Draft, kind: &'static str, truth: Truth) -> Draft {
    Draft { kind, truth, ..draft.clone() }
}
