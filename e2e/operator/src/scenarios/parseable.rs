//! What a watch wants of Parseable is made there, kept, and removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::nodes::{LOADED, Said, report_all};
use super::watches::{Handle, SOON, alert, apply, full, uid};
use crate::scenario::{Context, Scenario};
use crate::wait::until;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "a sample gets its stream, retention and alerts, and Parseable calls nobody" => sample,
    "an alert that was deleted by hand is made again, one that was changed is put right" => repair,
    "after a restart of Parseable every alert is made again, and an event says so" => restart,
    "an emptied Parseable is filled again" => emptied,
    "two watches share a stream, and one leaves without harm to the other" => shared_stream,
    "shipping is what the nodes say of it" => shipping,
    "no credential and no webhook URL shows in status, events, logs or objects" => secrecy,
];

/// A server is asked every half minute whether it was restarted; then its watches are synced.
const RESTART_SEEN: Duration = Duration::from_secs(60);

/// Nudges the operator, as a person would: any change of an object is looked at.
async fn nudge(handle: &Handle) -> Result {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    handle.patch(&json!({"metadata": {"annotations": {"looked-at": now.to_string()}}})).await
}

/// The alerts of a watch, whole.
async fn alerts_of(context: &Context, handle: &Handle) -> Result<Vec<Value>> {
    let tag = Value::from(format!("sw-uid:{}", uid(&handle.get().await?)));
    let mut alerts = Vec::new();
    for summary in context.parseable.alerts().await? {
        if summary["tags"].as_array().is_some_and(|tags| tags.contains(&tag)) {
            let id = summary["id"].as_str().unwrap_or_default();
            alerts.push(context.parseable.get(&format!("/api/v1/alerts/{id}")).await?.1);
        }
    }
    Ok(alerts)
}

