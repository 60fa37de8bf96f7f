//! This node's report, from what is known. Pure.
//!
//! At thousands of nodes each write counts, so nothing in a report moves by itself: figures are rounded to
//! one digit, times to the minute, and neither alone is a reason to write soon.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::conditions::{reasons, types};
use securitywatch_api::v1alpha1::{
    Backend, Enforcement, HookReport, KernelReport, LossReport, NodePolicy, NodePolicyState,
    SecurityWatchNodeStatus, ShippingReport, ShippingState,
};

use super::ledger::{End, Past};
use super::state::{Entry, Gaps};
use crate::capabilities::{Capabilities, Support};

/// Most policies in a report, as the definition allows; those that fail come first.
pub const MAX_POLICIES: usize = 1024;
/// Most hooks of a policy, as the definition allows.
const MAX_HOOKS: usize = 128;
/// Longest message of a policy, as the definition allows.
const MAX_MESSAGE: usize = 1024;
/// Watches that a condition names; `kubectl describe` of the watch has the rest.
const MAX_NAMED: usize = 3;

/// Whether this node sees anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    Watching,
    /// The kernel cannot do what everything here rests on.
    Blind(String),
    /// On purpose: the probe is about to end.
    Stopped,
}

/// What a report is made of.
#[derive(Debug)]
pub struct Facts<'a> {
    pub capabilities: &'a Capabilities,
    pub sight: Sight,
    /// In any order.
    pub policies: Vec<NodePolicy>,
    /// By cause.
    pub lost: Vec<(&'static str, u64)>,
    /// The probe before this one, and when this one began.
    pub past: Option<(&'a Past, Timestamp)>,
    /// What does not work beside the watches, as sentences.
    pub troubles: Vec<String>,
}

/// The report on one watch.
#[must_use]
pub fn policy(entry: &Entry, gaps: &Gaps, shipping: Option<ShippingReport>) -> NodePolicy {
    let (state, reason) = entry.standing(gaps);
    let (word, message) = reason.map(|reason| (reason.word, reason.message)).unzip();
    let hook = |hook: &crate::policy::HookReport| HookReport {
        call: cut(&hook.function, 256),
        backend: hook.backend.map(|backend| backend.to_string()),
        enforcement: hook.kills.then_some(Enforcement::Killed),
    };
    let hooks: Vec<_> = entry.hooks().iter().take(MAX_HOOKS).map(hook).collect();
    NodePolicy {
        uid: entry.wish.uid.clone(),
        watch: Some(cut(&entry.wish.title, 400)),
        generation: Some(entry.wish.generation),
        hash: entry.wish.hash.clone(),
        state: Some(state),
        reason: word.map(|word| cut(&word, 128)),
        message: message.map(|message| cut(&message, MAX_MESSAGE)),
        hooks: (!hooks.is_empty()).then_some(hooks),
        shipping,
    }
}

/// The whole report. Each condition is taken to have changed `now`; see [`keep_times`].
#[must_use]
pub fn status(facts: Facts<'_>, now: Timestamp) -> SecurityWatchNodeStatus {
    let Facts { capabilities, sight, mut policies, mut lost, past, troubles } = facts;
    lost.extend(past.map(|(past, _)| (PROBE_ENDED, past.lost)));
    if sight == Sight::Stopped {
        // What is not loaded is not listed: nobody may count on it.
        policies.clear();
    }
    let conditions = [
        ready(&sight, capabilities, past, &troubles),
        programmed(&sight, &policies),
        shipping(&sight, &policies),
    ];
    let condition = |(kind, said): (&str, Said)| Condition {
        type_: kind.to_owned(),
        status: said.status.to_owned(),
        reason: said.reason.to_owned(),
        message: said.message,
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let kinds = [types::READY, types::PROGRAMMED, types::SHIPPING];
    let summary = summary(&policies);
    // The list is bounded, and what fails must not be what is left out.
    policies
        .sort_by_key(|policy| (policy.state != Some(NodePolicyState::Failed), policy.uid.clone()));
    policies.truncate(MAX_POLICIES);
    policies.sort_by(|a, b| a.uid.cmp(&b.uid));
    SecurityWatchNodeStatus {
        conditions: Some(kinds.into_iter().zip(conditions).map(condition).collect()),
        probe_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        kernel: Some(kernel(capabilities)),
        policies: Some(policies),
        policy_summary: Some(summary),
        lost: losses(&lost),
    }
}

/// What a condition says.
struct Said {
    status: &'static str,
    reason: &'static str,
    message: String,
}

const STOPPED: &str = "the probe was stopped; nothing is watched here until it runs again";

fn said(status: &'static str, reason: &'static str, message: impl Into<String>) -> Said {
    Said { status, reason, message: message.into() }
}

/// What was not shipped when a probe ended.
const PROBE_ENDED: &str = "probe_ended";

fn ready(
    sight: &Sight,
    capabilities: &Capabilities,
    past: Option<(&Past, Timestamp)>,
    troubles: &[String],
) -> Said {
    match sight {
        Sight::Watching => {
            let mut message = format!("exec and exit are seen on kernel {}", capabilities.kernel);
            if let Some((past, since)) = past {
                message.push_str("; ");
                message.push_str(&unseen(past, since));
            }
            for trouble in troubles {
                message.push_str("; ");
                message.push_str(trouble);
            }
            said("True", reasons::node::WATCHING, message)
        }
        Sight::Blind(why) => said("False", reasons::programmed::KERNEL_UNSUPPORTED, why.clone()),
        Sight::Stopped => said("False", reasons::node::STOPPED, STOPPED),
    }
}

/// For example `nothing was seen from 08:12:03 to 08:12:07 (UTC), for the probe had been killed`.
fn unseen(past: &Past, since: Timestamp) -> String {
    let how = match past.end {
        End::Stopped => "the probe had been stopped",
        End::Killed => "the probe had been killed",
        End::Rebooted => "the node had restarted",
    };
    let (from, to) = (past.until.strftime("%F %T"), since.strftime("%F %T"));
    format!("nothing was seen from {from} to {to} (UTC), for {how}")
}

fn programmed(sight: &Sight, policies: &[NodePolicy]) -> Said {
    if *sight == Sight::Stopped {
        return said("Unknown", reasons::node::STOPPED, STOPPED);
    }
    let count = |state| policies.iter().filter(|policy| policy.state == Some(state)).count();
    let (failed, loading) = (count(NodePolicyState::Failed), count(NodePolicyState::Loading));
    if failed > 0 {
        let failing =
            policies.iter().filter(|policy| policy.state == Some(NodePolicyState::Failed));
        let named = failing.map(|policy| (policy, policy.reason.as_deref()));
        let message = format!("{failed} of {} failed: {}", policies.len(), names(named, failed));
        return said("False", reasons::programmed::LOAD_FAILED, message);
    }
    if loading > 0 {
        let message = format!("{loading} of {} not loaded yet", policies.len());
        return said("Unknown", reasons::node::LOADING, message);
    }
    said("True", reasons::node::ALL_LOADED, format!("{} loaded", summary(policies)))
}

fn shipping(sight: &Sight, policies: &[NodePolicy]) -> Said {
    if *sight == Sight::Stopped {
        return said("Unknown", reasons::node::STOPPED, STOPPED);
    }
    let with = |wanted: ShippingState| {
        policies.iter().filter_map(move |policy| {
            policy.shipping.as_ref().filter(|s| s.state == wanted).map(|s| (policy, s))
        })
    };
    let failing = with(ShippingState::Failing).count();
    if let Some((_, first)) = with(ShippingState::Failing).next() {
        let named = with(ShippingState::Failing).map(|(policy, s)| (policy, s.reason.as_deref()));
        let message = format!("{failing} not delivered: {}", names(named, failing));
        let reason = shipping_reason(first.reason.as_deref());
        return said("False", reason, message);
    }
    let (delivering, idle) =
        (with(ShippingState::Delivering).count(), with(ShippingState::Idle).count());
    match (delivering, idle) {
        (0, 0) => said("True", reasons::shipping::NO_TARGET, "no watch has a target"),
        (0, _) => said("Unknown", reasons::shipping::NO_EVENTS_YET, "no event was shipped yet"),
        (_, 0) => said("True", reasons::shipping::DELIVERING, format!("{delivering} delivering")),
        _ => {
            let message = format!("{delivering} delivering, {idle} without an event yet");
            said("True", reasons::shipping::DELIVERING, message)
        }
    }
}

fn shipping_reason(word: Option<&str>) -> &'static str {
    use reasons::accepted::LIMIT_EXCEEDED;
    use reasons::shipping::{BACKPRESSURE, STREAM_REJECTED, TARGET_UNREACHABLE, UNAUTHORIZED};
    let known = [BACKPRESSURE, STREAM_REJECTED, UNAUTHORIZED, LIMIT_EXCEEDED];
    known.into_iter().find(|reason| Some(*reason) == word).unwrap_or(TARGET_UNREACHABLE)
}

/// The first few of `total` watches, each with its reason.
fn names<'a>(all: impl Iterator<Item = (&'a NodePolicy, Option<&'a str>)>, total: usize) -> String {
    let name = |(policy, reason): (&NodePolicy, Option<&str>)| {
        let watch = policy.watch.as_deref().unwrap_or(&policy.uid);
        format!("{watch} ({})", reason.unwrap_or("unknown"))
    };
    let mut text = all.take(MAX_NAMED).map(name).collect::<Vec<_>>().join(", ");
    if total > MAX_NAMED {
        text.push_str(&format!(" and {} more", total - MAX_NAMED));
    }
    text
}

