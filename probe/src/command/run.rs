//! `run`: everything together, until a signal.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::alone;
use super::check::{judge, preference};
use super::documents::Documents;
use super::sensing::{Sensing, SensingError};
use super::watches::Watches;
use crate::alert::NotifySettings;
use crate::check::Report;
use crate::check::node::{Node, NodeError};
use crate::cli::{Output, RunArgs, node_name};
use crate::event_log::EventLogError;
use crate::kernel::KernelError;
use crate::local_output::{LocalOutput, Shown};
use crate::metrics::{self, Metrics, ServeError};
use crate::output::{OutputConfig, OutputError, Outputs, WatchOutput, origin};
use crate::policy::ApplyError;
use crate::secrets::Secrets;
use crate::ship::ShipSettings;

/// Where cgroups are mounted on every distribution.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Why nothing runs, or nothing runs any more.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Shown as `check` shows it.
    #[error("{0}")]
    Refused(Box<Report>),
    /// The rights to load anything are missing.
    #[error("loading BPF programs needs {}: run the probe as root, for example with sudo", .0.join(" and "))]
    Privileges(Vec<&'static str>),
    /// See [`NodeError`].
    #[error(transparent)]
    Node(#[from] NodeError),
    /// See [`KernelError`].
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// See [`EventLogError`].
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// See [`SensingError`].
    #[error(transparent)]
    Sensing(#[from] SensingError),
    /// A document that passed the check cannot be loaded.
    #[error("{title}: {source}")]
    Apply {
        /// The document.
        title: String,
        /// Why.
        source: ApplyError,
    },
    /// See [`OutputError`].
    #[error(transparent)]
    Output(#[from] OutputError),
    /// See [`ServeError`].
    #[error(transparent)]
    Metrics(#[from] ServeError),
    /// A thread, a signal handler or a socket.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::System { what, source }
}

/// Runs until a signal. Returns what is to be said at the end.
///
/// # Errors
/// A document is refused, or something cannot be started; then nothing of it stays.
pub fn run(args: RunArgs) -> Result<String, RunError> {
    let documents = Documents::read(&args.files).map_err(|problems| {
        RunError::Refused(Box::new(Report { problems, ..Report::default() }))
    })?;
    let node = Node::choose(None)?;
    let capabilities = match &node {
        Node::Untried { missing } => return Err(RunError::Privileges(missing.clone())),
        node => node.capabilities(),
    };
    let prefer = preference(args.backend);
    let mut report = judge(&documents, &node, prefer)?;
    report.problems.extend(alone::refuse(&documents));
    if !report.problems.is_empty() {
        return Err(RunError::Refused(Box::new(report)));
    }
    for (title, problem) in &report.unserved {
        let (field, message) = (&problem.path, &problem.message);
        tracing::warn!(document = title, field, "This node cannot load the policy: {message}");
        tracing::warn!(document = title, "Exec and exit events, and the alerts on them, go on");
    }
    let name = node_name(
        args.node_name.clone(),
        std::env::var("NODE_NAME").ok(),
        &rustix::system::uname().nodename().to_string_lossy(),
    );
    let runtime = tokio::runtime::Runtime::new().map_err(system("start the worker threads"))?;
    let metrics = Arc::new(Metrics::new());
    let outputs = start_outputs(&args, &documents, &name, &runtime, &metrics)?;
    if let Some(addr) = args.metrics_addr {
        let addr = runtime.block_on(metrics::serve(addr, Arc::clone(&metrics)))?;
        tracing::info!(%addr, "Metrics at /metrics");
    }

    let cgroups = Path::new(CGROUP_ROOT);
    let mut sensing =
        Sensing::start(&name, cgroups, capabilities, prefer, outputs, None, &metrics)?;
    if let Err(reason) = &sensing.pods {
        tracing::info!(reason, "Processes of pods cannot be told apart");
    }
    let mut watches = Watches::new(args.files.clone(), node, prefer);
    watches.load(&mut sensing.policies, &documents, &report)?;
    let processes = sensing.processes;
    tracing::info!(node = name, documents = documents.all.len(), processes, "Watching");
    let ready = args.ready_file.map(ReadyFile::create).transpose()?;
    runtime.block_on(until_stopped(&mut sensing, &mut watches))?;
    drop(ready);
    Ok(sensing.stop())
}

/// Everything that takes events, with what the documents and their secrets ask for.
fn start_outputs(
    args: &RunArgs,
    documents: &Documents,
    node: &str,
    runtime: &tokio::runtime::Runtime,
    metrics: &Arc<Metrics>,
) -> Result<Outputs, RunError> {
    let local = LocalOutput::start(node, shown(args), args.event_log.open()?)
        .map_err(system("start the output threads"))?;
    let secrets = Secrets::new(args.secrets.clone());
    let watches = documents
        .all
        .iter()
        .map(|document| {
            if document.suspended {
                return Ok(WatchOutput::silent(document.name.clone()));
            }
            WatchOutput::from_document(document, &secrets)
        })
        .collect::<Result<_, _>>()?;
    let config = OutputConfig {
        origin: origin(node.to_owned(), None),
        watches,
        ship: ShipSettings::default(),
        notify: NotifySettings::default(),
        on_alert: None,
        operator: None,
    };
    Ok(Outputs::start(config, Some(local), runtime.handle(), metrics)?)
}

/// Ctrl-C, SIGTERM, or nobody is left to write for. SIGHUP reads the files again.
async fn until_stopped(sensing: &mut Sensing, watches: &mut Watches) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("await SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await Ctrl-C"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("await SIGHUP"))?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = &mut sensing.ended => return Ok(()),
            _ = hangup.recv() => watches.reload(&mut sensing.policies),
        }
    }
}

/// Exists as long as every hook is attached.
struct ReadyFile(PathBuf);

impl ReadyFile {
    fn create(path: PathBuf) -> Result<Self, RunError> {
        std::fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(system(format!("create --ready-file {}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "Cannot remove the ready file");
        }
    }
}

fn shown(args: &RunArgs) -> Shown {
    match args.output {
        Output::Json => Shown::Json,
        Output::None => Shown::Nothing,
        Output::Compact => Shown::Compact {
            colors: args
                .color
                .colors(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref()),
            timestamps: args.timestamps,
        },
    }
}
