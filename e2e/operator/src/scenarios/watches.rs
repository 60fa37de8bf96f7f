//! Watches as scenarios need them, and what is read of their status.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use securitywatch_api::v1alpha1::{SecurityWatch, WatchStatus};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::scenario::Context;
use crate::wait::until;
use crate::{Result, ensure};

/// Long enough for a reconcile on a busy machine; what must be faster says so itself.
pub const SOON: Duration = Duration::from_secs(20);

/// A watch with a stream of the stand-in, one hook and two alerts.
pub fn full(context: &Context, namespace: &str, name: &str, stream: &str) -> Value {
    json!({
        "apiVersion": "securitywatch.io/v1alpha1",
        "kind": "SecurityWatch",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "tracingPolicy": {"spec": {"kprobes": [
                {"call": "tcp_connect", "syscall": false, "args": [{"index": 0, "type": "sock"}]}
            ]}},
            "target": {"parseable": {
                "url": context.parseable.url,
                "stream": stream,
                "retention": "30d",
                "credentials": {"secretName": "parseable-env-secret"}
            }},
            "alerts": [
                alert("wget_command", r#"(process_exec_process_binary =% "/usr/bin/wget")"#),
                alert("curl_command", r#"(process_exec_process_binary =% "/usr/bin/curl")"#)
            ]
        }
    })
}

/// An alert to the webhook of the Secret `oncall`.
pub fn alert(name: &str, rule: &str) -> Value {
    json!({
        "name": name,
        "severity": "high",
        "message": "seen in {process_exec_process_pod_name}",
        "rule": rule,
        "targets": [{"webhook": {"urlFrom": {"secretName": "oncall", "key": "url"}}}]
    })
}

/// A watch with a hook and nothing outside the cluster.
pub fn bare(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "securitywatch.io/v1alpha1",
        "kind": "SecurityWatch",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"tracingPolicy": {"spec": {"kprobes": [
            {"call": "tcp_connect", "syscall": false, "args": [{"index": 0, "type": "sock"}]}
        ]}}}
    })
}

/// As `kubectl apply --server-side` does, by a user.
pub async fn apply(context: &Installation, watch: &Value) -> Result<SecurityWatch> {
    let (namespace, name) = place(watch);
    let api: Api<SecurityWatch> = Api::namespaced(context.client.clone(), namespace);
    let params = PatchParams::apply("user").force();
    Ok(api.patch(name, &params, &Patch::Apply(watch)).await?)
}

fn place(watch: &Value) -> (&str, &str) {
    let metadata = &watch["metadata"];
    (
        metadata["namespace"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

/// One watch of the cluster.
#[derive(Debug, Clone)]
pub struct Handle {
    api: Api<SecurityWatch>,
    name: String,
}

impl Handle {
    pub fn new(context: &Installation, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(context.client.clone(), namespace), name: name.to_owned() }
    }

    pub async fn get(&self) -> Result<SecurityWatch> {
        Ok(self.api.get(&self.name).await?)
    }

    pub async fn delete(&self) -> Result {
        self.api.delete(&self.name, &kube::api::DeleteParams::default()).await?;
        Ok(())
    }

    pub async fn patch(&self, patch: &Value) -> Result {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until the watch is no more.
    pub async fn gone(&self, within: Duration) -> Result {
        until(&format!("{} is gone", self.name), within, async || {
            match self.api.get_opt(&self.name).await? {
                None => Ok(()),
                Some(watch) => Err(format!(
                    "deleted {:?}, finalizers {:?}",
                    watch.metadata.deletion_timestamp, watch.metadata.finalizers
                )
                .into()),
            }
        })
        .await
    }

    /// Waits until a condition about the present generation has this status and reason, and gives it.
    pub async fn condition(
        &self,
        type_: &str,
        status: &str,
        reason: &str,
        within: Duration,
    ) -> Result<Condition> {
        let what = format!("{} has {type_}={status} {reason}", self.name);
        until(&what, within, async || {
            let watch = self.get().await?;
            let generation = watch.metadata.generation;
            let found = find(watch.status.as_ref(), type_)?;
            ensure!(
                found.status == status
                    && found.reason == reason
                    && found.observed_generation == generation,
                "generation {generation:?}: {} {} (generation {:?}): {}",
                found.status,
                found.reason,
                found.observed_generation,
                found.message
            );
            Ok(found.clone())
        })
        .await
    }
}

/// A condition of a status.
pub fn find<'a>(status: Option<&'a WatchStatus>, type_: &str) -> Result<&'a Condition> {
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let found = conditions.into_iter().flatten().find(|condition| condition.type_ == type_);
    found.ok_or_else(|| format!("no condition {type_} in {conditions:?}").into())
}

/// A created watch's uid.
pub fn uid(watch: &SecurityWatch) -> String {
    watch.uid().unwrap_or_default()
}
