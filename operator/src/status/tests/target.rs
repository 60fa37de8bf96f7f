//! What the target and the alerts make of a status.

use super::*;
use crate::alerts::Fired;

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
fn without_a_target_events_stay_and_alerts_fire() {
    let quiet = draw(&Facts { target: None, alerts: Vec::new(), ..well() });
    assert_eq!(summary(&quiet), ["Ready True AllReady"]);
    assert_eq!(
        line(&quiet, "Shipping"),
        "Shipping True NoTarget: no target, and nodes keep no event log (chart value probe.eventLog.enabled): \
         events are not kept"
    );
    let kept = draw(&Facts { target: None, alerts: Vec::new(), event_log: true, ..well() });
    assert_eq!(
        line(&kept, "Shipping"),
        "Shipping True NoTarget: no target: events stay in each node's event log"
    );
    let alerting = draw(&Facts { target: None, ..well() });
    assert_eq!(
        line(&alerting, "Ready"),
        "Ready True AllReady: loaded on 3 of 3 nodes, 1 alert armed"
    );
    assert_eq!(
        line(&alerting, "AlertsSynced"),
        "AlertsSynced True NoTarget: no target: 1 alert fires from the nodes and cannot be looked up in Parseable"
    );
    assert_eq!(alerting.status.alert_counts.unwrap().summary.as_deref(), Some("1/1"));
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

fn fired(second: i64, undelivered: Option<&str>) -> BTreeMap<String, Fired> {
    let undelivered = undelivered.map(str::to_owned);
    BTreeMap::from([("wget".to_owned(), Fired { at: at(second), undelivered })])
}

fn last_fired(drawn: &Drawn) -> Option<Timestamp> {
    Some(drawn.status.alerts.as_ref()?[0].last_fired.as_ref()?.0)
}

#[test]
fn an_alert_that_fired_says_when_also_after_a_restart_of_the_operator() {
    for target in [None, synced(None, None)] {
        let quiet = Facts { target, ..well() };
        let before = draw(&Facts { fired: fired(7, None), ..quiet.clone() });
        assert_eq!(last_fired(&before), Some(at(7)));
        assert_eq!(last_fired(&draw(&later(quiet.clone(), &before, 60))), Some(at(7)));
        let again = draw(&later(Facts { fired: fired(90, None), ..quiet }, &before, 90));
        assert_eq!(last_fired(&again), Some(at(90)));
        assert!(differs(Some(&before.status), &again.status));
    }
}

#[test]
fn a_call_that_did_not_arrive_is_told_and_is_no_reason_to_wait() {
    let why = "webhook of secret oncall key url answered 404";
    let lost = draw(&Facts { fired: fired(7, Some(why)), ..well() });
    assert_eq!(
        line(&lost, "AlertsSynced"),
        "AlertsSynced False NotDelivered: \"wget\" fired in vain: webhook of secret oncall key url answered 404"
    );
    assert_eq!(
        line(&lost, "Ready"),
        "Ready True AllReady: loaded on 3 of 3 nodes, shipping, 1 alert in sync; \"wget\" fired in vain: \
         webhook of secret oncall key url answered 404"
    );
    // A fresh operator does not forget it, whether it has asked the target yet or not.
    let unasked = Some(Target { stream: "tetrademo".into(), sync: None });
    for target in [unasked, synced(None, None), None] {
        let fresh = draw(&later(Facts { target, ..well() }, &lost, 60));
        assert!(line(&fresh, "AlertsSynced").contains("False NotDelivered"), "{:?}", told(&fresh));
    }
    let mended = draw(&later(Facts { fired: fired(99, None), ..well() }, &lost, 99));
    assert_eq!(line(&mended, "AlertsSynced"), "AlertsSynced True Synced: 1 of 1");
}
