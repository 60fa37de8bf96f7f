//! A policy is exchanged while what it watches goes on.

use std::collections::BTreeMap;

use kube::Api;
use kube::api::{Patch, PatchParams};
use securitywatch_api::v1alpha1::SecurityWatch;
use serde_json::{Value, json};

use super::walkthroughs::POD;
use crate::real::place::{NODE, PATIENCE, Place};
use crate::real::pods;
use crate::real::until;
use crate::scenario::Scenario;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario<Place>] = scenarios![
    "a policy is exchanged under a loop of reads, and each read is told, or counted as missed" => exchange,
];

const STREAM: &str = "exchanged";
/// Not in the container's own file system: a read through an overlay is two.
const FILE: &str = "/dev/shm/watched";
/// Ends the loop.
const OVER: &str = "/tmp/over";

fn watch(message: &str) -> Value {
    json!({
        "apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatch",
        "metadata": {"name": "exchange", "namespace": "default"},
        "spec": {
            "tracingPolicy": {"spec": {"kprobes": [{
                "call": "security_file_permission", "syscall": false, "message": message,
                "args": [{"index": 0, "type": "file"}],
                "selectors": [{"matchArgs": [{"index": 0, "operator": "Equal", "values": [FILE]}]}]
            }]}},
            "target": {"parseable": {
                "url": "http://parseable.parseable.svc", "stream": STREAM,
                "credentials": {"secretName": "parseable-env-secret"}
            }}
        }
    })
}

async fn exchange(place: &Place) -> Result {
    let kubectl = place.kubectl();
    pods::create(kubectl, &[watch("old")]).await?;
    let watches: Api<SecurityWatch> = Api::namespaced(place.client.clone(), "default");
    place.condition(&watches, "exchange", "Ready", "True").await?;
    let missed_before = place.lost(NODE, "recursion_miss").await?;
    // As many reads as the emulated CPU manages, at most 1,000 a second: bursts of 100. Some 300 were seen.
    let script = format!(
        "echo x > {FILE}; rm -f {OVER}; i=0; end=$((SECONDS + 240)); while [ ! -e {OVER} -a $SECONDS -lt $end ]; do \
         for n in {{1..100}}; do read -r x < {FILE}; i=$((i+1)); done; read -t 0.1 x <> <(:); done; echo $i $SECONDS"
    );
    let command = ["/bin/bash", "-c", script.as_str()];
    let reading = pods::exec(kubectl, "default", POD, &command);
    let of = |message: &str| {
        format!("SELECT COUNT(*) AS n FROM {STREAM} WHERE \"process_kprobe_message\" = '{message}'")
    };
    let change = async {
        let changed = async {
            place.at_least(500, &of("old")).await?;
            let patch = Patch::Merge(json!({"spec": watch("new")["spec"]}));
            watches.patch("exchange", &PatchParams::default(), &patch).await?;
            place.at_least(500, &of("new")).await
        }
        .await;
        pods::exec(kubectl, "default", POD, &["touch", OVER]).await?;
        changed
    };
    let (ran, changed) = futures::join!(reading, change);
    changed?;
    let ran = ran?.succeeded()?;
    let (reads, lasted) = ran.trim().split_once(' ').ok_or_else(|| format!("{ran:?}"))?;
    let (reads, lasted): (u64, usize) = (reads.parse()?, lasted.parse()?);
    // And the write.
    let expected = reads + 1;
    let (rows, missed) = until("every read is in the stream", PATIENCE, async || {
        let rows = place
            .rows(&format!(
                "SELECT \"seq\", \"event_time\", \"process_kprobe_message\" AS m FROM {STREAM} \
                 WHERE \"event_type\" = 'process_kprobe' ORDER BY \"seq\""
            ))
            .await?;
        // Those for which the kernel ran no program, on whatever hook: lost, but not in silence.
        let missed = place.lost(NODE, "recursion_miss").await?.saturating_sub(missed_before);
        let told = rows.len() as u64 + missed;
        ensure!(told >= expected, "{} rows of {expected} calls, {missed} missed", rows.len());
        Ok((rows, missed))
    })
    .await?;
    ensure!(rows.len() as u64 <= expected, "{} rows of {expected} calls", rows.len());
    let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let time = row["event_time"].as_str().unwrap_or_default();
        *seconds.entry(time.get(..19).unwrap_or(time)).or_default() += 1;
    }
    let first_new = rows.iter().position(|row| row["m"] == "new").unwrap_or_default();
    let last_old = rows.iter().rposition(|row| row["m"] == "old").unwrap_or_default();
    println!(
        "        {reads} reads and a write in {lasted} s, {} rows ({missed} calls of any kind missed by the kernel) in {} seconds, at least {} in each; the last old is row {last_old}, the first new row {first_new}",
        rows.len(),
        seconds.len(),
        seconds
            .values()
            .skip(1)
            .take(seconds.len().saturating_sub(2))
            .min()
            .copied()
            .unwrap_or_default()
    );
    ensure!(seconds.len() >= lasted, "rows in {} seconds of {lasted}: {seconds:?}", seconds.len());
    ensure!(first_new == last_old + 1, "old and new mix: {last_old}, {first_new}");
    kubectl.run(&["delete", "securitywatch", "exchange", "--timeout=90s"]).await?;
    Ok(())
}
