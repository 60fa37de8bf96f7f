//! What goes wrong on a node shows in the status, and clears when it is cured.

use kube::Api;
use kube::api::{Patch, PatchParams};
use reqwest::Method;
use securitywatch_api::v1alpha1::SecurityWatch;
use serde_json::json;

use super::recovery::{fires_again, told};
use super::walkthroughs::POD;
use crate::install::install;
use crate::real::place::{NODE, PATIENCE, Place, VALUES};
use crate::real::pods;
use crate::real::until;
use crate::scenario::Scenario;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "Parseable stops: Shipping says so, alerts fire all the same, and nothing is lost" => parseable_stops,
    "a function that the kernel has not: Programmed says so, and the old policy goes on" => no_such_function,
    "the disk is full: the report says what is missing, and events and alerts go on" => disk_full,
];

async fn parseable_stops(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "egress", "Shipping", "True").await?;
    // Connections are reset, but for the stand-in's own controls.
    let gone = json!({"pattern": "* /api*", "kind": "reset"});
    place.parseable.call(Method::POST, "/standin/faults", Some(&gone)).await?;
    let before = place.webhook.calls().len();
    let page = place.webhook.page();
    // Another name, so that no earlier call stands for it.
    let marked = format!("{page}?while=down");
    pods::run(kubectl, &[pods::idle("default", "offline-pod")]).await?;
    pods::exec(kubectl, "default", "offline-pod", &["curl", "-s", &marked]).await?.succeeded()?;
    let call = place.webhook.call(PATIENCE, "curl_command_started", |body| {
        body["alert"] == "curl_command_started" && body["pod"] == "offline-pod"
    });
    call.await?;
    println!("        without Parseable: {} more calls", place.webhook.calls().len() - before);
    place.condition(&watches, "egress", "Shipping", "False").await?;
    place.show(&["get", "securitywatch", "egress", "--output", "wide"]).await?;
    place.parseable.call(Method::DELETE, "/standin/faults", None).await?;
    place.condition(&watches, "egress", "Shipping", "True").await?;
    let arguments = format!("-s {marked}");
    let sql = format!(
        "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_exec_process_arguments\" = '{arguments}' \
         AND \"process_exec_process_pod_name\" = 'offline-pod'"
    );
    place.at_least(1, &sql).await?;
    place.condition(&watches, "egress", "Ready", "True").await
}

async fn no_such_function(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    let call = |function: &str| {
        let hook =
            json!({"call": function, "syscall": false, "args": [{"index": 0, "type": "sock"}]});
        Patch::Merge(json!({"spec": {"tracingPolicy": {"spec": {"kprobes": [hook]}}}}))
    };
    watches.patch("egress", &PatchParams::default(), &call("tcp_connect_of_old")).await?;
    place.condition(&watches, "egress", "Programmed", "False").await?;
    let text = kubectl.run(&["describe", "securitywatch", "egress"]).await?;
    ensure!(text.contains("tcp_connect_of_old") && text.contains("FunctionNotFound"), "{text}");
    // What was loaded before goes on until there is something better.
    let page = format!("{}?old-policy", place.webhook.page());
    pods::exec(kubectl, "default", POD, &["curl", "-s", &page]).await?.succeeded()?;
    let sql = format!(
        "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_kprobe_function_name\" = 'tcp_connect' \
         AND \"process_kprobe_process_arguments\" = '-s {page}' AND \"process_kprobe_process_pod_name\" = '{POD}'"
    );
    place.at_least(1, &sql).await?;
    kubectl
        .run(&["apply", "-f", "config/samples/egress.yaml", "--server-side", "--force-conflicts"])
        .await?;
    until("the sample's policy is back", PATIENCE, async || {
        place.condition(&watches, "egress", "Ready", "True").await
    })
    .await
}

/// The disk of the event log, which is the only one that a probe writes more than a page to.
async fn disk_full(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let on_node = async |script: &str| {
        let command = ["nsenter", "--target", "1", "--mount", "--", "/bin/sh", "-e", "-c", script];
        pods::exec(kubectl, "default", "nsenter", &command).await?.succeeded()
    };
    on_node(
        "mkdir -p /var/log/securitywatch; mount -t tmpfs -o size=512k none /var/log/securitywatch",
    )
    .await?;
    let before = place.pod_of("probe").await?;
    install(&place.cluster, &[VALUES, &["probe.eventLog.enabled=true"]].concat()).await?;
    until("a probe that writes an event log", PATIENCE, async || {
        let now = place.pod_of("probe").await?;
        ensure!(now != before, "still {now}");
        Ok(())
    })
    .await?;
    place.probes_are_ready(1).await?;

    // It fills by itself, too, but not on an idle node.
    on_node("dd if=/dev/zero of=/var/log/securitywatch/filler bs=4k 2> /dev/null || true").await?;
    until("the report says that the event log lacks events", PATIENCE, async || {
        // Something for the log.
        pods::exec(kubectl, "default", POD, &["true"]).await?;
        let (message, _) = told(place).await?;
        let counted = place.lost(NODE, "event_log").await? > 0;
        ensure!(message.contains("No space left on device") && counted, "{message}, {counted}");
        println!("        {message}");
        Ok(())
    })
    .await?;
    fires_again(place, "disk-full").await?;
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "egress", "Ready", "True").await?;

    on_node("rm /var/log/securitywatch/filler").await?;
    until("the report is silent about the event log again", PATIENCE, async || {
        pods::exec(kubectl, "default", POD, &["true"]).await?;
        let (message, _) = told(place).await?;
        ensure!(!message.contains("event log"), "{message}");
        Ok(())
    })
    .await?;
    let written = on_node("tail -n 1 /var/log/securitywatch/events.json").await?;
    serde_json::from_str::<serde_json::Value>(&written)?;
    Ok(())
}
