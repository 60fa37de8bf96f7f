//! Alerts of today's generation: what to create, change, make again, keep and delete.

use std::collections::BTreeSet;

use securitywatch_api::v1alpha1::AlertState;

use crate::desired::{DesiredAlert, KnownAlert, Owner};
use crate::identity;
use crate::wire::{
    AlertBody, EvalConfig, NotificationConfig, RollingWindow, StoredAlert, Threshold,
};

/// Minutes between two evaluations, the least there is: an alert is late by as much.
const FREQUENCY_MINUTES: u64 = 1;
/// Must be at most the frequency and must not be 0, which ends the server's handler.
const INTERVAL_MINUTES: u64 = 1;
/// Characters. A title is the first line of a notification.
const MAX_TITLE: usize = 300;

/// An alert of the spec.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// `None`: it cannot be written now, and what is there of it stays as it is.
    pub(crate) body: Option<AlertBody>,
}

/// An alert of this watch on the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) alert: StoredAlert,
    /// The server has restarted since it was made, and evaluates it no more.
    pub(crate) dead: bool,
}

/// Why an alert is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The spec, or what it is translated to, has changed.
    Spec,
    /// Somebody changed it on the server.
    Drift,
}

/// Why an alert is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surplus {
    NotInSpec,
    Duplicate,
}

/// One thing to do. `index` is that of the desired alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Create {
        index: usize,
        body: AlertBody,
    },
    Update {
        index: usize,
        id: String,
        body: AlertBody,
        cause: Cause,
    },
    /// It was disabled by hand; no PUT changes that.
    Enable {
        index: usize,
        id: String,
    },
    /// Create it anew, then delete the dead one.
    Replace {
        index: usize,
        id: String,
        body: AlertBody,
    },
    Keep {
        index: usize,
        alert: StoredAlert,
    },
    Delete {
        id: String,
        title: String,
        why: Surplus,
    },
}

/// The steps, in the order to take them: what is to be deleted comes last.
pub(crate) fn plan(wanted: &[Wanted<'_>], found: &[Found], known: &[KnownAlert]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut surplus = Vec::new();
    let mut taken = BTreeSet::new();
    for (index, want) in wanted.iter().enumerate() {
        let mut candidates = candidates(want.name, found, known, &taken);
        taken.extend(candidates.iter().map(|found| found.alert.id.as_str()));
        let first = (!candidates.is_empty()).then(|| candidates.remove(0));
        steps_for(index, want, first, &mut steps);
        surplus.extend(candidates.into_iter().map(|found| delete(found, Surplus::Duplicate)));
    }
    let rest = found.iter().filter(|found| !taken.contains(found.alert.id.as_str()));
    surplus.extend(rest.map(|found| delete(found, Surplus::NotInSpec)));
    steps.extend(surplus);
    steps
}

/// What is there of one alert, the one to keep first: one that lives, of those the oldest id.
fn candidates<'a>(
    name: &str,
    found: &'a [Found],
    known: &[KnownAlert],
    taken: &BTreeSet<&str>,
) -> Vec<&'a Found> {
    let tag = identity::alert_tag(name);
    let is_known = |id: &str| known.iter().any(|known| known.name == name && known.id == id);
    // One that says by its tag that it is another alert of the watch is that one, whatever the status remembers.
    let says_another = |alert: &StoredAlert| {
        alert.tags().iter().any(|own| own.starts_with(identity::ALERT_TAG) && *own != tag)
    };
    let mut candidates: Vec<&Found> = found
        .iter()
        .filter(|found| !taken.contains(found.alert.id.as_str()))
        .filter(|found| {
            let alert = &found.alert;
            alert.tags().contains(&tag) || (is_known(&alert.id) && !says_another(alert))
        })
        .collect();
    candidates.sort_by(|a, b| (a.dead, &a.alert.id).cmp(&(b.dead, &b.alert.id)));
    candidates
}

