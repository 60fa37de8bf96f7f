//! Where events go: this machine's outputs, the streams of the watches, and their alerts.

use crate::alert::{
    self, Alert, AlertEngine, AlertReport, AlertSummary, NotifyError, NotifySettings, ReportHook,
    WatchAlerts, arm,
};
use crate::encode::compact::AlertLine;
use crate::encode::flatten::{Origin, Row, flatten};
use crate::encode::rfc3339::Rfc3339;
use crate::event::{Action, Body, Event};
use crate::local_output::{AlertView, LocalOutput};
use crate::metrics::{KindLabel, Metrics};
use crate::secrets::{SecretError, Secrets};
use crate::ship::{self, Credentials, ShipSettings, ShipState, ShipSummary, Shipper, TargetError};
use crate::spool::Class;
use prometheus_client::metrics::counter::Counter;
use securitywatch_api::document::{Document, Kind};
use securitywatch_api::v1alpha1::SecretRef;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What one watch asks of the outputs.
#[derive(Debug, Clone)]
pub struct WatchOutput {
    pub name: String,
    pub target: Option<ship::Target>,
    /// See [`WatchAlerts::sees_all`].
    pub sees_all: bool,
    pub alerts: Vec<Alert>,
}

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
}

/// Why the outputs of a document cannot be started; each message names the document or field.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{watch}: {source}")]
    Alert { watch: String, source: alert::ArmError },
    #[error("{watch}: spec.target.parseable.{field}: {source}")]
    Secret { watch: String, field: &'static str, source: SecretError },
    #[error("{watch}: {source}")]
    Target { watch: String, source: TargetError },
    #[error(transparent)]
    Notify(#[from] NotifyError),
}

impl WatchOutput {
    /// Reads what a document's target and alerts need from `secrets`.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to create or mend.
    pub fn from_document(document: &Document, secrets: &Secrets) -> Result<Self, OutputError> {
        let watch = || document.title();
        let account = |field, secret: &Option<SecretRef>| {
            let read = |s: &SecretRef| Credentials::from_secret(secrets, &s.secret_name);
            secret.as_ref().map(read).transpose().map_err(|source| OutputError::Secret {
                watch: watch(),
                field,
                source,
            })
        };
        let target = match &document.parseable {
            None => None,
            Some(parseable) => {
                let management = account("credentials", &parseable.credentials)?;
                let ingest = account("ingestCredentials", &parseable.ingest_credentials)?;
                Some(ship::Target {
                    url: parseable.url.as_str().trim_end_matches('/').to_owned(),
                    stream: parseable.stream.clone(),
                    retention_days: parseable.retention_days,
                    credentials: ingest.or_else(|| management.clone()).unwrap_or_default(),
                    management,
                })
            }
        };
        let alerts = document.alerts.iter().map(|a| arm(a, secrets)).collect::<Result<_, _>>();
        let alerts = alerts.map_err(|source| OutputError::Alert { watch: watch(), source })?;
        let sees_all = document.kind == Kind::AlertsV1;
        Ok(Self { name: document.name.clone(), target, sees_all, alerts })
    }
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
    shippers: Vec<Shipper>,
    /// By watch: its shipper's number.
    shipper_of: Vec<Option<usize>>,
    alerts: AlertEngine,
    counters: Counters,
    /// Kept between rows for their memory.
    buffer: Vec<u8>,
    json: Vec<u8>,
    /// Read at each tick and every few events: reading the clock costs as much as a column.
    now: Instant,
    since_clock: u32,
    rt: Handle,
}

struct Counters {
    exec: Counter,
    exit: Counter,
    kprobe: Counter,
}

const EVENTS_PER_CLOCK_READ: u32 = 64;

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
        let (shippers, shipper_of) = start_shippers(&config, rt, metrics)?;
        let on_alert =
            report_hook(local.as_ref().and_then(LocalOutput::alerts), config.on_alert.clone());
        let watches = watch_alerts(config.watches);
        let alerts = AlertEngine::start(watches, config.notify, on_alert, rt, metrics)?;
        let counter = |kind| metrics.events.get_or_create_owned(&KindLabel { kind });
        Ok(Self {
            origin: config.origin,
            clock: Rfc3339::default(),
            local,
            shippers,
            shipper_of,
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
        })
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
        if self.shippers.is_empty() && self.alerts.is_idle() {
            return;
        }
        self.since_clock += 1;
        if self.since_clock >= EVENTS_PER_CLOCK_READ {
            self.since_clock = 0;
            self.now = Instant::now();
        }
        let row = flatten(event, &self.origin, &mut self.clock, std::mem::take(&mut self.buffer));
        self.alerts.judge(&row, watch, event.time, self.now);
        let shippers = match watch {
            None => self.shippers.as_mut_slice(),
            Some(watch) => match self.shipper_of.get(watch).copied().flatten() {
                Some(number) => &mut self.shippers[number..=number],
                None => &mut [],
            },
        };
        ship(shippers, &mut self.json, &row, event, self.now);
        self.buffer = row.into_buffer();
    }

    /// Hands over what is old enough; to be called every 10 to 50 ms, also when there are no events.
    pub fn tick(&mut self) {
        self.now = Instant::now();
        self.since_clock = 0;
        if let Some(local) = &mut self.local {
            local.flush();
        }
        for shipper in &mut self.shippers {
            shipper.tick(self.now);
        }
        self.alerts.tick(self.now);
    }

    /// How shipping stands, by stream, with the counts so far.
    #[must_use]
    pub fn shipping(&self) -> Vec<(ShipState, ShipSummary)> {
        self.shippers.iter().map(|s| (s.state(), s.summary())).collect()
    }

    /// Whether nobody takes the events any more: standard output was closed, and nothing else is asked for.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        let local = self.local.as_ref().is_some_and(LocalOutput::is_unread);
        local && self.shippers.is_empty() && self.alerts.is_idle()
    }

    /// Sends what is left, for at most `patience`, and says what became of everything. Not to be called from a thread of
    /// the runtime.
    #[must_use]
    pub fn finish(mut self, patience: Duration) -> Summary {
        self.tick();
        let deadline = Instant::now() + patience;
        let shipping =
            futures::future::join_all(self.shippers.into_iter().map(|s| s.finish(deadline)));
        let (streams, alerts) =
            self.rt.block_on(async { futures::join!(shipping, self.alerts.finish(deadline)) });
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

fn ship(shippers: &mut [Shipper], json: &mut Vec<u8>, row: &Row<'_>, event: &Event, now: Instant) {
    if shippers.is_empty() {
        return;
    }
    json.clear();
    row.write_open(json);
    for shipper in shippers {
        shipper.append(json, class(event), event.time, now);
    }
}

/// What must not be lost for a flood of something else: the life of processes, and what was done to them.
fn class(event: &Event) -> Class {
    match &event.body {
        Body::Kprobe(kprobe) if kprobe.action == Action::Post => Class::Telemetry,
        _ => Class::Lifecycle,
    }
}

type Started = (Vec<Shipper>, Vec<Option<usize>>);

/// One shipper for each stream, however many watches name it.
fn start_shippers(
    config: &OutputConfig,
    rt: &Handle,
    metrics: &Arc<Metrics>,
) -> Result<Started, OutputError> {
    let mut targets: Vec<ship::Target> = Vec::new();
    let mut shippers = Vec::new();
    let mut shipper_of = Vec::new();
    for watch in &config.watches {
        let Some(target) = &watch.target else {
            shipper_of.push(None);
            continue;
        };
        let known =
            targets.iter().position(|t| (&t.url, &t.stream) == (&target.url, &target.stream));
        if let Some(number) = known {
            if targets[number].retention_days != target.retention_days {
                let (watch, stream) = (&watch.name, &target.stream);
                tracing::warn!(
                    watch,
                    stream,
                    "Another watch ships to this stream with another retention; the first one counts"
                );
            }
            shipper_of.push(known);
            continue;
        }
        let shipper = Shipper::start(target, config.ship, &config.origin, rt, metrics)
            .map_err(|source| OutputError::Target { watch: watch.name.clone(), source })?;
        shipper_of.push(Some(shippers.len()));
        shippers.push(shipper);
        targets.push(target.clone());
    }
    Ok((shippers, shipper_of))
}

fn watch_alerts(watches: Vec<WatchOutput>) -> Vec<WatchAlerts> {
    let mut streams: Vec<String> =
        watches.iter().filter_map(|w| Some(w.target.as_ref()?.stream.clone())).collect();
    streams.dedup();
    // Rules without a stream of their own are about the one there is.
    let only = if streams.len() == 1 { streams.pop() } else { None };
    let stream_of = |watch: &WatchOutput| match &watch.target {
        Some(target) => Some(target.stream.clone()),
        None if watch.sees_all => only.clone(),
        None => None,
    };
    let alerts = |w: WatchOutput| WatchAlerts {
        stream: stream_of(&w),
        watch: w.name,
        sees_all: w.sees_all,
        alerts: w.alerts,
    };
    watches.into_iter().map(alerts).collect()
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

/// What became of a run's events; one line each where shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events by kind.
    pub exec: u64,
    pub exit: u64,
    pub kprobe: u64,
    pub streams: Vec<ShipSummary>,
    pub alerts: AlertSummary,
    /// Lines standard output was too slow for.
    pub lost_on_stdout: u64,
    /// Events missing from the event log.
    pub lost_in_event_log: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exec, exit, kprobe, .. } = self;
        let total = exec + exit + kprobe;
        write!(
            f,
            "saw {total} events: {exec} process_exec, {exit} process_exit, {kprobe} process_kprobe"
        )?;
        for stream in &self.streams {
            write!(f, "\n{stream}")?;
        }
        if !self.alerts.hits.is_empty() {
            write!(f, "\n{}", self.alerts)?;
        }
        for (what, lost) in
            [("standard output", self.lost_on_stdout), ("the event log", self.lost_in_event_log)]
        {
            if lost > 0 {
                write!(f, "\ndropped {lost} events of {what}: slow_reader")?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outputs")
            .field("shippers", &self.shippers)
            .field("alerts", &self.alerts)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for OutputConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutputConfig").field("watches", &self.watches).finish_non_exhaustive()
    }
}
