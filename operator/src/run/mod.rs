//! Wires the parts together: starts, waits for its turn, acts, stops.

mod gate;
mod leader;
mod watches;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use securitywatch_parseable::{GuardPolicy, TargetGuard};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::alerts;
use crate::backoff;
use crate::cli::RunArgs;
use crate::daemonset::{self, ProbeConfig};
use crate::error::within;
use crate::health::{Readiness, serve_health, serve_metrics};
use crate::lease::Candidate;
use crate::telemetry::Metrics;

/// Why the operator cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Neither a pod's ServiceAccount nor a kubeconfig.
    #[error("no way to the API server: {0}")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The chart's values.
    #[error(transparent)]
    Config(#[from] daemonset::ConfigError),
    /// `--allowed-target`, `--denied-cidr`.
    #[error(transparent)]
    Guard(#[from] securitywatch_parseable::GuardConfigError),
    /// See [`alerts::ServeError`].
    #[error(transparent)]
    Alerts(#[from] alerts::ServeError),
    /// TLS is missing.
    #[error("cannot set up HTTP for the receivers of alerts: {0}")]
    Http(#[from] reqwest::Error),
    /// The probe's configuration lacks what `--alerts-addr` needs.
    #[error(
        "--alerts-addr needs the field operatorUrl of the probe's configuration: an https URL at which probes reach this operator"
    )]
    NoOperatorUrl,
    /// `--health-addr`, `--metrics-addr`, signals, threads.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else acts now.
    #[error("the Lease is lost: this replica ends, a new one waits for its turn")]
    LeaseLost,
    /// A part that works for ever ended.
    #[error("a part of the operator ended unexpectedly")]
    Ended,
}

/// Runs until a signal or a fatal error.
#[must_use]
pub fn main(args: RunArgs) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The client tells each error twice: in its log, and as the error that is handled here.
    let filter = ["kube_client::client::builder=off", "kube_runtime=error", "hyper=warn"]
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    // Both TLS users, the API server's client and Parseable's, take this one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        warn!("Another TLS provider is installed already.");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "No threads.");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(args));
    // Nothing may go on once the Lease is lost or released.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "The operator ends.");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RunArgs) -> Result<(), RunError> {
    let probe = daemonset::load(&args.probe_config)?;
    let guard = TargetGuard::new(GuardPolicy {
        allow_http: args.allow_http_targets,
        allowed_targets: args.allowed_target.clone(),
        denied_cidrs: args.denied_cidr.clone(),
        allow_loopback: args.allow_loopback_targets,
    })?;
    let client = client().await?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(Readiness::default());
    let mut servers = serve(&args, &metrics, &readiness);
    let mut stop = Box::pin(stop_signal()?);
    let candidate =
        Candidate::new(client.clone(), &args.namespace, &args.leader_elect_lease, &args.pod_name);
    // Who waits for its turn is as ready as it can be.
    readiness.set(true);
    let lease = tokio::select! {
        lease = candidate.acquire() => lease,
        () = &mut stop => return Ok(()),
        failed = servers.join_next(), if !servers.is_empty() => return Err(server_failed(failed)),
    };
    readiness.set(false);
    metrics.leads(true);
    let result = tokio::select! {
        result = lead(&args, probe, guard, client, metrics, readiness, &mut stop) => result,
        () = candidate.hold(lease) => return Err(RunError::LeaseLost),
        failed = servers.join_next(), if !servers.is_empty() => Err(server_failed(failed)),
    };
    candidate.release().await;
    result
}

async fn lead(
    args: &RunArgs,
    probe: ProbeConfig,
    guard: TargetGuard,
    client: Client,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), RunError> {
    let cluster_id = tokio::select! {
        id = cluster_id(&client) => id,
        () = &mut *stop => return Ok(()),
    };
    leader::lead(leader::Setup { args, probe, guard, client, metrics, readiness, cluster_id }, stop)
        .await
}

async fn client() -> Result<Client, RunError> {
    let config = kube::Config::infer().await.map_err(|error| RunError::Client(Box::new(error)))?;
    info!(server = %config.cluster_url, "The API server.");
    Client::try_from(config).map_err(|error| RunError::Client(Box::new(error)))
}

/// The uid of kube-system tells one cluster from another for as long as the cluster lives.
async fn cluster_id(client: &Client) -> String {
    let api: Api<Namespace> = Api::all(client.clone());
    for failures in 1.. {
        match within("get namespace kube-system", api.get("kube-system")).await {
            Ok(namespace) => {
                if let Some(uid) = namespace.uid() {
                    return uid;
                }
            }
            Err(error) => warn!(%error, "The cluster's identity is not known yet; trying again."),
        }
        tokio::time::sleep(backoff::after(failures)).await;
    }
    String::new()
}

fn serve(
    args: &RunArgs,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
) -> JoinSet<std::io::Result<()>> {
    let mut servers = JoinSet::new();
    if let Some(address) = args.health_addr {
        servers.spawn(serve_health(address, Arc::clone(readiness)));
    }
    if let Some(address) = args.metrics_addr {
        servers.spawn(serve_metrics(address, Arc::clone(metrics)));
    }
    servers
}

fn server_failed(ended: Option<Result<std::io::Result<()>, tokio::task::JoinError>>) -> RunError {
    match ended {
        Some(Ok(Err(source))) => {
            RunError::System { what: "--health-addr or --metrics-addr", source }
        }
        _ => RunError::Ended,
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, RunError> {
    let listen = |kind| {
        signal(kind).map_err(|source| RunError::System { what: "cannot wait for signals", source })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("Stopping.");
    })
}