fn ids(alerts: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> =
        alerts.iter().filter_map(|alert| alert["id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

async fn synced(context: &Context, namespace: &str, stream: &str) -> Result<Handle> {
    context.namespace(namespace).await?;
    apply(context, &full(context, namespace, "egress", stream)).await?;
    let handle = Handle::new(context, namespace, "egress");
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    Ok(handle)
}

async fn remove(handle: &Handle) -> Result {
    handle.delete().await?;
    handle.gone(SOON).await
}

async fn sample(context: &Context) -> Result {
    let handle = synced(context, "sample", "sample_stream").await?;
    let parseable = &context.parseable;
    let (status, retention) = parseable.get("/api/v1/logstream/sample_stream/retention").await?;
    ensure!(
        status == 200 && retention[0]["duration"] == "30d",
        "retention answered {status}: {retention}"
    );
    let alerts = alerts_of(context, &handle).await?;
    ensure!(alerts.len() == 2, "{} alerts", alerts.len());
    for alert in &alerts {
        let query = alert["query"].as_str().unwrap_or_default();
        ensure!(query.contains("sample_stream") && query.contains("/usr/bin/"), "query {query}");
        ensure!(alert["severity"] == "high", "severity {}", alert["severity"]);
        let targets = alert["targets"].as_array().map_or(0, Vec::len);
        ensure!(targets == 0, "{targets} targets: each event would ring twice");
    }
    let status = handle.get().await?.status.unwrap_or_default();
    let told: Vec<String> =
        status.alerts.into_iter().flatten().filter_map(|alert| alert.parseable_id).collect();
    ensure!(told.len() == 2 && told.iter().all(|id| ids(&alerts).contains(id)), "status: {told:?}");
    let counts = status.alert_counts.and_then(|counts| counts.summary);
    ensure!(counts.as_deref() == Some("2/2"), "{counts:?}");
    remove(&handle).await
}

async fn repair(context: &Context) -> Result {
    let handle = synced(context, "repair", "repair").await?;
    let before = alerts_of(context, &handle).await?;
    let path =
        |alert: &Value| format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap_or_default());
    let delete = context.parseable.call(reqwest::Method::DELETE, &path(&before[0]), None).await?;
    ensure!(delete.0 == 200, "delete answered {}", delete.0);
    let mut changed = before[1].clone();
    changed["severity"] = json!("low");
    let put =
        context.parseable.call(reqwest::Method::PUT, &path(&before[1]), Some(&changed)).await?;
    ensure!(put.0 == 200, "put answered {}: {}", put.0, put.1);
    nudge(&handle).await?;
    until("both alerts are as the watch wants them", SOON, async || {
        let now = alerts_of(context, &handle).await?;
        ensure!(now.len() == 2, "{} alerts", now.len());
        ensure!(now.iter().all(|alert| alert["severity"] == "high"), "a severity is still low");
        Ok(())
    })
    .await?;
    let after = ids(&alerts_of(context, &handle).await?);
    ensure!(after.contains(&ids(&before[1..])[0]), "the changed one was made anew");
    remove(&handle).await
}

async fn restart(context: &Context) -> Result {
    let handle = synced(context, "restart", "restart").await?;
    let before = ids(&alerts_of(context, &handle).await?);
    let (status, _) =
        context.parseable.call(reqwest::Method::POST, "/standin/restart", None).await?;
    ensure!(status < 300, "the stand-in's restart answered {status}");
    nudge(&handle).await?;
    until("new alerts stand in for the dead ones", RESTART_SEEN, async || {
        let now = ids(&alerts_of(context, &handle).await?);
        ensure!(now.len() == 2 && now.iter().all(|id| !before.contains(id)), "{before:?} {now:?}");
        Ok(())
    })
    .await?;
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    let described = until("an event tells of it", SOON, async || {
        let arguments = ["describe", "securitywatch", "egress", "--namespace", "restart"];
        let text = context.cluster.kubectl.run(&arguments).await?;
        ensure!(text.contains("restart"), "no word of it in:\n{text}");
        Ok(text)
    })
    .await?;
    ensure!(described.contains("AlertRe"), "no reason of its own in:\n{described}");
    remove(&handle).await
}

async fn emptied(context: &Context) -> Result {
    let handle = synced(context, "emptied", "emptied").await?;
    let (status, _) = context.parseable.call(reqwest::Method::POST, "/standin/empty", None).await?;
    ensure!(status < 300, "the stand-in's emptying answered {status}");
    nudge(&handle).await?;
    until("stream and alerts are there again", SOON * 2, async || {
        let (status, _) = context.parseable.get("/api/v1/logstream/emptied/info").await?;
        ensure!(status == 200, "the stream answers {status}");
        let alerts = alerts_of(context, &handle).await?.len();
        ensure!(alerts == 2, "{alerts} alerts");
        Ok(())
    })
    .await?;
    remove(&handle).await
}

async fn shared_stream(context: &Context) -> Result {
    let first = synced(context, "shared-a", "shared").await?;
    let second = synced(context, "shared-b", "shared").await?;
    let before = ids(&alerts_of(context, &second).await?);
    remove(&first).await?;
    let after = ids(&alerts_of(context, &second).await?);
    ensure!(after == before, "the other's alerts were {before:?} and are {after:?}");
    let (status, _) = context.parseable.get("/api/v1/logstream/shared/info").await?;
    ensure!(status == 200, "the stream went with the first watch: {status}");
    remove(&second).await
}

async fn shipping(context: &Context) -> Result {
    let handle = synced(context, "shipping", "shipping").await?;
    let watch = handle.get().await?;
    handle.condition("Shipping", "Unknown", "NoEventsYet", SOON).await?;
    let said = |shipping: Value| Said { shipping: Some(shipping), ..LOADED };
    report_all(context, &watch, &said(json!({"state": "Delivering"}))).await?;
    handle.condition("Shipping", "True", "Delivering", SOON).await?;
    handle.condition("Ready", "True", "AllReady", SOON).await?;
    let message = format!(
        r#"{} answered 403 for user "admin"; check keys username/password of secret shipping/parseable-env-secret"#,
        context.parseable.url
    );
    let failing = json!({"state": "Failing", "reason": "Unauthorized", "message": message});
    report_all(context, &watch, &said(failing)).await?;
    let condition = handle.condition("Shipping", "False", "Unauthorized", SOON * 2).await?;
    ensure!(condition.message.contains("answered 403"), "{}", condition.message);
    report_all(context, &watch, &said(json!({"state": "Delivering"}))).await?;
    handle.condition("Shipping", "True", "Delivering", SOON).await?;
    remove(&handle).await
}

async fn secrecy(context: &Context) -> Result {
    const TOKEN: &str = "T0KEN-that-nobody-may-read";
    context.namespace("secrecy").await?;
    let kubectl = &context.cluster.kubectl;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "oncall", "namespace": "secrecy"},
        "stringData": {"url": format!("http://127.0.0.1:9/{TOKEN}")}
    });
    kubectl.run_with(&["apply", "-f", "-"], &secret.to_string()).await?;
    let mut watch = full(context, "secrecy", "egress", "secrecy");
    watch["spec"]["alerts"] =
        json!([alert("shadow", r#"(process_exec_process_arguments =% "shadow")"#)]);
    apply(context, &watch).await?;
    let handle = Handle::new(context, "secrecy", "egress");
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    context.account("secrecy", TOKEN).await?;
    nudge(&handle).await?;
    handle.condition("AlertsSynced", "False", "Unauthorized", Duration::from_secs(60)).await?;
    let object = kubectl
        .run(&["get", "securitywatch", "egress", "--namespace", "secrecy", "--output", "yaml"])
        .await?;
    let events = kubectl.run(&["get", "events", "--all-namespaces", "--output", "yaml"]).await?;
    let log = std::fs::read_to_string(context.pod.log())?;
    for (place, text) in [("the object", object), ("an event", events), ("the log", log)] {
        ensure!(!text.contains(TOKEN), "{place} holds the secret");
    }
    context.account("secrecy", "admin").await?;
    nudge(&handle).await?;
    handle.condition("AlertsSynced", "True", "Synced", Duration::from_secs(60)).await?;
    remove(&handle).await
}
