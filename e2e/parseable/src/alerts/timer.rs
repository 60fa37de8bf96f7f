//! The task of an alert: evaluates its query again and again and notifies its targets.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use ulid::Ulid;

use super::config::{Alert, State};
use super::query::{self, Measured, Tenant};
use super::text::Notification;
use crate::Shared;
use crate::answer::Answer;
use crate::stream::{Window, floor};
use crate::targets::deliver;

/// After so many failures in a row the task ends for good, and nothing in the API shows it.
const FAILURES_TO_DIE: u32 = 4;

/// A running task; ends when dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn is_alive(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts an alert's task, or starts it again, which forgets its failures and evaluates at once.
pub(crate) fn start(shared: &Arc<Shared>, id: Ulid) {
    let mut store = shared.store();
    let enabled = store.alerts.by_id.get(&id).is_some_and(|alert| alert.state != State::Disabled);
    store.alerts.tasks.remove(&id);
    if let Some(alert) = store.alerts.by_id.get_mut(&id) {
        alert.health.next = None;
    }
    if enabled {
        let task = tokio::spawn(run(Arc::downgrade(shared), id));
        store.alerts.tasks.insert(id, Task(task));
    }
}

async fn run(shared: Weak<Shared>, id: Ulid) {
    let Some(clock) = shared.upgrade().map(|shared| Arc::clone(&shared.clock)) else {
        return;
    };
    let mut timer =
        Timer { id, due: clock.now(), failures: 0, has_failed: false, repeats: BTreeMap::new() };
    loop {
        clock.wait_until(timer.next()).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let ended = timer.tick(&shared).await.is_break();
        if let Some(alert) = shared.store().alerts.by_id.get_mut(&id) {
            alert.health.next = (!ended).then(|| timer.next());
        }
        if ended {
            return;
        }
    }
}

struct Timer {
    id: Ulid,
    due: DateTime<Utc>,
    failures: u32,
    /// One failure makes the period a minute from then on.
    has_failed: bool,
    /// By target: what it is told again while the alert stays triggered. While it is here, an evaluation
    /// that breaches tells the target nothing.
    repeats: BTreeMap<Ulid, Repeat>,
}

struct Repeat {
    notification: Notification,
    left: u64,
    due: DateTime<Utc>,
}

impl Timer {
    fn next(&self) -> DateTime<Utc> {
        self.repeats.values().map(|repeat| repeat.due).fold(self.due, DateTime::min)
    }

    async fn tick(&mut self, shared: &Arc<Shared>) -> ControlFlow<()> {
        self.repeat(shared);
        if self.due > shared.now() {
            return ControlFlow::Continue(());
        }
        let frequency = self.evaluate(shared).await?;
        let minutes = if self.has_failed { 1 } else { frequency };
        self.due = shared.now() + shared.alert_minutes(minutes);
        ControlFlow::Continue(())
    }

    fn repeat(&mut self, shared: &Arc<Shared>) {
        let now = shared.now();
        let interval = {
            let store = shared.store();
            let alert = store.alerts.by_id.get(&self.id);
            shared.alert_minutes(alert.map_or(1, |alert| alert.config.notification_config.interval))
        };
        for (target, repeat) in &mut self.repeats {
            if repeat.due <= now {
                deliver::send(shared, self.id, *target, repeat.notification.clone());
                repeat.left -= 1;
                repeat.due = now + interval;
            }
        }
        self.repeats.retain(|_, repeat| repeat.left > 0);
    }

    /// The alert's frequency in minutes.
    async fn evaluate(&mut self, shared: &Arc<Shared>) -> ControlFlow<(), u64> {
        let now = shared.now();
        let asked = {
            let store = shared.store();
            let Some(alert) = store.alerts.by_id.get(&self.id) else {
                return ControlFlow::Break(());
            };
            let window = alert.config.window();
            let length = humantime::parse_duration(&window.eval_start).unwrap_or_default();
            let tenant = if alert.from_storage { Tenant::Lost } else { Tenant::Own };
            (alert.config.query.clone(), tenant, length, window.eval_frequency)
        };
        let (sql, tenant, length, frequency) = asked;
        let window = alert_window(shared, length, now);
        let measured = query::measure(shared, &sql, tenant, window, now).await;
        self.settle(shared, measured, now)?;
        ControlFlow::Continue(frequency)
    }

    fn settle(
        &mut self,
        shared: &Arc<Shared>,
        measured: Result<Measured, Answer>,
        now: DateTime<Utc>,
    ) -> ControlFlow<()> {
        let mut store = shared.store();
        let Some(alert) = store.alerts.by_id.get_mut(&self.id) else {
            return ControlFlow::Break(());
        };
        alert.health.evaluations += 1;
        let measured = match measured {
            Ok(measured) => {
                self.failures = 0;
                alert.health.failures_in_a_row = 0;
                alert.health.last_error = None;
                measured
            }
            Err(error) => {
                self.failures += 1;
                self.has_failed = true;
                alert.health.failures_in_a_row = self.failures;
                alert.health.last_error = Some(error.to_string());
                return if self.failures < FAILURES_TO_DIE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                };
            }
        };
        let notification = self.next_state(alert, &measured, now);
        let targets = alert.config.targets.clone();
        let muted = alert.is_muted(now);
        let times = match notification.as_ref().map(|notification| notification.resolved_at) {
            Some(None) => {
                let window = alert.config.window();
                window.eval_frequency / alert.config.notification_config.interval.max(1)
            }
            _ => 1,
        };
        let interval = shared.alert_minutes(alert.config.notification_config.interval);
        drop(store);
        if let Some(notification) = notification.filter(|_| !muted) {
            for target in targets {
                self.notify(shared, target, &notification, times, now + interval);
            }
        }
        ControlFlow::Continue(())
    }

    /// Moves the alert to the state the measurement gives; what its targets are told.
    fn next_state(
        &mut self,
        alert: &mut Alert,
        measured: &Measured,
        now: DateTime<Utc>,
    ) -> Option<Notification> {
        let threshold = alert.config.threshold_config;
        if measured.groups.iter().any(|group| threshold.is_crossed_by(group.value)) {
            alert.state = State::Triggered;
            alert.last_triggered = Some(now);
            return Some(Notification::triggered(alert, measured, now));
        }
        self.repeats.clear();
        let was_triggered = alert.state == State::Triggered;
        alert.state = State::NotTriggered;
        was_triggered.then(|| Notification::resolved(alert, now))
    }

    fn notify(
        &mut self,
        shared: &Arc<Shared>,
        target: Ulid,
        notification: &Notification,
        times: u64,
        again: DateTime<Utc>,
    ) {
        if self.repeats.contains_key(&target) {
            return;
        }
        deliver::send(shared, self.id, target, notification.clone());
        if times > 1 {
            let repeat = Repeat { notification: notification.clone(), left: times - 1, due: again };
            self.repeats.insert(target, repeat);
        }
    }
}

/// Whole minutes back from the start of the current one.
fn alert_window(shared: &Shared, length: Duration, now: DateTime<Utc>) -> Window {
    let minute = shared.alert_minute();
    let scaled = length.as_secs_f64() * shared.config.alert_minute.as_secs_f64() / 60.0;
    let back = chrono::Duration::from_std(Duration::from_secs_f64(scaled)).unwrap_or(minute);
    Window { start: floor(now - back, minute), end: floor(now, minute) }
}
