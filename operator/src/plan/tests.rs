//! What is announced, and when nothing is to be done.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use securitywatch_api::cluster::FINALIZER;
use securitywatch_api::v1alpha1::WatchStatus;

use super::*;
use crate::alerts::Fired;
use crate::nodes::{NodeFailure, Reports, Shipping};
use crate::status::{Cure, Judgement, Rollout, Sync, Target, Trouble};

fn well() -> Facts<'static> {
    Facts {
        generation: 1,
        previous: None,
        now: Timestamp::from_second(1_700_000_000).unwrap(),
        suspended: false,
        accepted: Judgement::Yes { message: "1 hook, 1 selector".into() },
        references: Judgement::Yes { message: "secret admin".into() },
        policy_hash: None,
        rollout: Some(Rollout { desired: 3, running: 3, counted: true }),
        reports: Reports {
            loaded: 3,
            shipping: Shipping { delivering: 3, ..Shipping::default() },
            ..Reports::default()
        },
        target: target(None),
        event_log: false,
        alerts: Vec::new(),
        fired: BTreeMap::new(),
        deletion: None,
    }
}

fn target(trouble: Option<Trouble>) -> Option<Target> {
    let sync = Sync { current: true, trouble, alerts: Vec::new() };
    Some(Target { stream: "s".into(), sync: Some(sync) })
}

fn rolling_out() -> Facts<'static> {
    Facts { reports: Reports::default(), ..well() }
}

fn status(facts: &Facts<'_>) -> WatchStatus {
    plan(facts).status.unwrap()
}

/// The events of the step from `before` to `now`.
fn told(before: Option<&Facts<'_>>, now: Facts<'_>) -> Vec<String> {
    let before = before.map(status);
    let plan = plan(&Facts { previous: before.as_ref(), ..now });
    plan.announcements
        .iter()
        .map(|event| {
            let kind = if event.warning { "Warning" } else { "Normal" };
            format!("{kind} {}: {}", event.reason, event.note)
        })
        .collect()
}

#[test]
fn a_new_watch_is_accepted() {
    assert_eq!(told(None, rolling_out()), ["Normal PolicyAccepted: 1 hook, 1 selector"]);
}

#[test]
fn a_rollout_is_complete_once() {
    assert_eq!(
        told(Some(&rolling_out()), well()),
        ["Normal RolloutComplete: loaded on 3 of 3 nodes"]
    );
    assert_eq!(told(Some(&well()), well()), [""; 0]);
}

#[test]
fn nothing_new_is_not_written() {
    let before = status(&well());
    let later = Facts { previous: Some(&before), ..well() };
    assert_eq!(plan(&later), Plan { status: None, announcements: vec![], again_in: None });
}

#[test]
fn a_new_generation_is_accepted_and_rolled_out_anew() {
    let next = Facts { generation: 2, ..rolling_out() };
    assert_eq!(told(Some(&well()), next), ["Normal PolicyAccepted: 1 hook, 1 selector"]);
    let done = Facts { generation: 2, ..well() };
    assert_eq!(
        told(Some(&well()), done),
        [
            "Normal PolicyAccepted: 1 hook, 1 selector",
            "Normal RolloutComplete: loaded on 3 of 3 nodes"
        ]
    );
}

#[test]
fn failing_nodes_make_one_event() {
    let failing = |failed: u32| {
        let failure = |node: u32| NodeFailure {
            node: format!("worker-{node}"),
            reason: "FunctionNotFound".into(),
            message: String::new(),
        };
        Facts {
            rollout: Some(Rollout { desired: 500, running: 500, counted: true }),
            reports: Reports {
                loaded: 500 - failed,
                failed,
                failing: (0..failed).map(failure).collect(),
                reasons: BTreeMap::from([("FunctionNotFound".to_owned(), failed)]),
                ..well().reports
            },
            ..well()
        }
    };
    let fine = failing(0);
    assert_eq!(
        told(Some(&fine), failing(1)),
        ["Warning NodeLoadFailed: 1 node cannot load the policy: worker-0: FunctionNotFound"]
    );
    assert_eq!(told(Some(&failing(1)), failing(3)), [""; 0], "a few more are no news");
    assert_eq!(
        told(Some(&failing(3)), failing(6)),
        [
            "Warning NodeLoadFailed: 6 nodes cannot load the policy: FunctionNotFound on 6 nodes (worker-0, worker-1, …)"
        ],
        "too many are"
    );
}

#[test]
fn a_target_is_lost_and_found() {
    let message = "http://p: connection refused".to_owned();
    let cause = Trouble { reason: "TargetUnreachable", message, cure: Cure::Retry };
    let silent = || Facts {
        target: target(Some(cause.clone())),
        reports: Reports { shipping: Shipping::default(), ..well().reports },
        ..well()
    };
    assert_eq!(
        told(Some(&well()), silent()),
        ["Warning TargetUnreachable: http://p: connection refused"]
    );
    assert_eq!(told(Some(&silent()), silent()), [""; 0]);
    assert_eq!(told(Some(&silent()), well()), ["Normal TargetRecovered: stream s; 0 dropped"]);
}

#[test]
fn a_call_that_does_not_arrive_is_told_once_and_its_cure_too() {
    let fired = |undelivered: Option<&str>| Facts {
        target: None,
        alerts: vec!["wget".into()],
        fired: BTreeMap::from([(
            "wget".to_owned(),
            Fired { at: well().now, undelivered: undelivered.map(str::to_owned) },
        )]),
        ..well()
    };
    let lost = || fired(Some("webhook answered 404"));
    let told_first = ["Warning AlertNotDelivered: \"wget\" fired in vain: webhook answered 404"];
    assert_eq!(told(Some(&fired(None)), lost()), told_first);
    assert_eq!(told(Some(&lost()), fired(Some("webhook answered 500"))), [""; 0]);
    let cured = ["Normal AlertDelivered: no call of an alert fails any more"];
    assert_eq!(told(Some(&lost()), fired(None)), cured);
}

#[test]
fn a_missing_secret_is_told_and_its_return_too() {
    let message = "spec.x: secret shop/a does not exist".to_owned();
    let references = Judgement::No { reason: "SecretNotFound", message };
    let missing = || Facts { references: references.clone(), ..well() };
    assert_eq!(
        told(Some(&well()), missing()),
        ["Warning SecretMissing: spec.x: secret shop/a does not exist"]
    );
    assert_eq!(told(Some(&missing()), well()), ["Normal ReferencesResolved: secret admin"]);
}

#[test]
fn a_refused_policy_is_told_again_when_the_mistake_is_another() {
    let refused = |message: &str| Facts {
        accepted: Judgement::No { reason: "InvalidPolicy", message: message.into() },
        ..well()
    };
    assert_eq!(told(None, refused("one")), ["Warning PolicyRefused: one"]);
    assert_eq!(told(Some(&refused("one")), refused("one")), [""; 0]);
    assert_eq!(told(Some(&refused("one")), refused("two")), ["Warning PolicyRefused: two"]);
}

#[test]
fn a_finalizer_is_there_only_for_something() {
    let ours = vec![FINALIZER.to_owned()];
    assert_eq!(finalizers(&[], true), Finalizers::Add);
    assert_eq!(finalizers(&ours, false), Finalizers::Remove);
    assert_eq!(finalizers(&ours, true), Finalizers::Keep);
    assert_eq!(finalizers(&["other".to_owned()], false), Finalizers::Keep);
}
