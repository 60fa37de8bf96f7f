//! `run`: everything together, until a signal.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::check::{judge, preference};
use super::documents::Documents;
use crate::check::Report;
use crate::check::node::{Node, NodeError};
use crate::cli::{Output, RunArgs, node_name};
use crate::event_log::{EventLog, EventLogError, EventLogOptions};
use crate::kernel::KernelError;
use crate::loader::{self, LoadError, Sizes};
use crate::local_output::{LocalCounts, LocalOutput, Shown};
use crate::policy::{ApplyError, PolicySet};
use crate::process_cache::ProcessCache;
use crate::sensor::{self, Loss, SensorStats, seed_processes};
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
    if report.is_refused() {
        return Err(RunError::Refused(Box::new(report)));
    }
    let name = node_name(
        args.node_name.clone(),
        std::env::var("NODE_NAME").ok(),
        &rustix::system::uname().nodename().to_string_lossy(),
    );
    let local = LocalOutput::start(&name, shown(&args), event_log(&args)?)
        .map_err(system("start the output threads"))?;
    let counts = local.counts();

    let sizes = Sizes::for_memory(memory_bytes());
    let (lifecycle, maps) = loader::load_lifecycle(sizes)?;
    let mut cache = ProcessCache::new(&name, sensor::boot_wall_ns());
    let processes = seed_processes(Path::new("/proc"), &mut cache, &maps.processes);
    let mut policies = PolicySet::new(maps, capabilities, prefer);
    for (watch, document) in
        documents.all.iter().enumerate().filter(|(_, document)| !document.suspended)
    {
        let Some(policy) = &document.policy else { continue };
        policies
            .apply(&document.title(), policy, watch)
            .map_err(|source| RunError::Apply { title: document.title(), source })?;
    }
    let runtime = tokio::runtime::Runtime::new().map_err(system("start the worker threads"))?;
    let (reader, ended) = Reader::start(policies.maps(), sizes, cache, policies.table(), local)?;
    tracing::info!(node = name, documents = documents.all.len(), processes, "Watching");
    let ready = args.ready_file.map(ReadyFile::create).transpose()?;
    runtime.block_on(until_stopped(ended))?;
    drop(ready);
    // Detached first: what is in the rings then is all there will be.
    drop((policies, lifecycle));
    let stats = reader.stop();
    Ok(summary(&stats, &counts))
}

/// Ctrl-C, SIGTERM, or nobody is left to write for.
async fn until_stopped(ended: tokio::sync::oneshot::Receiver<()>) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("await SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("await Ctrl-C"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = ended => {}
    }
    Ok(())
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

/// One line for what was seen, and one for each cause of loss.
fn summary(stats: &SensorStats, counts: &LocalCounts) -> String {
    let mut text = format!("seen     {} events\n", stats.events);
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("dropped  {count} {what}\n"));
        }
    };
    for (cause, count) in Loss::ALL.iter().zip(stats.lost) {
        line(count, cause.as_str());
    }
    line(stats.undecodable, "undecodable");
    line(counts.lost_in_event_log(), "event_log (not written to the event log)");
    line(counts.lost_on_stdout(), "stdout (not shown)");
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
