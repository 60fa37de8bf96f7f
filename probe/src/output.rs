//! Where events go: this machine's outputs, the streams of the watches, and their alerts.

use crate::alert::{
    self, AlertEngine, AlertReport, NotifyError, NotifySettings, OperatorSettings, ReportHook,
};
use crate::encode::compact::AlertLine;
use crate::encode::flatten::{Origin, flatten};
use crate::encode::rfc3339::Rfc3339;
use crate::event::{Action, Body, Event};
use crate::local_output::{AlertView, LocalOutput};
use crate::metrics::{KindLabel, Metrics};
use crate::secrets::SecretError;
use crate::ship::{ShipSettings, ShipState, ShipSummary, Shipper, TargetError};
use crate::spool::Class;
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

mod control;
mod streams;
mod summary;
mod watch;

use control::{Exchange, StreamId};
pub use control::{MAX_STREAMS, OutputControl, Waiting};
pub use summary::Summary;
pub use watch::{Scope, WatchOutput};

/// All outputs of a run.
#[derive(Clone)]
pub struct OutputConfig {
    pub origin: Origin,
    /// Indexed as [`crate::event::Hook::watch`].
    pub watches: Vec<WatchOutput>,
    pub ship: ShipSettings,
    pub notify: NotifySettings,
    /// Told of each alert call's end, beside the compact view.
    pub on_alert: Option<ReportHook>,
    /// Where hits are reported, in a cluster.
    pub operator: Option<OperatorSettings>,
}

/// Why the outputs of a document cannot be started; each message names the document or field.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{watch}: {source}")]
    Alert { watch: String, source: alert::ArmError },
    #[error("{watch}: spec.target.parseable.{field}: {source}")]
    Secret { watch: String, field: &'static str, source: SecretError },
    #[error("{watch}: {source}")]
    Target { watch: String, source: Arc<TargetError> },
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

/// Where this run's events come from: a name for the node, its boot, and a fresh `run_id`.
#[must_use]
pub fn origin(node_name: String, cluster: Option<String>) -> Origin {
    // Absent only where /proc is not mounted, and there no sensor runs; rows then have no boot_id.
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Origin {
        node_name,
        cluster,
        boot_id: boot_id.trim().to_owned(),
        run_id: format!("{:016x}", fastrand::u64(..)),
    }
}

/// Takes events in the sensor's thread; nothing here waits for a disk, a terminal or the network.
pub struct Outputs {
    origin: Origin,
    clock: Rfc3339,
    local: Option<LocalOutput>,
    streams: Vec<Stream>,
    /// By watch.
    routes: Vec<Option<Route>>,
    changes: Receiver<Exchange>,
    /// Streams that nobody wants any more, until what waits in them is sent.
    ending: JoinSet<ShipSummary>,
    alerts: AlertEngine,
    counters: Counters,
    /// Kept between rows for their memory.
    buffer: Vec<u8>,
    json: Vec<u8>,
    /// Read at each tick and every few events: reading the clock costs as much as a column.
    now: Instant,
    since_clock: u32,
    rt: Handle,
    metrics: Arc<Metrics>,
}

/// A stream with the scopes of its watches.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    shipper: Shipper,
    scopes: Vec<Scope>,
}

impl Stream {
    fn admits(&self, event: &Event) -> bool {
        self.scopes.iter().any(|scope| scope.admits(event))
    }
}

/// Where the events of a watch's hooks go: a place in the list of streams.
#[derive(Debug)]
struct Route {
    stream: usize,
    scope: Scope,
}

struct Counters {
    exec: Counter,
    exit: Counter,
    kprobe: Counter,
}

/// The cause of losses of the event log.
pub const EVENT_LOG: &str = "event_log";
const EVENTS_PER_CLOCK_READ: u32 = 64;
/// How long a stream that nobody wants any more may take to send what waits in it.
const ENDING_PATIENCE: Duration = Duration::from_secs(10);

