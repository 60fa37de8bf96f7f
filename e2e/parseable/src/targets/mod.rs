//! Targets: where alerts are sent.

pub(crate) mod deliver;
pub(crate) mod policy;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use ulid::Ulid;
use url::Url;

use crate::answer::{Answer, Reply, json};
use crate::{Shared, body};
use policy::{Hosts, Policy};

const MASK: &str = "********";

/// A target as it was given.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// Chosen by the client, or made here.
    #[serde(default = "Ulid::new")]
    pub(crate) id: Ulid,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Kind {
    Slack {
        #[serde(deserialize_with = "endpoint")]
        endpoint: Url,
    },
    Webhook {
        #[serde(deserialize_with = "endpoint")]
        endpoint: Url,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        skip_tls_check: bool,
    },
    AlertManager {
        #[serde(deserialize_with = "endpoint")]
        endpoint: Url,
        #[serde(default)]
        skip_tls_check: bool,
        username: Option<String>,
        password: Option<String>,
    },
}

/// With the words of a URL's own deserialisation.
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| D::Error::custom(format!("{error}: {text:?}")))
}

impl Target {
    pub(crate) fn endpoint(&self) -> &Url {
        let (Kind::Slack { endpoint }
        | Kind::Webhook { endpoint, .. }
        | Kind::AlertManager { endpoint, .. }) = &self.kind;
        endpoint
    }

    pub(crate) fn skip_tls_check(&self) -> bool {
        match self.kind {
            Kind::Slack { .. } => false,
            Kind::Webhook { skip_tls_check, .. } | Kind::AlertManager { skip_tls_check, .. } => {
                skip_tls_check
            }
        }
    }

    fn headers(&self) -> impl Iterator<Item = &str> {
        let headers = match &self.kind {
            Kind::Webhook { headers, .. } => Some(headers.keys().map(String::as_str)),
            _ => None,
        };
        headers.into_iter().flatten()
    }

    fn has_credentials(&self) -> bool {
        let authorization = self.headers().any(|name| name.eq_ignore_ascii_case("authorization"));
        authorization || self.basic().is_some()
    }

    /// User and password; one without the other is dropped silently.
    pub(crate) fn basic(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::AlertManager { username: Some(username), password: Some(password), .. } => {
                Some((username, password))
            }
            _ => None,
        }
    }

    /// As every answer shows it: secrets masked, an Alertmanager called a webhook.
    fn masked(&self) -> Value {
        let endpoint = format!("{}://{MASK}", self.endpoint().scheme());
        let mut shown = match &self.kind {
            Kind::Slack { .. } => json!({"type": "slack"}),
            Kind::Webhook { headers, .. } => {
                let headers: BTreeMap<_, _> = headers.keys().map(|name| (name, MASK)).collect();
                json!({"type": "webhook", "headers": headers})
            }
            Kind::AlertManager { .. } => {
                let (username, password) = match self.basic() {
                    Some((username, _)) => (Some(username), Some(MASK)),
                    None => (None, None),
                };
                json!({"type": "webhook", "username": username, "password": password})
            }
        };
        shown["name"] = json!(self.name);
        shown["id"] = json!(self.id);
        shown["endpoint"] = json!(endpoint);
        if !matches!(self.kind, Kind::Slack { .. }) {
            shown["skipTlsCheck"] = json!(self.skip_tls_check());
        }
        shown
    }

    /// As it stands in a list: with what the policy says of it now.
    fn with_verdict(&self, policy: &Policy, hosts: &Hosts) -> Value {
        match policy.judge(self, hosts) {
            Ok(_) => json!({"target": self.masked(), "enabled": true}),
            Err(refusal) => {
                json!({"target": self.masked(), "enabled": false, "error": refusal.short()})
            }
        }
    }
}

/// All targets and the policy they are under.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) by_id: BTreeMap<Ulid, Target>,
    pub(crate) policy: Policy,
}

impl Targets {
    pub(crate) fn get(&self, id: Ulid) -> Result<&Target, Answer> {
        self.by_id.get(&id).ok_or_else(|| unknown(id))
    }
}

pub(crate) fn unknown(id: Ulid) -> Answer {
    Answer::bad_request(format!("Invalid Target ID- {id}"))
}

/// An id in a path.
pub(crate) fn path_id(text: &str) -> Result<Ulid, Answer> {
    Ulid::from_string(text).map_err(|error| Answer::Text(StatusCode::NOT_FOUND, error.to_string()))
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Reply {
    let store = shared.store();
    let targets = &store.targets;
    let shown = targets.by_id.values();
    let shown: Vec<Value> =
        shown.map(|t| t.with_verdict(&targets.policy, &shared.config.hosts)).collect();
    json(&Value::Array(shown))
}

/// Creates, or replaces the target of the same id.
pub(crate) async fn post(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let target = parse(&shared, request).await?;
    let mut store = shared.store();
    store.targets.policy.judge(&target, &shared.config.hosts)?;
    let shown = target.masked();
    store.targets.by_id.insert(target.id, target);
    json(&shown)
}

pub(crate) async fn get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let store = shared.store();
    json(&store.targets.get(id)?.with_verdict(&store.targets.policy, &shared.config.hosts))
}

pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    let id = path_id(&id)?;
    let mut target = parse(&shared, request).await?;
    target.id = id;
    let mut store = shared.store();
    let old = store.targets.get(id)?;
    if old.name != target.name {
        return Err(Answer::bad_request(
            "Invalid target modification request: Can't modify target name",
        ));
    }
    store.targets.policy.judge(&target, &shared.config.hosts)?;
    let shown = target.masked();
    store.targets.by_id.insert(id, target);
    json(&shown)
}

pub(crate) async fn delete(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let mut store = shared.store();
    let shown = store.targets.get(id)?.masked();
    if store.alerts.use_target(id) {
        return Err(Answer::Text(
            StatusCode::CONFLICT,
            "Can't delete a Target which is being used".to_owned(),
        ));
    }
    store.targets.by_id.remove(&id);
    json(&shown)
}

async fn parse(shared: &Shared, request: Request) -> Result<Target, Answer> {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    body::parse(&bytes)
}

pub(crate) async fn get_policy(State(shared): State<Arc<Shared>>) -> Reply {
    let policy = json!(shared.store().targets.policy);
    json(&policy)
}

pub(crate) async fn put_policy(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let policy: Policy = body::parse(&bytes)?;
    policy.check()?;
    let shown = json!(policy);
    shared.store().targets.policy = policy;
    json(&shown)
}
