//! Which pod a process is of, for containers that are gone before anybody could ask.

use std::time::Duration;

use serde_json::{Value, json};

use super::walkthroughs::ELSEWHERE;
use crate::control_plane::TOOLS_IMAGE;
use crate::real::place::Place;
use crate::real::pods;
use crate::scenario::Scenario;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "50 containers of 50 ms: every event names its pod, and none is lost" => short_lives,
];

const PODS: usize = 5;
const CONTAINERS: usize = 10;
/// What each container runs, and nobody else.
const SECONDS: &str = "0.0501";

async fn short_lives(place: &Place) -> Result {
    let kubectl = place.kubectl();
    let all: Vec<Value> = (0..PODS).map(|number| brief(&format!("brief-{number}"))).collect();
    pods::create(kubectl, &all).await?;
    for number in 0..PODS {
        let name = format!("brief-{number}");
        pods::phase(kubectl, ELSEWHERE, &name, "Succeeded", Duration::from_secs(420)).await?;
    }
    let total = (PODS * CONTAINERS) as u64;
    for kind in ["process_exec", "process_exit"] {
        let of = |more: &str| {
            format!(
                "SELECT COUNT(*) AS n FROM tetrademo WHERE \"{kind}_process_binary\" = '/bin/sleep' \
                 AND \"{kind}_process_arguments\" = '{SECONDS}' {more}"
            )
        };
        place.at_least(total, &of("")).await?;
        let seen = place.number(&of("")).await?;
        let named = of(&format!(
            "AND \"{kind}_process_pod_namespace\" = '{ELSEWHERE}' AND \"{kind}_process_pod_name\" LIKE 'brief-%' \
             AND \"{kind}_process_pod_container_name\" LIKE 'c%'"
        ));
        let named = place.number(&named).await?;
        println!("        {kind}: {seen} of {total} seen, {named} with pod and container");
        ensure!(seen == total && named == total, "{kind}: {seen} of {total} seen, {named} named");
    }
    // Whatever else ran in those containers' cgroups, such as the runtime's own first steps.
    let in_pods =
        "SELECT COUNT(*) AS n FROM tetrademo WHERE \"process_exec_process_docker\" IS NOT NULL";
    let (all, lost) = (
        place.number(in_pods).await?,
        place.number(&format!("{in_pods} AND \"process_exec_process_pod_name\" IS NULL")).await?,
    );
    println!("        exec events of all containers so far: {all}, without a pod: {lost}");
    ensure!(lost * 1000 <= all, "{lost} of {all} exec events of containers have no pod");
    Ok(())
}

fn brief(name: &str) -> Value {
    let container = |number: usize| {
        json!({
            "name": format!("c{number}"), "image": TOOLS_IMAGE, "imagePullPolicy": "Never",
            "command": ["/bin/sleep", SECONDS]
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": ELSEWHERE},
        "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": (0..CONTAINERS).map(container).collect::<Vec<_>>()
        }
    })
}
