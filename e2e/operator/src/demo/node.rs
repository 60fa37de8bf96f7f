//! The demo's node: a guest that runs the chart's two programs.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use securitywatch_api::cluster::INGEST_SECRET;
use securitywatch_e2e::built;
use securitywatch_e2e::guest::{Console, Guest, Kernel, NETWORK_HOST, Rootfs};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::Result;
use crate::control_plane::ControlPlane;
use crate::install::{NAMESPACE, PodFiles, write_kubeconfig};
use crate::parseable::Parseable;

/// The fake node whose pods these are.
pub const NAME: &str = "fake-0";

/// A running guest; [`Node::stop`] ends it.
pub struct Node {
    /// At its end the guest powers off.
    mounted: tokio::task::JoinHandle<()>,
    guest: Option<JoinHandle<()>>,
}

impl Node {
    /// Boots the guest and starts both programs in it.
    pub async fn start(cluster: &ControlPlane, parseable: &Parseable) -> Result<Self> {
        let pod = PodFiles::fetch(cluster).await?;
        let agent = tempfile::NamedTempFile::new()?;
        let bound = ["--bound-object-kind", "Node", "--bound-object-name", NAME];
        write_kubeconfig(cluster, "securitywatch-probe", &bound, agent.path()).await?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let script = script(port(&parseable.url), listener.local_addr()?.port());
        let mut guest = Guest::new(Kernel::V6_12, Rootfs::Golden, script)
            .timeout(Duration::from_secs(600))
            .program(built::program("securitywatch-operator")?, "/t/securitywatch-operator")
            .program(built::program("securitywatch-probe")?, "/t/securitywatch-probe")
            .program(built::program("demo-peers")?, "/t/demo-peers")
            .file(
                "/t/operator.kubeconfig",
                from_guest(&std::fs::read_to_string(pod.kubeconfig())?)?,
                0o600,
            )
            .file(
                "/t/agent.kubeconfig",
                from_guest(&std::fs::read_to_string(agent.path())?)?,
                0o600,
            )
            .file("/t/probe.json", std::fs::read(pod.probe_config())?, 0o600);
        guest.network = true;
        guest.console = Console::Kept;
        guest.hostname = NAME.to_owned();
        let mounted =
            tokio::spawn(mount(TcpListener::from_std(listener)?, cluster.client().await?));
        let guest = std::thread::spawn(move || match guest.run() {
            Ok(outcome) if outcome.exit_code == 0 => {}
            Ok(outcome) => eprintln!("the node ended early:\n{}", outcome.console),
            Err(error) => eprintln!("the node: {error}"),
        });
        Ok(Self { mounted, guest: Some(guest) })
    }

    /// Powers it off and waits.
    pub async fn stop(&mut self) {
        self.mounted.abort();
        if let Some(guest) = self.guest.take() {
            let _ = tokio::task::spawn_blocking(move || guest.join()).await;
        }
    }
}

/// What the kubelet does for the probe's pod: the Secret that the operator writes becomes files.
async fn mount(listener: TcpListener, client: kube::Client) {
    let Ok((mut guest, _)) = listener.accept().await else { return };
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let mut known = BTreeMap::new();
    loop {
        let secret = secrets.get_opt(INGEST_SECRET).await.ok().flatten();
        for (key, value) in secret.and_then(|secret| secret.data).into_iter().flatten() {
            if known.get(&key) != Some(&value) {
                // As the API server writes it, and so does the type: base64.
                let text = serde_json::to_value(&value).unwrap_or_default();
                let line = format!("{key} {}\n", text.as_str().unwrap_or_default());
                if guest.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
                known.insert(key, value);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
}

/// The API server as the guest reaches it: at the machine's loopback, under a name of its certificate.
fn from_guest(kubeconfig: &str) -> Result<String> {
    let mut config: Value = serde_json::from_str(kubeconfig)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    let server = cluster["server"].as_str().unwrap_or_default().to_owned();
    let port = port(&server);
    cluster["server"] = json!(format!("https://{NETWORK_HOST}:{port}"));
    cluster["tls-server-name"] = json!("localhost");
    Ok(config.to_string())
}

/// `parseable.parseable.svc` of the sample is the relay, which ends at the stand-in. The mounted Secret with
/// the ingest account is what a kubelet would make of it.
fn script(parseable_port: u16, mount_port: u16) -> String {
    format!(
        "echo 127.0.0.1 parseable.parseable.svc >> /etc/hosts
/t/demo-peers --relay 127.0.0.1:80 {NETWORK_HOST}:{parseable_port} --web 93.184.215.14:80 > /t/peers &
until grep -q ready /t/peers 2>/dev/null; do sleep 0.1; done
mkdir -p /t/ingest
export POD_NAMESPACE={NAMESPACE} POD_NAME=securitywatch-operator-demo NODE_NAME={NAME}
KUBECONFIG=/t/operator.kubeconfig /t/securitywatch-operator run --deployment securitywatch-operator \\
  --probe-config /t/probe.json --allow-loopback-targets --manage-outbound-policy > /out/operator.log 2>&1 &
KUBECONFIG=/t/agent.kubeconfig /t/securitywatch-probe agent --ingest-credentials /t/ingest \\
  --cluster-name demo > /out/agent.log 2>&1 &
/t/demo-peers --mount {NETWORK_HOST}:{mount_port} /t/ingest
kill %2 %3
wait %2 %3
true
"
    )
}
