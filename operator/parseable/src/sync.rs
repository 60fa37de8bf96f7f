//! One pass: look, decide, change, report.

mod alerts;
mod documents;
mod health;
pub(crate) mod remove;
mod stream;
mod targets;

use crate::desired::{Desired, DesiredAlert, KnownAlert};
use crate::failure::{Failure, FailureClass};
use crate::plan::columns::Schema;
use crate::report::{AlertOutcome, Change, Generation, SyncReport};
use crate::server::{Facts, Inner};

/// One pass of one watch, as far as it has come.
#[derive(Debug)]
struct Pass<'a> {
    server: &'a Inner,
    desired: &'a Desired,
    facts: &'a Facts,
    outcomes: Vec<AlertOutcome>,
    changes: Vec<Change>,
}

/// The stream as the alerts find it.
#[derive(Debug)]
struct StreamState {
    schema: Schema,
    /// It was not there before this pass: alerts on it may have stopped for that.
    created: bool,
}

pub(crate) async fn sync(server: &Inner, desired: &Desired, known: &[KnownAlert]) -> SyncReport {
    let facts = match server.facts.get(&server.http, &server.site).await {
        Ok(facts) => facts,
        Err(failure) => return unreachable(desired, failure),
    };
    server.site.is_now(&facts);
    let outcomes = desired.alerts.iter().map(|alert| outcome(alert, None)).collect();
    let mut pass = Pass { server, desired, facts: &facts, outcomes, changes: Vec::new() };
    let (stream, state) = pass.stream().await;
    let failure = match (&stream, state) {
        (_, Some(state)) => pass.alerts(&state, known).await.err(),
        // Without its stream there is nothing to plan an alert on.
        (Err(failure), None) => Some(failure.clone()),
        (Ok(()), None) => None,
    };
    if let Some(failure) = failure {
        // A route that is not there any more, for one: another version may run by now.
        if !matches!(failure.class, FailureClass::Unreachable | FailureClass::Unauthorized) {
            server.facts.doubt(&server.site).await;
        }
        pass.fail_all(&failure);
    }
    let Pass { outcomes, changes, .. } = pass;
    SyncReport { stream, alerts: outcomes, changes, generation: Some(facts.generation) }
}

/// Nothing is known but why.
fn unreachable(desired: &Desired, failure: Failure) -> SyncReport {
    let alerts = desired.alerts.iter().map(|alert| outcome(alert, Some(&failure))).collect();
    // Both an account that may only ingest and a wrong password are answered 403. With nothing to manage the nodes, which
    // ship with it, tell the two apart.
    let nothing_to_manage = desired.alerts.is_empty() && desired.retention_days.is_none();
    let stream = match failure.class {
        FailureClass::Unauthorized if nothing_to_manage => Ok(()),
        _ => Err(failure),
    };
    SyncReport { stream, alerts, changes: Vec::new(), generation: None }
}

fn outcome(alert: &DesiredAlert, failure: Option<&Failure>) -> AlertOutcome {
    AlertOutcome {
        name: alert.name.clone(),
        id: None,
        state: None,
        last_fired: None,
        failure: failure.cloned(),
    }
}

impl Pass<'_> {
    /// # Errors
    /// What ends the pass: the server does not answer any more, or refuses the account. The rest is in the outcomes.
    async fn alerts(&mut self, state: &StreamState, known: &[KnownAlert]) -> Result<(), Failure> {
        match self.facts.generation {
            Generation::Sql => self.sql_alerts(state, known).await,
            Generation::Document => self.document(&state.schema).await,
            Generation::Unsupported => {
                let version = self.facts.version.as_deref().unwrap_or("of an unknown version");
                let message = format!(
                    "{} is Parseable {version}, whose alerts are not supported; use 2.4.1 or newer, or 1.7.3 or older (events and retention work)",
                    self.server.http.who()
                );
                self.fail_all(&Failure::new(FailureClass::Unsupported, message));
                Ok(())
            }
        }
    }

    /// Every alert that has no failure of its own.
    fn fail_all(&mut self, failure: &Failure) {
        for outcome in &mut self.outcomes {
            outcome.failure.get_or_insert_with(|| failure.clone());
        }
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        if let Some(outcome) = self.outcomes.get_mut(index) {
            outcome.failure.get_or_insert(failure);
        }
    }
}

/// Whether going on makes no sense: everything else would fail alike.
fn ends_the_pass(failure: &Failure) -> bool {
    use FailureClass::{ServerError, TargetDenied, Unauthorized, Unreachable};
    matches!(failure.class, Unreachable | ServerError | Unauthorized | TargetDenied)
}
