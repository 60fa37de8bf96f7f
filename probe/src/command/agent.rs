//! `agent`: the probe of one node of a cluster.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::check::preference;
use super::sensing::Sensing;
use crate::agent::health::{self, Health, HealthError};
use crate::agent::write::{Wanted, Writer};
use crate::alert::{NotifySettings, OperatorSettings};
use crate::capabilities::{Capabilities, Support};
use crate::check::node::{Node, NodeError};
use crate::cli::{AgentArgs, node_name};
use crate::local_output::{LocalOutput, Shown};
use crate::metrics::{self, Metrics, ServeError};
use crate::output::{OutputConfig, OutputControl, OutputError, Outputs, origin};
use crate::pods::Pods;
use crate::pods::follow::follow;
use crate::pods::runtime::HOST_ROOT;
use crate::ship::{Backoff, ShipSettings};
use crate::trouble::Troubles;
use book::Book;
use round::Round;

mod book;
mod round;

/// What may wait in the queues of all streams together.
const SPOOL_BYTES: usize = 64 << 20;
/// Accounts, shipping and losses are looked at this often.
const LOOK: Duration = Duration::from_secs(2);
/// Policies that failed are tried again this often.
const RETRY: Duration = Duration::from_secs(300);
/// Several replicas stand behind the operator's Service, and those that wait for their turn refuse at once.
const REPORT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// How long a stop waits for the last report.
const LAST_REPORT: Duration = Duration::from_secs(5);
/// A connection to the API server that is silent for longer is taken for dead: its watches say something each minute.
const API_SILENCE: Duration = Duration::from_secs(150);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The rights to load anything are missing.
    #[error("loading BPF programs needs {}: run the probe as root, or give its container these capabilities", .0.join(" and "))]
    Privileges(Vec<&'static str>),
    /// The host's name is not always the node's, and in a pod never.
    #[error(
        "which node is this? Give --node-name NAME, or set NODE_NAME, to the name of its Node object"
    )]
    NoName,
    /// See [`NodeError`].
    #[error(transparent)]
    Node(#[from] NodeError),
    /// There is no way to the API server.
    #[error(
        "cannot tell how to reach the API server: {0}; run in a pod with a ServiceAccount token, or set KUBECONFIG"
    )]
    Config(#[from] kube::config::InferConfigError),
    /// What the configuration names cannot be used.
    #[error("cannot set up the connection to the API server: {0}")]
    Client(#[from] kube::Error),
    /// See [`OutputError`].
    #[error(transparent)]
    Output(#[from] OutputError),
    /// See [`ServeError`].
    #[error(transparent)]
    Metrics(#[from] ServeError),
    /// See [`HealthError`].
    #[error(transparent)]
    Health(#[from] HealthError),
    /// A thread, a signal handler or a socket.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// Whether this node sees anything.
enum Kernel {
    Seen(Box<Sensing>),
    /// It cannot, and why.
    Blind(String),
}

/// Runs until a signal. Returns what is to be said at the end.
///
/// # Errors
/// Something cannot be started. What the cluster's objects ask for is never a reason.
pub fn agent(args: AgentArgs) -> Result<String, AgentError> {
    let name = node_name(args.node_name.clone(), std::env::var("NODE_NAME").ok(), "");
    if name.is_empty() {
        return Err(AgentError::NoName);
    }
    let capabilities = match Node::choose(None)? {
        Node::Untried { missing } => return Err(AgentError::Privileges(missing)),
        node => node.capabilities(),
    };
    let runtime = Runtime::new().map_err(system("start the worker threads"))?;
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::default());
    runtime.block_on(serve(&args, &metrics, &health))?;
    let troubles = Troubles::default();
    let (outputs, mut control) = start_outputs(&args, &name, &runtime, &metrics, &troubles)?;
    control.share_spool(SPOOL_BYTES);
    let (client, own_namespace) = runtime.block_on(connect())?;
    let pods = start_pods(&runtime, &client, &name)?;
    let mut kernel = sense(&args, &name, &capabilities, outputs, &pods, &metrics);
    let (report, wanted) = watch::channel(Wanted::default());
    let mut round = Round::new(&args, &name, capabilities, own_namespace, &kernel, pods, metrics);
    round.tell_troubles(troubles.clone());
    let writer = Writer::new(&client, name);
    let writing = runtime.spawn(writer.run(wanted, args.report_jitter));
    let (stop, stopped) = oneshot::channel();
    let keeping = args.state.clone().map(|folder| {
        let (book, past) = Book::open(folder, control.waiting(), troubles);
        round.tell_of(past);
        runtime.spawn(book.keep(stopped))
    });
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        round.watch(client);
        run(&mut kernel, &mut round, &mut control, &report, &health, &mut signals).await;
        Ok::<(), AgentError>(())
    })?;
    let summary = match kernel {
        Kernel::Seen(sensing) => sensing.stop(),
        Kernel::Blind(_) => String::new(),
    };
    drop(stop);
    if let Some(keeping) = keeping {
        // It writes a page, and nothing else.
        let _ = runtime.block_on(keeping);
    }
    // Nothing is watched any more, and the report must not say that it is.
    let _ = report.send(Wanted { status: Some(round.stopped(&control)), last: true });
    let written = runtime.block_on(async { tokio::time::timeout(LAST_REPORT, writing).await });
    if written.is_err() {
        tracing::warn!(
            "The API server did not take the last report: it still says that this node watches"
        );
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(summary)
}

/// Looks at the objects, the accounts and the state of things until a signal.
async fn run(
    kernel: &mut Kernel,
    round: &mut Round,
    control: &mut OutputControl,
    report: &watch::Sender<Wanted>,
    health: &Health,
    signals: &mut Signals,
) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retried = Instant::now();
    loop {
        tokio::select! {
            () = signals.any() => return,
            () = ended(kernel) => {
                tracing::error!("Events are no longer read; the probe stops");
                return;
            }
            () = round.changed() => {}
            _ = look.tick() => {}
        }
        if retried.elapsed() >= RETRY {
            retried = Instant::now();
            round.retry_failed();
        }
        loop {
            round.look(control);
            let more = match kernel {
                Kernel::Seen(sensing) => round.step(&mut sensing.policies),
                Kernel::Blind(_) => false,
            };
            if round.is_settled() {
                health.ready();
            } else {
                health.waits_for(round.waits_for());
            }
            if let Some(status) = round.report(control, Timestamp::now()) {
                let _ = report.send(Wanted { status: Some(status), last: false });
            }
            if !more {
                break;
            }
            // A long row of loads must not keep signals and the writer waiting.
            tokio::task::yield_now().await;
            if signals.is_due() {
                return;
            }
        }
    }
}

/// The reader ended by itself.
async fn ended(kernel: &mut Kernel) {
    match kernel {
        Kernel::Seen(sensing) => {
            let _ = (&mut sensing.ended).await;
        }
        Kernel::Blind(_) => std::future::pending().await,
    }
}

async fn serve(
    args: &AgentArgs,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> Result<(), AgentError> {
    health.waits_for("the start of the probe");
    if let Some(addr) = args.health_addr {
        let addr = health::serve(addr, Arc::clone(health)).await?;
        tracing::info!(%addr, "Health at /healthz and /readyz");
    }
    if let Some(addr) = args.metrics_addr {
        let addr = metrics::serve(addr, Arc::clone(metrics)).await?;
        tracing::info!(%addr, "Metrics at /metrics");
    }
    Ok(())
}

/// A client and the namespace it lives in.
async fn connect() -> Result<(kube::Client, String), AgentError> {
    let mut config = kube::Config::infer().await?;
    // Whoever asks has its own patience; the client's would hold a request for many minutes.
    config.default_retry = false;
    config.read_timeout = Some(API_SILENCE);
    let namespace = config.default_namespace.clone();
    let server = config.cluster_url.to_string();
    let client = kube::Client::try_from(config)?;
    tracing::info!(server, namespace, "API server");
    Ok((client, namespace))
}

/// Where hits are reported.
fn operator(args: &AgentArgs, node: &str, troubles: &Troubles) -> Option<OperatorSettings> {
    let (Some(url), Some(token)) = (&args.operator_url, &args.operator_token) else {
        tracing::warn!("No --operator-url: alerts do not fire from this node");
        return None;
    };
    tracing::info!(%url, "Hits of alerts are reported to the operator");
    Some(OperatorSettings {
        url: url.clone(),
        token: token.clone(),
        certificate: args.operator_ca.clone(),
        node: node.to_owned(),
        folder: args.state.clone(),
        troubles: troubles.clone(),
        backoff: REPORT_BACKOFF,
    })
}

fn start_outputs(
    args: &AgentArgs,
    name: &str,
    runtime: &Runtime,
    metrics: &Arc<Metrics>,
    troubles: &Troubles,
) -> Result<(Outputs, OutputControl), AgentError> {
    let log = args.event_log.open_or_try_again(troubles);
    let local = LocalOutput::start(name, Shown::Nothing, log)
        .map_err(system("start the output threads"))?;
    let config = OutputConfig {
        origin: origin(name.to_owned(), args.cluster_name.clone()),
        watches: Vec::new(),
        ship: ShipSettings::default(),
        notify: NotifySettings::default(),
        on_alert: None,
        operator: operator(args, name, troubles),
    };
    Ok(Outputs::start_exchangeable(config, Some(local), runtime.handle(), metrics)?)
}

/// Followed before anything is seen: the pods that are there are known when their processes are.
fn start_pods(runtime: &Runtime, client: &kube::Client, node: &str) -> Result<Pods, AgentError> {
    let pods = Pods::default();
    pods.read_runtime(Path::new(HOST_ROOT)).map_err(system("start the reader of bundles"))?;
    runtime.spawn(follow(client.clone(), node.to_owned(), pods.clone()));
    Ok(pods)
}

/// A node whose kernel cannot do it reports that, instead of starting again and again.
fn sense(
    args: &AgentArgs,
    name: &str,
    capabilities: &Capabilities,
    outputs: Outputs,
    pods: &Pods,
    metrics: &Arc<Metrics>,
) -> Kernel {
    let blind = |why: String| {
        tracing::error!("This node sees nothing: {why}");
        Kernel::Blind(why)
    };
    if let (Support::No { reason }, _) | (_, Support::No { reason }) =
        (&capabilities.btf, &capabilities.lifecycle)
    {
        let kernel = &capabilities.kernel;
        return blind(format!(
            "kernel {kernel} cannot run the probe: {reason}; it needs Linux 5.10 or newer with BTF"
        ));
    }
    let prefer = preference(args.backend);
    let root = &args.cgroup_root;
    let pods = Some(pods);
    match Sensing::start(name, root, capabilities.clone(), prefer, outputs, pods, metrics) {
        Ok(sensing) => {
            tracing::info!(node = name, processes = sensing.processes, "Watching");
            Kernel::Seen(Box::new(sensing))
        }
        Err(error) => blind(error.to_string()),
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    came: bool,
}

impl Signals {
    fn new() -> Result<Self, AgentError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(system("await SIGTERM"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(system("await Ctrl-C"))?,
            came: false,
        })
    }

    async fn any(&mut self) {
        if !self.came {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
        self.came = true;
    }

    /// Whether one has come, without waiting.
    fn is_due(&mut self) -> bool {
        use futures::FutureExt as _;
        self.came = self.came || self.any().now_or_never().is_some();
        self.came
    }
}