/// Loaded and wanted.
fn summary(policies: &[NodePolicy]) -> String {
    let wanted = policies.iter().filter(|p| p.state != Some(NodePolicyState::Skipped)).count();
    let loaded = policies.iter().filter(|p| p.state == Some(NodePolicyState::Loaded)).count();
    format!("{loaded}/{wanted}")
}

fn kernel(capabilities: &Capabilities) -> KernelReport {
    let c = capabilities;
    let backend = |(name, support): (&str, &Support)| Backend {
        name: name.to_owned(),
        available: Some(support.is_yes()),
        message: match support {
            Support::Yes => None,
            Support::No { reason } => Some(cut(reason, 512)),
        },
    };
    let backends = [
        ("lifecycle", &c.lifecycle),
        ("fentry", &c.fentry),
        ("kprobe", &c.kprobe),
        ("kprobe.multi", &c.kprobe_multi),
        ("lsm", &c.lsm),
        ("fmod_ret", &c.fmod_ret),
        ("raw_syscalls", &c.raw_syscalls),
        ("uprobe", &c.uprobe),
    ];
    KernelReport {
        release: Some(cut(&c.kernel, 128)),
        btf: Some(c.btf.is_yes()),
        backends: Some(backends.into_iter().map(backend).collect()),
    }
}

