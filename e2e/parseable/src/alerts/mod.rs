//! Alerts: stored here, evaluated by their own tasks.

pub(crate) mod config;
pub(crate) mod query;
pub(crate) mod text;
pub(crate) mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::accounts::Caller;
use crate::accounts::privilege::Action;
use crate::answer::{Answer, Reply, json, text};
use crate::targets::path_id;
use crate::{Shared, body, targets};
use config::{Alert, NotificationState, QueryType, State as AlertState};
use query::Tenant;
use timer::Task;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// All alerts and their tasks.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    pub(crate) by_id: BTreeMap<Ulid, Alert>,
    pub(crate) tasks: BTreeMap<Ulid, Task>,
}

impl Alerts {
    fn get(&mut self, id: Ulid) -> Result<&mut Alert, Answer> {
        self.by_id.get_mut(&id).ok_or_else(|| {
            Answer::bad_request(format!("Error: No alert found for the given ID- {id}"))
        })
    }

    pub(crate) fn use_target(&self, id: Ulid) -> bool {
        self.by_id.values().any(|alert| alert.config.targets.contains(&id))
    }

    pub(crate) fn remove(&mut self, id: Ulid) -> bool {
        self.tasks.remove(&id);
        self.by_id.remove(&id).is_some()
    }

    /// Whether its query is run again and again, and can be.
    pub(crate) fn is_evaluated(&self, alert: &Alert) -> bool {
        !alert.from_storage && self.tasks.get(&alert.id).is_some_and(Task::is_alive)
    }

    fn in_list_order(&self) -> Vec<&Alert> {
        let mut alerts: Vec<&Alert> = self.by_id.values().collect();
        // The last is chance in the real server.
        alerts.sort_by(|a, b| {
            let key = |alert: &Alert| (alert.state, alert.config.severity);
            key(a)
                .cmp(&key(b))
                .then_with(|| a.config.title.cmp(&b.config.title))
                .then_with(|| b.id.cmp(&a.id))
        });
        alerts
    }
}

pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Reply {
    let number = |name: &str, default| match asked.get(name) {
        Some(text) => text.parse().map_err(|_| {
            Answer::bad_request(format!("Invalid query parameter: {name} should be a number"))
        }),
        None => Ok(default),
    };
    let (limit, offset) = (number("limit", DEFAULT_LIMIT)?, number("offset", 0)?);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Answer::bad_request(
            "Invalid query parameter: limit should be between 1 and 1000",
        ));
    }
    let store = shared.store();
    let listed = store.alerts.in_list_order().into_iter();
    let readable = listed.filter(|alert| caller.may_on(Action::Query, &alert.dataset));
    let matching = readable.filter(|alert| matches(alert, &asked));
    let shown: Vec<Value> = matching.skip(offset).take(limit).map(Alert::summarize).collect();
    json(&Value::Array(shown))
}

fn matches(alert: &Alert, asked: &BTreeMap<String, String>) -> bool {
    asked.iter().all(|(name, wanted)| match name.as_str() {
        "limit" | "offset" => true,
        "tags" => {
            let tags = alert.config.tags.as_deref().unwrap_or_default();
            wanted.split(',').any(|tag| tags.iter().any(|own| own == tag.trim()))
        }
        other => match alert.config.other.get(other) {
            Some(Value::String(value)) => value == wanted,
            Some(value) => {
                let text = value.to_string();
                text == *wanted
            }
            None => false,
        },
    })
}

pub(crate) async fn list_tags(State(shared): State<Arc<Shared>>) -> Reply {
    let store = shared.store();
    let tags = store.alerts.by_id.values().filter_map(|alert| alert.config.tags.as_ref());
    let tags: BTreeSet<&String> = tags.flatten().collect();
    json(&json!(tags))
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Reply {
    let mut config = parse(&shared, request).await?;
    config.check_new()?;
    let dataset = judge(&shared, &caller, &config, Tenant::Own).await?;
    let alert = Alert {
        id: shared.store().new_id(),
        config,
        dataset,
        state: AlertState::NotTriggered,
        notification_state: NotificationState::Notify,
        created: shared.now(),
        last_triggered: None,
        from_storage: false,
        health: config::Health::default(),
    };
    let (id, shown) = (alert.id, alert.show());
    shared.store().alerts.by_id.insert(id, alert);
    timer::start(&shared, id);
    json(&shown)
}

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Reply {
    let id = path_id(&id)?;
    let (dataset, shown) = {
        let mut store = shared.store();
        let alert = store.alerts.get(id)?;
        (alert.dataset.clone(), alert.show())
    };
    check_access(&shared, &caller, &dataset)?;
    json(&shown)
}

/// The real server wraps both refusals as its own failure.
fn check_access(shared: &Shared, caller: &Caller, stream: &str) -> Result<(), Answer> {
    if caller.sees_all_streams() {
        return Ok(());
    }
    if !shared.store().contains(stream) {
        return Err(Answer::internal(format!("ActixError: Stream not found: {stream}")));
    }
    if caller.may_on(Action::Query, stream) {
        return Ok(());
    }
    Err(Answer::internal(format!("ActixError: User does not have access to stream- {stream}")))
}

/// Replaces what a client may change; starts the task again, so that it evaluates at once.
pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    let id = path_id(&id)?;
    let mut config = parse(&shared, request).await?;
    let tenant = match shared.store().alerts.get(id)?.from_storage {
        true => Tenant::Lost,
        false => Tenant::Own,
    };
    config.check_change()?;
    let dataset = judge(&shared, &caller, &config, tenant).await?;
    let shown = {
        let mut store = shared.store();
        let alert = store.alerts.get(id)?;
        config.other = std::mem::take(&mut alert.config.other);
        alert.config = config;
        alert.dataset = dataset;
        alert.show()
    };
    timer::start(&shared, id);
    json(&shown)
}

