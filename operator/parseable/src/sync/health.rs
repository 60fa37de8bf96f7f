//! Alerts that are there and do nothing.
//!
//! A server evaluates no alert that it loaded from its storage, and after four failed evaluations it gives up on one. Its
//! answers show neither.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use securitywatch_api::v1alpha1::AlertState;
use serde_json::{Map, Value, json};

use super::alerts::{DEFAULT_TENANT, is_ulid};
use super::{Pass, StreamState};
use crate::failure::Failure;
use crate::http::Call;
use crate::plan::alert::Found;
use crate::plan::query::{VALUE, window_query};
use crate::report::{Change, ChangeKind};
use crate::wire::StoredAlert;

/// No stream has it, so no query on it is ever accepted.
const NO_COLUMN: &str = "securitywatch_no_such_column";

/// How often it is looked whether an alert should have fired.
const JUDGED_EVERY: Duration = Duration::from_secs(5 * 60);

/// An alert older than this has had its chance to see the events below.
const OLD_EVENTS: SignedDuration = SignedDuration::from_mins(10);
/// Events younger than this it may not have seen yet: one missed evaluation is no sign.
const RECENT_EVENTS: SignedDuration = SignedDuration::from_mins(4);
/// A triggered alert with no events for as long has missed to calm down.
const CALM: SignedDuration = SignedDuration::from_mins(8);

impl Pass<'_> {
    /// Whether the server evaluates the alert no more because it has restarted since the alert was made.
    ///
    /// The process's start tells; where it is not known, or says that the alert is older, the alert itself is asked.
    pub(super) async fn is_dead(&self, alert: &StoredAlert) -> Result<bool, Failure> {
        let started = self.facts.started;
        if let Some(started) = started {
            let memory = self.server.site.memory();
            match memory.births.get(&alert.id) {
                Some(birth) if *birth == started => return Ok(false),
                // Made by us in an earlier process, whatever the clocks say.
                Some(_) => {}
                // Made in the very second of the start, it may be of either process.
                None if alert.created().is_some_and(|created| created.as_second() > started) => {
                    return Ok(false);
                }
                None => {}
            }
            if memory.survived == Some(started) {
                return Ok(false);
            }
        }
        if !is_ulid(&alert.id) {
            return Ok(false);
        }
        match self.ask(alert).await? {
            Life::Alive => {
                if started.is_some() {
                    self.server.site.memory().survived = started;
                }
                Ok(false)
            }
            Life::Dead => Ok(true),
            // Making an alert again costs nothing; trusting one that is older than the process could.
            Life::Unclear => Ok(started.is_some()),
        }
    }

    /// A change that no server accepts: the query asks for a column that does not exist and counts nothing. The refusal
    /// names what the server looked for, and in which place.
    async fn ask(&self, alert: &StoredAlert) -> Result<Life, Failure> {
        let body = json!({
            "title": alert.title,
            "severity": alert.severity.to_ascii_lowercase(),
            "query": format!("SELECT \"{NO_COLUMN}\" FROM \"{}\"", self.desired.stream),
            "alertType": "threshold",
            "thresholdConfig": alert.threshold_config,
            "evalConfig": alert.eval_config,
            "notificationConfig": {"interval": alert.notification_config.interval.max(1)},
            // Those of the alert may be gone, which would be refused first.
            "targets": [],
            "tags": alert.tags(),
        });
        let http = &self.server.http;
        let reply = http.call(Call::put(format!("/alerts/{}", alert.id)).json(body).long()).await?;
        Ok(match reply.status {
            _ if reply.contains(DEFAULT_TENANT) => Life::Dead,
            400 if reply.contains("No field named") || reply.contains("aggregate expressions") => {
                Life::Alive
            }
            _ => Life::Unclear,
        })
    }

    /// Starts alerts again that stopped being evaluated.
    pub(super) async fn judge_kept(
        &mut self,
        state: &StreamState,
        found: &[Found],
    ) -> Result<(), Failure> {
        for index in 0..self.outcomes.len() {
            let Some(id) = self.outcomes.get(index).and_then(|outcome| outcome.id.clone()) else {
                continue;
            };
            let Some(there) = found.iter().find(|found| found.alert.id == id && !found.dead) else {
                continue;
            };
            let why = if state.created {
                Some("its stream had been deleted, which ends alerts for good")
            } else if self.is_due(&id) && self.has_stopped(index, &there.alert, state).await? {
                Some("it had not followed the events of its stream")
            } else {
                None
            };
            if let Some(why) = why {
                self.revive(index, &id, why).await?;
            }
        }
        Ok(())
    }

    fn is_due(&self, id: &str) -> bool {
        let mut memory = self.server.site.memory();
        match memory.judged.get(id) {
            Some(when) if when.elapsed() < JUDGED_EVERY => false,
            _ => {
                memory.judged.insert(id.to_owned(), Instant::now());
                true
            }
        }
    }

    /// Runs the alert's own query over a time in which it has had its chance, and compares its state.
    async fn has_stopped(
        &self,
        index: usize,
        alert: &StoredAlert,
        state: &StreamState,
    ) -> Result<bool, Failure> {
        let now = Timestamp::now();
        let ago = |age: SignedDuration| now - age;
        if alert.created().is_none_or(|created| created > ago(OLD_EVENTS)) {
            return Ok(false);
        }
        let fired_since = |time| alert.last_triggered().is_some_and(|fired| fired >= time);
        match alert.state() {
            AlertState::NotTriggered if !fired_since(ago(OLD_EVENTS)) => {
                let hits = self.hits(index, state, ago(OLD_EVENTS), ago(RECENT_EVENTS)).await?;
                Ok(hits == Some(true))
            }
            AlertState::Triggered if !fired_since(ago(CALM)) => {
                Ok(self.hits(index, state, ago(CALM), now).await? == Some(false))
            }
            _ => Ok(false),
        }
    }

    /// Whether events match; `None` when the server does not say.
    async fn hits(
        &self,
        index: usize,
        state: &StreamState,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Option<bool>, Failure> {
        let Some(alert) = self.desired.alerts.get(index) else { return Ok(None) };
        let body = json!({
            "query": window_query(&self.desired.stream, alert, &state.schema, from, to),
            // The server cuts both ends to the minute.
            "startTime": from.to_string(),
            "endTime": (to + SignedDuration::from_mins(1)).to_string(),
        });
        let http = &self.server.http;
        let reply = http.call(Call::post("/query").upsert().json(body).long()).await?;
        if !reply.is_success() {
            return Ok(None);
        }
        let rows: Result<Vec<Map<String, Value>>, Failure> =
            http.expect(&reply, crate::FailureClass::ServerError, "a query");
        let counts = |row: &Map<String, Value>| row.get(VALUE).and_then(Value::as_f64);
        Ok(rows.ok().map(|rows| rows.iter().filter_map(counts).any(|count| count > 0.0)))
    }

    async fn revive(&mut self, index: usize, id: &str, why: &str) -> Result<(), Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::put(format!("/alerts/{id}/evaluate_alert")).long()).await?;
        if reply.is_success() {
            let message = format!("alert {} was started again: {why} (id {id})", self.name(index));
            self.changes.push(Change::new(ChangeKind::AlertRevived, message));
        }
        Ok(())
    }
}

/// What a refusal says of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
    Unclear,
}
