//! Holds rows against rules, in the sensor's thread; hands calls to the notifiers and never waits for them.

use super::call::{AlertReport, describe};
use super::notify::{self, HttpClients, Notifier, NotifyError, NotifySettings, QUEUE};
use super::outbox::Outbox;
use super::report::{OperatorSettings, Reported, Reporter, Reporting};
use super::{Alert, Target};
use crate::encode::flatten::Row;
use crate::event::{Event, WallTime};
use crate::metrics::{AlertLabel, Metrics};
use crate::output::Scope;
use prometheus_client::metrics::counter::Counter;
use securitywatch_api::alerting::{AlertFacts, Call, Due, Firings, Hit};
use securitywatch_api::rule::{CompileError, Matcher, Template};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Is told of each call's end, from a thread of the runtime.
pub type ReportHook = Arc<dyn Fn(&AlertReport) + Send + Sync>;

/// The alerts of one watch.
#[derive(Debug, Clone)]
pub struct WatchAlerts {
    /// The watch's name.
    pub watch: String,
    pub stream: Option<String>,
    /// Judges the events of every watch's hooks: so do rules that came without a policy, as a document of their own.
    pub sees_all: bool,
    pub alerts: Vec<Alert>,
}

/// What became of the alerts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertSummary {
    /// By `watch/alert`, in order: events that matched.
    pub hits: BTreeMap<String, u64>,
    pub sent: u64,
    pub failed: u64,
    /// Calls that found their target's queue full, or the end of the program.
    pub dropped: u64,
    /// Hits that the operator was not told of before the end; `None`: no operator is told.
    pub unreported: Option<usize>,
}

impl std::fmt::Display for AlertSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hits: u64 = self.hits.values().sum();
        match self.unreported {
            None => write!(
                f,
                "alerted on {hits} events: {} calls sent, {} failed, {} dropped",
                self.sent, self.failed, self.dropped
            )?,
            Some(unreported) => write!(
                f,
                "told the operator of {hits} events that alerts are about; {unreported} reports wait"
            )?,
        }
        for (alert, hits) in self.hits.iter().filter(|(_, hits)| **hits > 0) {
            write!(f, "\nalert {alert}: {hits} events")?;
        }
        Ok(())
    }
}

/// The alerts of all watches.
pub struct AlertEngine {
    watches: Vec<ArmedWatch>,
    reporter: Option<Reporter>,
    metrics: Arc<Metrics>,
    tally: Arc<Tally>,
    notifiers: JoinSet<()>,
    last_tick: Instant,
}

#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    failed: AtomicU64,
    queued: AtomicU64,
    dropped: AtomicU64,
}

/// The alerts of one watch, ready to be judged.
#[derive(Debug)]
pub struct ArmedWatch {
    /// See [`crate::event::Hook::watch`].
    number: usize,
    sees_all: bool,
    scope: Scope,
    alerts: Vec<Armed>,
}

#[derive(Debug)]
struct Armed {
    label: AlertLabel,
    matcher: Matcher,
    message: Template,
    sink: Sink,
    hits: u64,
    hits_metric: Counter,
}

/// Where hits go.
#[derive(Debug)]
enum Sink {
    Targets { facts: Arc<AlertFacts>, targets: Vec<ArmedTarget> },
    Operator(Box<Reporting>),
}

#[derive(Debug)]
struct ArmedTarget {
    firings: Firings<Hit>,
    calls: mpsc::Sender<Call>,
}

impl ArmedWatch {
    /// Arms alerts whose hits are reported. `title` is the watch's for metrics.
    ///
    /// # Errors
    /// A rule cannot be run.
    pub fn reported(
        number: usize,
        title: &str,
        scope: Scope,
        reported: &Reported,
        metrics: &Metrics,
    ) -> Result<Self, CompileError> {
        let uid: Arc<str> = reported.uid.as_str().into();
        let arm = |alert: &securitywatch_api::watch::Alert| {
            let reporting = Reporting::new(
                Arc::clone(&uid),
                reported.generation,
                alert.name.clone(),
                &alert.message,
            );
            let label = AlertLabel { watch: title.to_owned(), alert: alert.name.clone() };
            Ok(Armed {
                hits_metric: metrics.alert_hits.get_or_create_owned(&label),
                label,
                matcher: Matcher::compile(&alert.rule)?,
                message: alert.message.clone(),
                sink: Sink::Operator(Box::new(reporting)),
                hits: 0,
            })
        };
        let alerts = reported.alerts.iter().map(arm).collect::<Result<_, _>>()?;
        Ok(Self { number, sees_all: false, scope, alerts })
    }
}

