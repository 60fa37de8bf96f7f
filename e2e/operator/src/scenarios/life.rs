//! A watch from `kubectl apply` to its end, as its status and its events tell it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use securitywatch_api::v1alpha1::SecurityWatchNode;
use serde_json::{Value, json};

use super::nodes::{LOADED, Said, entry, names, report, report_all};
use super::watches::{Handle, SOON, apply, bare, find, full};
use crate::install::NAMESPACE;
use crate::installation::Installation;
use crate::scenario::{Context, Scenario};
use crate::wait::until;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "the operator rolls out one DaemonSet, least privileged, and repairs it" => daemon_set,
    "a watch has its first status within a second" => first_status,
    "Ready follows the nodes: rolling out, all loaded, one of three failing, cured" => roll_out,
    "a suspended watch says so, and goes on when it is resumed" => suspend,
    "at rest the operator writes nothing" => rest,
    "a deleted watch takes its alerts along, and a node its report" => deletion,
    "one malformed object does not stop the others" => malformed,
];

async fn daemon_set(context: &Context) -> Result {
    let kubectl = &context.cluster.kubectl;
    let get =
        ["get", "daemonset", "securitywatch-probe", "--namespace", NAMESPACE, "--output", "json"];
    let set = until("the DaemonSet is ready", Duration::from_secs(60), async || {
        let set: Value = serde_json::from_str(&kubectl.run(&get).await?)?;
        ensure!(set["status"]["numberReady"] == crate::installation::NODES, "{}", set["status"]);
        Ok(set)
    })
    .await?;
    let pod = &set["spec"]["template"]["spec"];
    let security = &pod["containers"][0]["securityContext"];
    ensure!(security["privileged"] != true, "privileged: {security}");
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "{security}");
    ensure!(security["readOnlyRootFilesystem"] == true, "{security}");
    ensure!(
        set["metadata"]["ownerReferences"][0]["kind"] == "Deployment",
        "owned by {}",
        set["metadata"]["ownerReferences"]
    );
    let patch = r#"{"spec":{"template":{"spec":{"hostPID":false}}}}"#;
    kubectl
        .run(&[
            "patch",
            "daemonset",
            "securitywatch-probe",
            "--namespace",
            NAMESPACE,
            "--patch",
            patch,
        ])
        .await?;
    until("the DaemonSet is repaired", SOON, async || {
        let set: Value = serde_json::from_str(&kubectl.run(&get).await?)?;
        ensure!(set["spec"]["template"]["spec"]["hostPID"] == true, "hostPID is off");
        Ok(())
    })
    .await
}

async fn first_status(context: &Context) -> Result {
    context.namespace("first").await?;
    let mut slowest = Duration::ZERO;
    for number in 0..5 {
        let name = format!("watch-{number}");
        let applied = Instant::now();
        apply(context, &bare("first", &name)).await?;
        let handle = Handle::new(context, "first", &name);
        until("a first status", SOON, async || {
            find(handle.get().await?.status.as_ref(), "Accepted").map(|_| ())
        })
        .await?;
        slowest = slowest.max(applied.elapsed());
    }
    ensure!(slowest < Duration::from_secs(1), "the slowest of five took {slowest:?}");
    context.cluster.kubectl.run(&["delete", "namespace", "first", "--wait=false"]).await?;
    Ok(())
}

