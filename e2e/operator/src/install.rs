//! The chart, installed by helm, and what the operator's pod would have got from it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Result;
use crate::control_plane::ControlPlane;
use crate::tools::helm;

/// Where the chart is installed.
pub const NAMESPACE: &str = "securitywatch-system";
/// The release, by which its objects are named.
pub const RELEASE: &str = "securitywatch";

/// Installs the chart, or upgrades it, with `--set` options.
///
/// # Errors
/// helm says why.
pub async fn install(cluster: &ControlPlane, values: &[&str]) -> Result<String> {
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        "charts/securitywatch",
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ];
    for value in values {
        arguments.extend(["--set", value]);
    }
    helm(cluster.kubeconfig(), &arguments).await
}

/// Files that the operator's pod would have mounted.
#[derive(Debug)]
pub struct PodFiles {
    folder: tempfile::TempDir,
}

impl PodFiles {
    /// A token of the operator's ServiceAccount, and the chart's `probe.json`.
    ///
    /// # Errors
    /// The chart is not installed.
    pub async fn fetch(cluster: &ControlPlane) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let files = Self { folder };
        write_kubeconfig(cluster, "securitywatch-operator", &[], &files.kubeconfig()).await?;
        let probe = cluster
            .kubectl
            .run(&[
                "get",
                "configmap",
                "securitywatch-probe",
                "--namespace",
                NAMESPACE,
                "--output",
                r"jsonpath={.data.probe\.json}",
            ])
            .await?;
        std::fs::write(files.probe_config(), probe)?;
        Ok(files)
    }

    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    #[must_use]
    pub fn probe_config(&self) -> PathBuf {
        self.folder.path().join("probe.json")
    }

    /// The operator's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("operator.log")
    }
}

/// A kubeconfig with a fresh token of a ServiceAccount of the chart; `bound` are options that bind it, as
/// the kubelet binds a pod's token to its node.
///
/// # Errors
/// The API server gives none.
pub async fn write_kubeconfig(
    cluster: &ControlPlane,
    account: &str,
    bound: &[&str],
    path: &Path,
) -> Result {
    let mut arguments =
        vec!["create", "token", account, "--namespace", NAMESPACE, "--duration", "2h"];
    arguments.extend(bound);
    let token = cluster.kubectl.run(&arguments).await?;
    let admin = cluster.kubectl.run(&["config", "view", "--raw", "--output", "json"]).await?;
    let admin: Value = serde_json::from_str(&admin)?;
    // JSON is YAML.
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": admin["clusters"],
        "users": [{"name": account, "user": {"token": token.trim()}}],
        "contexts": [{"name": "pod", "context": {
            "cluster": admin["clusters"][0]["name"], "user": account, "namespace": NAMESPACE
        }}],
        "current-context": "pod"
    });
    std::fs::write(path, kubeconfig.to_string())?;
    Ok(())
}
