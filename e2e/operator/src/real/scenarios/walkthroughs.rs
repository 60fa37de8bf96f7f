//! Both walk-throughs, from the samples as they stand.

use std::time::UNIX_EPOCH;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use securitywatch_api::v1alpha1::{ClusterSecurityWatch, SecurityWatch};

use crate::real::place::{PATIENCE, Place};
use crate::real::pods;
use crate::scenario::Scenario;
use crate::sink::Received;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "egress: curl and wget in a pod raise alerts that name it" => egress,
    "sensitive files: a privileged pod on the host's files raises alerts that name it" => files,
];

const NAMESPACE: &str = "default";
/// The walk-through's pod that stands for production.
pub const POD: &str = "nginx-pod";
/// Where no watch is.
pub const ELSEWHERE: &str = "elsewhere";
pub const BYSTANDER: &str = "bystander";

async fn egress(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let elsewhere = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
    pods::create(kubectl, &[elsewhere]).await?;
    kubectl.run(&["apply", "-f", "config/samples/egress.yaml"]).await?;
    pods::run(kubectl, &[pods::idle(NAMESPACE, POD), pods::idle(ELSEWHERE, BYSTANDER)]).await?;
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), NAMESPACE);
    place.condition(&watches, "egress", "Ready", "True").await?;

    let ahead = place.clock_offset(NAMESPACE, POD).await?;
    let page = place.webhook.page();
    for (namespace, pod) in [(ELSEWHERE, BYSTANDER), (NAMESPACE, POD)] {
        for command in [["wget", "-q", "-O-", page.as_str()], ["curl", "-s", "-S", page.as_str()]] {
            let got = pods::exec(kubectl, namespace, pod, &command).await?.succeeded()?;
            ensure!(got == "hello\n", "{command:?} got {got:?}");
        }
    }
    for (alert, words) in [
        ("wget_command", "wget command was executed from the pod : nginx-pod"),
        ("curl_command", "curl command was executed from the pod : nginx-pod"),
        ("wget_command_started", "wget command was started in the pod : nginx-pod"),
        ("curl_command_started", "curl command was started in the pod : nginx-pod"),
    ] {
        let call = place
            .webhook
            .call(PATIENCE, alert, |body| body["alert"] == alert && body["message"] == words);
        tell(&call.await?, ahead);
    }
    for binary in ["/usr/bin/wget", "/usr/bin/curl"] {
        for (kind, more) in [
            ("process_exec", ""),
            ("process_exit", ""),
            ("process_kprobe", "AND \"process_kprobe_function_name\" = 'tcp_connect'"),
        ] {
            let sql = format!(
                "SELECT COUNT(*) AS n FROM tetrademo WHERE \"{kind}_process_binary\" = '{binary}' \
                 AND \"{kind}_process_pod_name\" = '{POD}' AND \"{kind}_process_pod_namespace\" = '{NAMESPACE}' {more}"
            );
            place.at_least(1, &sql).await?;
        }
    }
    nothing_of_others(place).await?;
    place.show(&["describe", "securitywatch", "egress"]).await?;
    Ok(())
}

/// The watch is of one namespace: no row and no call is about another one, nor about the host.
async fn nothing_of_others(place: &Place) -> Result {
    for kind in ["process_exec", "process_exit", "process_kprobe"] {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM tetrademo WHERE \"event_type\" = '{kind}' \
             AND (\"{kind}_process_pod_namespace\" IS NULL OR \"{kind}_process_pod_namespace\" <> '{NAMESPACE}')"
        );
        let strangers = place.number(&sql).await?;
        ensure!(strangers == 0, "{strangers} rows of other namespaces or of the host: {sql}");
    }
    let calls = place.webhook.calls();
    let stranger = calls.iter().find(|call| call.body["namespace"] != NAMESPACE);
    ensure!(stranger.is_none(), "a call about another namespace: {stranger:?}");
    Ok(())
}

async fn files(place: &Place) -> Result {
    let kubectl = place.kubectl();
    kubectl.run(&["apply", "-f", "config/samples/sensitive-files.yaml"]).await?;
    pods::run(kubectl, &[pods::nsenter(NAMESPACE, "nsenter")]).await?;
    let watches: Api<ClusterSecurityWatch> = Api::all(place.client.clone());
    place.condition(&watches, "sensitive-files", "Ready", "True").await?;

    let ahead = place.clock_offset(NAMESPACE, POD).await?;
    for file in ["/etc/passwd", "/etc/shadow"] {
        let enter = ["nsenter", "--all", "--target=1", "--", "cat", file];
        let text = pods::exec(kubectl, NAMESPACE, "nsenter", &enter).await?.succeeded()?;
        ensure!(text.contains("root:"), "{file} of the host: {text:?}");
    }
    let touched = place.webhook.call(PATIENCE, "Unauthorised access", |body| {
        body["alert"] == "Unauthorised access" && body["pod"] == "nsenter"
    });
    tell(&touched.await?, ahead);
    let started = place.webhook.call(PATIENCE, "Unauthorised access started", |body| {
        body["alert"] == "Unauthorised access started"
            && body["message"] == "/etc/shadow is named by a command of the pod : nsenter"
    });
    tell(&started.await?, ahead);
    for file in ["/etc/passwd", "/etc/shadow"] {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_kprobe_args_file_arg_path\" = '{file}' \
             AND \"process_kprobe_function_name\" = 'security_file_permission' \
             AND \"process_kprobe_process_binary\" = '/usr/bin/cat' AND \"process_kprobe_process_pod_name\" = 'nsenter'"
        );
        place.at_least(1, &sql).await?;
    }
    place.show(&["describe", "clustersecuritywatch", "sensitive-files"]).await?;
    place.show(&["get", "securitywatches,clustersecuritywatches", "--all-namespaces"]).await?;
    place.show(&["describe", "securitywatchnodes"]).await?;
    Ok(())
}

/// Prints a call, with the time from the call in the kernel to the webhook.
fn tell(call: &Received, ahead: f64) {
    let received = call.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seen: Option<Timestamp> = call.body["time"].as_str().and_then(|time| time.parse().ok());
    let latency = seen.map(|seen| received - (seen.as_nanosecond() as f64 / 1e9 - ahead));
    let text = latency.map_or_else(|| "no time".to_owned(), |s| format!("{:.0} ms", s * 1e3));
    println!(
        "        {:28} {:>9} after the call: {}",
        call.body["alert"].to_string(),
        text,
        call.body["message"]
    );
}
