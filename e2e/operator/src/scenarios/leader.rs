//! Replicas, and an API server that goes away.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::watches::{Handle, apply, bare};
use crate::install::NAMESPACE;
use crate::scenario::{Context, Scenario};
use crate::wait::until;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "two replicas: one acts, and when it dies the other does within 20 s" => fail_over,
    "a replica that is asked to stop hands over at once" => hand_over,
    "the API server restarts in the middle of the work" => api_server,
];

async fn holder(context: &Context) -> Result<String> {
    let arguments =
        ["get", "lease", "securitywatch-operator", "--namespace", NAMESPACE, "--output", "json"];
    let lease: Value = serde_json::from_str(&context.cluster.kubectl.run(&arguments).await?)?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "nobody holds the lease");
    Ok(holder.to_owned())
}

/// Waits until a watch applied now has a status, and says how long that took.
async fn acted(context: &Context, name: &str, within: Duration) -> Result<Duration> {
    let applied = Instant::now();
    apply(context, &bare("leader", name)).await?;
    let handle = Handle::new(context, "leader", name);
    handle.condition("Accepted", "True", "Valid", within).await?;
    Ok(applied.elapsed())
}

async fn fail_over(context: &Context) -> Result {
    context.namespace("leader").await?;
    let first = context.operator.lock().await.take().ok_or("the operator does not run")?;
    let led = holder(context).await?;
    let second = context.replica("securitywatch-operator-1").await?;
    ensure!(second.is_ready().await, "a replica that waits is not ready");
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(holder(context).await? == led, "the lease changed hands though its holder lives");
    first.kill().await?;
    let took = acted(context, "after-death", Duration::from_secs(20)).await?;
    ensure!(holder(context).await? != led, "the dead one still holds the lease");
    println!(
        "        a watch applied at the death had its status after {:.1} s",
        took.as_secs_f64()
    );
    *context.operator.lock().await = Some(second);
    Ok(())
}

async fn hand_over(context: &Context) -> Result {
    let first = context.operator.lock().await.take().ok_or("the operator does not run")?;
    until("the replica leads", Duration::from_secs(20), async || holder(context).await).await?;
    let second = context.replica("securitywatch-operator-2").await?;
    let status = first.stop().await?;
    ensure!(status.success(), "it ended with {status}");
    let took = acted(context, "after-stop", Duration::from_secs(8)).await?;
    println!(
        "        a watch applied at the stop had its status after {:.1} s",
        took.as_secs_f64()
    );
    *context.operator.lock().await = Some(second);
    Ok(())
}

async fn api_server(context: &Context) -> Result {
    for number in 0..10 {
        apply(context, &bare("leader", &format!("before-{number}"))).await?;
    }
    context.cluster.restart_api_server(true, Duration::from_secs(3)).await?;
    for number in 0..10 {
        let name = format!("after-{number}");
        until("the API server takes a watch", Duration::from_secs(20), async || {
            apply(context, &bare("leader", &name)).await.map(|_| ())
        })
        .await?;
    }
    for number in 0..10 {
        for time in ["before", "after"] {
            let handle = Handle::new(context, "leader", &format!("{time}-{number}"));
            handle.condition("Accepted", "True", "Valid", Duration::from_secs(60)).await?;
        }
    }
    context.cluster.kubectl.run(&["delete", "namespace", "leader", "--wait=false"]).await?;
    Ok(())
}