pub(crate) async fn delete(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let mut store = shared.store();
    store.alerts.get(id)?;
    store.alerts.remove(id);
    text(format!("Deleted alert with ID- {id}"))
}

pub(crate) async fn evaluate(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let shown = shared.store().alerts.get(id)?.show();
    timer::start(&shared, id);
    json(&shown)
}

pub(crate) async fn disable(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    set_enabled(&shared, &id, false)
}

pub(crate) async fn enable(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    set_enabled(&shared, &id, true)
}

fn set_enabled(shared: &Arc<Shared>, id: &str, enabled: bool) -> Reply {
    let id = path_id(id)?;
    let shown = {
        let mut store = shared.store();
        let alert = store.alerts.get(id)?;
        let refuse = |why: &str| Err(Answer::bad_request(format!("Invalid State Change: {why}")));
        alert.state = match (enabled, alert.state) {
            (false, AlertState::Disabled) => {
                return refuse("Can't disable an alert which is currently disabled");
            }
            (true, AlertState::Disabled) => AlertState::NotTriggered,
            (true, _) => return refuse("Can't enable an alert which is not currently disabled"),
            (false, _) => AlertState::Disabled,
        };
        alert.show()
    };
    timer::start(shared, id);
    json(&shown)
}

#[derive(Deserialize)]
struct NewNotificationState {
    state: String,
}

pub(crate) async fn update_notification_state(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    let id = path_id(&id)?;
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let asked: NewNotificationState = body::parse(&bytes)?;
    let mut store = shared.store();
    let alert = store.alerts.get(id)?;
    alert.notification_state = notification_state(&asked.state, &shared)?;
    json(&alert.show())
}

fn notification_state(asked: &str, shared: &Shared) -> Result<NotificationState, Answer> {
    let now = shared.now();
    let refuse = |why: String| {
        Err(Answer::bad_request(format!(
            "Invalid State Change: Invalid notification state change request. {why}"
        )))
    };
    let until = match asked {
        "notify" => return Ok(NotificationState::Notify),
        "indefinite" => return Ok(NotificationState::Mute(asked.to_owned())),
        _ => match (humantime::parse_duration(asked), DateTime::parse_from_rfc3339(asked)) {
            (Ok(length), _) => chrono::Duration::from_std(length).ok().map(|length| now + length),
            (_, Ok(until)) if until < now => {
                return refuse("Provided time is < Now".to_owned());
            }
            (_, Ok(until)) => Some(until.to_utc()),
            _ => None,
        },
    };
    match until {
        Some(until) => Ok(NotificationState::Mute(until.to_rfc3339())),
        None => refuse(format!(
            "Expected `notify`, `indefinite` or human-time or UTC datetime. Got `{asked}`"
        )),
    }
}

async fn parse(shared: &Shared, request: Request) -> Result<config::Request, Answer> {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    body::parse(&bytes)
}

/// The stream of an alert whose query and targets are in order.
async fn judge(
    shared: &Arc<Shared>,
    caller: &Caller,
    config: &config::Request,
    tenant: Tenant,
) -> Result<String, Answer> {
    if config.query_type == QueryType::Promql {
        return Err(Answer::bad_request("Alert should include only one dataset. Found: []"));
    }
    {
        let store = shared.store();
        let unknown = config.targets.iter().find(|id| !store.targets.by_id.contains_key(id));
        if let Some(id) = unknown {
            return Err(targets::unknown(*id));
        }
    }
    let (inner, caller) = (Arc::clone(shared), caller.clone());
    let may_read = move |stream: &str| check_access(&inner, &caller, stream);
    query::judge(shared, &config.query, tenant, may_read).await
}

/// What a restart of the server does to alerts.
pub(crate) fn load_from_storage(shared: &Arc<Shared>) {
    let ids: Vec<Ulid> = {
        let mut store = shared.store();
        store.alerts.tasks.clear();
        for alert in store.alerts.by_id.values_mut() {
            alert.from_storage = true;
        }
        store.alerts.by_id.keys().copied().collect()
    };
    for id in ids {
        timer::start(shared, id);
    }
}
