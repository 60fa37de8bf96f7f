//! One scenario a test: what is known goes in, conditions come out.
#![allow(clippy::unwrap_used)]

mod nodes;
mod target;

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::AlertState;

use super::*;
use crate::nodes::{NodeFailure, Reports, Shipping};

const START: i64 = 1_700_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn trouble(reason: &'static str, cure: Cure) -> Trouble {
    Trouble { reason, message: format!("{reason} it is"), cure }
}

fn alert(trouble: Option<Trouble>) -> AlertOutcome {
    AlertOutcome {
        name: "wget".into(),
        id: Some("01J".into()),
        state: Some(AlertState::NotTriggered),
        last_fired: None,
        trouble,
    }
}

fn synced(trouble: Option<Trouble>, of_alert: Option<Trouble>) -> Option<Target> {
    let sync = Sync { current: true, trouble, alerts: vec![alert(of_alert)] };
    Some(Target { stream: "tetrademo".into(), sync: Some(sync) })
}

/// Three nodes, all well.
fn well() -> Facts<'static> {
    Facts {
        generation: 1,
        previous: None,
        now: at(0),
        suspended: false,
        accepted: Judgement::Yes { message: "1 hook, 1 selector".into() },
        references: Judgement::Yes { message: "secret admin".into() },
        policy_hash: Some("aa".into()),
        rollout: Some(Rollout { desired: 3, running: 3, counted: true }),
        reports: Reports {
            loaded: 3,
            shipping: Shipping { delivering: 3, ..Shipping::default() },
            ..Reports::default()
        },
        target: synced(None, None),
        event_log: false,
        alerts: vec!["wget".into()],
        fired: BTreeMap::new(),
        deletion: None,
    }
}

/// `failed` of `desired` nodes lack a function.
fn failing(failed: u32, desired: u32) -> Facts<'static> {
    let failure = |node: u32| NodeFailure {
        node: format!("worker-{node}"),
        reason: "FunctionNotFound".into(),
        message: "kernel 5.10 has no function x".into(),
    };
    Facts {
        rollout: Some(Rollout { desired, running: desired, counted: true }),
        reports: Reports {
            loaded: desired - failed,
            failed,
            failing: (0..failed.min(10)).map(failure).collect(),
            reasons: BTreeMap::from([("FunctionNotFound".to_owned(), failed)]),
            shipping: Shipping { delivering: desired - failed, ..Shipping::default() },
            ..Reports::default()
        },
        ..well()
    }
}

/// Type, status, reason and message of each condition.
fn told(drawn: &Drawn) -> Vec<String> {
    let conditions = drawn.status.conditions.as_ref().unwrap();
    let line = |c: &Condition| format!("{} {} {}: {}", c.type_, c.status, c.reason, c.message);
    conditions.iter().map(line).collect()
}

/// Type, status and reason of the conditions that sum up.
fn summary(drawn: &Drawn) -> Vec<String> {
    let conditions = drawn.status.conditions.as_ref().unwrap();
    conditions
        .iter()
        .filter(|c| ["Ready", "Reconciling", "Stalled"].contains(&c.type_.as_str()))
        .map(|c| format!("{} {} {}", c.type_, c.status, c.reason))
        .collect()
}

fn line(drawn: &Drawn, kind: &str) -> String {
    told(drawn).into_iter().find(|line| line.starts_with(kind)).unwrap_or_default()
}

/// `facts` some time after `before` was written.
fn later<'a>(facts: Facts<'a>, before: &'a Drawn, seconds: i64) -> Facts<'a> {
    Facts { previous: Some(&before.status), now: at(seconds), ..facts }
}

#[test]
fn all_is_well() {
    let drawn = draw(&well());
    assert_eq!(
        told(&drawn),
        [
            "Ready True AllReady: loaded on 3 of 3 nodes, shipping, 1 alert in sync",
            "Accepted True Valid: 1 hook, 1 selector",
            "ResolvedRefs True Resolved: secret admin",
            "Programmed True LoadedOnAllNodes: 3 of 3 nodes",
            "Shipping True Delivering: stream tetrademo; 0 dropped",
            "AlertsSynced True Synced: 1 of 1"
        ]
    );
    let status = &drawn.status;
    assert_eq!(status.nodes.as_ref().unwrap().summary.as_deref(), Some("3/3"));
    assert_eq!(status.alert_counts.as_ref().unwrap().summary.as_deref(), Some("1/1"));
    assert_eq!(status.alerts.as_ref().unwrap()[0].parseable_id.as_deref(), Some("01J"));
    assert_eq!((status.failing_nodes.as_ref(), drawn.again_in), (None, None));
    for condition in status.conditions.as_ref().unwrap() {
        assert_eq!(condition.observed_generation, Some(1), "{}", condition.type_);
    }
}

#[test]
fn the_first_status_says_that_work_goes_on() {
    let drawn = draw(&Facts {
        rollout: None,
        reports: Reports::default(),
        target: Some(Target { stream: "tetrademo".into(), sync: None }),
        ..well()
    });
    assert_eq!(
        told(&drawn),
        [
            "Ready Unknown Progressing: the probe's DaemonSet is being rolled out; stream tetrademo is being set up; 1 alert not sent yet",
            "Accepted True Valid: 1 hook, 1 selector",
            "ResolvedRefs True Resolved: secret admin",
            "Programmed Unknown RollingOut: the probe's DaemonSet is being rolled out",
            "Shipping Unknown NoEventsYet: stream tetrademo is being set up",
            "AlertsSynced Unknown Pending: 1 alert not sent yet",
            "Reconciling True Progressing: the probe's DaemonSet is being rolled out"
        ]
    );
}