impl Outputs {
    /// Starts shipping and alerting; servers that do not answer are no error here. `local` stays what it is.
    ///
    /// # Errors
    /// What cannot work as it is written.
    pub fn start(
        config: OutputConfig,
        local: Option<LocalOutput>,
        rt: &Handle,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, OutputError> {
        Self::start_exchangeable(config, local, rt, metrics).map(|(outputs, _)| outputs)
    }

    /// The same, with the means to exchange the watches' targets later.
    ///
    /// # Errors
    /// What cannot work as it is written.
    pub fn start_exchangeable(
        config: OutputConfig,
        local: Option<LocalOutput>,
        rt: &Handle,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, OutputControl), OutputError> {
        let (mut control, changes) =
            OutputControl::new(config.ship, config.origin.clone(), rt.clone(), Arc::clone(metrics));
        let numbered: Vec<_> = config.watches.iter().cloned().enumerate().collect();
        let (first, errors) = control.prepare(&numbered);
        if let Some((_, error)) = errors.into_iter().next() {
            return Err(error);
        }
        let on_alert =
            report_hook(local.as_ref().and_then(LocalOutput::alerts), config.on_alert.clone());
        let watches = watch::watch_alerts(config.watches);
        let alerts =
            AlertEngine::start(watches, config.notify, on_alert, config.operator, rt, metrics)?;
        let counter = |kind| metrics.events.get_or_create_owned(&KindLabel { kind });
        let mut outputs = Self {
            origin: config.origin,
            clock: Rfc3339::default(),
            local,
            streams: Vec::new(),
            routes: Vec::new(),
            changes,
            ending: JoinSet::new(),
            alerts,
            counters: Counters {
                exec: counter("process_exec"),
                exit: counter("process_exit"),
                kprobe: counter("process_kprobe"),
            },
            buffer: Vec::new(),
            json: Vec::new(),
            now: Instant::now(),
            since_clock: 0,
            rt: rt.clone(),
            metrics: Arc::clone(metrics),
        };
        outputs.exchange(first);
        Ok((outputs, control))
    }

    /// Takes over the new state; streams that are not in it end in the background.
    fn exchange(&mut self, exchange: Exchange) {
        let mut before: HashMap<StreamId, Shipper> =
            self.streams.drain(..).map(|stream| (stream.id, stream.shipper)).collect();
        for placed in exchange.streams {
            let id = placed.id;
            if let Some(shipper) = placed.new.or_else(|| before.remove(&id)) {
                self.streams.push(Stream { id, shipper, scopes: placed.scopes });
            }
        }
        let place = |id| self.streams.iter().position(|stream| stream.id == id);
        let placed = |route: control::Route| {
            Some(Route { stream: place(route.stream)?, scope: route.scope })
        };
        self.routes = exchange.by_watch.into_iter().map(|route| route.and_then(placed)).collect();
        if let Some(alerts) = exchange.alerts {
            self.alerts.exchange(alerts, self.now);
        }
        let deadline = Instant::now() + ENDING_PATIENCE;
        for shipper in before.into_values() {
            self.ending.spawn_on(shipper.finish(deadline), &self.rt);
        }
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        if let Some(local) = &mut self.local {
            local.event(event);
        }
        let (counter, watch) = match &event.body {
            Body::Exec => (&self.counters.exec, None),
            Body::Exit(_) => (&self.counters.exit, None),
            Body::Kprobe(kprobe) => (&self.counters.kprobe, Some(kprobe.hook.watch)),
        };
        counter.inc();
        let taken = match watch {
            None => self.streams.iter().any(|stream| stream.admits(event)),
            Some(watch) => self.route(watch, event).is_some(),
        };
        if !taken && self.alerts.is_idle() {
            return;
        }
        self.since_clock += 1;
        if self.since_clock >= EVENTS_PER_CLOCK_READ {
            self.since_clock = 0;
            self.now = Instant::now();
        }
        let row = flatten(event, &self.origin, &mut self.clock, std::mem::take(&mut self.buffer));
        self.alerts.judge(&row, event, watch, self.now);
        if taken {
            self.json.clear();
            row.write_open(&mut self.json);
        }
        self.buffer = row.into_buffer();
        if taken {
            self.ship(watch, event);
        }
    }

    /// Appends the row in `json` to each stream that takes it.
    fn ship(&mut self, watch: Option<usize>, event: &Event) {
        let (class, json, now) = (class(event), self.json.as_slice(), self.now);
        match watch {
            None => {
                for stream in self.streams.iter_mut().filter(|stream| stream.admits(event)) {
                    stream.shipper.append(json, class, event.time, now);
                }
            }
            Some(watch) => {
                if let Some(place) = self.route(watch, event) {
                    self.streams[place].shipper.append(json, class, event.time, now);
                }
            }
        }
    }

    /// The stream that takes an event of this watch's hooks.
    fn route(&self, watch: usize, event: &Event) -> Option<usize> {
        let route = self.routes.get(watch)?.as_ref()?;
        route.scope.admits(event).then_some(route.stream)
    }

    /// Hands over what is old enough; to be called every 10 to 50 ms, also when there are no events.
    pub fn tick(&mut self) {
        self.now = Instant::now();
        self.since_clock = 0;
        if let Some(local) = &mut self.local {
            local.flush();
            let lost = local.newly_lost();
            if lost > 0 {
                self.metrics.lost(EVENT_LOG, lost);
            }
        }
        for stream in &mut self.streams {
            stream.shipper.tick(self.now);
        }
        self.alerts.tick(self.now);
        if let Ok(mut exchange) = self.changes.try_recv() {
            let done = exchange.done.take();
            self.exchange(exchange);
            drop(done);
        }
        while let Some(ended) = self.ending.try_join_next() {
            if let Ok(summary) = ended {
                tracing::info!(stream = summary.stream, "No longer shipped to: {summary}");
            }
        }
    }

    /// How shipping stands, by stream, with the counts so far.
    #[must_use]
    pub fn shipping(&self) -> Vec<(ShipState, ShipSummary)> {
        self.streams.iter().map(|s| (s.shipper.state(), s.shipper.summary())).collect()
    }

    /// Whether nobody takes the events any more: standard output was closed, and nothing else is asked for.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        let local = self.local.as_ref().is_some_and(LocalOutput::is_unread);
        local && self.streams.is_empty() && self.alerts.is_idle()
    }

