//! Two watches on one stream, two clusters on one server, and what is left when a watch is gone.

use std::collections::HashSet;

use reqwest::Method;
use securitywatch_parseable::{Desired, FailureClass, Swept, SyncReport};
use serde_json::{Value, json};

use crate::lab::{Lab, TOKEN, sync};

#[tokio::test]
async fn two_watches_on_one_stream() {
    let lab = Lab::start().await;
    let server = lab.server();
    let (old, mut young) = (lab.watch("egress"), lab.watch("files"));
    young.owner.created_ms += 1;
    sync(&server, &old).await;
    sync(&server, &young).await;
    assert_eq!((lab.alerts(&old).await.len(), lab.alerts(&young).await.len()), (1, 1));
    let (of_old, of_young) = (lab.only_alert(&old).await, lab.only_alert(&young).await);
    assert_ne!(of_old["targets"], of_young["targets"]);

    // They disagree: the older one gets its way, and nobody writes for ever.
    young.retention_days = Some(7);
    let report = server.sync(&young, &[]).await;
    let failure = report.stream.unwrap_err();
    assert_eq!(failure.class, FailureClass::Conflict);
    assert_eq!(
        failure.message,
        format!(
            "stream {} keeps its data for 30d, as SecurityWatch/shop/egress, which is older, wants it; give both the same target.parseable.retention",
            old.stream
        )
    );
    assert_eq!(report.alerts[0].failure, None);
    assert_eq!((sync(&server, &old).await, report.changes), (vec![], vec![]));

    // One goes, and the other stays.
    let gone = server.remove(&old.owner, &old.stream).await;
    assert_eq!(gone, Ok(Swept { alerts: 1, targets: 1 }));
    assert_eq!(server.remove(&old.owner, &old.stream).await, Ok(Swept::default()));
    assert_eq!(lab.only_alert(&young).await["id"], of_young["id"]);
    // Now nobody is older.
    let report = server.sync(&young, &[]).await;
    assert_eq!(report.stream, Ok(()));
    let retention = lab.get(&format!("/logstream/{}/retention", young.stream)).await;
    assert_eq!(retention[0]["duration"], "7d");
    lab.clean(&[&young]).await;
}

fn of_other_cluster(watch: &Desired) -> Desired {
    let mut other = watch.clone();
    other.owner.cluster_id.push_str("-other");
    // Restored from a backup: even the uid is the same.
    other
}

#[tokio::test]
async fn two_clusters_on_one_server_do_not_touch_each_other() {
    let lab = Lab::start().await;
    let server = lab.server();
    let (here, gone_here) = (lab.watch("egress"), lab.watch("gone"));
    let mut there = of_other_cluster(&here);
    there.owner.uid.push_str("-there");
    let gone_there = of_other_cluster(&gone_here);
    for watch in [&here, &gone_here, &there] {
        sync(&server, watch).await;
    }
    let by_hand = by_hand_things(&lab, &here).await;

    let live = HashSet::from([here.owner.uid.clone()]);
    let swept = server.sweep(&here.owner.cluster_id, &live).await;
    assert_eq!(swept, Ok(Swept { alerts: 1, targets: 1 }));
    assert_eq!(server.sweep(&here.owner.cluster_id, &live).await, Ok(Swept::default()));
    assert_eq!(lab.alerts(&here).await.len(), 1);
    assert_eq!(lab.alerts(&there).await.len(), 1);
    assert_eq!((lab.alerts(&gone_here).await.len(), lab.targets(&gone_here).await.len()), (0, 0));
    for path in &by_hand {
        lab.get(path).await;
    }
    // The same uid in another cluster is another watch.
    sync(&server, &gone_there).await;
    server.remove(&gone_here.owner, &gone_here.stream).await.unwrap();
    assert_eq!(lab.alerts(&gone_there).await.len(), 1);
    for path in &by_hand {
        lab.by_hand(Method::DELETE, path, Value::Null).await;
    }
    lab.clean(&[&here, &there, &gone_there]).await;
}

/// An alert and a target that a person made, with names like ours.
async fn by_hand_things(lab: &Lab, watch: &Desired) -> Vec<String> {
    let target = json!({
        "name": "sw/default/hook", "type": "webhook", "endpoint": format!("http://127.0.0.1:9/{TOKEN}"),
        "headers": {}, "skipTlsCheck": false
    });
    let (status, target) = lab.by_hand(Method::POST, "/targets", target).await;
    assert_eq!(status, 200, "{target}");
    let mut alert = lab.only_alert(watch).await;
    alert["tags"] = json!(["securitywatch", "by-hand"]);
    alert["targets"] = json!([]);
    let (status, alert) = lab.by_hand(Method::POST, "/alerts", alert).await;
    assert_eq!(status, 200, "{alert}");
    let path = |kind: &str, item: &Value| format!("/{kind}/{}", item["id"].as_str().unwrap());
    vec![path("alerts", &alert), path("targets", &target)]
}

fn is_unreachable(report: &SyncReport) -> bool {
    let alert = report.alerts[0].failure.as_ref();
    alert.or(report.stream.as_ref().err()).is_some_and(|f| f.class == FailureClass::Unreachable)
}

#[tokio::test]
async fn many_watches_at_once() {
    let lab = Lab::start().await;
    let server = lab.server();
    let watches: Vec<Desired> = (0..20).map(|number| lab.watch(&format!("w{number}"))).collect();
    let mut tasks = Vec::new();
    for watch in watches.clone() {
        let server = server.clone();
        tasks.push(tokio::spawn(async move { server.sync(&watch, &[]).await }));
    }
    for (watch, task) in watches.iter().zip(tasks) {
        let mut report = task.await.unwrap();
        for _ in 0..5 {
            // A busy server closes connections. What makes an alert is not sent twice in one pass: it may have been heard.
            if is_unreachable(&report) {
                report = server.sync(watch, &[]).await;
            }
        }
        assert_eq!((report.stream, &report.alerts[0].failure), (Ok(()), &None));
    }
    for watch in &watches {
        assert_eq!(lab.alerts(watch).await.len(), 1);
        server.remove(&watch.owner, &watch.stream).await.unwrap();
    }
    lab.clean(&[&watches[0]]).await;
}
