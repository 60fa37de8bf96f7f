//! `run`: everything together, until a signal.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::check::{judge, preference};
use super::documents::Documents;
use super::watches::Watches;
use crate::alert::NotifySettings;
use crate::check::Report;
use crate::check::node::{Node, NodeError};
use crate::cli::{Output, RunArgs, node_name};
use crate::event_log::{EventLog, EventLogError, EventLogOptions};
use crate::kernel::KernelError;
use crate::loader::{self, LoadError, Sizes};
use crate::local_output::{LocalOutput, Shown};
use crate::metrics::{self, Metrics, ServeError};
use crate::output::{OutputConfig, OutputError, Outputs, Summary, WatchOutput, origin};
use crate::policy::{ApplyError, PolicySet};
use crate::process_cache::ProcessCache;
use crate::secrets::Secrets;
use crate::sensor::{self, Loss, SensorStats, seed_processes};
use crate::ship::ShipSettings;
use reader::Reader;

mod reader;

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
    /// The trial worked and the real program did not.
    #[error("{0}")]
    Load(#[from] LoadError),
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
    /// The kernel refuses to map a ring.
    #[error("cannot open the ring buffers: {0}")]
    Rings(#[source] libbpf_rs::Error),
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
    let report = judge(&documents, &node, prefer)?;
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

    let sizes = Sizes::for_memory(memory_bytes());
    let (lifecycle, maps) = loader::load_lifecycle(sizes)?;
    let mut cache = ProcessCache::new(&name, sensor::boot_wall_ns());
    let processes = seed_processes(Path::new("/proc"), &mut cache, &maps.processes);
    let policies = PolicySet::new(maps, capabilities, prefer);
    let (reader, ended) = Reader::start(
        policies.maps(),
        sizes,
        cache,
        policies.table(),
        outputs,
        Arc::clone(&metrics),
    )?;
    // From here on somebody reads the rings, so a long load of many hooks loses nothing.
    let mut watches = Watches::new(policies, args.files.clone(), node, prefer);
    watches.load(&documents, &report)?;
    tracing::info!(node = name, documents = documents.all.len(), processes, "Watching");
    let ready = args.ready_file.map(ReadyFile::create).transpose()?;
    runtime.block_on(until_stopped(ended, &mut watches))?;
    drop(ready);
    // Detached first: what is in the rings then is all there will be.
    drop((watches, lifecycle));
    let (stats, summary) = reader.stop();
    Ok(closing_words(&stats, summary))
}

/// Everything that takes events, with what the documents and their secrets ask for.
fn start_outputs(
    args: &RunArgs,
    documents: &Documents,
    node: &str,
    runtime: &tokio::runtime::Runtime,
    metrics: &Arc<Metrics>,
) -> Result<Outputs, RunError> {
    let local = LocalOutput::start(node, shown(args), event_log(args)?)
        .map_err(system("start the output threads"))?;
    let secrets = Secrets::new(args.secrets.clone());
    let watches = documents
        .all
        .iter()
        .map(|document| {
            if document.suspended {
                let (name, alerts) = (document.name.clone(), Vec::new());
                return Ok(WatchOutput { name, target: None, sees_all: false, alerts });
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
    };
    Ok(Outputs::start(config, Some(local), runtime.handle(), metrics)?)
}

/// Ctrl-C, SIGTERM, or nobody is left to write for. SIGHUP reads the files again.
async fn until_stopped(
    mut ended: tokio::sync::oneshot::Receiver<()>,
    watches: &mut Watches,
) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("await SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await Ctrl-C"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("await SIGHUP"))?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = &mut ended => return Ok(()),
            _ = hangup.recv() => watches.reload(),
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

/// What became of everything, and one line for each cause of loss before the outputs.
fn closing_words(stats: &SensorStats, summary: Option<Summary>) -> String {
    let mut text = summary.map_or_else(String::new, |summary| format!("{summary}\n"));
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("dropped {count} events before the outputs: {what}\n"));
        }
    };
    for (cause, count) in Loss::ALL.iter().zip(stats.lost) {
        line(count, cause.as_str());
    }
    line(stats.undecodable, "undecodable");
    text
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

fn event_log(args: &RunArgs) -> Result<Option<EventLog>, EventLogError> {
    let options = args.event_log.clone().map(|path| EventLogOptions {
        path,
        max_size_bytes: args.event_log_max_size_bytes(),
        max_files: args.event_log_max_files,
    });
    options.map(EventLog::open).transpose()
}

fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the field is 32 bits wide on some machines")]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}