    /// Sends what is left, for at most `patience`, and says what became of everything. Not to be called from a thread of
    /// the runtime.
    #[must_use]
    pub fn finish(mut self, patience: Duration) -> Summary {
        self.tick();
        let deadline = Instant::now() + patience;
        let shipping =
            futures::future::join_all(self.streams.into_iter().map(|s| s.shipper.finish(deadline)));
        // Each of these has a deadline of its own, which is no later.
        let ending = async { while self.ending.join_next().await.is_some() {} };
        let (streams, alerts, ()) = self
            .rt
            .block_on(async { futures::join!(shipping, self.alerts.finish(deadline), ending) });
        let counts = self.local.as_ref().map(LocalOutput::counts);
        if let Some(local) = self.local {
            local.stop(patience);
        }
        Summary {
            exec: self.counters.exec.get(),
            exit: self.counters.exit.get(),
            kprobe: self.counters.kprobe.get(),
            streams,
            alerts,
            lost_on_stdout: counts.as_ref().map_or(0, |c| c.lost_on_stdout()),
            lost_in_event_log: counts.as_ref().map_or(0, |c| c.lost_in_event_log()),
        }
    }
}

/// What must not be lost for a flood of something else: the life of processes, and what was done to them.
fn class(event: &Event) -> Class {
    match &event.body {
        Body::Kprobe(kprobe) if kprobe.action == Action::Post => Class::Telemetry,
        _ => Class::Lifecycle,
    }
}

fn report_hook(view: Option<AlertView>, other: Option<ReportHook>) -> Option<ReportHook> {
    let Some(view) = view else { return other };
    Some(Arc::new(move |report: &AlertReport| {
        view.show(&AlertLine {
            name: &report.alert,
            severity: report.severity,
            message: &report.message,
            outcome: &report.to_string(),
        });
        if let Some(other) = &other {
            other(report);
        }
    }))
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outputs")
            .field("streams", &self.streams)
            .field("alerts", &self.alerts)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for OutputConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputConfig").field("watches", &self.watches).finish_non_exhaustive()
    }
}
