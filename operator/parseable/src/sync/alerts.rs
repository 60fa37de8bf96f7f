//! Alerts of today's generation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::targets::Targets;
use super::{Pass, StreamState, ends_the_pass};
use crate::desired::{DesiredAlert, KnownAlert};
use crate::failure::{Failure, FailureClass};
use crate::http::{Call, Reply};
use crate::identity;
use crate::plan::alert::{self, Cause, Found, Step, Surplus, Wanted};
use crate::plan::{columns, query};
use crate::report::{Change, ChangeKind};
use crate::server::Inner;
use crate::wire::{AlertBody, AlertSummary, StoredAlert};

/// The most that a server lists at once.
const PAGE: usize = 1000;
/// Alerts of one owner or cluster that are looked at.
const MAX_PAGES: usize = 20;
/// Words for an alert that does not exist.
const NO_ALERT: &str = "No alert found";
/// Words of a server that looks for the stream of an alert from before its restart.
pub(super) const DEFAULT_TENANT: &str = "DEFAULT_TENANT";

/// How far back each evaluation looks. More than the minute between two, because timers drift; a server of several
/// nodes shows rows minutes late.
const WINDOW: &str = "3m";
const WINDOW_DISTRIBUTED: &str = "6m";

impl Pass<'_> {
    pub(super) async fn sql_alerts(
        &mut self,
        state: &StreamState,
        known: &[KnownAlert],
    ) -> Result<(), Failure> {
        let targets = self.targets().await?;
        let found = self.own_alerts(known).await?;
        let desired = self.desired;
        let wanted: Vec<Wanted<'_>> = desired
            .alerts
            .iter()
            .enumerate()
            .map(|(index, alert)| Wanted {
                name: &alert.name,
                body: self.body(index, alert, state, &targets),
            })
            .collect();
        for step in alert::plan(&wanted, &found, known) {
            self.apply(step).await?;
        }
        self.blame_targets(&targets);
        self.judge_kept(state, &found).await?;
        self.remove_unused_targets(&targets).await
    }

    /// The alert as it is to be written; `None`, and a failure in its outcome, when it cannot be now.
    fn body(
        &mut self,
        index: usize,
        alert: &DesiredAlert,
        state: &StreamState,
        targets: &Targets,
    ) -> Option<AlertBody> {
        let stream = &self.desired.stream;
        if let Err(failure) = columns::check_rule(&state.schema, stream, &alert.rule) {
            self.fail(index, failure);
            return None;
        }
        let window = if self.facts.standalone { WINDOW } else { WINDOW_DISTRIBUTED };
        let query = query::alert_query(stream, alert, &state.schema);
        let ids = alert.targets.iter().filter_map(|target| targets.id(&target.key));
        Some(alert::body(&self.desired.owner, alert, query, window, ids))
    }

    /// An alert whose receiver is not called is there, and not as it should be.
    fn blame_targets(&mut self, targets: &Targets) {
        for (index, alert) in self.desired.alerts.iter().enumerate() {
            let failure =
                alert.targets.iter().find_map(|target| targets.failure(&target.key).cloned());
            if let Some(failure) = failure {
                self.fail(index, failure);
            }
        }
    }

    /// The watch's alerts on the server, dead or alive.
    async fn own_alerts(&self, known: &[KnownAlert]) -> Result<Vec<Found>, Failure> {
        let owner = &self.desired.owner;
        let cluster = identity::cluster_tag(&owner.cluster_id);
        let uid = identity::uid_tag(&owner.uid);
        let listed = list(self.server, &uid).await?;
        let ids: BTreeSet<String> = listed
            .into_iter()
            .filter(|alert| alert.tags().contains(&uid) && alert.tags().contains(&cluster))
            .map(|alert| alert.id)
            .chain(known.iter().map(|known| known.id.clone()))
            .collect();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(alert) = get(self.server, &id).await?
                && self.is_not_anothers(&alert)
            {
                let dead = self.is_dead(&alert).await?;
                found.push(Found { alert, dead });
            }
        }
        Ok(found)
    }

    /// An id from the status may have come to mean something else; what names another owner is not ours.
    fn is_not_anothers(&self, alert: &StoredAlert) -> bool {
        let owner = &self.desired.owner;
        identity::uid_of(alert.tags()).is_none_or(|uid| uid == owner.uid)
            && identity::cluster_of(alert.tags()).is_none_or(|id| id == owner.cluster_id)
    }

    async fn apply(&mut self, step: Step) -> Result<(), Failure> {
        let (index, result) = match step {
            Step::Keep { index, alert } => {
                self.is_there(index, &alert);
                (index, Ok(()))
            }
            Step::Create { index, body } => {
                (index, self.create(index, &body, ChangeKind::AlertCreated).await)
            }
            Step::Replace { index, id, body } => {
                self.has_id(index, &id);
                (index, self.replace(index, &id, &body).await)
            }
            Step::Update { index, id, body, cause } => {
                self.has_id(index, &id);
                (index, self.update(index, &id, &body, cause).await)
            }
            Step::Enable { index, id } => (index, self.enable(index, &id).await),
            Step::Delete { id, title, why } => {
                delete(self.server, &id).await?;
                let reason = match why {
                    Surplus::NotInSpec => "which the watch does not have any more, was deleted",
                    Surplus::Duplicate => "which was there twice, was deleted once",
                };
                let message = format!("alert \"{title}\", {reason} (id {id})");
                self.changes.push(Change::new(ChangeKind::AlertDeleted, message));
                return Ok(());
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(failure)
                if ends_the_pass(&failure) && failure.class != FailureClass::ServerError =>
            {
                Err(failure)
            }
            Err(failure) => {
                self.fail(index, failure);
                Ok(())
            }
        }
    }

    async fn create(
        &mut self,
        index: usize,
        body: &AlertBody,
        kind: ChangeKind,
    ) -> Result<(), Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::post("/alerts").json(json(body)).long()).await?;
        let alert = self.accepted(&reply, index, body, "creation")?;
        let name = self.name(index);
        if let Some(started) = self.facts.started {
            self.server.site.memory().births.insert(alert.id.clone(), started);
        }
        let message = match kind {
            ChangeKind::AlertRecreated => format!(
                "alert {name} was made again, because {} has restarted, after which it evaluates none of its older alerts (new id {})",
                http.who(),
                alert.id
            ),
            _ => format!("alert {name} is in place (id {})", alert.id),
        };
        self.changes.push(Change::new(kind, message));
        self.is_there(index, &alert);
        Ok(())
    }

    /// The alert as the server has it after its creation or change, or why it was refused.
    fn accepted(
        &self,
        reply: &Reply,
        index: usize,
        body: &AlertBody,
        what: &str,
    ) -> Result<StoredAlert, Failure> {
        let name = self.name(index);
        if !reply.is_success() {
            return Err(self.refused(reply, name, body));
        }
        let what = format!("the {what} of alert {name}");
        self.server.http.expect(reply, FailureClass::AlertRejected, &what)
    }

    /// The new one first: should the second half not come to pass, the next pass finds two and knows which one lives.
    async fn replace(&mut self, index: usize, id: &str, body: &AlertBody) -> Result<(), Failure> {
        self.create(index, body, ChangeKind::AlertRecreated).await?;
        delete(self.server, id).await?;
        self.server.site.memory().births.remove(id);
        Ok(())
    }

    async fn update(
        &mut self,
        index: usize,
        id: &str,
        body: &AlertBody,
        cause: Cause,
    ) -> Result<(), Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::put(format!("/alerts/{id}")).json(json(body)).long()).await?;
        if reply.contains(DEFAULT_TENANT) {
            // The sure sign of one from before a restart, where the time of the restart is not known.
            return self.replace(index, id, body).await;
        }
        let alert = self.accepted(&reply, index, body, "change")?;
        let name = self.name(index);
        let change = match cause {
            Cause::Spec => Change::new(
                ChangeKind::AlertUpdated,
                format!("alert {name} was changed as the watch asks for (id {id})"),
            ),
            Cause::Drift => Change::new(
                ChangeKind::AlertRepaired,
                format!(
                    "alert {name} had been changed on the server and is as the watch asks for again (id {id})"
                ),
            ),
        };
        self.changes.push(change);
        self.is_there(index, &alert);
        Ok(())
    }

    async fn enable(&mut self, index: usize, id: &str) -> Result<(), Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::patch(format!("/alerts/{id}/enable")).long()).await?;
        let name = self.name(index);
        // 400: it is enabled already.
        if !reply.is_success() && reply.status != 400 {
            let doing = format!("the request to enable alert {name}");
            return Err(http.refused(&reply, FailureClass::AlertRejected, &doing));
        }
        let message =
            format!("alert {name} had been disabled on the server and is enabled again (id {id})");
        self.changes.push(Change::new(ChangeKind::AlertRepaired, message));
        Ok(())
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.desired.alerts.get(index).map_or("", |alert| alert.name.as_str())
    }

    /// It is there, whatever comes of changing it.
    fn has_id(&mut self, index: usize, id: &str) {
        if let Some(outcome) = self.outcomes.get_mut(index) {
            outcome.id = Some(id.to_owned());
        }
    }

    fn is_there(&mut self, index: usize, alert: &StoredAlert) {
        if let Some(outcome) = self.outcomes.get_mut(index) {
            outcome.id = Some(alert.id.clone());
            outcome.state = Some(alert.state());
            outcome.last_fired = alert.last_triggered();
        }
    }

    /// Why an alert is not taken, from words that are known.
    fn refused(&self, reply: &Reply, name: &str, body: &AlertBody) -> Failure {
        let http = &self.server.http;
        let transient = |message: String| Failure::new(FailureClass::ServerError, message);
        if reply.contains("Invalid Target ID") {
            let mut memory = self.server.site.memory();
            memory.applied.retain(|id, _| !body.targets.contains(&id.to_string()));
            return transient(format!(
                "a target of alert {name} was deleted meanwhile; it is written again"
            ));
        }
        if reply.contains(NO_ALERT) {
            return transient(format!("alert {name} was deleted meanwhile; it is made again"));
        }
        let stream = &self.desired.stream;
        if reply.contains("No field named") {
            let message = format!(
                "waiting for the columns of alert {name}: stream {stream} does not have them all yet"
            );
            return Failure::new(FailureClass::ColumnPending, message);
        }
        if reply.contains("not found") {
            return transient(format!(
                "{} does not find stream {stream} for alert {name}",
                http.who()
            ));
        }
        http.refused(reply, FailureClass::AlertRejected, &format!("alert {name}"))
    }
}

