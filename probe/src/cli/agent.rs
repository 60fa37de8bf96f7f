//! `agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::{BackendChoice, EventLogArgs};

/// `agent`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = LONG)]
pub struct AgentArgs {
    /// The name of this node's Node object, and so its name in events; without it, NODE_NAME says it
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,

    /// Where the operator's accounts are mounted: files UID.username and UID.password, or UID.apiKey, by the uid of
    /// the watch. Changes are followed
    #[arg(long, value_name = "DIR")]
    pub ingest_credentials: PathBuf,

    /// A folder of this pod that outlives the probe's process: hits that wait for the operator are kept there, and what
    /// was lost with a killed probe is told by the next
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Report hits of alerts to the operator at this URL, for example
    /// https://securitywatch-operator.securitywatch-system.svc:9443. Without it no alert fires from this node
    #[arg(long, value_name = "URL", value_parser = operator_url, requires = "operator_token")]
    pub operator_url: Option<Url>,

    /// The file with the token for the operator, of audience securitywatch-operator. Changes are followed
    #[arg(long, value_name = "FILE")]
    pub operator_token: Option<PathBuf>,

    /// The file with the certificate that the operator is known by; without it the system's authorities are asked.
    /// Changes are followed
    #[arg(long, value_name = "FILE")]
    pub operator_ca: Option<PathBuf>,

    /// The cluster's name in shipped events
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// Where the host's cgroups are mounted; in a container this must be the host's own folder
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/cgroup")]
    pub cgroup_root: PathBuf,

    #[command(flatten)]
    pub event_log: EventLogArgs,

    /// Serve Prometheus metrics at http://ADDR/metrics, for example 0.0.0.0:9464
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// Serve /healthz and /readyz, for example at 0.0.0.0:8081. Ready: exec and exit are seen, and the watches of the
    /// first list were loaded or refused
    #[arg(long, value_name = "ADDR")]
    pub health_addr: Option<SocketAddr>,

    /// Wait a random time up to this before the report is written, so that the nodes of a large cluster do not
    /// write at once; for example 30s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = seconds)]
    pub report_jitter: Duration,

    /// How kernel functions are hooked; auto: the cheapest way this kernel has
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BackendChoice::Auto)]
    pub backend: BackendChoice,
}

const EXAMPLES: &str = "\
Examples:
  securitywatch-probe agent --ingest-credentials /var/run/securitywatch/ingest
  KUBECONFIG=admin.conf securitywatch-probe agent --node-name worker-1 --ingest-credentials DIR";

const LONG: &str = "\
Examples:
  In a pod, with the node's name in NODE_NAME:
      securitywatch-probe agent --ingest-credentials /var/run/securitywatch/ingest
  From outside, for a node that the cluster knows:
      KUBECONFIG=admin.conf securitywatch-probe agent --node-name worker-1 --ingest-credentials DIR

What it does:
  It follows SecurityWatch and ClusterSecurityWatch, and the cilium.io TracingPolicy objects that
  these name. A changed policy is exchanged without a gap. While the API server is away, what is
  loaded stays loaded. The operator creates the streams in Parseable; this node only sends to
  them. Rules of alerts are judged here; the operator is told of each hit and calls the
  receivers. An event of a SecurityWatch leaves this node only if it is known to come from a pod
  of the watch's namespace.

What it reports:
  SecurityWatchNode/NAME: the kernel, each watch with its state and reason, shipping, losses. It
  is written when something changes, and says so when the probe is stopped.

Exit codes:
  0  stopped by a signal
  1  could not start; the message names the cause and what to do";

/// Over TLS, for a token goes with each report; a test may stay on its own machine without.
fn operator_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err("the operator is called by https only, for example https://operator.example:9443"
            .to_owned()),
    }
}

/// Whole seconds, as `30s` or `30`.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 0..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is a number of seconds from 0s to 600s, for example 30s".to_owned()),
    }
}
