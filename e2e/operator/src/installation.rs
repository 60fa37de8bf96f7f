//! A control plane with the chart installed and the operator running.

use tokio::sync::Mutex;

use crate::Result;
use crate::control_plane::{ControlPlane, Nodes};
use crate::install::{NAMESPACE, PodFiles, install};
use crate::operator::{Operator, Replica};

/// Everything but Parseable.
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Installation {
    pub cluster: ControlPlane,
    pub pod: PodFiles,
    /// A client with the administrator's rights.
    pub client: kube::Client,
    /// Runs all the time; who takes it away brings it back.
    pub operator: Mutex<Option<Operator>>,
}

/// Fake nodes, so that one failing node of three is more than one in a hundred.
pub const NODES: usize = 3;

/// Test servers are on loopback, which the operator refuses to call unless told, and Parseable as well.
const OPTIONS: &[&str] = &["--allow-loopback-targets", "--manage-outbound-policy"];

impl Installation {
    /// Starts everything, telling what it does.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start() -> Result<Self> {
        say("starting the control plane");
        let cluster = ControlPlane::start(Nodes::Fake(NODES)).await?;
        say("helm install");
        install(&cluster, &[]).await?;
        let pod = PodFiles::fetch(&cluster).await?;
        let client = cluster.client().await?;
        let started = Self { cluster, pod, client, operator: Mutex::new(None) };
        say("starting the operator");
        started.start_operator().await?;
        Ok(started)
    }

    /// Starts the operator unless it runs.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_operator(&self) -> Result {
        let mut operator = self.operator.lock().await;
        if operator.is_none() {
            *operator = Some(self.replica("securitywatch-operator-0").await?);
        }
        Ok(())
    }

    /// A further replica.
    ///
    /// # Errors
    /// It does not start.
    pub async fn replica(&self, name: &str) -> Result<Operator> {
        Operator::start(&Replica {
            kubeconfig: &self.pod.kubeconfig(),
            namespace: NAMESPACE,
            name,
            probe_config: &self.pod.probe_config(),
            log: &self.pod.log(),
            options: OPTIONS,
        })
        .await
    }

    /// A namespace of its own for a scenario, with the Secrets that the samples name.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn namespace(&self, name: &str) -> Result {
        self.cluster.kubectl.run(&["create", "namespace", name]).await?;
        self.account(name, "admin").await?;
        let url = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "oncall", "namespace": name},
            "stringData": {"url": "http://127.0.0.1:9/oncall-token"}
        });
        self.cluster.kubectl.run_with(&["apply", "-f", "-"], &url.to_string()).await?;
        Ok(())
    }

    /// The account of Parseable that the samples name, with this password.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn account(&self, namespace: &str, password: &str) -> Result {
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "parseable-env-secret", "namespace": namespace},
            "stringData": {"username": "admin", "password": password}
        });
        self.cluster.kubectl.run_with(&["apply", "-f", "-"], &secret.to_string()).await?;
        Ok(())
    }
}

fn say(text: &str) {
    eprintln!("e2e: {text}");
}
