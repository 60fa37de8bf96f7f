#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::check::node::Node;

fn capabilities() -> Capabilities {
    Node::choose(Some("no-trampolines")).unwrap().capabilities()
}

fn policy(uid: &str, state: NodePolicyState, reason: Option<&str>) -> NodePolicy {
    NodePolicy {
        uid: uid.into(),
        watch: Some(format!("ClusterSecurityWatch/{uid}")),
        generation: Some(1),
        hash: None,
        state: Some(state),
        reason: reason.map(str::to_owned),
        message: None,
        hooks: None,
        shipping: None,
    }
}

fn shipping_as(state: ShippingState, reason: Option<&str>) -> Option<ShippingReport> {
    Some(ShippingReport {
        state,
        reason: reason.map(str::to_owned),
        message: None,
        dropped: None,
        last_shipped_time: None,
    })
}

fn facts(capabilities: &Capabilities, sight: Sight, policies: Vec<NodePolicy>) -> Facts<'_> {
    Facts { capabilities, sight, policies, lost: vec![], past: None, troubles: vec![] }
}

fn report(sight: Sight, policies: Vec<NodePolicy>) -> SecurityWatchNodeStatus {
    let capabilities = capabilities();
    let facts = facts(&capabilities, sight, policies);
    status(facts, Timestamp::UNIX_EPOCH)
}

/// `Type Status Reason: message`, one line each.
fn conditions(status: &SecurityWatchNodeStatus) -> Vec<String> {
    let line = |c: &Condition| format!("{} {} {}: {}", c.type_, c.status, c.reason, c.message);
    status.conditions.iter().flatten().map(line).collect()
}

use NodePolicyState::{Failed, Loaded, Loading, Skipped};

#[test]
fn a_node_that_works() {
    let mut a = policy("a", Loaded, None);
    a.shipping = shipping_as(ShippingState::Delivering, None);
    let status = report(Sight::Watching, vec![a, policy("b", Skipped, Some("Suspended"))]);
    assert_eq!(
        conditions(&status),
        [
            "Ready True Watching: exec and exit are seen on kernel 6.18.44",
            "Programmed True AllLoaded: 1/1 loaded",
            "Shipping True Delivering: 1 delivering",
        ]
    );
    assert_eq!(status.policy_summary.as_deref(), Some("1/1"));
    let kernel = status.kernel.unwrap();
    assert_eq!(kernel.release.as_deref(), Some("6.18.44"));
    let kprobe = kernel.backends.unwrap().into_iter().find(|b| b.name == "kprobe").unwrap();
    assert_eq!(kprobe.available, Some(false));
    assert_eq!(kprobe.message.as_deref(), Some("attach: No such file or directory"));
}

#[test]
fn nothing_to_do_is_no_failure() {
    assert_eq!(
        conditions(&report(Sight::Watching, vec![]))[1..],
        ["Programmed True AllLoaded: 0/0 loaded", "Shipping True NoTarget: no watch has a target"]
    );
}

#[test]
fn what_fails_is_named() {
    let failed = |uid| policy(uid, Failed, Some("FunctionNotFound"));
    let mut policies = vec![failed("a"), failed("b"), failed("c"), failed("d")];
    policies.push(policy("e", Loading, None));
    for (at, reason) in [(1, "Unauthorized"), (2, "Backpressure")] {
        policies[at].shipping = shipping_as(ShippingState::Failing, Some(reason));
    }
    policies[4].shipping = shipping_as(ShippingState::Delivering, None);
    let status = report(Sight::Watching, policies);
    assert_eq!(
        conditions(&status)[1..],
        [
            "Programmed False LoadFailed: 4 of 5 failed: ClusterSecurityWatch/a (FunctionNotFound), \
             ClusterSecurityWatch/b (FunctionNotFound), ClusterSecurityWatch/c (FunctionNotFound) and 1 more",
            "Shipping False Unauthorized: 2 not delivered: ClusterSecurityWatch/b (Unauthorized), \
             ClusterSecurityWatch/c (Backpressure)",
        ]
    );
    assert_eq!(status.policy_summary.as_deref(), Some("0/5"));
}

#[test]
fn work_that_goes_on_is_no_failure() {
    let mut waiting = policy("a", Loading, None);
    waiting.shipping = shipping_as(ShippingState::Idle, None);
    assert_eq!(
        conditions(&report(Sight::Watching, vec![waiting, policy("b", Loaded, None)]))[1..],
        [
            "Programmed Unknown Loading: 1 of 2 not loaded yet",
            "Shipping Unknown NoEventsYet: no event was shipped yet",
        ]
    );
}

#[test]
fn a_stopped_probe_claims_nothing() {
    let mut a = policy("a", Loaded, None);
    a.shipping = shipping_as(ShippingState::Delivering, None);
    let status = report(Sight::Stopped, vec![a]);
    assert_eq!(
        (status.policies.as_deref(), status.policy_summary.as_deref()),
        (Some(&[][..]), Some("0/0"))
    );
    let words: Vec<_> =
        conditions(&status).iter().map(|c| c[..c.find(':').unwrap()].to_owned()).collect();
    assert_eq!(
        words,
        ["Ready False Stopped", "Programmed Unknown Stopped", "Shipping Unknown Stopped"]
    );
}

