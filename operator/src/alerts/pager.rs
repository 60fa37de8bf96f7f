//! What is known of alerts that fire: firings, calls under way, and what came of the last ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use securitywatch_api::cluster::FIRINGS_SECRET;
use securitywatch_parseable::TargetGuard;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::deliver::{Clients, deliver};
use super::lines::{DueOn, LineKey, Lines};
use super::notification_log::{NotificationLog, PERIOD};
use super::seen::{Seen, Ticket};
use super::take::{facts, known};
use crate::backoff;
use crate::context::Context;
use crate::error::Error;
use crate::lock::lock;

use securitywatch_api::alerting::Call;

/// Repeats are at least a second apart.
const TICK: Duration = Duration::from_millis(200);

/// What came of an alert's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// When it last called somebody.
    pub at: Timestamp,
    /// Why the last call of a target did not arrive; `None`: all did.
    pub undelivered: Option<String>,
}

#[derive(Debug, Clone)]
struct Outcome {
    at: Timestamp,
    /// By target.
    undelivered: BTreeMap<usize, String>,
}

/// By alert.
type Outcomes = BTreeMap<Arc<str>, Outcome>;

/// See the module documentation of [`super`].
#[derive(Debug)]
pub struct Pager {
    pub(super) clients: Clients,
    pub(super) state: Mutex<State>,
    /// By watch.
    outcomes: Mutex<HashMap<Arc<str>, Outcomes>>,
    calls: Mutex<JoinSet<()>>,
    log: tokio::sync::Mutex<NotificationLog>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) seen: Seen,
    pub(super) lines: Lines,
    /// Whether what the replica before this one knew is in `lines`.
    pub(super) has_read_log: bool,
}

