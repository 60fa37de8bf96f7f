//! A watch meets a server that knows nothing of it.

use reqwest::Method;
use securitywatch_api::v1alpha1::AlertState;
use securitywatch_parseable::{ChangeKind, Generation};
use serde_json::{Value, json};

use crate::lab::{Lab, alert, kinds, shows_no_secret, sync};

#[tokio::test]
async fn everything_is_made_and_the_second_pass_writes_nothing() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    let report = server.sync(&watch, &[]).await;
    assert_eq!(report.stream, Ok(()));
    assert_eq!(report.generation, Some(Generation::Sql));
    let made = kinds(&report.changes);
    for kind in [ChangeKind::StreamCreated, ChangeKind::RetentionSet, ChangeKind::AlertCreated] {
        assert!(made.contains(&kind), "{:?}", report.changes);
    }
    shows_no_secret(&report);
    let outcome = &report.alerts[0];
    assert_eq!((outcome.name.as_str(), &outcome.failure), ("wget_command", &None));
    assert_eq!(outcome.state, Some(AlertState::NotTriggered));

    let stream = &watch.stream;
    let retention = lab.get(&format!("/logstream/{stream}/retention")).await;
    assert_eq!(retention[0]["duration"], "30d");
    let stored = lab.only_alert(&watch).await;
    assert_eq!(stored["id"].as_str(), outcome.id.as_deref());
    assert_eq!(
        stored["title"],
        "wget_command (shop/egress): wget was executed from the pod: {process_exec_process_pod_name}"
    );
    assert_eq!(
        stored["query"],
        format!(
            "SELECT \"process_exec_process_pod_name\", COUNT(DISTINCT \"event_id\") AS \"alert_value\" FROM \"{stream}\" \
             WHERE (strpos(\"process_exec_process_binary\", '/usr/bin/wget') > 0) \
             AND (\"event_type\" IS DISTINCT FROM 'securitywatch.seed') GROUP BY \"process_exec_process_pod_name\""
        )
    );
    let target = &lab.targets(&watch).await[0];
    assert_eq!(stored["targets"], json!([target["id"]]));
    assert!(
        target["name"]
            .as_str()
            .unwrap()
            .starts_with("sw/SecurityWatch/shop/egress/wget_command/0 [")
    );

    let before = lab.standin.as_ref().map(|standin| standin.writes());
    assert_eq!(sync(&server, &watch).await, []);
    assert_eq!(lab.standin.as_ref().map(|standin| standin.writes()), before);
    assert_eq!(lab.only_alert(&watch).await["created"], stored["created"]);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn the_alert_finds_events_and_not_the_row_that_made_its_columns() {
    let lab = Lab::start().await;
    let watch = {
        let mut watch = lab.watch("egress");
        // Would match a seed row, which has an empty text.
        watch.alerts = vec![alert("any", r#"process_exec_process_binary !% "nothing""#)];
        watch
    };
    sync(&lab.server(), &watch).await;
    let sql = lab.only_alert(&watch).await["query"].as_str().unwrap().to_owned();
    let run = || async {
        let query = json!({"query": sql, "startTime": "10m", "endTime": "now"});
        let (status, rows) = lab.by_hand(Method::POST, "/query", query).await;
        assert_eq!(status, 200, "{rows}");
        rows
    };
    assert_eq!(run().await, json!([]));
    let row = json!({
        "event_type": "process_exec", "event_id": "run-1", "process_exec_process_binary": "/usr/bin/wget",
        "process_exec_process_pod_name": "web-0"
    });
    lab.ship(&watch.stream, row.clone()).await;
    // Delivered again after a lost answer.
    lab.ship(&watch.stream, row).await;
    // Of a shipper that knows none of our own columns: it has no id to count.
    lab.ship(&watch.stream, json!({"process_exec_process_binary": "/bin/sh"})).await;
    let rows = run().await;
    let of_pod: Vec<&Value> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["process_exec_process_pod_name"] == "web-0")
        .collect();
    assert_eq!(of_pod, [&json!({"process_exec_process_pod_name": "web-0", "alert_value": 1})]);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_watch_without_alerts_needs_a_stream_only() {
    let lab = Lab::start().await;
    let mut watch = lab.watch("plain");
    watch.alerts.clear();
    watch.retention_days = None;
    assert_eq!(kinds(&sync(&lab.server(), &watch).await), [ChangeKind::StreamCreated]);
    assert_eq!(sync(&lab.server(), &watch).await, []);
    let schema = lab.get(&format!("/logstream/{}/schema", watch.stream)).await;
    assert_eq!(schema["fields"], json!([]));
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn labels_say_who_made_the_stream() {
    let Some(lab) = Lab::standin_only("labels_say_who_made_the_stream").await else { return };
    let watch = lab.watch("egress");
    sync(&lab.server(), &watch).await;
    let labels = &lab.standin().streams()[0].labels;
    assert_eq!(labels[0], "managed-by.securitywatch");
    assert!(labels[1].starts_with("sw-"), "{labels:?}");
}
