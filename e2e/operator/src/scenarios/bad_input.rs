//! What is wrong is said in the right condition, with the field and what to do, and clears when it is mended.

use std::time::Duration;

use serde_json::{Value, json};

use super::nodes::{Said, report_all};
use super::watches::{Handle, SOON, apply, bare, full};
use crate::scenario::{Context, Scenario};
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "a policy that makes no sense: Accepted says which field" => policy,
    "a policy that no node can honour: Programmed says why" => no_node,
    "a missing Secret, then a missing key: ResolvedRefs names both" => secret,
    "a wrong password: Unauthorized, with the Secret to mend" => password,
    "a stream name that Parseable refuses: Shipping says so" => stream_name,
    "an alert's column that does not exist yet: waited for" => column,
    "a missing TracingPolicy, and its changes once it is there" => reference,
    "a server that does not answer: unreachable, and retried" => unreachable,
];

/// A Secret takes some time to be looked at again: nobody may watch Secrets.
const MENDED: Duration = Duration::from_secs(75);

async fn done(handle: &Handle) -> Result {
    handle.delete().await?;
    handle.gone(SOON).await
}

async fn policy(context: &Context) -> Result {
    context.namespace("policy").await?;
    let handle = Handle::new(context, "policy", "egress");
    let mut watch = bare("policy", "egress");
    let selector = json!([{"matchArgs": [
        {"index": 0, "operator": "NotDAddr", "values": ["127.0.0.0/8", "${PODCIDR}"]}
    ]}]);
    watch["spec"]["tracingPolicy"]["spec"]["kprobes"][0]["selectors"] = selector;
    apply(context, &watch).await?;
    let condition = handle.condition("Accepted", "False", "InvalidPolicy", SOON).await?;
    let path = "spec.tracingPolicy.spec.kprobes[0].selectors[0].matchArgs[0].values[1]";
    for word in [path, "${PODCIDR}", "10.244.0.0/16"] {
        ensure!(condition.message.contains(word), "no {word} in: {}", condition.message);
    }
    handle.condition("Ready", "False", "InvalidPolicy", SOON).await?;
    handle.condition("Stalled", "True", "InvalidPolicy", SOON).await?;
    let mut rule = full(context, "policy", "egress", "policy");
    rule["spec"]["alerts"][0]["rule"] = json!(r#"process_exec_process_binary =~ "/usr/bin/wget""#);
    apply(context, &rule).await?;
    let condition = handle.condition("Accepted", "False", "InvalidPolicy", SOON).await?;
    ensure!(condition.message.contains("spec.alerts[0].rule"), "{}", condition.message);
    apply(context, &bare("policy", "egress")).await?;
    handle.condition("Accepted", "True", "Valid", SOON).await?;
    done(&handle).await
}

async fn no_node(context: &Context) -> Result {
    context.namespace("no-node").await?;
    let watch = apply(context, &bare("no-node", "egress")).await?;
    let handle = Handle::new(context, "no-node", "egress");
    let said = Said {
        state: "Failed",
        reason: Some("BackendUnavailable"),
        message: Some(
            "spec.tracingPolicy.spec.kprobes[0].call: no way to hook tcp_connect on kernel 6.18",
        ),
        shipping: None,
    };
    report_all(context, &watch, &said).await?;
    let condition = handle.condition("Programmed", "False", "KernelUnsupported", SOON).await?;
    ensure!(condition.message.contains("BackendUnavailable"), "{}", condition.message);
    handle.condition("Ready", "False", "KernelUnsupported", SOON).await?;
    done(&handle).await
}

async fn secret(context: &Context) -> Result {
    let kubectl = &context.cluster.kubectl;
    kubectl.run(&["create", "namespace", "secret"]).await?;
    apply(context, &full(context, "secret", "egress", "secret_stream")).await?;
    let handle = Handle::new(context, "secret", "egress");
    let condition = handle.condition("ResolvedRefs", "False", "SecretNotFound", SOON).await?;
    ensure!(condition.message.contains("secret/parseable-env-secret"), "{}", condition.message);
    let account = ["--from-literal=username=admin", "--namespace", "secret"];
    let create = ["create", "secret", "generic", "parseable-env-secret"];
    kubectl.run(&[&create[..], &account].concat()).await?;
    let url = ["--from-literal=url=http://127.0.0.1:9/x", "--namespace", "secret"];
    kubectl.run(&[&["create", "secret", "generic", "oncall"][..], &url].concat()).await?;
    let condition = handle.condition("ResolvedRefs", "False", "SecretKeyMissing", MENDED).await?;
    ensure!(condition.message.contains("password"), "{}", condition.message);
    context.account("secret", "admin").await?;
    handle.condition("ResolvedRefs", "True", "Resolved", MENDED).await?;
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    done(&handle).await
}

async fn password(context: &Context) -> Result {
    context.namespace("password").await?;
    context.account("password", "wrong").await?;
    apply(context, &full(context, "password", "egress", "password")).await?;
    let handle = Handle::new(context, "password", "egress");
    let condition = handle.condition("AlertsSynced", "False", "Unauthorized", SOON).await?;
    for word in ["403", "admin", "password/parseable-env-secret"] {
        ensure!(condition.message.contains(word), "no {word} in: {}", condition.message);
    }
    context.account("password", "admin").await?;
    handle.condition("AlertsSynced", "True", "Synced", MENDED).await?;
    done(&handle).await
}

async fn stream_name(context: &Context) -> Result {
    context.namespace("stream-name").await?;
    // A word of SQL.
    apply(context, &full(context, "stream-name", "egress", "select")).await?;
    let handle = Handle::new(context, "stream-name", "egress");
    let condition = handle.condition("Shipping", "False", "StreamRejected", SOON).await?;
    for word in ["select", "SQL keyword", "400"] {
        ensure!(condition.message.contains(word), "no {word} in: {}", condition.message);
    }
    handle.condition("Ready", "False", "StreamRejected", SOON).await?;
    apply(context, &full(context, "stream-name", "egress", "selected")).await?;
    handle.condition("AlertsSynced", "True", "Synced", SOON).await?;
    handle.condition("Shipping", "Unknown", "NoEventsYet", SOON).await?;
    done(&handle).await
}

async fn column(context: &Context) -> Result {
    context.namespace("column").await?;
    let mut watch = full(context, "column", "egress", "column");
    watch["spec"]["alerts"][1]["rule"] = json!(r#"(verdict = "bad")"#);
    apply(context, &watch).await?;
    let handle = Handle::new(context, "column", "egress");
    let condition = handle.condition("AlertsSynced", "Unknown", "ColumnMissing", SOON).await?;
    for word in ["curl_command", "column verdict", "stream column"] {
        ensure!(condition.message.contains(word), "no {word} in: {}", condition.message);
    }
    let event = json!([{"verdict": "good"}]);
    let path = "/api/v1/logstream/column";
    let (status, answer) =
        context.parseable.call(reqwest::Method::POST, path, Some(&event)).await?;
    ensure!(status == 200, "the event was answered {status} {answer}");
    handle.condition("AlertsSynced", "True", "Synced", MENDED).await?;
    done(&handle).await
}

/// Enough of Tetragon's definition for objects of the kind to be there.
fn tracing_policy_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "tracingpolicies.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "names": {"kind": "TracingPolicy", "plural": "tracingpolicies", "singular": "tracingpolicy"},
            "scope": "Cluster",
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true
                }}
            }]
        }
    })
}

