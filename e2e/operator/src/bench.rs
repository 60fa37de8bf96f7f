//! What the operator costs: API writes at rest, memory, time to a first status, reconciles a second.
//!
//! Measured, not judged: nothing here passes or fails. The API server, its store and the operator share this
//! machine, so times are upper bounds.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ListParams, Patch, PatchParams};
use securitywatch_api::v1alpha1::{SecurityWatch, SecurityWatchNode};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::scenarios::life::writes;
use crate::scenarios::nodes::{LOADED, entry};
use crate::scenarios::watches::{apply, bare, find};
use crate::wait::until;
use crate::{Result, ensure};

const NAMESPACE: &str = "bench";
const AT_ONCE: usize = 16;
const AT_REST: usize = 200;
const WATCHES: usize = 1000;
const REPORTS: usize = 5000;
/// How many watches a node's report speaks of: those of [`WATCHES`] in turn.
const POLICIES_OF_A_REPORT: usize = 10;

/// Prints each figure with its aim and how it was measured.
///
/// # Errors
/// A part does not start, or an object is refused.
pub async fn run() -> Result {
    let context = Installation::start().await?;
    let build = if cfg!(debug_assertions) { "unoptimised" } else { "optimised" };
    println!("\nOperator ({build} build), beside a real control plane on this machine");
    let figures = measure(&context).await;
    context.cluster.stop().await?;
    figures
}

async fn measure(context: &Installation) -> Result {
    context.namespace(NAMESPACE).await?;
    first_status(context).await?;
    let watches = Api::namespaced(context.client.clone(), NAMESPACE);
    create(context, 0, AT_REST).await?;
    all_have_status(&watches, AT_REST).await?;
    at_rest(context).await?;
    let before = reconciles(context).await?;
    let started = Instant::now();
    create(context, AT_REST, WATCHES).await?;
    all_have_status(&watches, WATCHES).await?;
    let seconds = started.elapsed().as_secs_f64();
    let done = reconciles(context).await? - before;
    figure(
        "reconciles a second",
        &format!("{:.0}", done / seconds),
        "",
        &format!(
            "{done:.0} in {seconds:.0} s, from {AT_REST} to {WATCHES} watches created by {AT_ONCE} writers"
        ),
    );
    report(context, &watches).await?;
    let bytes = settled_memory(context).await?;
    figure(
        "memory, resident",
        &format!("{:.0} MB", bytes as f64 / 1e6),
        "150 MB",
        &format!(
            "VmRSS with {WATCHES} watches and {REPORTS} node reports of {POLICIES_OF_A_REPORT} policies"
        ),
    );
    Ok(())
}

fn figure(what: &str, value: &str, aim: &str, how: &str) {
    let aim = if aim.is_empty() { String::new() } else { format!("aim {aim}") };
    println!("  {what:<34} {value:>12}  {aim:<12} {how}");
}

async fn first_status(context: &Installation) -> Result {
    let api: Api<SecurityWatch> = Api::namespaced(context.client.clone(), NAMESPACE);
    let mut times = Vec::new();
    for number in 0..50 {
        let name = format!("first-{number}");
        let applied = Instant::now();
        apply(context, &bare(NAMESPACE, &name)).await?;
        until("a status", Duration::from_secs(20), async || {
            find(api.get(&name).await?.status.as_ref(), "Ready").map(|_| ())
        })
        .await?;
        times.push(applied.elapsed());
    }
    times.sort();
    let ms = |time: Duration| format!("{} ms", time.as_millis());
    let value = format!("{} / {}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
    let how = "p50 / max of 50, from before the apply until a GET shows it, asked every 50 ms";
    figure("apply to first status", &value, "1 s", how);
    let all = api.delete_collection(&Default::default(), &ListParams::default()).await;
    all.map(|_| ()).map_err(Into::into)
}

async fn create(context: &Installation, from: usize, to: usize) -> Result {
    stream::iter(from..to)
        .map(|number| async move {
            apply(context, &bare(NAMESPACE, &format!("watch-{number}"))).await.map(|_| ())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

async fn all_have_status(api: &Api<SecurityWatch>, count: usize) -> Result {
    until("each watch has a status", Duration::from_secs(300), async || {
        let list = api.list(&ListParams::default()).await?;
        let seen = list.iter().filter(|watch| find(watch.status.as_ref(), "Ready").is_ok()).count();
        ensure!(seen >= count, "{seen} of {count}");
        Ok(())
    })
    .await
}

async fn at_rest(context: &Installation) -> Result {
    // What the creation left to do is over when nothing was written for a while.
    let mut before = writes(context)?.len();
    until("the operator comes to rest", Duration::from_secs(120), async || {
        let seen = before;
        tokio::time::sleep(Duration::from_secs(10)).await;
        before = writes(context)?.len();
        ensure!(before == seen, "still writing");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let count = writes(context)?.len() - before;
    let how =
        format!("{AT_REST} watches, one minute, by the API server's audit log; the lease aside");
    figure("API writes a minute at rest", &count.to_string(), "0", &how);
    Ok(())
}

async fn reconciles(context: &Installation) -> Result<f64> {
    let operator = context.operator.lock().await;
    let metrics = operator.as_ref().ok_or("the operator does not run")?.metrics().await?;
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("securitywatch_operator_reconciles_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum())
}

async fn report(context: &Installation, watches: &Api<SecurityWatch>) -> Result {
    let list = watches.list(&ListParams::default()).await?.items;
    let entries: Vec<Value> = list.iter().map(|watch| entry(watch, &LOADED)).collect();
    let reports: Api<SecurityWatchNode> = Api::all(context.client.clone());
    let started = Instant::now();
    stream::iter(0..REPORTS)
        .map(|number| {
            let name = format!("bench-{number}");
            let policies: Vec<&Value> = (0..POLICIES_OF_A_REPORT)
                .map(|at| &entries[(number * POLICIES_OF_A_REPORT + at) % entries.len()])
                .collect();
            let mut object = json!({
                "apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatchNode",
                "metadata": {"name": name},
            });
            let status =
                json!({"policies": policies, "kernel": {"release": "6.12.0", "btf": true}});
            let reports = reports.clone();
            async move {
                let params = PatchParams::apply("bench").force();
                reports.patch(&name, &params, &Patch::Apply(&object)).await?;
                object["status"] = status;
                reports.patch_status(&name, &params, &Patch::Apply(&object)).await?;
                Result::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    figure(
        "node reports written",
        &format!("{:.0} a second", REPORTS as f64 / started.elapsed().as_secs_f64()),
        "",
        "two writes each, with the operator counting along",
    );
    Ok(())
}

/// Memory once it stands still for five seconds.
async fn settled_memory(context: &Installation) -> Result<u64> {
    let read = async || -> Result<u64> {
        let operator = context.operator.lock().await;
        operator.as_ref().ok_or("the operator does not run")?.resident_bytes()
    };
    let mut last = read().await?;
    until("memory stands still", Duration::from_secs(120), async || {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = read().await?;
        let still = now.abs_diff(last) < 500_000;
        last = now;
        ensure!(still, "{now} bytes");
        Ok(last)
    })
    .await
}
