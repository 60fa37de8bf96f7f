//! What the two ServiceAccounts may do, and what they may not.

use serde_json::json;

use super::nodes::{names, probe_client, report_as};
use crate::install::{NAMESPACE, RELEASE};
use crate::scenario::{Context, Scenario};
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "the probe's ServiceAccount may do its work and no more" => probe,
    "the operator's ServiceAccount may do its work and no more" => operator,
    "a probe writes its own node's report and no other's" => own_report,
];

/// Verb, resource with its group, name or none, namespace or none for the whole cluster.
type Question<'a> = (&'a str, &'a str, &'a str, &'a str);

async fn may(context: &Context, account: &str, question: Question<'_>) -> Result<bool> {
    let (verb, resource, name, namespace) = question;
    let user = format!("--as=system:serviceaccount:{NAMESPACE}:{RELEASE}-{account}");
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let what = if name.is_empty() { resource.to_owned() } else { format!("{resource}/{name}") };
    let mut arguments = vec!["auth", "can-i", verb, &what, &user];
    if !subresource.is_empty() {
        arguments.extend(["--subresource", subresource]);
    }
    if namespace.is_empty() {
        arguments.push("--all-namespaces");
    } else {
        arguments.extend(["--namespace", namespace]);
    }
    // It says no with exit code 1.
    let output = context.cluster.kubectl.output_with(&arguments, "").await?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

async fn check(context: &Context, account: &str, wanted: bool, list: &[Question<'_>]) -> Result {
    for question in list {
        let found = may(context, account, *question).await?;
        ensure!(found == wanted, "{account} {question:?}: {found}");
    }
    Ok(())
}

async fn probe(context: &Context) -> Result {
    let may = [
        ("watch", "securitywatches.securitywatch.io", "", ""),
        ("list", "clustersecuritywatches.securitywatch.io", "", ""),
        ("create", "securitywatchnodes.securitywatch.io", "", ""),
        ("patch", "securitywatchnodes.securitywatch.io/status", "", ""),
        ("list", "pods", "", ""),
        ("watch", "pods", "", ""),
        ("get", "nodes", "", ""),
    ];
    let may_not = [
        ("get", "secrets", "", ""),
        ("get", "secrets", "securitywatch-ingest", NAMESPACE),
        ("list", "secrets", "", NAMESPACE),
        ("get", "configmaps", "", NAMESPACE),
        ("patch", "pods", "", ""),
        ("delete", "pods", "", ""),
        ("get", "pods/log", "", ""),
        ("create", "pods/exec", "", NAMESPACE),
        ("list", "nodes", "", ""),
        ("patch", "nodes", "", ""),
        ("patch", "securitywatches.securitywatch.io", "", ""),
        ("patch", "securitywatches.securitywatch.io/status", "", ""),
        ("delete", "securitywatchnodes.securitywatch.io", "", ""),
        ("patch", "daemonsets.apps", "", NAMESPACE),
        ("create", "serviceaccounts/token", "", NAMESPACE),
        ("create", "tokenreviews.authentication.k8s.io", "", ""),
        ("get", "secrets", "securitywatch-alerts", NAMESPACE),
        ("get", "secrets", "securitywatch-firings", NAMESPACE),
    ];
    check(context, "probe", true, &may).await?;
    check(context, "probe", false, &may_not).await
}

async fn operator(context: &Context) -> Result {
    let may = [
        ("watch", "securitywatches.securitywatch.io", "", ""),
        ("patch", "securitywatches.securitywatch.io/status", "", ""),
        ("patch", "clustersecuritywatches.securitywatch.io/status", "", ""),
        ("watch", "securitywatchnodes.securitywatch.io", "", ""),
        ("create", "daemonsets.apps", "", NAMESPACE),
        ("patch", "daemonsets.apps", "securitywatch-probe", NAMESPACE),
        ("patch", "secrets", "securitywatch-ingest", NAMESPACE),
        ("patch", "secrets", "securitywatch-alerts", NAMESPACE),
        ("patch", "secrets", "securitywatch-firings", NAMESPACE),
        ("create", "tokenreviews.authentication.k8s.io", "", ""),
        ("create", "events.events.k8s.io", "", ""),
        ("patch", "events.events.k8s.io", "", ""),
    ];
    let may_not = [
        ("create", "pods", "", ""),
        ("create", "pods/exec", "", ""),
        ("create", "daemonsets.apps", "", "default"),
        ("patch", "daemonsets.apps", "other", NAMESPACE),
        ("list", "secrets", "", ""),
        ("watch", "secrets", "", ""),
        ("patch", "secrets", "", "default"),
        ("delete", "secrets", "other", NAMESPACE),
        ("create", "securitywatches.securitywatch.io", "", ""),
        ("delete", "securitywatches.securitywatch.io", "", ""),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io", "", ""),
        ("patch", "clusterroles.rbac.authorization.k8s.io", "", ""),
        ("create", "serviceaccounts/token", "", ""),
        ("patch", "nodes", "", ""),
    ];
    check(context, "operator", true, &may).await?;
    check(context, "operator", false, &may_not).await
}

async fn own_report(context: &Context) -> Result {
    let nodes = names(context).await?;
    let [first, second, ..] = nodes.as_slice() else { return Err("two nodes are needed".into()) };
    let client = probe_client(context, first).await?;
    report_as(&client, first, None, &[]).await?;
    let refused = report_as(&client, second, None, &[]).await;
    let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(said.contains(first) && said.contains(second), "another's report: {said:?}");
    // Without a node in the token, nothing at all.
    let file = tempfile::NamedTempFile::new()?;
    crate::install::write_kubeconfig(&context.cluster, "securitywatch-probe", &[], file.path())
        .await?;
    let unbound = crate::control_plane::client(file.path()).await?;
    ensure!(report_as(&unbound, first, None, &[]).await.is_err(), "a token of no node wrote");
    // The policy is about the probe, not about others.
    let kubectl = &context.cluster.kubectl;
    kubectl.run(&["delete", "securitywatchnode", first]).await?;
    let own = json!({"apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatchNode", "metadata": {"name": second}});
    kubectl.run_with(&["apply", "-f", "-"], &own.to_string()).await?;
    kubectl.run(&["delete", "securitywatchnode", second]).await?;
    Ok(())
}
