//! Alerts that are there and do nothing.

use std::time::{Duration, SystemTime};

use parseable_standin::Config;
use reqwest::Method;
use securitywatch_parseable::ChangeKind;
use serde_json::{Value, json};

use crate::lab::{Lab, kinds, sync};

#[tokio::test]
async fn a_stream_that_was_deleted_comes_back_and_its_alerts_with_it() {
    let lab = Lab::start().await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let alert = lab.only_alert(&watch).await;
    lab.by_hand(Method::DELETE, &format!("/logstream/{}", watch.stream), Value::Null).await;
    let changes = kinds(&sync(&server, &watch).await);
    for kind in [ChangeKind::StreamCreated, ChangeKind::RetentionSet, ChangeKind::AlertRevived] {
        assert!(changes.contains(&kind), "{changes:?}");
    }
    assert_eq!(lab.only_alert(&watch).await["id"], alert["id"]);
    assert_eq!(sync(&server, &watch).await, []);
    lab.clean(&[&watch]).await;
}

#[tokio::test]
async fn an_alert_that_missed_events_is_started_again() {
    if std::env::var("PARSEABLE_URL").is_ok() {
        println!(
            "skipped: an_alert_that_missed_events_is_started_again needs the stand-in's clock"
        );
        return;
    }
    let ago = |minutes: u64| SystemTime::now() - Duration::from_secs(minutes * 60);
    // Made half an hour ago.
    let mut lab = Lab::with(Config {
        clock: Some(ago(30)),
        alert_minute: Duration::from_millis(100),
        ..Config::default()
    })
    .await;
    let watch = lab.watch("egress");
    sync(&lab.server(), &watch).await;
    // It gives up after four failures.
    let path = format!("/logstream/{}", watch.stream);
    lab.by_hand(Method::DELETE, &path, Value::Null).await;
    let deadline = SystemTime::now() + Duration::from_secs(30);
    while lab.standin().alerts()[0].is_evaluated {
        assert!(SystemTime::now() < deadline, "{:?}", lab.standin().alerts());
        // A clock that stands still brings no next evaluation.
        lab.standin().set_clock(ago(30));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Somebody made the stream again, and an event came that nobody was told of.
    lab.by_hand(Method::PUT, &path, Value::Null).await;
    lab.standin().set_clock(ago(7));
    let row = json!({
        "event_type": "process_exec", "event_id": "run-1", "process_exec_process_binary": "/usr/bin/wget",
        "process_exec_process_pod_name": "web-0"
    });
    lab.ship(&watch.stream, row).await;
    lab.standin().set_clock(SystemTime::now());

    let server = lab.restarted_operator();
    let changes = sync(&server, &watch).await;
    assert!(kinds(&changes).contains(&ChangeKind::AlertRevived), "{changes:?}");
    assert!(lab.standin().alerts()[0].is_evaluated);
    // Looked at again at once, it is not started again.
    assert_eq!(sync(&server, &watch).await, []);
}
