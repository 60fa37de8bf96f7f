//! What somebody changed by hand, and what the spec changed.

use reqwest::Method;
use securitywatch_api::v1alpha1::Severity;
use securitywatch_parseable::ChangeKind;
use serde_json::{Value, json};

use crate::lab::{Lab, TOKEN, alert, kinds, known, sync, webhook};

#[tokio::test]
async fn a_changed_alert_is_repaired_and_a_muted_one_is_left() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let right = lab.only_alert(&watch).await;
    let path = format!("/alerts/{}", right["id"].as_str().unwrap());
    let mut changed = right.clone();
    changed["thresholdConfig"]["value"] = json!(1000);
    let (status, answer) = lab.by_hand(Method::PUT, &path, changed).await;
    assert_eq!(status, 200, "{answer}");
    let mute = json!({"state": "indefinite"});
    lab.by_hand(Method::PATCH, &format!("{path}/update_notification_state"), mute).await;

    let changes = sync(&server, &watch).await;
    assert_eq!(kinds(&changes), [ChangeKind::AlertRepaired]);
    assert!(changes[0].is_warning());
    let repaired = lab.only_alert(&watch).await;
    for field in ["id", "thresholdConfig", "query", "tags", "targets"] {
        assert_eq!(repaired[field], right[field], "{field}");
    }
    assert_eq!(repaired["notificationState"], json!({"mute": "indefinite"}));
    assert_eq!(sync(&server, &watch).await, []);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_deleted_alert_comes_back_and_a_disabled_one_is_enabled() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let first = lab.only_alert(&watch).await;
    let path = format!("/alerts/{}", first["id"].as_str().unwrap());
    lab.by_hand(Method::DELETE, &path, Value::Null).await;
    let report = server.sync(&watch, &known("wget_command", &first)).await;
    assert_eq!(kinds(&report.changes), [ChangeKind::AlertCreated]);
    let second = lab.only_alert(&watch).await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(report.alerts[0].id.as_deref(), second["id"].as_str());

    let path = format!("/alerts/{}", second["id"].as_str().unwrap());
    lab.by_hand(Method::PATCH, &format!("{path}/disable"), Value::Null).await;
    assert_eq!(kinds(&sync(&server, &watch).await), [ChangeKind::AlertRepaired]);
    assert_eq!(lab.only_alert(&watch).await["state"], "not-triggered");
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn an_alert_whose_tags_were_removed_is_found_by_its_id() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let right = lab.only_alert(&watch).await;
    let path = format!("/alerts/{}", right["id"].as_str().unwrap());
    let mut changed = right.clone();
    changed["tags"] = json!(["team-a"]);
    lab.by_hand(Method::PUT, &path, changed).await;
    let report = server.sync(&watch, &known("wget_command", &right)).await;
    assert_eq!(kinds(&report.changes), [ChangeKind::AlertRepaired]);
    let repaired = lab.only_alert(&watch).await;
    assert_eq!(repaired["id"], right["id"]);
    let mut tags = right["tags"].as_array().unwrap().clone();
    tags.push(json!("team-a"));
    assert_eq!(repaired["tags"], Value::Array(tags));
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_doubled_alert_is_single_again() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let first = lab.only_alert(&watch).await;
    // As a crash between the creation and the note of it leaves it.
    let (status, _) = lab.by_hand(Method::POST, "/alerts", first.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(lab.alerts(&watch).await.len(), 2);
    assert_eq!(kinds(&sync(&server, &watch).await), [ChangeKind::AlertDeleted]);
    assert_eq!(lab.only_alert(&watch).await["id"], first["id"]);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn the_spec_changes() {
    let lab = Lab::start().await;
    let (server, mut watch) = (lab.server(), lab.watch("egress"));
    watch.alerts.push(alert("curl_command", r#"process_exec_process_binary =% "/usr/bin/curl""#));
    sync(&server, &watch).await;
    assert_eq!((lab.alerts(&watch).await.len(), lab.targets(&watch).await.len()), (2, 2));

    watch.alerts.pop();
    watch.alerts[0].severity = Severity::Critical;
    watch.alerts[0].targets.push(webhook("wget_command/1", "http://127.0.0.1:10/"));
    let changes = sync(&server, &watch).await;
    assert_eq!(kinds(&changes), [ChangeKind::AlertUpdated, ChangeKind::AlertDeleted]);
    let stored = lab.only_alert(&watch).await;
    assert_eq!(stored["severity"], "critical");
    assert_eq!(stored["targets"].as_array().unwrap().len(), 2);
    let keys: Vec<String> = lab
        .targets(&watch)
        .await
        .iter()
        .map(|target| target["name"].as_str().unwrap().split(" [").next().unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("curl")), "{keys:?}");
    assert_eq!(sync(&server, &watch).await, []);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn a_new_secret_reaches_the_target_and_a_lost_target_comes_back() {
    let Some(lab) = Lab::standin_only("a_new_secret_reaches_the_target").await else { return };
    let (server, mut watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let before = lab.standin().targets()[0].clone();
    assert_eq!(before.endpoint, format!("http://127.0.0.1:9/{TOKEN}"));
    assert_eq!(before.headers["X-Team"], format!("header-{TOKEN}"));
    watch.alerts[0].targets[0] = webhook("wget_command/0", "http://127.0.0.1:9/new-");
    // A change that the API does not show is no event.
    assert_eq!(sync(&server, &watch).await, []);
    let after = lab.standin().targets()[0].clone();
    assert_eq!(
        (after.endpoint, after.id),
        (format!("http://127.0.0.1:9/new-{TOKEN}"), before.id.clone())
    );

    let alert = lab.only_alert(&watch).await;
    lab.by_hand(Method::DELETE, &format!("/alerts/{}", alert["id"].as_str().unwrap()), Value::Null)
        .await;
    lab.by_hand(Method::DELETE, &format!("/targets/{}", before.id), Value::Null).await;
    assert_eq!(
        kinds(&sync(&server, &watch).await),
        [ChangeKind::TargetRepaired, ChangeKind::AlertCreated]
    );
    assert_eq!(lab.standin().targets()[0].id, before.id);
}

#[tokio::test]
async fn a_renamed_target_is_renamed_back() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let target = lab.targets(&watch).await[0].clone();
    let renamed = json!({
        "id": target["id"], "name": "mine now", "type": "webhook", "endpoint": "http://127.0.0.1:9/other",
        "headers": {}, "skipTlsCheck": false
    });
    let (status, answer) = lab.by_hand(Method::POST, "/targets", renamed).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(kinds(&sync(&server, &watch).await), [ChangeKind::TargetRepaired]);
    assert_eq!(lab.targets(&watch).await[0], target);
    lab.clean(&[&watch]).await;
}
