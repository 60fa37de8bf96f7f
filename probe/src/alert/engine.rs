//! Holds rows against rules, in the sensor's thread; hands calls to the notifiers and never waits for them.

use super::call::{AlertFacts, AlertReport, Call, Hit};
use super::notify::{self, HttpClients, Notifier, NotifyError, NotifySettings, QUEUE};
use super::repeat::{Due, Firings};
use super::{Alert, Target};
use crate::encode::flatten::Row;
use crate::event::WallTime;
use crate::metrics::{AlertLabel, Metrics};
use prometheus_client::metrics::counter::Counter;
use securitywatch_api::rule::{Matcher, Template};
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
}

impl std::fmt::Display for AlertSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hits: u64 = self.hits.values().sum();
        write!(
            f,
            "alerted on {hits} events: {} calls sent, {} failed, {} dropped",
            self.sent, self.failed, self.dropped
        )?;
        for (alert, hits) in self.hits.iter().filter(|(_, hits)| **hits > 0) {
            write!(f, "\nalert {alert}: {hits} events")?;
        }
        Ok(())
    }
}

/// The alerts of all watches.
pub struct AlertEngine {
    watches: Vec<ArmedWatch>,
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

struct ArmedWatch {
    sees_all: bool,
    alerts: Vec<Armed>,
}

struct Armed {
    facts: Arc<AlertFacts>,
    matcher: Matcher,
    message: Template,
    targets: Vec<ArmedTarget>,
    hits: u64,
    hits_metric: Counter,
}

struct ArmedTarget {
    firings: Firings,
    calls: mpsc::Sender<Call>,
}

/// Repeats are at least a second apart; looking more often finds nothing.
const TICK: Duration = Duration::from_millis(100);

impl AlertEngine {
    /// Arms the alerts; `watches` is indexed as [`crate::event::Hook::watch`].
    ///
    /// # Errors
    /// HTTP cannot be set up.
    pub fn start(
        watches: Vec<WatchAlerts>,
        settings: NotifySettings,
        on_report: Option<ReportHook>,
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
            .map(|w| ArmedWatch {
                sees_all: w.sees_all,
                alerts: w.alerts.iter().map(|a| Armed::new(&w, a, &mut wire, metrics)).collect(),
            })
            .collect();
        Ok(Self { watches, tally, notifiers, last_tick: Instant::now() })
    }

    /// Whether any alert could match, so that a row is worth making.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.watches.iter().all(|w| w.alerts.is_empty())
    }

    /// Judges a row by the alerts of the watch its hook belongs to, or of all watches (`None`).
    pub fn judge(&mut self, row: &Row<'_>, of: Option<usize>, time: WallTime, now: Instant) {
        let tally = &self.tally;
        for (number, watch) in self.watches.iter_mut().enumerate() {
            if of.is_some_and(|of| of != number) && !watch.sees_all {
                continue;
            }
            for armed in watch.alerts.iter_mut().filter(|a| a.matcher.matches(row)) {
                armed.hit(row, time, now, tally);
            }
        }
    }

    /// Makes the calls whose interval has passed.
    pub fn tick(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last_tick) < TICK {
            return;
        }
        self.last_tick = now;
        for armed in self.watches.iter_mut().flat_map(|w| &mut w.alerts) {
            for target in &mut armed.targets {
                let (facts, calls) = (&armed.facts, &target.calls);
                target.firings.tick(now, |due| send(calls, facts, due, &self.tally));
            }
        }
    }

    /// Lets calls under way end until `deadline`; hits that wait for their interval's end are not called any more.
    pub async fn finish(mut self, deadline: Instant) -> AlertSummary {
        let hits = self.watches.iter().flat_map(|w| &w.alerts);
        let hits = hits.map(|a| (format!("{}/{}", a.facts.watch, a.facts.name), a.hits)).collect();
        self.watches.clear();
        let work = async { while self.notifiers.join_next().await.is_some() {} };
        let left = deadline.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, work).await.is_err() {
            self.notifiers.shutdown().await;
        }
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let (sent, failed) = (count(&self.tally.sent), count(&self.tally.failed));
        let under_way = count(&self.tally.queued).saturating_sub(sent + failed);
        AlertSummary { hits, sent, failed, dropped: count(&self.tally.dropped) + under_way }
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
        let label = AlertLabel { watch: watch.watch.clone(), alert: alert.name.clone() };
        Self {
            facts: Arc::new(AlertFacts {
                watch: watch.watch.clone(),
                stream: watch.stream.clone(),
                name: alert.name.clone(),
                severity: alert.severity,
                rule: alert.rule.clone(),
            }),
            matcher: alert.matcher.clone(),
            message: alert.message.clone(),
            targets: alert.targets.iter().cloned().map(wire).collect(),
            hits: 0,
            hits_metric: metrics.alert_hits.get_or_create_owned(&label),
        }
    }

    fn hit(&mut self, row: &Row<'_>, time: WallTime, now: Instant, tally: &Tally) {
        self.hits += 1;
        self.hits_metric.inc();
        let message = self.message.render(row);
        for target in &mut self.targets {
            let describe = || Hit::describe(row, time, message.clone());
            if let Some(due) = target.firings.hit(now, &message, describe) {
                send(&target.calls, &self.facts, due, tally);
            }
        }
    }
}

fn send(calls: &mpsc::Sender<Call>, facts: &Arc<AlertFacts>, due: Due, tally: &Tally) {
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