fn steps_for(index: usize, want: &Wanted<'_>, first: Option<&Found>, steps: &mut Vec<Step>) {
    match (first, &want.body) {
        (None, None) => {}
        (None, Some(body)) => steps.push(Step::Create { index, body: body.clone() }),
        (Some(found), None) => steps.push(Step::Keep { index, alert: found.alert.clone() }),
        (Some(found), Some(body)) => {
            let (alert, id) = (&found.alert, found.alert.id.clone());
            let body = with_foreign_tags(body, alert);
            if found.dead {
                steps.push(Step::Replace { index, id, body });
                return;
            }
            if is_same(alert, &body) {
                steps.push(Step::Keep { index, alert: alert.clone() });
            } else {
                let written = identity::hash_of(alert.tags());
                let cause = match written {
                    Some(hash) if !body.tags.iter().any(|tag| tag == hash) => Cause::Spec,
                    _ => Cause::Drift,
                };
                steps.push(Step::Update { index, id: id.clone(), body, cause });
            }
            if alert.state() == AlertState::Disabled {
                steps.push(Step::Enable { index, id });
            }
        }
    }
}

fn delete(found: &Found, why: Surplus) -> Step {
    Step::Delete { id: found.alert.id.clone(), title: found.alert.title.clone(), why }
}

/// Tags that somebody added stay.
fn with_foreign_tags(body: &AlertBody, alert: &StoredAlert) -> AlertBody {
    let mut body = body.clone();
    body.tags.extend(alert.tags().iter().filter(|tag| !identity::is_own_tag(tag)).cloned());
    body
}

/// Whether a PUT would change nothing. One that is not needed restarts the alert's timer and may notify again.
fn is_same(alert: &StoredAlert, body: &AlertBody) -> bool {
    let targets: BTreeSet<&String> = alert.targets.iter().collect();
    let tags: BTreeSet<&String> = alert.tags().iter().collect();
    let window = (&alert.eval_config.rolling_window, &body.eval_config.rolling_window);
    alert.title == body.title
        && alert.severity.eq_ignore_ascii_case(body.severity)
        && alert.query.trim() == body.query.trim()
        && alert.threshold_config == body.threshold_config
        && window.0.eval_start == window.1.eval_start
        && window.0.eval_frequency == window.1.eval_frequency
        && alert.notification_config == body.notification_config
        && targets == body.targets.iter().collect()
        && tags == body.tags.iter().collect()
}

/// An alert as it is written. `window`: how far back each evaluation looks; `targets`: ids.
pub(crate) fn body(
    owner: &Owner,
    alert: &DesiredAlert,
    query: String,
    window: &str,
    targets: impl IntoIterator<Item = String>,
) -> AlertBody {
    let mut targets: Vec<String> = targets.into_iter().collect();
    targets.sort();
    targets.dedup();
    let mut body = AlertBody {
        title: title(owner, alert),
        severity: alert.severity.as_str(),
        query,
        alert_type: "threshold",
        threshold_config: Threshold { operator: ">".to_owned(), value: 0.0 },
        eval_config: EvalConfig {
            rolling_window: RollingWindow {
                eval_start: window.to_owned(),
                eval_end: "now".to_owned(),
                eval_frequency: FREQUENCY_MINUTES,
            },
        },
        notification_config: NotificationConfig { interval: INTERVAL_MINUTES },
        targets,
        tags: Vec::new(),
    };
    // A struct of texts and numbers; it cannot fail to be written.
    let canonical = serde_json::to_string(&body).unwrap_or_default();
    body.tags = vec![
        identity::TAG.to_owned(),
        identity::cluster_tag(&owner.cluster_id),
        identity::uid_tag(&owner.uid),
        identity::alert_tag(&alert.name),
        identity::hash_tag(&canonical),
    ];
    body
}

/// `wget_command (shop/egress): wget was executed from the pod: {process_exec_process_pod_name}`. The server has no message
/// templates: the values stand below the title, by the columns' names.
fn title(owner: &Owner, alert: &DesiredAlert) -> String {
    let watch = owner.title.split_once('/').map_or(owner.title.as_str(), |(_, rest)| rest);
    let message = alert.message.to_string();
    let words: Vec<&str> = message.split_whitespace().collect();
    let title = format!("{} ({watch}): {}", alert.name, words.join(" "));
    match title.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title,
    }
}

#[cfg(test)]
mod tests;