fn json(body: &AlertBody) -> Value {
    // A struct of texts and numbers; it cannot fail.
    serde_json::to_value(body).unwrap_or_default()
}

/// All alerts with a tag. The server matches any of several tags, so one is asked for and the rest is looked at here.
pub(super) async fn list(server: &Inner, tag: &str) -> Result<Vec<AlertSummary>, Failure> {
    let http = &server.http;
    let mut all = Vec::new();
    for page in 0..MAX_PAGES {
        let path = format!("/alerts?tags={tag}&limit={PAGE}&offset={}", page * PAGE);
        let reply = http.call(Call::get(path).long()).await?;
        let doing = "the request for the list of alerts";
        let listed: Vec<AlertSummary> = http.expect(&reply, FailureClass::AlertRejected, doing)?;
        let is_last = listed.len() < PAGE;
        all.extend(listed);
        if is_last {
            break;
        }
    }
    Ok(all)
}

/// One alert; `None` when there is none of that id.
async fn get(server: &Inner, id: &str) -> Result<Option<StoredAlert>, Failure> {
    if !is_ulid(id) {
        return Ok(None);
    }
    let http = &server.http;
    let reply = http.call(Call::get(format!("/alerts/{id}")).long()).await?;
    if reply.status == 404 || reply.contains(NO_ALERT) {
        return Ok(None);
    }
    http.expect(&reply, FailureClass::AlertRejected, "the request for an alert").map(Some)
}

/// One that is gone already is as good.
pub(super) async fn delete(server: &Inner, id: &str) -> Result<bool, Failure> {
    if !is_ulid(id) {
        return Ok(false);
    }
    let http = &server.http;
    let reply = http.call(Call::delete(format!("/alerts/{id}"))).await?;
    if reply.is_success() {
        server.site.memory().births.remove(id);
        return Ok(true);
    }
    if reply.status == 404 || reply.contains(NO_ALERT) {
        return Ok(false);
    }
    Err(http.refused(&reply, FailureClass::AlertRejected, "the deletion of an alert"))
}

/// Ids become part of a path; what is remembered or shown could be anything.
pub(super) fn is_ulid(id: &str) -> bool {
    id.len() == 26 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