async fn roll_out(context: &Context) -> Result {
    context.namespace("rollout").await?;
    let watch = apply(context, &bare("rollout", "egress")).await?;
    let handle = Handle::new(context, "rollout", "egress");
    let waiting = handle.condition("Programmed", "Unknown", "RollingOut", SOON).await?;
    ensure!(waiting.message.contains("of 3 nodes"), "{}", waiting.message);
    let watching = handle.get().await?;
    let ready = find(watching.status.as_ref(), "Ready")?;
    ensure!(ready.status == "Unknown", "Ready {} while rolling out", ready.status);

    report_all(context, &watch, &LOADED).await?;
    let ready = handle.condition("Ready", "True", "AllReady", SOON).await?;
    ensure!(ready.message.contains("3 of 3 nodes"), "{}", ready.message);
    let arguments = ["get", "securitywatch", "egress", "--namespace", "rollout"];
    let shown = context.cluster.kubectl.run(&arguments).await?;
    ensure!(shown.contains("True") && shown.contains("3/3"), "kubectl get printed:\n{shown}");
    let wait = ["wait", "--for=condition=Ready", "securitywatch/egress", "--namespace", "rollout"];
    context.cluster.kubectl.run(&[&wait[..], &["--timeout=10s"]].concat()).await?;

    let message =
        r#"spec.tracingPolicy.spec.kprobes[0].call: kernel 5.10 has no function "tcp_connect""#;
    let failed = Said {
        state: "Failed",
        reason: Some("FunctionNotFound"),
        message: Some(message),
        shipping: None,
    };
    let nodes = names(context).await?;
    report(context, &nodes[1], &[entry(&watch, &failed)]).await?;
    let programmed = handle.condition("Programmed", "False", "LoadFailed", SOON * 2).await?;
    ensure!(
        programmed.message.contains(&nodes[1]) && programmed.message.contains("FunctionNotFound"),
        "{}",
        programmed.message
    );
    handle.condition("Ready", "False", "LoadFailed", SOON).await?;
    let status = handle.get().await?.status.unwrap_or_default();
    let failing = status.failing_nodes.unwrap_or_default();
    ensure!(
        failing.len() == 1 && failing[0].message.as_deref() == Some(message),
        "failing nodes: {failing:?}"
    );

    report(context, &nodes[1], &[entry(&watch, &LOADED)]).await?;
    handle.condition("Ready", "True", "AllReady", SOON * 2).await?;
    let described = context
        .cluster
        .kubectl
        .run(&["describe", "securitywatch", "egress", "--namespace", "rollout"])
        .await?;
    for word in ["PolicyAccepted", "NodeLoadFailed"] {
        ensure!(described.contains(word), "no {word} in:\n{described}");
    }
    // A change of the spec: what nodes said of the old one counts no more.
    let mut changed = bare("rollout", "egress");
    changed["spec"]["tracingPolicy"]["spec"]["kprobes"][0]["call"] = json!("tcp_close");
    let watch = apply(context, &changed).await?;
    handle.condition("Ready", "Unknown", "Progressing", SOON).await?;
    report_all(context, &watch, &LOADED).await?;
    handle.condition("Ready", "True", "AllReady", SOON).await?;
    handle.delete().await?;
    handle.gone(SOON).await
}

async fn suspend(context: &Context) -> Result {
    context.namespace("suspended").await?;
    let watch = apply(context, &bare("suspended", "egress")).await?;
    let handle = Handle::new(context, "suspended", "egress");
    report_all(context, &watch, &LOADED).await?;
    handle.condition("Ready", "True", "AllReady", SOON).await?;
    handle.patch(&json!({"spec": {"suspend": true}})).await?;
    handle.condition("Ready", "Unknown", "Suspended", SOON).await?;
    handle.patch(&json!({"spec": {"suspend": null}})).await?;
    let resumed = handle.get().await?;
    report_all(context, &resumed, &LOADED).await?;
    handle.condition("Ready", "True", "AllReady", SOON).await?;
    handle.delete().await?;
    handle.gone(SOON).await
}

/// Requests of the operator that change something, by the API server's own record; its lease aside.
pub fn writes(context: &Installation) -> Result<Vec<String>> {
    let log = std::fs::read_to_string(context.cluster.audit_log())?;
    let user = format!("system:serviceaccount:{NAMESPACE}:securitywatch-operator");
    let mut writes = Vec::new();
    for line in log.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let verb = entry["verb"].as_str().unwrap_or_default();
        let writing = ["create", "update", "patch", "delete"].contains(&verb);
        let lease = entry["objectRef"]["resource"] == "leases";
        if writing && !lease && entry["user"]["username"] == user.as_str() {
            writes.push(format!("{verb} {}", entry["requestURI"].as_str().unwrap_or_default()));
        }
    }
    Ok(writes)
}

