//! What GitOps tools make of a watch, judged by their own libraries.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::nodes::{LOADED, Said, report_all};
use super::watches::{Handle, SOON, apply, full};
use crate::scenario::{Context, Scenario};
use crate::tools::cluster_program;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] =
    scenarios!["kstatus and Argo CD agree with a user at each stage" => stages];

const HEALTH: &str =
    "config/argocd/resource_customizations/securitywatch.io/SecurityWatch/health.lua";

/// kstatus's word and Argo CD's.
async fn verdict(context: &Context, handle: &Handle) -> Result<(String, String)> {
    let _ = context;
    let watch = serde_json::to_string(&handle.get().await?)?;
    let mut child = Command::new(cluster_program("verdict")?)
        .args(["--argocd-health", HEALTH])
        .current_dir(securitywatch_e2e::guest::repository())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(watch.as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let word = |tool: &str| said[tool]["status"].as_str().unwrap_or_default().to_owned();
    Ok((word("kstatus"), word("argocd")))
}

async fn expect(context: &Context, handle: &Handle, stage: &str, wanted: (&str, &str)) -> Result {
    let (kstatus, argocd) = verdict(context, handle).await?;
    ensure!(
        (kstatus.as_str(), argocd.as_str()) == wanted,
        "{stage}: kstatus says {kstatus}, Argo CD {argocd}; a user would want {wanted:?}"
    );
    Ok(())
}

async fn stages(context: &Context) -> Result {
    context.namespace("health").await?;
    let watch = apply(context, &full(context, "health", "egress", "health")).await?;
    let handle = Handle::new(context, "health", "egress");
    handle.condition("Ready", "Unknown", "NodesUnreported", SOON).await?;
    expect(context, &handle, "rolling out", ("InProgress", "Progressing")).await?;

    let shipping = || Some(json!({"state": "Delivering"}));
    report_all(context, &watch, &Said { shipping: shipping(), ..LOADED }).await?;
    handle.condition("Ready", "True", "AllReady", SOON).await?;
    expect(context, &handle, "ready", ("Current", "Healthy")).await?;

    let failed = Said {
        state: "Failed",
        reason: Some("FunctionNotFound"),
        message: Some("spec.tracingPolicy.spec.kprobes[0].call: no such function"),
        shipping: shipping(),
    };
    report_all(context, &watch, &failed).await?;
    handle.condition("Ready", "False", "LoadFailed", SOON * 2).await?;
    expect(context, &handle, "failed", ("Failed", "Degraded")).await?;

    handle.patch(&json!({"spec": {"suspend": true}})).await?;
    handle.condition("Ready", "Unknown", "Suspended", SOON).await?;
    let (_, argocd) = verdict(context, &handle).await?;
    ensure!(argocd == "Suspended", "suspended: Argo CD says {argocd}");

    // A finalizer of somebody else keeps it, so that it can be looked at.
    handle.patch(&json!({"metadata": {"finalizers": ["e2e.securitywatch.io/look"]}})).await?;
    handle.delete().await?;
    expect(context, &handle, "deleted", ("Terminating", "Progressing")).await?;
    handle.patch(&json!({"metadata": {"finalizers": null}})).await?;
    handle.gone(SOON).await
}
