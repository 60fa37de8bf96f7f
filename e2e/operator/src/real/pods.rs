//! Pods of a real node, by kubectl.

use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::TOOLS_IMAGE;
use crate::real::until;
use crate::tools::Kubectl;
use crate::{Result, ensure};

/// A container under emulation takes seconds to start.
pub const START: Duration = Duration::from_secs(120);

/// A pod that waits to be told what to do.
#[must_use]
pub fn idle(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            // Nothing to wait for when it is deleted.
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "shell", "image": TOOLS_IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/sleep", "86400"]
            }]
        }
    })
}

/// The walk-through's pod on the host's files: privileged, in the host's network and processes. It runs `script` in the
/// namespaces of process 1.
#[must_use]
pub fn nsenter(namespace: &str, name: &str) -> Value {
    let mut pod = idle(namespace, name);
    pod["spec"]["hostNetwork"] = json!(true);
    pod["spec"]["hostPID"] = json!(true);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

/// Creates what `objects` are and waits until those that are pods run.
///
/// # Errors
/// The API server refuses, or a pod does not run in time.
pub async fn run(kubectl: &Kubectl, objects: &[Value]) -> Result {
    create(kubectl, objects).await?;
    for pod in objects.iter().filter(|object| object["kind"] == "Pod") {
        let (namespace, name) =
            (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        phase(kubectl, namespace, name, "Running", START).await?;
    }
    Ok(())
}

/// Creates objects.
///
/// # Errors
/// The API server refuses.
pub async fn create(kubectl: &Kubectl, objects: &[Value]) -> Result {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    kubectl.run_with(&["apply", "-f", "-"], &list.to_string()).await?;
    Ok(())
}

/// Waits for a phase.
///
/// # Errors
/// It does not come in time.
pub async fn phase(
    kubectl: &Kubectl,
    namespace: &str,
    name: &str,
    phase: &str,
    within: Duration,
) -> Result {
    let get =
        ["get", "pod", name, "--namespace", namespace, "--output", "jsonpath={.status.phase}"];
    until(&format!("pod {namespace}/{name} is {phase}"), within, async || {
        let seen = kubectl.run(&get).await?;
        ensure!(seen == phase, "{seen}");
        Ok(())
    })
    .await
}

/// What a command in a pod prints; its exit code does not matter.
///
/// # Errors
/// kubectl cannot be run.
pub async fn exec(kubectl: &Kubectl, namespace: &str, pod: &str, command: &[&str]) -> Result<Ran> {
    let mut arguments = vec!["exec", pod, "--namespace", namespace, "--"];
    arguments.extend(command);
    let output = kubectl.output_with(&arguments, "").await?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    /// 137 is SIGKILL.
    pub code: i32,
    pub output: String,
    pub error: String,
}

impl Ran {
    /// # Errors
    /// It ended with another code than 0.
    pub fn succeeded(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}: {}", self.code, self.error.trim());
        Ok(self.output)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