async fn rest(context: &Context) -> Result {
    context.namespace("rest").await?;
    let watch = apply(context, &full(context, "rest", "egress", "rest")).await?;
    let handle = Handle::new(context, "rest", "egress");
    report_all(context, &watch, &LOADED).await?;
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    // A status is published every five seconds at most: whatever was under way is over after six without a write.
    let mut before = writes(context)?.len();
    until("the operator comes to rest", SOON * 3, async || {
        let seen = before;
        tokio::time::sleep(Duration::from_secs(6)).await;
        before = writes(context)?.len();
        ensure!(before == seen, "{} writes in six seconds", before - seen);
        Ok(())
    })
    .await?;
    ensure!(before > 0, "the audit log shows no write of the operator at all");
    // A change that is none: the same report again, and an annotation.
    let nodes = names(context).await?;
    report(context, &nodes[0], &[entry(&watch, &LOADED)]).await?;
    handle.patch(&json!({"metadata": {"annotations": {"note": "nothing"}}})).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let all = writes(context)?;
    ensure!(all.len() == before, "at rest it wrote: {:?}", &all[before..]);
    handle.delete().await?;
    handle.gone(SOON).await
}

async fn deletion(context: &Context) -> Result {
    context.namespace("deletion").await?;
    apply(context, &full(context, "deletion", "egress", "deletion")).await?;
    let handle = Handle::new(context, "deletion", "egress");
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    let ours = async || -> Result<usize> {
        let uid = handle.get().await?.metadata.uid.unwrap_or_default();
        let tag = Value::from(format!("sw-uid:{uid}"));
        let alerts = context.parseable.alerts().await?;
        let tagged =
            |alert: &&Value| alert["tags"].as_array().is_some_and(|tags| tags.contains(&tag));
        Ok(alerts.iter().filter(tagged).count())
    };
    ensure!(ours().await? == 2, "{} alerts", ours().await?);
    let before = context.parseable.alerts().await?.len();
    handle.delete().await?;
    handle.gone(SOON).await?;
    let after = context.parseable.alerts().await?.len();
    ensure!(after + 2 == before, "{before} alerts before, {after} after");
    // A watch that made nothing outside goes at once, whoever runs.
    apply(context, &bare("deletion", "bare")).await?;
    let bare = Handle::new(context, "deletion", "bare");
    bare.condition("Accepted", "True", "Valid", SOON).await?;
    let finalizers = bare.get().await?.metadata.finalizers;
    ensure!(finalizers.is_none_or(|list| list.is_empty()), "a finalizer for nothing");
    bare.delete().await?;
    bare.gone(Duration::from_secs(2)).await?;

    let nodes: Api<Node> = Api::all(context.client.clone());
    let reports: Api<SecurityWatchNode> = Api::all(context.client.clone());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "leaving"}});
    context.cluster.kubectl.run_with(&["create", "-f", "-"], &node.to_string()).await?;
    report(context, "leaving", &[]).await?;
    nodes.delete("leaving", &DeleteParams::default()).await?;
    until("the node's report is gone", SOON * 2, async || {
        match reports.get_opt("leaving").await? {
            None => Ok(()),
            Some(_) => Err("still there".into()),
        }
    })
    .await
}

async fn malformed(context: &Context) -> Result {
    context.namespace("malformed").await?;
    let kubectl = &context.cluster.kubectl;
    // As after a downgrade: the server holds an object that this version's types do not take.
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let loosen = json!([
        {"op": "add", "path": format!("{schema}/properties/suspend"), "value": {"x-kubernetes-preserve-unknown-fields": true}},
    ]);
    let name = "securitywatches.securitywatch.io";
    kubectl.run(&["patch", "crd", name, "--type=json", "--patch", &loosen.to_string()]).await?;
    let mut odd = bare("malformed", "odd");
    odd["spec"]["suspend"] = json!("perhaps");
    until("the loosened definition is in force", SOON, async || {
        let arguments = ["apply", "--server-side", "--validate=false", "-f", "-"];
        kubectl.run_with(&arguments, &odd.to_string()).await.map(|_| ())
    })
    .await?;
    apply(context, &bare("malformed", "fine")).await?;
    let fine = Handle::new(context, "malformed", "fine");
    let seen = fine.condition("Accepted", "True", "Valid", SOON).await;
    kubectl.run(&["delete", "securitywatch", "odd", "--namespace", "malformed"]).await?;
    fine.delete().await?;
    let strict = json!([
        {"op": "replace", "path": format!("{schema}/properties/suspend"), "value": {"type": "boolean"}},
    ]);
    kubectl.run(&["patch", "crd", name, "--type=json", "--patch", &strict.to_string()]).await?;
    seen.map(|_| ())
}