/// Repeats are at least a second apart; looking more often finds nothing.
const TICK: Duration = Duration::from_millis(100);

impl AlertEngine {
    /// Arms the alerts; `watches` is indexed as [`crate::event::Hook::watch`]. With an `operator` hits can be
    /// reported.
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn start(
        watches: Vec<WatchAlerts>,
        settings: NotifySettings,
        on_report: Option<ReportHook>,
        operator: Option<OperatorSettings>,
        rt: &Handle,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, NotifyError> {
        let http = HttpClients::new(&settings)?;
        let tally = Arc::new(Tally::default());
        let on_report: ReportHook = {
            let tally = tally.clone();
            Arc::new(move |report| {
                tally.count(report);
                if let Some(hook) = &on_report {
                    hook(report);
                }
            })
        };
        let mut notifiers = JoinSet::new();
        let mut wire = |target: Target| {
            let (calls, from_engine) = mpsc::channel(QUEUE);
            let notifier = Notifier {
                receiver: Mutex::new(target.receiver),
                secrets: AtomicU64::new(0),
                http: http.clone(),
                settings,
                metrics: metrics.clone(),
                on_report: on_report.clone(),
            };
            notifiers.spawn_on(notify::run(Arc::new(notifier), from_engine), rt);
            ArmedTarget { firings: Firings::new(target.repeat), calls }
        };
        let watches = watches
            .into_iter()
            .enumerate()
            .map(|(number, w)| ArmedWatch {
                number,
                sees_all: w.sees_all,
                // One machine is one scope.
                scope: Scope::Everything,
                alerts: w.alerts.iter().map(|a| Armed::new(&w, a, &mut wire, metrics)).collect(),
            })
            .collect();
        let reporter = operator.map(|settings| Reporter::start(settings, rt, metrics));
        let (metrics, last_tick) = (Arc::clone(metrics), Instant::now());
        Ok(Self { watches, reporter, metrics, tally, notifiers, last_tick })
    }

    /// Exchanges all alerts whose hits are reported for these.
    pub fn exchange(&mut self, watches: Vec<ArmedWatch>, now: Instant) {
        let mut before = std::mem::replace(&mut self.watches, watches);
        let mut old: BTreeMap<AlertLabel, Armed> = BTreeMap::new();
        for armed in before.drain(..).flat_map(|watch| watch.alerts) {
            old.insert(armed.label.clone(), armed);
        }
        for armed in self.watches.iter_mut().flat_map(|watch| &mut watch.alerts) {
            let Some(before) = old.get(&armed.label) else { continue };
            armed.hits = before.hits;
        }
        let kept = |label: &AlertLabel| {
            self.watches.iter().flat_map(|watch| &watch.alerts).any(|armed| armed.label == *label)
        };
        for (label, mut armed) in old {
            if let (Sink::Operator(reporting), Some(reporter)) = (&mut armed.sink, &self.reporter) {
                reporting.flush(now, reporter.outbox());
            }
            if !kept(&label) {
                self.metrics.alert_hits.remove(&label);
            }
        }
    }

    /// Whether any alert could match, so that a row is worth making.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.watches.iter().all(|w| w.alerts.is_empty())
    }

    /// Judges a row by the alerts of the watch its hook belongs to, or of all watches (`None`) in whose scope the event
    /// is.
    pub fn judge(&mut self, row: &Row<'_>, event: &Event, of: Option<usize>, now: Instant) {
        let (tally, outbox) = (&self.tally, self.reporter.as_ref().map(Reporter::outbox));
        for watch in &mut self.watches {
            if of.is_some_and(|of| of != watch.number) && !watch.sees_all {
                continue;
            }
            if watch.alerts.is_empty() || !watch.scope.admits(event) {
                continue;
            }
            for armed in watch.alerts.iter_mut().filter(|a| a.matcher.matches(row)) {
                armed.hit(row, event.time, now, tally, outbox.map(|outbox| &**outbox));
            }
        }
    }

