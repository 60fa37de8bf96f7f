//! Policies that kill, in one namespace only.

use kube::Api;
use securitywatch_api::v1alpha1::SecurityWatch;

use super::walkthroughs::{BYSTANDER, ELSEWHERE, POD};
use crate::real::place::{PATIENCE, Place};
use crate::real::pods;
use crate::scenario::Scenario;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "the enforcement samples kill in their namespace and nowhere else" => samples,
];

/// As a shell and kubectl say it.
const KILLED: i32 = 137;

async fn samples(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let page = place.webhook.page();
    let curl = ["curl", "-s", "-S", "--max-time", "20", page.as_str()];
    let cat = ["cat", "/etc/shadow"];
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    for (name, command, alert, words) in [
        (
            "egress-enforce",
            &curl[..],
            "egress_killed",
            "/usr/bin/curl was killed for a connection out of the cluster from the pod : nginx-pod",
        ),
        (
            "files-enforce",
            &cat[..],
            "file_access_killed",
            "/usr/bin/cat was killed for touching /etc/shadow in the pod : nginx-pod",
        ),
    ] {
        let file = format!("config/samples/{name}.yaml");
        kubectl.run(&["apply", "-f", &file]).await?;
        place.condition(&watches, name, "Ready", "True").await?;
        let inside = pods::exec(kubectl, "default", POD, command).await?;
        ensure!(
            inside.code == KILLED && inside.output.is_empty(),
            "{name}, in the watched namespace: {inside:?}"
        );
        let outside = pods::exec(kubectl, ELSEWHERE, BYSTANDER, command).await?;
        ensure!(outside.code == 0, "{name}, in another namespace: {outside:?}");
        let call = place
            .webhook
            .call(PATIENCE, alert, |body| body["alert"] == alert && body["message"] == words);
        println!("        {}", call.await?.body["message"]);
        let sql = format!(
            "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_kprobe_policy_name\" = '{name}' \
             AND \"process_kprobe_action\" = 'KPROBE_ACTION_SIGKILL' AND \"process_kprobe_process_pod_name\" = '{POD}'"
        );
        place.at_least(1, &sql).await?;
        let strangers = format!(
            "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_kprobe_policy_name\" = '{name}' \
             AND \"process_kprobe_process_pod_namespace\" <> 'default'"
        );
        ensure!(place.number(&strangers).await? == 0, "{name} told of another namespace");
        let text = kubectl.run(&["describe", "securitywatch", name]).await?;
        ensure!(text.contains("the process is killed, its call not prevented"), "{text}");
        let report = serde_json::to_string(&place.report("node-1").await?.status)?;
        ensure!(report.contains(r#""enforcement":"Killed""#), "{report}");
        kubectl.run(&["delete", "-f", &file, "--timeout=90s"]).await?;
        // The object is gone before the hook is: until then a process may still be killed.
        crate::real::until("nothing is killed any more", PATIENCE, async || {
            let after = pods::exec(kubectl, "default", POD, command).await?;
            ensure!(after.code == 0, "{after:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