async fn reference(context: &Context) -> Result {
    context.namespace("reference").await?;
    let kubectl = &context.cluster.kubectl;
    let mut watch = bare("reference", "egress");
    watch["spec"]["tracingPolicy"] = json!({"ref": {"kind": "TracingPolicy", "name": "egress"}});
    apply(context, &watch).await?;
    let handle = Handle::new(context, "reference", "egress");
    let condition = handle.condition("ResolvedRefs", "False", "PolicyKindMissing", SOON).await?;
    ensure!(condition.message.contains("TracingPolicy"), "{}", condition.message);
    kubectl.run_with(&["apply", "-f", "-"], &tracing_policy_definition().to_string()).await?;
    let policy = |call: &str| {
        json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {"name": "egress"},
            "spec": {"kprobes": [{"call": call, "syscall": false, "args": [{"index": 0, "type": "sock"}]}]}
        })
        .to_string()
    };
    crate::wait::until("the kind is served", SOON, async || {
        kubectl.run_with(&["apply", "-f", "-"], &policy("tcp_connect")).await.map(|_| ())
    })
    .await?;
    handle.condition("ResolvedRefs", "True", "Resolved", MENDED).await?;
    let hash = async || -> Result<Option<String>> {
        Ok(handle.get().await?.status.and_then(|status| status.policy_hash))
    };
    let before = hash().await?;
    kubectl.run_with(&["apply", "-f", "-"], &policy("tcp_close")).await?;
    crate::wait::until("the hash follows the policy", MENDED, async || {
        let now = hash().await?;
        ensure!(now.is_some() && now != before, "{before:?} {now:?}");
        Ok(())
    })
    .await?;
    kubectl.run(&["delete", "tracingpolicy", "egress"]).await?;
    handle.condition("ResolvedRefs", "False", "PolicyNotFound", MENDED).await?;
    kubectl.run(&["delete", "crd", "tracingpolicies.cilium.io"]).await?;
    done(&handle).await
}

async fn unreachable(context: &Context) -> Result {
    context.namespace("unreachable").await?;
    let mut watch = full(context, "unreachable", "egress", "unreachable");
    // Discard: nobody listens there.
    watch["spec"]["target"]["parseable"]["url"] = json!("http://127.0.0.1:9");
    apply(context, &watch).await?;
    let handle = Handle::new(context, "unreachable", "egress");
    // A grace lets a hiccup pass; what is said of it is there at once.
    let condition = handle.condition("Reconciling", "True", "Retrying", SOON).await?;
    ensure!(!condition.message.is_empty(), "an empty message");
    watch["spec"]["target"]["parseable"]["url"] = json!(context.parseable.url);
    apply(context, &watch).await?;
    handle.condition("AlertsSynced", "True", "Synced", SOON * 2).await?;
    done(&handle).await
}
