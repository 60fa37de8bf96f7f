//! The operator's program, beside the cluster, with the rights of its ServiceAccount and nothing else.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use securitywatch_e2e::built;
use tokio::process::{Child, Command};

use crate::Result;
use crate::wait::until;

/// A running operator; killed when dropped.
#[derive(Debug)]
pub struct Operator {
    process: Child,
    metrics: String,
    health: String,
    alerts: SocketAddr,
    client: reqwest::Client,
}

/// What a replica is started with.
#[derive(Debug)]
pub struct Replica<'a> {
    /// With the ServiceAccount's token.
    pub kubeconfig: &'a Path,
    pub namespace: &'a str,
    /// Its pod's name, by which it holds the lease.
    pub name: &'a str,
    /// The chart's `probe.json`.
    pub probe_config: &'a Path,
    /// Where its log goes.
    pub log: &'a Path,
    /// More options.
    pub options: &'a [&'a str],
}

impl Operator {
    /// Starts a replica and waits until it says that it is alive.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(replica: &Replica<'_>) -> Result<Self> {
        let [metrics, health, alerts] = [free_address()?, free_address()?, free_address()?];
        let log = std::fs::File::options().create(true).append(true).open(replica.log)?;
        let process = Command::new(built::program("securitywatch-operator")?)
            .env("KUBECONFIG", replica.kubeconfig)
            .env("POD_NAMESPACE", replica.namespace)
            .env("POD_NAME", replica.name)
            .env("NO_COLOR", "1")
            .args(["run", "--deployment", "securitywatch-operator"])
            .arg("--probe-config")
            .arg(replica.probe_config)
            .args(["--metrics-addr", &metrics, "--health-addr", &health, "--alerts-addr", &alerts])
            .args(replica.options)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let alerts = alerts.parse()?;
        let operator = Self { process, metrics, health, alerts, client };
        until("the operator is alive", Duration::from_secs(20), async || {
            operator.text(&operator.health, "/healthz").await.map(|_| ())
        })
        .await?;
        Ok(operator)
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// No answer.
    pub async fn metrics(&self) -> Result<String> {
        self.text(&self.metrics, "/metrics").await
    }

    /// Whether `/readyz` says yes.
    pub async fn is_ready(&self) -> bool {
        self.text(&self.health, "/readyz").await.is_ok()
    }

    async fn text(&self, address: &str, path: &str) -> Result<String> {
        let response = self.client.get(format!("http://{address}{path}")).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Where probes report hits.
    #[must_use]
    pub const fn alerts(&self) -> SocketAddr {
        self.alerts
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        let pid = self.pid().ok_or("the operator ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.and_then(|l| l.split_whitespace().next()).ok_or("no VmRSS")?.parse()?;
        Ok(kib * 1024)
    }

    /// Asks it to end, as the kubelet does, and waits.
    ///
    /// # Errors
    /// It does not end within 20 seconds.
    pub async fn stop(mut self) -> Result<ExitStatus> {
        if let Some(pid) = self.pid().and_then(|pid| rustix::process::Pid::from_raw(pid as i32)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        Ok(tokio::time::timeout(Duration::from_secs(20), self.process.wait()).await??)
    }

    /// Ends it without a word, as a node that dies.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(mut self) -> Result {
        self.process.kill().await?;
        Ok(())
    }
}

/// A free port of loopback: taken by nobody a moment ago.
fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}