impl Pager {
    /// Calls what `guard` allows.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(guard: TargetGuard) -> Result<Self, reqwest::Error> {
        Ok(Self {
            clients: Clients::new(Arc::new(guard))?,
            state: Mutex::default(),
            outcomes: Mutex::default(),
            calls: Mutex::default(),
            log: tokio::sync::Mutex::new(NotificationLog::new()),
        })
    }

    /// What came of the calls of a watch's alerts in this process, by the alert's name.
    #[must_use]
    pub fn fired(&self, watch: &str) -> BTreeMap<String, Fired> {
        let outcomes = lock(&self.outcomes);
        let of_watch = outcomes.get(watch).into_iter().flatten();
        let fired = of_watch.map(|(alert, outcome)| {
            let undelivered = outcome.undelivered.values().next().cloned();
            (alert.to_string(), Fired { at: outcome.at, undelivered })
        });
        fired.collect()
    }

    /// Goes on where the replica before this one ended: makes the calls whose interval has passed, until dropped.
    pub async fn run(&self, context: &Arc<Context>) {
        self.resume(context).await;
        let calls = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let is_known = |watch: &str| known(context, watch).is_some_and(|w| w.is_resolved);
            loop {
                ticks.tick().await;
                let due = lock(&self.state).lines.tick(Instant::now(), is_known);
                due.into_iter().for_each(|due| self.call(context, due, None));
            }
        };
        let saves = async {
            let mut failures: u32 = 0;
            loop {
                let wait = if failures == 0 { PERIOD } else { backoff::after(failures) };
                sleep(wait).await;
                match self.save(context).await {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        context.metrics.failed("Secret", error.class());
                        warn!(secret = FIRINGS_SECRET, %error, "The notification log could not be written; trying again.");
                    }
                }
            }
        };
        tokio::join!(calls, saves);
    }

    /// Takes over what the replica before this one knew. Until then no hit is taken.
    async fn resume(&self, context: &Context) {
        let api = firings(context);
        let mut failures: u32 = 0;
        let kept = loop {
            match self.log.lock().await.load(&api).await {
                Ok(kept) => break kept,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    context.metrics.failed("Secret", error.class());
                    if error.class() == "forbidden" {
                        warn!(secret = FIRINGS_SECRET, %error, "No notification log: a restart calls receivers anew.");
                        break Vec::new();
                    }
                    warn!(secret = FIRINGS_SECRET, %error, "The notification log could not be read; trying again.");
                }
            }
            // Nobody's hits are taken meanwhile.
            sleep(backoff::after(failures.min(2))).await;
        };
        if !kept.is_empty() {
            info!(firings = kept.len(), "Alerts go on where the last replica ended.");
        }
        let mut state = lock(&self.state);
        let now = Instant::now();
        for (line, repeat, firing) in kept {
            state.lines.resume(line, repeat, now, firing);
        }
        state.has_read_log = true;
    }

    async fn save(&self, context: &Context) -> Result<(), Error> {
        let mut log = self.log.lock().await;
        let now = Instant::now();
        let kept = {
            let state = lock(&self.state);
            if !state.has_read_log {
                return Ok(());
            }
            state.lines.keep(now)
        };
        if log.save(&firings(context), kept, now).await? {
            context.metrics.wrote("Secret");
        }
        Ok(())
    }

    /// Starts a call; it is over when `ticket` is dropped.
    pub(super) fn call(&self, context: &Arc<Context>, due: DueOn, ticket: Option<Ticket>) {
        let DueOn { line, due, slots } = due;
        // Gone since the hit came.
        let Some(facts) = facts(context, &line) else {
            lock(&self.state).lines.over(&line, &due.hit.message, due.call);
            return;
        };
        let kind = facts.kind;
        let Some(place) = slots.enter() else {
            context.metrics.alert_called(kind.as_str(), "dropped");
            let why = format!("{}: too many calls wait already", kind.as_str());
            lock(&self.state).lines.over(&line, &due.hit.message, due.call);
            self.came_of(context, &line, Some(why));
            return;
        };
        let call = Call {
            facts: Arc::new(facts.alert),
            hit: due.hit,
            number: due.call,
            hits: due.hits,
            at_once: due.at_once,
        };
        let context = Arc::clone(context);
        self.spawn(async move {
            let turn = place.turn().await;
            let outcome = deliver(&context, &line, kind, &call).await;
            lock(&context.pager.state).lines.over(&line, &call.hit.message, call.number);
            context.pager.came_of(&context, &line, outcome.err());
            drop((turn, place, ticket));
        });
    }

    /// Takes what came of a call, and has the watch's status drawn soon.
    fn came_of(&self, context: &Context, line: &LineKey, undelivered: Option<String>) {
        {
            let mut outcomes = lock(&self.outcomes);
            let of_watch = outcomes.entry(Arc::clone(&line.watch)).or_default();
            let outcome = of_watch
                .entry(Arc::clone(&line.alert))
                .or_insert_with(|| Outcome { at: Timestamp::now(), undelivered: BTreeMap::new() });
            outcome.at = Timestamp::now();
            match undelivered {
                Some(why) => outcome.undelivered.insert(line.target, why),
                None => outcome.undelivered.remove(&line.target),
            };
        }
        if let Some(memory) = context.memories.get(&line.watch) {
            context.pace.add([lock(&memory).key.clone()]);
        }
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let mut calls = lock(&self.calls);
        while let Some(ended) = calls.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                warn!(%error, "A call ended in a panic.");
            }
        }
        calls.spawn(call);
    }

    /// A watch is gone.
    pub fn forget(&self, watch: &str) {
        lock(&self.state).lines.forget(watch);
        lock(&self.outcomes).remove(watch);
    }

    /// Forgets all watches but these.
    pub fn forget_others(&self, watches: &HashSet<String>) {
        lock(&self.state).lines.forget_others(watches);
    }

    /// Forgets failures of alerts and targets that the spec has no more; `targets` is how many an alert has.
    pub fn keep(&self, watch: &str, targets: &BTreeMap<&str, usize>) {
        if let Some(of_watch) = lock(&self.outcomes).get_mut(watch) {
            of_watch.retain(|alert, outcome| {
                let count = targets.get(&**alert).copied().unwrap_or_default();
                outcome.undelivered.retain(|target, _| *target < count);
                count > 0
            });
        }
    }

    /// Ends what runs: who does not act any more must not call anybody either. What is known is left to the next replica.
    pub async fn end(&self, context: &Context) {
        if let Err(error) = self.save(context).await {
            warn!(secret = FIRINGS_SECRET, %error, "The notification log could not be written: receivers may hear anew of what they know.");
        }
        lock(&self.calls).abort_all();
    }
}

fn firings(context: &Context) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &context.namespace)
}