#[test]
fn a_blind_node_says_why() {
    let status = report(Sight::Blind("it has no BTF".into()), vec![]);
    assert_eq!(conditions(&status)[0], "Ready False KernelUnsupported: it has no BTF");
}

#[test]
fn a_full_list_keeps_what_fails() {
    let mut policies: Vec<_> =
        (0..MAX_POLICIES).map(|n| policy(&format!("{n:04}"), Loaded, None)).collect();
    policies.push(policy("zzzz", Failed, Some("x")));
    let status = report(Sight::Watching, policies);
    let listed = status.policies.unwrap();
    assert_eq!(listed.len(), MAX_POLICIES);
    assert_eq!(listed.last().unwrap().uid, "zzzz");
    assert_eq!(status.policy_summary.as_deref(), Some("1024/1025"));
}

#[test]
fn figures_alone_are_no_change_of_state() {
    let mut shipped = policy("a", Loaded, None);
    shipped.shipping = shipping_as(ShippingState::Delivering, None);
    let old = report(Sight::Watching, vec![shipped.clone()]);
    assert_eq!(change(&old, &old), Change::Nothing);

    let later = Some(Time(Timestamp::from_second(120).unwrap()));
    let mut ticked = shipped.clone();
    ticked.shipping.as_mut().unwrap().last_shipped_time = later;
    let mut new = report(Sight::Watching, vec![ticked]);
    for condition in new.conditions.iter_mut().flatten() {
        condition.last_transition_time = Time(Timestamp::from_second(9).unwrap());
    }
    assert_eq!(change(&old, &new), Change::Nothing, "time passes");
    keep_times(&mut new, &old);
    let since =
        |s: &SecurityWatchNodeStatus| s.conditions.as_ref().unwrap()[0].last_transition_time.0;
    assert_eq!(since(&new), Timestamp::UNIX_EPOCH, "it has been so since then");

    let mut dropped = shipped;
    dropped.shipping.as_mut().unwrap().dropped = Some(10);
    assert_eq!(change(&old, &report(Sight::Watching, vec![dropped])), Change::Figures);
    let lossy = SecurityWatchNodeStatus { lost: losses(&[("scratch_busy", 5)]), ..old.clone() };
    assert_eq!(change(&old, &lossy), Change::Figures);
    assert_eq!(change(&old, &report(Sight::Stopped, vec![])), Change::State);
}

#[test]
fn losses_are_rounded_and_only_those_that_happened() {
    let found = losses(&[("scratch_busy", 0), ("telemetry_ring_full", 1999)]).unwrap();
    assert_eq!(
        (found.len(), found[0].cause.as_str(), found[0].events),
        (1, "telemetry_ring_full", 1000)
    );
    assert_eq!(losses(&[("scratch_busy", 0)]), None);
    assert_eq!([0, 7, 10, 99, 100, 123_456].map(rounded), [0, 7, 10, 90, 100, 100_000]);
    assert!(rounded(u64::MAX) > 0);
}

#[test]
fn long_texts_are_cut_between_characters() {
    assert_eq!(cut("grün", 4), "grün");
    assert_eq!(cut("grüner", 4), "grü…");
}

#[test]
fn what_a_killed_probe_missed_is_told_by_the_next_one() {
    let capabilities = capabilities();
    let second = |second| Timestamp::from_second(second).unwrap();
    let past = Past { until: second(1_795_312_441), end: End::Killed, lost: 40 };
    let facts = Facts {
        lost: vec![("scratch_busy", 0)],
        past: Some((&past, second(1_795_312_445))),
        ..facts(&capabilities, Sight::Watching, vec![])
    };
    let status = status(facts, second(1_795_312_450));
    let ready = &status.conditions.unwrap()[0];
    assert!(
        ready.message.ends_with(
            "; nothing was seen from 2026-11-22 01:54:01 to 2026-11-22 01:54:05 (UTC), for the probe had been killed"
        ),
        "{}",
        ready.message
    );
    let lost: Vec<_> = status.lost.unwrap().into_iter().map(|l| (l.cause, l.events)).collect();
    assert_eq!(lost, [("probe_ended".to_owned(), 40)]);
}

#[test]
fn a_full_disk_is_told_and_the_node_still_watches() {
    let capabilities = capabilities();
    let troubles = vec!["the event log lacks events: No space left on device".to_owned()];
    let facts = Facts { troubles, ..facts(&capabilities, Sight::Watching, vec![]) };
    let told = status(facts, Timestamp::UNIX_EPOCH);
    assert_eq!(
        conditions(&told)[0],
        "Ready True Watching: exec and exit are seen on kernel 6.18.44; \
         the event log lacks events: No space left on device"
    );
    assert_eq!(change(&told, &report(Sight::Watching, vec![])), Change::State, "somebody may wait");
}
