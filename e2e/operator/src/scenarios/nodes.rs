//! Reports of nodes, written with the rights of a probe on that node.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use securitywatch_api::cluster::{PROBE_MANAGER, policy_hash};
use securitywatch_api::v1alpha1::{SecurityWatch, SecurityWatchNode};
use serde_json::{Value, json};

use crate::Result;
use crate::control_plane::client;
use crate::install::write_kubeconfig;
use crate::installation::{Installation, NODES};

/// The fake nodes' names.
pub async fn names(context: &Installation) -> Result<Vec<String>> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let list = nodes.list(&kube::api::ListParams::default()).await?;
    let mut names: Vec<String> = list.iter().map(kube::ResourceExt::name_any).collect();
    names.sort();
    names.truncate(NODES);
    Ok(names)
}

/// A client with the rights of the probe on `node`.
pub async fn probe_client(context: &Installation, node: &str) -> Result<kube::Client> {
    let file = tempfile::NamedTempFile::new()?;
    let bound = ["--bound-object-kind", "Node", "--bound-object-name", node];
    write_kubeconfig(&context.cluster, "securitywatch-probe", &bound, file.path()).await?;
    client(file.path()).await
}

/// What a probe says of one watch.
#[derive(Debug)]
pub struct Said<'a> {
    pub state: &'a str,
    pub reason: Option<&'a str>,
    pub message: Option<&'a str>,
    pub shipping: Option<Value>,
}

/// All is well.
pub const LOADED: Said<'static> =
    Said { state: "Loaded", reason: None, message: None, shipping: None };

/// The entry of a watch in a node's report.
pub fn entry(watch: &SecurityWatch, said: &Said<'_>) -> Value {
    let policy = watch.spec.tracing_policy.as_ref().and_then(|source| source.spec.as_ref());
    let title =
        format!("SecurityWatch/{}/{}", watch.namespace().unwrap_or_default(), watch.name_any());
    let mut entry = json!({
        "uid": watch.uid(),
        "watch": title,
        "generation": watch.metadata.generation,
        "state": said.state,
    });
    let optional = [
        ("hash", policy.map(policy_hash).map(Value::from)),
        ("reason", said.reason.map(Value::from)),
        ("message", said.message.map(Value::from)),
        ("shipping", said.shipping.clone()),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            entry[key] = value;
        }
    }
    entry
}

/// Writes the report of `node` as its probe does: the object if need be, then its status.
pub async fn report(context: &Installation, node: &str, policies: &[Value]) -> Result {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let owner = nodes.get(node).await?.uid();
    report_as(&probe_client(context, node).await?, node, owner.as_deref(), policies).await
}

/// The same with a client at hand.
pub async fn report_as(
    client: &kube::Client,
    node: &str,
    owner: Option<&str>,
    policies: &[Value],
) -> Result {
    let api: Api<SecurityWatchNode> = Api::all(client.clone());
    let params = PatchParams::apply(PROBE_MANAGER).force();
    let owners: Vec<Value> = owner
        .iter()
        .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}))
        .collect();
    let mut object = json!({
        "apiVersion": "securitywatch.io/v1alpha1",
        "kind": "SecurityWatchNode",
        "metadata": {"name": node, "ownerReferences": owners},
    });
    api.patch(node, &params, &Patch::Apply(&object)).await?;
    let loaded = policies.iter().filter(|policy| policy["state"] == "Loaded").count();
    object["status"] = json!({
        "kernel": {"release": "6.12.0-e2e", "btf": true},
        "policies": policies,
        "policySummary": format!("{loaded}/{}", policies.len()),
    });
    api.patch_status(node, &params, &Patch::Apply(&object)).await?;
    Ok(())
}

/// Every node says the same of the watch; what it said of other watches is gone with it.
pub async fn report_all(context: &Installation, watch: &SecurityWatch, said: &Said<'_>) -> Result {
    for node in names(context).await? {
        report(context, &node, &[entry(watch, said)]).await?;
    }
    Ok(())
}
