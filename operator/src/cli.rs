//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// SecurityWatch in a cluster.
///
/// Rolls out the probe, keeps streams and alerts of Parseable servers as watches want them, and says in the status of
/// each watch whether it works. `securitywatch-probe` runs the same documents on one machine.
#[derive(Debug, Parser)]
#[command(version, name = "securitywatch-operator")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile watches until stopped
    ///
    /// Inside a cluster with the pod's ServiceAccount, elsewhere with KUBECONFIG.
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML, for `kubectl apply --server-side -f -`
    Crds,
}

/// `run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The operator's own namespace: DaemonSet, Lease, the nodes' accounts and the Secrets of cluster watches are there
    #[arg(long, env = "POD_NAMESPACE", value_name = "NS")]
    pub namespace: String,

    /// This replica's name, in Events and in the Lease
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "securitywatch-operator")]
    pub pod_name: String,

    /// The operator's Deployment, which becomes the owner of the probe's DaemonSet
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<String>,

    /// The chart's values for the probe
    #[arg(long, value_name = "FILE")]
    pub probe_config: PathBuf,

    /// Read Secrets in this namespace only; repeat for more. Without it, in all
    #[arg(long, value_name = "NS")]
    pub watch_namespace: Vec<String>,

    /// The Lease by which one of several replicas is chosen
    #[arg(long, value_name = "NAME", default_value = "securitywatch-operator")]
    pub leader_elect_lease: String,

    /// Serve Prometheus metrics at http://ADDR/metrics, for example 0.0.0.0:9464
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,

    /// Serve /healthz and /readyz at ADDR, for example 0.0.0.0:8081
    #[arg(long, value_name = "ADDR")]
    pub health_addr: Option<SocketAddr>,

    /// Receive the hits of probes over TLS at ADDR, for example 0.0.0.0:9443, under the name that the probe's configuration
    /// gives as operatorUrl. Without it no alert fires from the nodes
    #[arg(long, value_name = "ADDR")]
    pub alerts_addr: Option<SocketAddr>,

    /// Let Parseable servers call the receivers of alerts too: a second call for each event, up to a minute later
    #[arg(long)]
    pub parseable_calls_receivers: bool,

    /// Let the outbound policy of Parseable servers allow the receivers of alerts; needs admin accounts
    #[arg(long)]
    pub manage_outbound_policy: bool,

    /// Allow targets with plain http
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub allow_http_targets: bool,

    /// Hosts that targets may have, with * for any characters and an optional port; repeat for more. Without it, all
    #[arg(long, value_name = "PATTERN")]
    pub allowed_target: Vec<String>,

    /// Networks that are never called for a watch, for example 10.96.0.1/32; repeat for more
    #[arg(long, value_name = "CIDR")]
    pub denied_cidr: Vec<String>,

    /// Allow targets on loopback addresses: for tests and development only
    #[arg(long, hide = true)]
    pub allow_loopback_targets: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn http_targets_can_be_switched_off() {
        let parse = |more: &[&str]| {
            let base = ["x", "run", "--namespace", "ns", "--probe-config", "p.json"];
            let Command::Run(args) = Cli::try_parse_from(base.iter().chain(more)).unwrap().command
            else {
                panic!("not run");
            };
            args.allow_http_targets
        };
        assert!(parse(&[]));
        assert!(parse(&["--allow-http-targets"]));
        assert!(!parse(&["--allow-http-targets=false"]));
    }
}
