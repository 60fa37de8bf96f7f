//! The control plane, run by `e2e/cluster`'s launcher for as long as this program lives.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::Result;
use crate::tools::{self, Kubectl};

/// What pods of a cluster run on.
#[derive(Debug, Clone, Copy)]
pub enum Nodes<'a> {
    /// `fake-0`, `fake-1`...: they say that a pod runs and run nothing.
    Fake(usize),
    /// `node-1`, `node-2`...: guests with containerd and a kubelet, which `e2e/setup node` prepared.
    Real {
        count: usize,
        /// Container images besides [`TOOLS_IMAGE`]: name, and the program of this machine that is in it.
        images: &'a [(&'a str, &'a Path)],
    },
}

/// The image with a shell, curl, wget, cat and nsenter that every real node has.
pub const TOOLS_IMAGE: &str = "securitywatch.local/tools:1";

/// This machine's loopback, as real nodes and their pods reach it.
pub const HOST: &str = "10.0.2.2";

impl Nodes<'_> {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Fake(count) => vec![format!("--fake-nodes={count}")],
            Self::Real { count, images } => std::iter::once(format!("--nodes={count}"))
                .chain(
                    images
                        .iter()
                        .map(|(name, program)| format!("--image={name}={}", program.display())),
                )
                .collect(),
        }
    }
}

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
    #[serde(default)]
    nodes: Vec<RealNode>,
}

/// What is known of a real node from the outside.
#[derive(Debug, Deserialize)]
pub struct RealNode {
    pub name: String,
    /// What it prints, with the logs of its kubelet and kube-proxy.
    pub console: PathBuf,
}

/// Buttons of a real node's machine.
#[derive(Debug, Clone, Copy)]
pub enum Button {
    /// It boots again, and nothing is written before.
    Reset,
    /// It stands still, as one that is unplugged, until [`Button::Continue`].
    Stop,
    Continue,
}

impl Button {
    const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Stop => "stop",
            Self::Continue => "continue",
        }
    }
}

impl ControlPlane {
    /// Starts one and returns when all of its nodes are Ready: at once for fake ones, after a minute or two for
    /// real ones.
    ///
    /// # Errors
    /// It is not built, or a component or a node does not come up.
    pub async fn start(nodes: Nodes<'_>) -> Result<Self> {
        let launcher = tools::cluster_program("cluster")?;
        let mut process = Command::new(&launcher)
            .args(["up", "--while-stdin"])
            .args(nodes.arguments())
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

    /// The real nodes, if it has such.
    #[must_use]
    pub fn nodes(&self) -> &[RealNode] {
        &self.info.nodes
    }

    /// Presses a button of a real node's machine.
    ///
    /// # Errors
    /// There is no such node, or its machine does not answer.
    pub async fn press(&self, node: &str, button: Button) -> Result {
        let launcher = tools::cluster_program("cluster")?;
        let status = Command::new(launcher)
            .args(["node", button.name(), node, "--dir"])
            .arg(&self.info.dir)
            .status()
            .await?;
        if status.success() { Ok(()) } else { Err(format!("{node} does not {button:?}").into()) }
    }

    /// Makes a server on this machine's loopback a Service of the cluster: `http://NAME.NAMESPACE.svc` leads
    /// to `port` from pods of real nodes.
    ///
    /// # Errors
    /// The API server refuses: there is no such namespace, or there is such a Service.
    pub async fn publish(&self, namespace: &str, name: &str, port: u16) -> Result {
        let objects = host_service(namespace, name, port).to_string();
        self.kubectl.run_with(&["apply", "-f", "-"], &objects).await?;
        Ok(())
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

/// A Service without pods, whose one endpoint is the machine that runs the guests.
fn host_service(namespace: &str, name: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": {
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "securitywatch-e2e"
                }
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [HOST]}]
        }
    ]})
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_nodes_come_with_their_images() {
        let images = [("probe:1", Path::new("/t/probe")), ("operator:1", Path::new("/t/operator"))];
        let nodes = Nodes::Real { count: 2, images: &images };
        let expected = ["--nodes=2", "--image=probe:1=/t/probe", "--image=operator:1=/t/operator"];
        assert_eq!(nodes.arguments(), expected);
        assert_eq!(Nodes::Fake(3).arguments(), ["--fake-nodes=3"]);
    }

    #[test]
    fn a_published_server_is_found_by_its_service() {
        let list = host_service("parseable", "parseable", 4711);
        let [service, slice] = [&list["items"][0], &list["items"][1]];
        assert_eq!(service["metadata"]["name"], "parseable");
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "parseable");
        assert_eq!(service["spec"]["ports"][0]["name"], slice["ports"][0]["name"]);
        assert_eq!(slice["ports"][0]["port"], 4711);
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.0.2.2");
    }
}