    /// Makes the calls and reports whose interval has passed.
    pub fn tick(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_tick) < TICK {
            return;
        }
        self.last_tick = now;
        for armed in self.watches.iter_mut().flat_map(|w| &mut w.alerts) {
            match (&mut armed.sink, &self.reporter) {
                (Sink::Targets { facts, targets }, _) => {
                    for target in targets {
                        let (facts, calls) = (&*facts, &target.calls);
                        target.firings.tick(now, |due| send(calls, facts, due, &self.tally));
                    }
                }
                (Sink::Operator(reporting), Some(reporter)) => {
                    reporting.tick(now, reporter.outbox())
                }
                (Sink::Operator(_), None) => {}
            }
        }
    }

    /// Lets calls under way end until `deadline`; hits that wait for their interval's end are not called any more, but
    /// reported.
    pub async fn finish(mut self, deadline: Instant) -> AlertSummary {
        let hits = self.watches.iter().flat_map(|w| &w.alerts);
        let hits = hits.map(|a| (format!("{}/{}", a.label.watch, a.label.alert), a.hits)).collect();
        self.exchange(Vec::new(), Instant::now());
        let reports = async {
            match self.reporter {
                Some(reporter) => Some(reporter.finish(deadline).await),
                None => None,
            }
        };
        let work = async { while self.notifiers.join_next().await.is_some() {} };
        let left = deadline.saturating_duration_since(Instant::now());
        let (unreported, ended) = futures::join!(reports, tokio::time::timeout(left, work));
        if ended.is_err() {
            self.notifiers.shutdown().await;
        }
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let (sent, failed) = (count(&self.tally.sent), count(&self.tally.failed));
        let under_way = count(&self.tally.queued).saturating_sub(sent + failed);
        let dropped = count(&self.tally.dropped) + under_way;
        AlertSummary { hits, sent, failed, dropped, unreported }
    }
}

impl Tally {
    fn count(&self, report: &AlertReport) {
        match report.outcome {
            super::Outcome::Sent { .. } => self.sent.fetch_add(1, Relaxed),
            super::Outcome::Failed { .. } => self.failed.fetch_add(1, Relaxed),
        };
    }
}

impl Armed {
    fn new(
        watch: &WatchAlerts,
        alert: &Alert,
        wire: &mut impl FnMut(Target) -> ArmedTarget,
        metrics: &Metrics,
    ) -> Self {
        let label = AlertLabel { watch: watch.watch.clone(), alert: alert.facts.name.clone() };
        let facts = AlertFacts { stream: watch.stream.clone(), ..(*alert.facts).clone() };
        let targets = alert.targets.iter().cloned().map(wire).collect();
        Self {
            hits_metric: metrics.alert_hits.get_or_create_owned(&label),
            label,
            matcher: alert.matcher.clone(),
            message: alert.message.clone(),
            sink: Sink::Targets { facts: Arc::new(facts), targets },
            hits: 0,
        }
    }

    fn hit(
        &mut self,
        row: &Row<'_>,
        time: WallTime,
        now: Instant,
        tally: &Tally,
        outbox: Option<&Outbox>,
    ) {
        self.hits += 1;
        self.hits_metric.inc();
        let message = self.message.render(row);
        match &mut self.sink {
            Sink::Targets { facts, targets } => {
                for target in targets {
                    let hit = || describe(row, time, message.clone());
                    if let Some(due) = target.firings.hit(now, &message, 1, hit) {
                        send(&target.calls, facts, due, tally);
                    }
                }
            }
            Sink::Operator(reporting) => {
                if let Some(outbox) = outbox {
                    reporting.hit(row, time, now, &message, outbox);
                }
            }
        }
    }
}

fn send(calls: &mpsc::Sender<Call>, facts: &Arc<AlertFacts>, due: Due<Hit>, tally: &Tally) {
    let Due { hit, call: number, hits, at_once } = due;
    match calls.try_send(Call { facts: facts.clone(), hit, number, hits, at_once }) {
        Ok(()) => tally.queued.fetch_add(1, Relaxed),
        Err(_) => tally.dropped.fetch_add(1, Relaxed),
    };
}

impl std::fmt::Debug for AlertEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlertEngine").field("watches", &self.watches.len()).finish_non_exhaustive()
    }
}
