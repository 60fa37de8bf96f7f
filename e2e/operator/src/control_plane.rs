//! The control plane, run by `e2e/cluster`'s launcher for as long as this program lives.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::Result;
use crate::tools::{self, Kubectl};

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    info: Info,
    process: Child,
    /// Its end tells the launcher to stop, also when this program is killed.
    stdin: Option<ChildStdin>,
    pub kubectl: Kubectl,
}

#[derive(Debug, Deserialize)]
struct Info {
    kubeconfig: PathBuf,
    server: String,
    dir: PathBuf,
    audit_log: PathBuf,
}

impl ControlPlane {
    /// Starts one with this many fake nodes; `fake-0` is the first.
    ///
    /// # Errors
    /// It is not built, or a component does not come up.
    pub async fn start(nodes: usize) -> Result<Self> {
        Self::up(&["--fake-nodes".into(), nodes.to_string().into()]).await
    }

    /// Starts one with this many real nodes, on which these images are: name and program of each. `node-1` is the first.
    ///
    /// # Errors
    /// As [`ControlPlane::start`], or a node does not become ready.
    pub async fn start_with_nodes(nodes: usize, images: &[(&str, PathBuf)]) -> Result<Self> {
        let mut options: Vec<OsString> = vec!["--nodes".into(), nodes.to_string().into()];
        for (name, program) in images {
            let mut image = OsString::from(format!("{name}="));
            image.push(program);
            options.extend(["--image".into(), image]);
        }
        Self::up(&options).await
    }

    async fn up(options: &[OsString]) -> Result<Self> {
        let launcher = tools::cluster_program("cluster")?;
        let mut process = Command::new(&launcher)
            .args(["up", "--while-stdin"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().ok_or("the launcher has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.ok_or("the control plane did not start; see above")?;
        let info: Info = serde_json::from_str(&line)?;
        let kubectl = Kubectl::new(&info.kubeconfig)?;
        Ok(Self { info, process, stdin, kubectl })
    }

    /// The administrator's.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.info.kubeconfig
    }

    /// `https://127.0.0.1:PORT`
    #[must_use]
    pub fn server(&self) -> &str {
        &self.info.server
    }

    /// One line of JSON for each request, as the API server writes it.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.info.audit_log
    }

    /// A client with the administrator's rights.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client> {
        client(self.kubeconfig()).await
    }

    /// The API server goes away for `down` and comes back; `kill` gives it no time to say good-bye.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn restart_api_server(&self, kill: bool, down: Duration) -> Result {
        let launcher = tools::cluster_program("cluster")?;
        let status = Command::new(launcher)
            .args(["restart-apiserver", "--dir"])
            .arg(&self.info.dir)
            .args([&format!("--kill={kill}"), "--down", &format!("{}ms", down.as_millis())])
            .status()
            .await?;
        if status.success() { Ok(()) } else { Err("the API server did not come back".into()) }
    }

    /// Presses a button of a real node's machine: `reset`, `stop`, `continue` or `shutdown`.
    ///
    /// # Errors
    /// There is no such node or button.
    pub async fn press(&self, node: &str, button: &str) -> Result {
        let launcher = tools::cluster_program("cluster")?;
        let mut command = Command::new(launcher);
        command.args(["node", button, node, "--dir"]).arg(&self.info.dir);
        let status = command.status().await?;
        if status.success() { Ok(()) } else { Err(format!("{node} cannot be {button}").into()) }
    }

    /// Stops it and waits for the end.
    ///
    /// # Errors
    /// The launcher cannot be waited for.
    pub async fn stop(mut self) -> Result {
        drop(self.stdin.take());
        self.process.wait().await?;
        Ok(())
    }
}

/// A client with the rights of a kubeconfig.
///
/// # Errors
/// The file cannot be read, or is none.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(kube::Client::try_from(config)?)
}
