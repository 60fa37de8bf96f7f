//! Many objects at once.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use securitywatch_api::v1alpha1::{SecurityWatch, SecurityWatchNode};
use serde_json::json;

use super::nodes::{Said, entry};
use super::watches::{Handle, apply, bare, find};
use crate::scenario::{Context, Scenario};
use crate::wait::until;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "a storm of 200 watches, created and deleted" => storm,
    "1000 node reports join within a minute" => join,
];

const WATCHES: usize = 200;
const REPORTS: usize = 1000;
const AT_ONCE: usize = 16;

async fn storm(context: &Context) -> Result {
    context.namespace("storm").await?;
    let started = Instant::now();
    stream::iter(0..WATCHES)
        .map(|number| async move {
            apply(context, &bare("storm", &format!("watch-{number}"))).await.map(|_| ())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let watches: Api<SecurityWatch> = Api::namespaced(context.client.clone(), "storm");
    until("each watch has a status", Duration::from_secs(60), async || {
        let list = watches.list(&ListParams::default()).await?;
        let seen = list.iter().filter(|watch| find(watch.status.as_ref(), "Ready").is_ok()).count();
        ensure!(seen == WATCHES, "{seen} of {WATCHES}");
        Ok(())
    })
    .await?;
    println!(
        "        {WATCHES} watches with a status after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    watches.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    until("each watch is gone", Duration::from_secs(60), async || {
        let left = watches.list(&ListParams::default()).await?.items.len();
        ensure!(left == 0, "{left} left");
        Ok(())
    })
    .await
}

async fn join(context: &Context) -> Result {
    context.namespace("join").await?;
    let watch = apply(context, &bare("join", "egress")).await?;
    // Failures: what is loaded counts for as many nodes as run the probe, and there are three.
    let failed = Said {
        state: "Failed",
        reason: Some("FunctionNotFound"),
        message: Some("spec.tracingPolicy.spec.kprobes[0].call: no such function"),
        shipping: None,
    };
    let said = entry(&watch, &failed);
    let reports: Api<SecurityWatchNode> = Api::all(context.client.clone());
    let started = Instant::now();
    stream::iter(0..REPORTS)
        .map(|number| {
            let (reports, said) = (reports.clone(), said.clone());
            async move {
                let name = format!("joined-{number}");
                let mut object = json!({
                    "apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatchNode",
                    "metadata": {"name": name, "labels": {"e2e": "joined"}},
                });
                let params = PatchParams::apply("e2e").force();
                reports.patch(&name, &params, &Patch::Apply(&object)).await?;
                object["status"] = json!({"policies": [said]});
                reports.patch_status(&name, &params, &Patch::Apply(&object)).await?;
                Result::Ok(())
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let written = started.elapsed();
    ensure!(written < Duration::from_secs(60), "writing the reports took {written:?}");
    let handle = Handle::new(context, "join", "egress");
    until("all reports are counted", Duration::from_secs(30), async || {
        let nodes = handle.get().await?.status.and_then(|status| status.nodes);
        let failed = nodes.as_ref().and_then(|nodes| nodes.failed);
        ensure!(failed == i32::try_from(REPORTS).ok(), "{nodes:?}");
        Ok(())
    })
    .await?;
    println!(
        "        {REPORTS} reports written in {:.1} s, counted {:.1} s later",
        written.as_secs_f64(),
        (started.elapsed() - written).as_secs_f64()
    );
    let ours = ListParams::default().labels("e2e=joined");
    reports.delete_collection(&DeleteParams::default(), &ours).await?;
    handle.delete().await?;
    handle.gone(Duration::from_secs(20)).await
}
