//! The old generation: one document for each stream.

use std::collections::HashSet;

use parseable_standin::{Config, Generation as Served};
use reqwest::Method;
use securitywatch_parseable::{ChangeKind, FailureClass, Generation, Swept};
use serde_json::{Value, json};

use crate::lab::{Lab, alert, kinds};

async fn old_server() -> Lab {
    Lab::with(Config { generation: Served::V1, ..Config::default() }).await
}

/// Of one stream.
fn document(lab: &Lab, stream: &str) -> Value {
    let streams = lab.standin().streams();
    let stream = streams.iter().find(|of| of.name == stream).unwrap();
    stream.document.clone().unwrap_or(Value::Null)
}

fn names(lab: &Lab, stream: &str) -> Vec<String> {
    let document = document(lab, stream);
    let alerts = document["alerts"].as_array().cloned().unwrap_or_default();
    alerts.iter().map(|alert| alert["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn alerts_live_in_the_stream_s_document_beside_those_of_others() {
    let lab = old_server().await;
    let (server, mut watch) = (lab.server(), lab.watch("egress"));
    let stream = watch.stream.clone();
    lab.by_hand(Method::PUT, &format!("/logstream/{stream}"), Value::Null).await;
    lab.ship(&stream, json!({"a": "x"})).await;
    let foreign = json!({
        "name": "by hand", "message": "m",
        "rule": {"type": "column", "config": {"column": "a", "operator": "=", "value": "y", "repeats": 3, "ignoreCase": false}},
        "targets": [{"type": "slack", "endpoint": "https://hooks.slack.com/x", "repeat": {"interval": "3m 20s", "times": 5}}]
    });
    let theirs = json!({"version": "v1", "alerts": [foreign]});
    let path = format!("/logstream/{stream}/alert");
    let (status, answer) = lab.by_hand(Method::PUT, &path, theirs).await;
    assert_eq!(status, 200, "{answer}");
    let foreign = document(&lab, &stream)["alerts"][0].clone();

    let report = server.sync(&watch, &[]).await;
    assert_eq!((report.generation, &report.stream), (Some(Generation::Document), &Ok(())));
    assert_eq!(report.alerts[0].failure, None, "{report:?}");
    assert_eq!(kinds(&report.changes), [ChangeKind::RetentionSet, ChangeKind::AlertCreated]);
    assert_eq!(document(&lab, &stream)["alerts"][0], foreign);
    let own = document(&lab, &stream)["alerts"][1].clone();
    assert!(own["name"].as_str().unwrap().ends_with("/SecurityWatch/shop/egress/wget_command"));

    // The server writes rules and times its own way; that is no difference.
    let writes = lab.standin().writes();
    assert_eq!(server.sync(&watch, &[]).await.changes, []);
    assert_eq!(lab.standin().writes(), writes);

    // Changed by hand, then by the spec.
    let mut changed = document(&lab, &stream);
    changed["alerts"][1]["rule"]["config"] = json!("a = \"z\"");
    lab.by_hand(Method::PUT, &path, changed).await;
    assert_eq!(kinds(&server.sync(&watch, &[]).await.changes), [ChangeKind::AlertUpdated]);
    assert_eq!(document(&lab, &stream)["alerts"][1], own);
    watch.alerts = vec![alert("curl", r#"process_exec_process_binary =% "curl""#)];
    assert_eq!(
        kinds(&server.sync(&watch, &[]).await.changes),
        [ChangeKind::AlertCreated, ChangeKind::AlertDeleted]
    );
    // Another stream: nothing stays behind in the old one.
    let before = watch.stream.clone();
    watch.stream.push_str("_b");
    server.sync(&watch, &[]).await;
    assert_eq!((names(&lab, &before).len(), names(&lab, &watch.stream).len()), (1, 1));
    assert_eq!(document(&lab, &before)["alerts"][0], foreign);
    assert_eq!(
        server.remove(&watch.owner, &watch.stream).await,
        Ok(Swept { alerts: 1, targets: 0 })
    );
    assert_eq!(names(&lab, &watch.stream), Vec::<String>::new());
}

#[tokio::test]
async fn two_watches_and_two_clusters_share_a_document() {
    let lab = old_server().await;
    let server = lab.server();
    let (here, gone) = (lab.watch("egress"), lab.watch("gone"));
    let mut there = here.clone();
    there.owner.cluster_id.push_str("-other");
    let watches = [&here, &gone, &there].map(Clone::clone);
    let mut tasks = Vec::new();
    for watch in watches {
        let server = server.clone();
        tasks.push(tokio::spawn(async move { server.sync(&watch, &[]).await }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap().alerts[0].failure, None);
    }
    assert_eq!(names(&lab, &here.stream).len(), 3);
    let live = HashSet::from([here.owner.uid.clone()]);
    assert_eq!(
        server.sweep(&here.owner.cluster_id, &live).await,
        Ok(Swept { alerts: 1, targets: 0 })
    );
    assert_eq!(server.sweep(&here.owner.cluster_id, &live).await, Ok(Swept::default()));
    assert_eq!(names(&lab, &here.stream).len(), 2);
    server.remove(&here.owner, &here.stream).await.unwrap();
    assert_eq!(names(&lab, &here.stream).len(), 1);
}

#[tokio::test]
async fn what_the_old_generation_cannot_hold_is_told() {
    let lab = old_server().await;
    let mut watch = lab.watch("egress");
    watch.alerts.push(alert("late", r#"verdict = "bad""#));
    let report = lab.server().sync(&watch, &[]).await;
    assert_eq!(report.alerts[0].failure, None);
    assert_eq!(report.alerts[1].failure.as_ref().unwrap().class, FailureClass::ColumnPending);
}

#[tokio::test]
async fn an_alert_that_calls_nobody_is_not_kept_in_a_document() {
    let lab = old_server().await;
    let mut watch = lab.watch("egress");
    assert_eq!(lab.server().sync(&watch, &[]).await.alerts[0].failure, None);
    assert_eq!(names(&lab, &watch.stream).len(), 1);
    watch.alerts[0].targets.clear();
    let report = lab.server().sync(&watch, &[]).await;
    assert_eq!(report.alerts[0].failure, None);
    assert_eq!(names(&lab, &watch.stream).len(), 0);
}
