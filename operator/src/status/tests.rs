//! One scenario a test: what is known goes in, conditions come out.
#![allow(clippy::unwrap_used)]

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
        alerts: vec!["wget".into()],
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
fn one_node_of_three_that_fails_is_too_many() {
    let drawn = draw(&failing(1, 3));
    assert_eq!(summary(&drawn), ["Ready False LoadFailed", "Stalled True LoadFailed"]);
    assert_eq!(
        line(&drawn, "Programmed"),
        "Programmed False LoadFailed: 1 of 3 nodes cannot load the policy: worker-0: FunctionNotFound: kernel 5.10 has no function x"
    );
}

#[test]
fn one_node_of_thousands_that_fails_only_shows() {
    let drawn = draw(&failing(1, 4998));
    assert_eq!(summary(&drawn), ["Ready True AllReady"]);
    assert_eq!(
        line(&drawn, "Programmed"),
        "Programmed True LoadedOnMostNodes: 4997 of 4998 nodes; worker-0: FunctionNotFound"
    );
    assert_eq!(drawn.status.failing_nodes.unwrap()[0].name, "worker-0");
    assert_eq!(drawn.status.nodes.unwrap().failed, Some(1));
}

#[test]
fn one_percent_is_not_too_many_and_one_node_more_is() {
    assert_eq!(summary(&draw(&failing(50, 5000))), ["Ready True AllReady"]);
    assert_eq!(summary(&draw(&failing(51, 5000)))[0], "Ready False LoadFailed");
}

#[test]
fn many_failing_nodes_are_summed_up_by_reason() {
    let mut facts = failing(20, 100);
    facts.reports.reasons.insert("BackendUnavailable".into(), 5);
    facts.reports.failed = 25;
    facts.reports.loaded = 75;
    assert_eq!(
        failures(&facts),
        "FunctionNotFound on 20 nodes (worker-0, worker-1, …), BackendUnavailable on 5 nodes"
    );
    assert_eq!(draw(&facts).status.failing_nodes.unwrap().len(), 10);
}

#[test]
fn kernels_that_cannot_have_their_own_reason() {
    let mut facts = failing(3, 3);
    facts.reports.reasons = BTreeMap::from([("BackendUnavailable".to_owned(), 3)]);
    assert_eq!(summary(&draw(&facts))[0], "Ready False KernelUnsupported");
}

