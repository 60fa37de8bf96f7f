//! The chart's values for the probe: `probe.json` of its ConfigMap.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::DaemonSetUpdateStrategy;
use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use serde::Deserialize;

/// What the chart says about the probe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeConfig {
    /// The DaemonSet's name.
    pub name: String,
    /// The pods' ServiceAccount.
    pub service_account_name: String,
    /// With registry, and tag or digest.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default)]
    pub image_pull_policy: Option<String>,
    /// Names of Secrets.
    #[serde(default)]
    pub image_pull_secrets: Option<Vec<String>>,
    /// Of the container.
    #[serde(default)]
    pub resources: Option<ResourceRequirements>,
    /// Of the pods.
    #[serde(default)]
    pub tolerations: Option<Vec<Toleration>>,
    /// Of the pods.
    #[serde(default)]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Of the pods.
    #[serde(default)]
    pub affinity: Option<Affinity>,
    /// Of the pods.
    #[serde(default)]
    pub priority_class_name: Option<String>,
    /// Of the DaemonSet.
    #[serde(default)]
    pub update_strategy: Option<DaemonSetUpdateStrategy>,
    /// Run privileged: for systems on which the single capabilities are not enough.
    #[serde(default)]
    pub privileged: Option<bool>,
    /// Where the probe reports hits of alerts: `https://HOST:PORT`, the operator's Service.
    #[serde(default)]
    pub operator_url: Option<String>,
    /// Written into every event.
    #[serde(default)]
    pub cluster_name: Option<String>,
    /// Where the probe serves its metrics; without it, it does not.
    #[serde(default)]
    pub metrics_port: Option<u16>,
    /// Where the probe serves `/healthz` and `/readyz`.
    #[serde(default)]
    pub health_port: Option<u16>,
    /// `RUST_LOG` of the probe.
    #[serde(default)]
    pub log_level: Option<String>,
    /// More labels of the pods.
    #[serde(default)]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// More annotations of the pods.
    #[serde(default)]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// The events as files on the node.
    #[serde(default)]
    pub event_log: Option<EventLog>,
}

impl ProbeConfig {
    /// The host in `operator_url`, as it stands in a certificate.
    #[must_use]
    pub fn operator_host(&self) -> Option<String> {
        let url = reqwest::Url::parse(self.operator_url.as_deref()?).ok()?;
        (url.scheme() == "https").then(|| url.host_str().map(str::to_owned))?
    }
}

/// The events as files on the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventLog {
    /// Whether there are any.
    #[serde(default)]
    pub enabled: bool,
    /// The folder on the node.
    #[serde(default)]
    pub host_path: Option<String>,
    /// Size at which a file is rotated.
    #[serde(default, rename = "maxSizeMB", alias = "maxSizeMb")]
    pub max_size_mb: Option<u32>,
    /// How many rotated files are kept.
    #[serde(default)]
    pub max_files: Option<u32>,
}

/// Why the chart's values cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the probe's configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not hold what it should.
    #[error("the probe's configuration {} is wrong: {source}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Reads the chart's values.
///
/// # Errors
/// No such file, or something else in it.
pub fn load(path: &Path) -> Result<ProbeConfig, ConfigError> {
    let text = std::fs::read(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|source| ConfigError::Wrong { path: path.to_owned(), source })
}