#[test]
fn an_invalid_spec_is_all_that_is_said() {
    let message = "spec.alerts[0].rule: no".to_owned();
    let drawn = draw(&Facts {
        accepted: Judgement::No { reason: "InvalidPolicy", message },
        target: None,
        alerts: Vec::new(),
        ..well()
    });
    assert_eq!(
        told(&drawn),
        [
            "Ready False InvalidPolicy: spec.alerts[0].rule: no",
            "Accepted False InvalidPolicy: spec.alerts[0].rule: no",
            "Stalled True InvalidPolicy: spec.alerts[0].rule: no"
        ]
    );
    assert_eq!(drawn.status.nodes.unwrap().summary.as_deref(), Some("0/0"));
    assert_eq!(drawn.status.alert_counts.unwrap().summary.as_deref(), Some("0/0"));
}

#[test]
fn a_new_generation_is_not_ready_because_the_old_one_was() {
    let before = draw(&well());
    let reports = Reports { stale: 3, ..Reports::default() };
    let now = draw(&Facts { generation: 2, reports, ..later(well(), &before, 10) });
    assert_eq!(summary(&now), ["Ready Unknown Progressing", "Reconciling True Progressing"]);
    assert_eq!(line(&now, "Programmed"), "Programmed Unknown RollingOut: 0 of 3 nodes");
    assert_eq!(now.status.observed_generation, Some(2));
    assert_eq!(now.status.nodes.unwrap().stale, Some(3));
}

#[test]
fn a_missing_secret_needs_a_user_and_hides_nothing_else() {
    let message = "spec.x: secret shop/a does not exist".to_owned();
    let drawn =
        draw(&Facts { references: Judgement::No { reason: "SecretNotFound", message }, ..well() });
    assert_eq!(summary(&drawn), ["Ready False SecretNotFound", "Stalled True SecretNotFound"]);
    assert_eq!(line(&drawn, "AlertsSynced"), "AlertsSynced True Synced: 1 of 1");
}

#[test]
fn a_secret_that_may_not_be_read_is_unclear_and_needs_somebody() {
    let message = "no right".to_owned();
    let drawn =
        draw(&Facts { references: Judgement::Unclear { reason: "Forbidden", message }, ..well() });
    assert_eq!(summary(&drawn), ["Ready Unknown Forbidden", "Stalled True Forbidden"]);
}

#[test]
fn a_suspended_watch_neither_works_nor_fails() {
    let drawn = draw(&Facts { suspended: true, ..well() });
    assert_eq!(
        told(&drawn),
        [
            "Ready Unknown Suspended: unloaded on all nodes because spec.suspend is true",
            "Accepted True Valid: 1 hook, 1 selector",
            "ResolvedRefs True Resolved: secret admin"
        ]
    );
    assert_eq!(drawn.status.nodes.unwrap().summary.as_deref(), Some("0/0"));
}

#[test]
fn a_held_up_deletion_says_why() {
    let drawn = draw(&Facts { deletion: Some("nobody answers".into()), ..well() });
    assert_eq!(told(&drawn)[0], "Ready Unknown Deleting: nobody answers");
    assert_eq!(summary(&drawn)[1], "Reconciling True Retrying");
}

#[test]
fn a_time_changes_only_when_the_status_does() {
    let before = draw(&well());
    let same = draw(&later(well(), &before, 60));
    let times = |drawn: &Drawn| -> Vec<Timestamp> {
        drawn
            .status
            .conditions
            .iter()
            .flatten()
            .map(|condition| condition.last_transition_time.0)
            .collect()
    };
    assert_eq!(times(&same), times(&before));
    let turned = draw(&Facts { reports: Reports::default(), ..later(well(), &same, 400) });
    let ready = find(turned.status.conditions.as_ref().unwrap(), "Programmed").unwrap();
    assert_eq!(ready.last_transition_time.0, at(400));
}

#[test]
fn times_alone_are_no_reason_to_write() {
    let before = draw(&well());
    let shipped = Shipping { last_shipped: Some(at(60)), ..well().reports.shipping };
    let reports = Reports { shipping: shipped, ..well().reports };
    let same = draw(&Facts { reports, ..later(well(), &before, 60) });
    assert!(!differs(Some(&before.status), &same.status));
    assert!(differs(None, &same.status));
    let failed = draw(&later(failing(1, 4998), &before, 60));
    assert!(differs(Some(&before.status), &failed.status));
}

#[test]
fn ready_is_never_reconciling_and_stalled_at_once() {
    let causes = [
        None,
        Some(trouble("TargetUnreachable", Cure::Retry)),
        Some(trouble("Unauthorized", Cure::User)),
        Some(trouble("ColumnMissing", Cure::Wait)),
    ];
    for stream in &causes {
        for alert in &causes {
            for facts in [well(), failing(1, 3), Facts { reports: Reports::default(), ..well() }] {
                let drawn = draw(&Facts { target: synced(stream.clone(), alert.clone()), ..facts });
                let conditions = drawn.status.conditions.as_ref().unwrap();
                let both =
                    ["Reconciling", "Stalled"].iter().all(|kind| find(conditions, kind).is_some());
                assert!(!both, "{:?}", told(&drawn));
                let ready = find(conditions, "Ready").unwrap();
                let open = conditions.len() > 6;
                assert_eq!(ready.status == "True", !open, "{:?}", told(&drawn));
            }
        }
    }
}

#[test]
fn another_policy_is_not_ready_because_the_old_one_was() {
    let before = draw(&well());
    let reports = Reports { stale: 3, ..Reports::default() };
    let policy_hash = Some("bb".to_owned());
    let now = draw(&Facts { policy_hash, reports, ..later(well(), &before, 10) });
    assert_eq!(summary(&now), ["Ready Unknown Progressing", "Reconciling True Progressing"]);
}