#[test]
fn a_node_that_starts_to_fail_flips_ready_after_a_while_only() {
    let before = draw(&well());
    let at_once = draw(&later(failing(1, 3), &before, 100));
    assert!(line(&at_once, "Programmed").starts_with("Programmed False LoadFailed"));
    assert_eq!(summary(&at_once), ["Ready True AllReady"]);
    assert_eq!(at_once.again_in.unwrap().as_secs(), 15);
    let soon = draw(&later(failing(1, 3), &at_once, 114));
    assert_eq!(summary(&soon), ["Ready True AllReady"]);
    let then = draw(&later(failing(1, 3), &soon, 115));
    assert_eq!(summary(&then), ["Ready False LoadFailed", "Stalled True LoadFailed"]);
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
fn nobody_has_reported() {
    let drawn = draw(&Facts { reports: Reports::default(), ..well() });
    assert_eq!(
        line(&drawn, "Ready"),
        "Ready Unknown NodesUnreported: no report from 3 nodes yet: kubectl get securitywatchnodes, and the probe's pods, say more"
    );
}

#[test]
fn a_probe_that_does_not_run_does_not_count_as_loaded() {
    let before = draw(&well());
    let rollout = Some(Rollout { desired: 3, running: 2, counted: true });
    let down = || Facts { rollout, ..well() };
    let reboot = draw(&later(down(), &before, 10));
    assert_eq!(
        line(&reboot, "Programmed"),
        "Programmed Unknown RollingOut: 2 of 3 nodes; the probe does not run on 1 node"
    );
    assert_eq!(summary(&reboot), ["Ready True AllReady"], "a reboot is soon over");
    let gone = draw(&later(down(), &reboot, 140));
    assert_eq!(summary(&gone), ["Ready Unknown Progressing", "Reconciling True Progressing"]);
}

#[test]
fn no_node_at_all_is_a_failure() {
    let rollout = Some(Rollout { desired: 0, running: 0, counted: true });
    let drawn = draw(&Facts { rollout, reports: Reports::default(), ..well() });
    assert_eq!(summary(&drawn)[0], "Ready False NoEligibleNodes");
}

#[test]
fn nodes_that_skip_the_watch_are_not_missing() {
    let reports = Reports { loaded: 2, skipped: 1, ..well().reports };
    let drawn = draw(&Facts { reports, ..well() });
    assert_eq!(line(&drawn, "Programmed"), "Programmed True LoadedOnAllNodes: 2 of 2 nodes");
}

#[test]
fn a_silent_target_leaves_ready_alone_for_two_minutes() {
    let before = draw(&well());
    let silent = || {
        let cause = trouble("TargetUnreachable", Cure::Retry);
        let shipping = Shipping {
            failing: 3,
            example: Some(NodeFailure {
                node: "a".into(),
                reason: "TargetUnreachable".into(),
                message: "http://p: connection refused".into(),
            }),
            ..Shipping::default()
        };
        Facts {
            target: synced(Some(cause.clone()), Some(cause)),
            reports: Reports { shipping, ..well().reports },
            ..well()
        }
    };
    let first = draw(&later(silent(), &before, 10));
    assert_eq!(
        line(&first, "Shipping"),
        "Shipping False TargetUnreachable: events for stream tetrademo wait on 3 nodes: http://p: connection refused"
    );
    assert_eq!(summary(&first), ["Ready True AllReady", "Reconciling True Retrying"]);
    assert_eq!(first.again_in.unwrap().as_secs(), 120);
    let then = draw(&later(silent(), &first, 130));
    assert_eq!(summary(&then), ["Ready False TargetUnreachable", "Reconciling True Retrying"]);
    let mended = draw(&later(well(), &then, 140));
    assert_eq!(summary(&mended), ["Ready True AllReady"]);
}

#[test]
fn a_target_that_was_never_reached_is_not_ready_and_not_failed_at_first() {
    let cause = trouble("TargetUnreachable", Cure::Retry);
    let reports =
        Reports { shipping: Shipping { idle: 3, ..Shipping::default() }, ..well().reports };
    let silent = || Facts {
        target: synced(Some(cause.clone()), Some(cause.clone())),
        reports: reports.clone(),
        ..well()
    };
    let first = draw(&silent());
    assert_eq!(summary(&first), ["Ready Unknown Progressing", "Reconciling True Retrying"]);
    let then = draw(&later(silent(), &first, 121));
    assert_eq!(summary(&then), ["Ready False TargetUnreachable", "Reconciling True Retrying"]);
}

#[test]
fn a_wrong_password_needs_a_user() {
    let cause = trouble("Unauthorized", Cure::User);
    let drawn = draw(&Facts { target: synced(Some(cause.clone()), Some(cause)), ..well() });
    assert_eq!(summary(&drawn), ["Ready False Unauthorized", "Stalled True Unauthorized"]);
    assert_eq!(line(&drawn, "Shipping"), "Shipping False Unauthorized: Unauthorized it is");
}

#[test]
fn a_quiet_cluster_is_ready() {
    let reports =
        Reports { shipping: Shipping { idle: 3, ..Shipping::default() }, ..well().reports };
    let drawn = draw(&Facts { reports, ..well() });
    assert_eq!(
        line(&drawn, "Ready"),
        "Ready True AllReady: loaded on 3 of 3 nodes, no events yet, 1 alert in sync"
    );
    assert_eq!(
        line(&drawn, "Shipping"),
        "Shipping Unknown NoEventsYet: stream tetrademo is ready; no node has had an event yet"
    );
}

#[test]
fn dropped_events_are_counted() {
    let shipping = Shipping { delivering: 3, dropped: 1200, ..Shipping::default() };
    let drawn = draw(&Facts { reports: Reports { shipping, ..well().reports }, ..well() });
    assert_eq!(
        line(&drawn, "Shipping"),
        "Shipping True Delivering: stream tetrademo; 1200 dropped"
    );
}

#[test]
fn a_refused_alert_is_named() {
    let drawn =
        draw(&Facts { target: synced(None, Some(trouble("AlertRejected", Cure::User))), ..well() });
    assert_eq!(
        line(&drawn, "AlertsSynced"),
        "AlertsSynced False AlertRejected: \"wget\": AlertRejected it is"
    );
    assert_eq!(summary(&drawn), ["Ready False AlertRejected", "Stalled True AlertRejected"]);
    assert_eq!(drawn.status.alert_counts.unwrap().summary.as_deref(), Some("0/1"));
}

#[test]
fn a_column_that_comes_with_an_event_is_waited_for() {
    let drawn =
        draw(&Facts { target: synced(None, Some(trouble("ColumnMissing", Cure::Wait))), ..well() });
    assert_eq!(
        line(&drawn, "AlertsSynced"),
        "AlertsSynced Unknown ColumnMissing: \"wget\": ColumnMissing it is"
    );
    assert_eq!(summary(&drawn), ["Ready Unknown Progressing", "Reconciling True Progressing"]);
}

#[test]
fn without_a_target_events_stay_and_alerts_cannot_fire() {
    let quiet = draw(&Facts { target: None, alerts: Vec::new(), ..well() });
    assert_eq!(summary(&quiet), ["Ready True AllReady"]);
    assert_eq!(
        line(&quiet, "Shipping"),
        "Shipping True NoTarget: no target: events stay in each node's event log"
    );
    let alerting = draw(&Facts { target: None, ..well() });
    assert_eq!(summary(&alerting), ["Ready False NoTarget", "Stalled True NoTarget"]);
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

#[test]
fn a_fresh_operator_does_not_forget_what_the_last_one_found() {
    let unasked = || Some(Target { stream: "tetrademo".into(), sync: None });
    let before = draw(&well());
    let fresh = draw(&Facts { target: unasked(), ..later(well(), &before, 60) });
    assert!(!differs(Some(&before.status), &fresh.status), "{:?}", told(&fresh));
    let refused = trouble("Unauthorized", Cure::User);
    let before = draw(&Facts { target: synced(Some(refused.clone()), Some(refused)), ..well() });
    let fresh = draw(&Facts { target: unasked(), ..later(well(), &before, 60) });
    assert!(!differs(Some(&before.status), &fresh.status), "{:?}", told(&fresh));
}

#[test]
fn what_waits_for_a_secret_says_so() {
    let message = "secret shop/a does not exist".to_owned();
    let drawn = draw(&Facts {
        references: Judgement::No { reason: "SecretNotFound", message },
        target: Some(Target { stream: "tetrademo".into(), sync: None }),
        reports: Reports {
            shipping: Shipping { idle: 3, ..Shipping::default() },
            ..well().reports
        },
        ..well()
    });
    assert_eq!(
        line(&drawn, "AlertsSynced"),
        "AlertsSynced Unknown Pending: 1 alert not sent: what ResolvedRefs misses comes first"
    );
    assert_eq!(drawn.status.alerts, None);
}
