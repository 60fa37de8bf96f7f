//! What dies comes back by itself, and what was lost is counted.

use kube::Api;
use securitywatch_api::v1alpha1::{ClusterSecurityWatch, SecurityWatch};
use serde_json::Value;

use super::walkthroughs::POD;
use crate::control_plane::Button;
use crate::install::NAMESPACE;
use crate::real::place::{NODE, PATIENCE, Place};
use crate::real::pods;
use crate::real::until;
use crate::scenario::Scenario;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "the probe is killed under load: it comes back, and says what it missed" => probe_killed,
    "the operator moves: alerts go on, and none is told twice" => operator_moves,
];

/// It takes the node away for minutes.
pub const RESET: &[Scenario<Place>] = scenarios![
    "the node is reset: everything comes back, and the loss is counted" => node_reset,
];

/// Reads as fast as it can, for longer than any test.
const LOAD: &str = "while :; do read -r line < /etc/passwd; done";

/// Kills every process of this name on the node, without a word.
async fn kill(place: &Place, command: &str) -> Result {
    let script = format!(
        "for p in /proc/[0-9]*; do read -r name < $p/comm 2>/dev/null || continue; \
         if [ \"$name\" = {command} ]; then kill -9 ${{p#/proc/}}; echo killed; fi; done"
    );
    let killed =
        pods::exec(place.kubectl(), "default", "nsenter", &["/bin/bash", "-c", &script]).await?;
    ensure!(
        killed.output.contains("killed"),
        "nothing on the node is called {command}: {killed:?}"
    );
    Ok(())
}

async fn restarts(place: &Place) -> Result<i64> {
    let pod = place.pod_of("probe").await?;
    let path = "jsonpath={.status.containerStatuses[0].restartCount}";
    let get = ["get", "pod", &pod, "--namespace", NAMESPACE, "--output", path];
    Ok(place.kubectl().run(&get).await?.trim().parse()?)
}

/// The message of the report's condition `Ready`, and the losses.
pub async fn told(place: &Place) -> Result<(String, Value)> {
    let status = place.report(NODE).await?.status.unwrap_or_default();
    let ready = status.conditions.unwrap_or_default().into_iter().find(|c| c.type_ == "Ready");
    let ready = ready.ok_or("no condition Ready")?;
    ensure!(ready.status == "True", "{}: {}", ready.reason, ready.message);
    Ok((ready.message, serde_json::to_value(status.lost)?))
}

/// Waits until the report says how the probe before this one ended, and shows what was missed. Returns the losses.
async fn missed(place: &Place, how: &str) -> Result<Value> {
    let (message, lost) = until("the report says what was missed", PATIENCE, async || {
        let (message, lost) = told(place).await?;
        ensure!(message.contains(how), "{message}; lost {lost}");
        Ok((message, lost))
    })
    .await?;
    println!("        {message}; lost: {lost}");
    Ok(lost)
}

async fn probe_killed(place: &Place) -> Result {
    let kubectl = place.kubectl().clone();
    let before = restarts(place).await?;
    let load = tokio::spawn(async move {
        pods::exec(&kubectl, "default", POD, &["timeout", "40", "/bin/bash", "-c", LOAD])
            .await
            .map(drop)
    });
    place.at_least(200, "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_kprobe_args_file_arg_path\" = '/etc/passwd'").await?;
    // Events pile up in the probe, as they do when the network is slow.
    let slow = serde_json::json!({"pattern": "POST /api/v1/ingest", "requests": 20, "kind": "delay", "ms": 1500});
    place.parseable.call(reqwest::Method::POST, "/standin/faults", Some(&slow)).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    kill(place, "securitywatch-p").await?;
    until("the probe starts again", PATIENCE, async || {
        let now = restarts(place).await?;
        ensure!(now > before, "{now} restarts");
        Ok(())
    })
    .await?;
    place.parseable.call(reqwest::Method::DELETE, "/standin/faults", None).await?;
    let lost = missed(place, "killed").await?;
    ensure!(lost.to_string().contains("probe_ended"), "no loss is counted: {lost}");
    load.await??;
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "egress", "Ready", "True").await?;
    fires_again(place, "after-kill").await
}

/// An alert of the sample fires for a pod that was not there before.
pub async fn fires_again(place: &Place, pod: &str) -> Result {
    let kubectl = place.kubectl();
    pods::run(kubectl, &[pods::idle("default", pod)]).await?;
    let page = place.webhook.page();
    pods::exec(kubectl, "default", pod, &["curl", "-s", &page]).await?.succeeded()?;
    let call = place.webhook.call(PATIENCE, "curl_command_started", |body| {
        body["alert"] == "curl_command_started" && body["pod"] == pod
    });
    call.await?;
    let sql = format!(
        "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_exec_process_binary\" = '/usr/bin/curl' \
         AND \"process_exec_process_pod_name\" = '{pod}'"
    );
    place.at_least(1, &sql).await?;
    Ok(())
}

async fn operator_moves(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let old = place.pod_of("operator").await?;
    kubectl.run(&["delete", "pod", &old, "--namespace", NAMESPACE, "--wait=false"]).await?;
    // While nobody takes the hits.
    fires_again(place, "after-move").await?;
    let new = place.pod_of("operator").await?;
    ensure!(new != old, "the operator is still {old}");
    let calls = place.webhook.calls();
    let twice = calls
        .iter()
        .filter(|c| {
            c.body["alert"] == "curl_command_started"
                && c.body["pod"] == "after-move"
                && c.body["call"] == 1
        })
        .count();
    ensure!(twice == 1, "{twice} first calls");
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "egress", "Ready", "True").await?;
    let text = kubectl.run(&["describe", "securitywatch", "egress"]).await?;
    ensure!(text.contains("Last Fired"), "no lastFired: {text}");
    Ok(())
}

async fn node_reset(place: &Place) -> Result {
    place.cluster.press(NODE, Button::Reset).await?;
    place.probes_are_gone_and_back(1).await?;
    missed(place, "restarted").await?;
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "egress", "Ready", "True").await?;
    let watches: Api<ClusterSecurityWatch> = Api::all(place.client.clone());
    place.condition(&watches, "sensitive-files", "Ready", "True").await?;
    fires_again(place, "after-reset").await?;
    place.show(&["describe", "securitywatchnode", NODE]).await?;
    Ok(())
}
