//! Conditions, from a draft to what is written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use securitywatch_api::v1alpha1::conditions::reasons::{alerts_synced, shipping};

use super::facts::Facts;

/// How long a watch that was ready stays so although its target does not answer.
pub const UNREACHABLE_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Reasons of `Shipping` and `AlertsSynced` that are found out by asking the target.
const VERDICTS: [&str; 12] = [
    shipping::DELIVERING,
    shipping::TARGET_UNREACHABLE,
    shipping::UNAUTHORIZED,
    shipping::STREAM_REJECTED,
    shipping::BACKPRESSURE,
    shipping::TARGET_REFUSED,
    shipping::UNSUPPORTED,
    alerts_synced::SYNCED,
    alerts_synced::ALERT_REJECTED,
    alerts_synced::CONFLICT,
    alerts_synced::OUTBOUND_POLICY,
    alerts_synced::NOT_DELIVERED,
];
/// Those of them that trying again may cure.
const RETRIED: [&str; 2] = [shipping::TARGET_UNREACHABLE, shipping::BACKPRESSURE];

/// Longest message of a condition; `kubectl describe` must stay readable.
const MESSAGE_CHARS: usize = 1024;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

impl Truth {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition that is not as it should be means for the watch as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Fine,
    /// Work goes on.
    Progress,
    /// It fails, and trying again may cure it.
    Retry,
    /// It fails until somebody acts.
    Stall,
}

/// A condition before it is known how long it has been so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Condition type.
    pub kind: &'static str,
    /// Whether it holds.
    pub truth: Truth,
    /// Condition reason.
    pub reason: &'static str,
    /// With numbers and the fix.
    pub message: String,
    /// What it means for the whole.
    pub effect: Effect,
    /// How long a watch that was ready stays so regardless.
    pub grace: SignedDuration,
}

impl Draft {
    /// A condition that is as it should be.
    pub fn fine(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            truth: Truth::True,
            reason,
            message: message.into(),
            effect: Effect::Fine,
            grace: SignedDuration::ZERO,
        }
    }

    /// A condition that does not hold until somebody acts.
    pub fn stalled(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { truth: Truth::False, effect: Effect::Stall, ..Self::fine(kind, reason, message) }
    }

    /// A condition that is not known yet.
    pub fn pending(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            truth: Truth::Unknown,
            effect: Effect::Progress,
            ..Self::fine(kind, reason, message)
        }
    }

    /// The same with a grace.
    #[must_use]
    pub const fn with_grace(mut self, grace: SignedDuration) -> Self {
        self.grace = grace;
        self
    }

    /// The condition as it is written: its time is that of the previous one where nothing turned.
    #[must_use]
    pub fn settle(&self, previous: &[Condition], generation: i64, now: Timestamp) -> Condition {
        let since = find(previous, self.kind)
            .filter(|condition| condition.status == self.truth.as_str())
            .map_or(Time(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: self.kind.to_owned(),
            status: self.truth.as_str().to_owned(),
            reason: self.reason.to_owned(),
            message: cut(&self.message, MESSAGE_CHARS),
            observed_generation: Some(generation),
            last_transition_time: since,
        }
    }
}

/// The condition of this kind as it was written last, if that was a verdict about the same generation: a
/// fresh process has not asked the target yet, and its not knowing is no news.
#[must_use]
pub fn carried(kind: &'static str, facts: &Facts<'_>) -> Option<Draft> {
    let previous = facts.previous?;
    let condition = find(previous.conditions.as_deref()?, kind)?;
    if condition.observed_generation != Some(facts.generation) {
        return None;
    }
    let reason = VERDICTS.into_iter().find(|reason| *reason == condition.reason)?;
    let (truth, effect) = match condition.status.as_str() {
        "True" => (Truth::True, Effect::Fine),
        // Told, and for nobody to wait for: the next hit shows whether it is mended.
        "False" if reason == alerts_synced::NOT_DELIVERED => (Truth::True, Effect::Fine),
        "False" if RETRIED.contains(&reason) => (Truth::False, Effect::Retry),
        "False" => (Truth::False, Effect::Stall),
        _ => return None,
    };
    let grace = if effect == Effect::Retry { UNREACHABLE_GRACE } else { SignedDuration::ZERO };
    Some(Draft { kind, truth, reason, message: condition.message.clone(), effect, grace })
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// At most `chars` characters of `text`.
#[must_use]
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => {
            let end = text.char_indices().nth(chars - 1).map_or(0, |(place, _)| place);
            format!("{}…", &text[..end])
        }
    }
}
