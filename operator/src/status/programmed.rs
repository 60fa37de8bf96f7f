//! `Programmed`: whether the nodes have loaded the watch.

use std::collections::BTreeMap;

use k8s_openapi::jiff::SignedDuration;
use securitywatch_api::v1alpha1::NodeCounts;
use securitywatch_api::v1alpha1::conditions::{reasons::programmed, types};

use super::condition::{Draft, Effect, Truth};
use super::facts::Facts;

/// A watch that was ready stays so for this long although too many nodes fail: one that flaps at the
/// edge of the threshold must not make the whole flap.
const FAILED_GRACE: SignedDuration = SignedDuration::from_secs(15);
/// And for this long although nodes are missing: a node that reboots is back by then.
const MISSING_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// Reasons that speak about a kernel and not about the policy.
const KERNEL_REASONS: [&str; 3] = ["BackendUnavailable", "KernelUnsupported", "NoBtf"];

/// The numbers behind the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Nodes that should have it.
    pub desired: u32,
    /// Nodes that have it and whose probe runs.
    pub ready: u32,
    /// Nodes that cannot load it.
    pub failed: u32,
    /// Nodes that speak about something older.
    pub stale: u32,
}

impl Counts {
    /// Adds up what the DaemonSet and the nodes say.
    #[must_use]
    pub fn of(facts: &Facts<'_>) -> Self {
        let rollout = facts.rollout.unwrap_or_default();
        let desired = rollout.desired.saturating_sub(facts.reports.skipped);
        // A probe that does not run cannot say so: its last report stays.
        let ready = facts.reports.loaded.min(rollout.running).min(desired);
        Self { desired, ready, failed: facts.reports.failed, stale: facts.reports.stale }
    }

    /// Nodes that neither have it nor fail.
    const fn missing(self) -> u32 {
        self.desired.saturating_sub(self.ready).saturating_sub(self.failed)
    }

    /// The field of the status.
    #[must_use]
    pub fn to_status(self) -> NodeCounts {
        let number = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
        NodeCounts {
            desired: number(self.desired),
            ready: number(self.ready),
            failed: number(self.failed),
            stale: number(self.stale),
            summary: Some(format!("{}/{}", self.ready, self.desired)),
        }
    }
}

/// Whether `part` is more than one percent of `whole`: then it is too much.
#[must_use]
pub const fn too_many(part: u32, whole: u32) -> bool {
    part as u64 * 100 > whole as u64
}

pub(super) fn draft(facts: &Facts<'_>, counts: Counts) -> Draft {
    let Some(rollout) = facts.rollout.filter(|rollout| rollout.counted) else {
        let message = "the probe's DaemonSet is being rolled out";
        return Draft::pending(types::PROGRAMMED, programmed::ROLLING_OUT, message)
            .with_grace(MISSING_GRACE);
    };
    if rollout.desired == 0 {
        let message = "no node runs the probe: check probe.nodeSelector, probe.affinity and probe.tolerations of the chart";
        return Draft::stalled(types::PROGRAMMED, programmed::NO_ELIGIBLE_NODES, message);
    }
    if counts.desired == 0 {
        let message = format!("all {} nodes skip the watch", nodes(rollout.desired));
        return Draft::stalled(types::PROGRAMMED, programmed::NO_ELIGIBLE_NODES, message);
    }
    if too_many(counts.failed, counts.desired) {
        return load_failed(facts, counts);
    }
    let mut message = format!("{} of {}", counts.ready, nodes(counts.desired));
    if counts.failed > 0 {
        message.push_str("; ");
        message.push_str(&failures(facts));
    }
    let down = rollout.desired.saturating_sub(rollout.running);
    if down > 0 && counts.missing() > 0 {
        message.push_str(&format!("; the probe does not run on {}", nodes(down)));
    }
    if too_many(counts.missing(), counts.desired) {
        return Draft::pending(types::PROGRAMMED, programmed::ROLLING_OUT, message)
            .with_grace(MISSING_GRACE);
    }
    let reason = if counts.ready == counts.desired {
        programmed::LOADED_ON_ALL_NODES
    } else {
        programmed::LOADED_ON_MOST_NODES
    };
    Draft::fine(types::PROGRAMMED, reason, message)
}

fn load_failed(facts: &Facts<'_>, counts: Counts) -> Draft {
    let reasons = &facts.reports.reasons;
    let kernel = !reasons.is_empty()
        && reasons.keys().all(|reason| KERNEL_REASONS.contains(&reason.as_str()));
    let reason = if kernel && counts.failed >= counts.desired {
        programmed::KERNEL_UNSUPPORTED
    } else {
        programmed::LOAD_FAILED
    };
    let mut message = format!(
        "{} of {} cannot load the policy: {}",
        counts.failed,
        nodes(counts.desired),
        failures(facts)
    );
    if let Some(first) = facts.reports.failing.iter().find(|failure| !failure.message.is_empty()) {
        message.push_str(": ");
        message.push_str(&first.message);
    }
    Draft {
        kind: types::PROGRAMMED,
        truth: Truth::False,
        reason,
        message,
        effect: Effect::Stall,
        grace: FAILED_GRACE,
    }
}

/// Who fails and why: `worker-2: FunctionNotFound`, or `FunctionNotFound on 3 nodes (worker-2, ...)`.
#[must_use]
pub fn failures(facts: &Facts<'_>) -> String {
    let failing = &facts.reports.failing;
    if let ([only], 1) = (failing.as_slice(), facts.reports.failed) {
        return format!("{}: {}", only.node, only.reason);
    }
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for failure in failing {
        by_reason.entry(&failure.reason).or_default().push(&failure.node);
    }
    let mut reasons: Vec<_> = facts.reports.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let parts = reasons.into_iter().take(3).map(|(reason, count)| {
        let known = by_reason.get(reason.as_str()).map_or(&[][..], Vec::as_slice);
        let named = &known[..known.len().min(2)];
        let more = if *count as usize > named.len() { ", …" } else { "" };
        if named.is_empty() {
            format!("{reason} on {}", nodes(*count))
        } else {
            format!("{reason} on {} ({}{more})", nodes(*count), named.join(", "))
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// `1 node`, `2 nodes`.
#[must_use]
pub fn nodes(count: u32) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}