fn losses(lost: &[(&'static str, u64)]) -> Option<Vec<LossReport>> {
    let happened = lost.iter().filter(|(_, events)| *events > 0);
    let reports: Vec<_> = happened
        .map(|(cause, events)| LossReport { cause: (*cause).to_owned(), events: rounded(*events) })
        .collect();
    (!reports.is_empty()).then_some(reports)
}

/// Down to its first digit: 1234 becomes 1000.
#[must_use]
pub fn rounded(count: u64) -> i64 {
    let unit = 10_u64.pow(count.checked_ilog10().unwrap_or_default());
    i64::try_from(count / unit * unit).unwrap_or(i64::MAX)
}

/// At most `max` characters, with a mark where something is left out.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// Conditions whose status is what it was keep the time since when it is so.
pub fn keep_times(new: &mut SecurityWatchNodeStatus, old: &SecurityWatchNodeStatus) {
    let old = old.conditions.as_deref().unwrap_or_default();
    for condition in new.conditions.iter_mut().flatten() {
        let before =
            old.iter().find(|o| o.type_ == condition.type_ && o.status == condition.status);
        if let Some(before) = before {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}

/// How much two reports differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// In times alone: not worth a write.
    Nothing,
    /// In figures: worth one when there is time.
    Figures,
    /// In what somebody may wait for.
    State,
}

/// Compares what is written with what is to be written.
#[must_use]
pub fn change(old: &SecurityWatchNodeStatus, new: &SecurityWatchNodeStatus) -> Change {
    let (old_state, new_state) = (without_figures(old), without_figures(new));
    if old_state != new_state {
        return Change::State;
    }
    let figures = |status: &SecurityWatchNodeStatus| {
        let policies = status.policies.iter().flatten();
        let dropped: Vec<_> =
            policies.map(|p| p.shipping.as_ref().and_then(|s| s.dropped)).collect();
        (status.lost.clone(), dropped)
    };
    if figures(old) == figures(new) { Change::Nothing } else { Change::Figures }
}

fn without_figures(status: &SecurityWatchNodeStatus) -> SecurityWatchNodeStatus {
    let mut status = status.clone();
    status.lost = None;
    for shipping in status.policies.iter_mut().flatten().filter_map(|p| p.shipping.as_mut()) {
        shipping.dropped = None;
        shipping.last_shipped_time = None;
    }
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    status
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
