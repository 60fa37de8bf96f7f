//! Streams that were there before, and columns that are not there yet.

use reqwest::Method;
use securitywatch_parseable::{ChangeKind, FailureClass};
use serde_json::{Value, json};

use crate::lab::{Lab, alert, kinds, sync};

#[tokio::test]
async fn a_stream_of_somebody_else_is_used_as_it_is() {
    let lab = Lab::start().await;
    let watch = lab.watch("egress");
    let path = format!("/logstream/{}", watch.stream);
    lab.by_hand(Method::PUT, &path, Value::Null).await;
    lab.ship(&watch.stream, json!({"process_exec_process_binary": "/bin/sh", "own": 1})).await;
    let week = json!([{"description": "by hand", "action": "delete", "duration": "7d"}]);
    lab.by_hand(Method::PUT, &format!("{path}/retention"), week).await;
    let changes = sync(&lab.server(), &watch).await;
    assert!(!kinds(&changes).contains(&ChangeKind::StreamCreated), "{changes:?}");
    let told = changes.iter().find(|change| change.kind == ChangeKind::RetentionSet).unwrap();
    assert_eq!(
        told.message,
        format!("stream {} keeps its data for 30d instead of 7d", watch.stream)
    );
    // Only what the alerts need came to its columns.
    let schema = lab.get(&format!("{path}/schema")).await;
    let names: Vec<&str> =
        schema["fields"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    for name in ["own", "process_exec_process_pod_name", "event_id", "event_type"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(names.len() < 12, "{names:?}");
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn without_a_retention_in_the_spec_the_stream_keeps_its_own() {
    let lab = Lab::start().await;
    let mut watch = lab.watch("egress");
    sync(&lab.server(), &watch).await;
    watch.retention_days = None;
    assert_eq!(sync(&lab.server(), &watch).await, []);
    let retention = lab.get(&format!("/logstream/{}/retention", watch.stream)).await;
    assert_eq!(retention[0]["duration"], "30d");
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn an_alert_waits_for_a_column_that_the_probe_does_not_write() {
    let lab = Lab::start().await;
    let (server, mut watch) = (lab.server(), lab.watch("egress"));
    watch.alerts.push(alert("late", r#"verdict = "bad""#));
    let report = server.sync(&watch, &[]).await;
    assert_eq!(report.stream, Ok(()));
    assert_eq!(report.alerts[0].failure, None);
    let failure = report.alerts[1].failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::ColumnPending);
    assert_eq!(
        failure.message,
        format!(
            "waiting for column verdict, which stream {} does not have yet; the probe writes no such column, so it comes only if something else does",
            watch.stream
        )
    );
    lab.ship(&watch.stream, json!({"verdict": "good"})).await;
    assert_eq!(kinds(&sync(&server, &watch).await), [ChangeKind::AlertCreated]);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_rule_on_a_column_of_another_kind_is_told_so() {
    let lab = Lab::start().await;
    let watch = lab.watch("egress");
    lab.by_hand(Method::PUT, &format!("/logstream/{}", watch.stream), Value::Null).await;
    lab.ship(&watch.stream, json!({"process_exec_process_binary": 5})).await;
    let report = lab.server().sync(&watch, &[]).await;
    let failure = report.alerts[0].failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::AlertRejected);
    assert!(failure.message.contains("it is a number; change the rule"), "{failure}");
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_name_that_the_server_refuses_is_told_so() {
    let lab = Lab::start().await;
    let mut watch = lab.watch("egress");
    watch.stream = "select".to_owned();
    let report = lab.server().sync(&watch, &[]).await;
    let failure = report.stream.unwrap_err();
    assert_eq!(failure.class, FailureClass::StreamRejected);
    assert_eq!(
        failure.message,
        format!(
            "{} answered 400 to the creation of stream select: an SQL keyword cannot name a stream; choose another name \
             in target.parseable.stream",
            lab.url
        )
    );
    assert_eq!(report.alerts[0].failure.as_ref(), Some(&failure));
}
