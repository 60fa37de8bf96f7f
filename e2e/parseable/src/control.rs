//! What a real server has not: `/standin/…`, to look into this one and to make it fail.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Reply, json};
use crate::faults::Fault;
use crate::{Shared, body};

/// The routes of this module, on the server's port and on the one for control.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/standin/requests", get(requests).delete(reset_requests))
        .route("/standin/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/standin/state", get(state))
        .route("/standin/deliveries", get(deliveries))
        .route("/standin/alerts/{id}", delete(lose_alert))
        .route("/standin/restart", post(restart))
        .route("/standin/empty", post(empty))
        .route("/standin/unreachable", post(unreachable))
        .route("/standin/reachable", post(reachable))
        .route("/standin/password", post(password))
}

async fn requests(State(shared): State<Arc<Shared>>) -> Reply {
    let mut shown = json!(shared.counts.read());
    shown["by_route"] = json!(shared.requests.by_route());
    json(&shown)
}

async fn reset_requests(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.counts.reset();
    shared.requests.clear();
    StatusCode::NO_CONTENT
}

/// `{"ingests": 3, "kind": "status", "status": 503, "text": "..."}`, or instead of `ingests` a `pattern`
/// with or without a number of `requests`.
#[derive(Deserialize)]
struct FaultRequest {
    ingests: Option<u64>,
    pattern: Option<String>,
    requests: Option<u64>,
    #[serde(flatten)]
    fault: Fault,
}

async fn list_faults(State(shared): State<Arc<Shared>>) -> Reply {
    json(&json!({"ingests": shared.faults.remaining()}))
}

async fn add_fault(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let asked: FaultRequest = read(&shared, request).await?;
    match (asked.ingests, asked.pattern) {
        (Some(count), None) => shared.faults.next_ingests(count, asked.fault),
        (None, Some(pattern)) => {
            let count = asked.requests.unwrap_or(u64::MAX);
            shared.faults.next_requests(&pattern, count, asked.fault);
        }
        _ => return Err(Answer::bad_request("either ingests or pattern is needed")),
    }
    list_faults(State(shared)).await
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

/// What is stored, secrets and all.
async fn state(State(shared): State<Arc<Shared>>) -> Reply {
    json(&json!({
        "deployment_id": shared.deployment().id,
        "streams": shared.stream_views(),
        "targets": shared.target_views(),
        "alerts": shared.alert_views(),
        "policy": shared.store().targets.policy,
        "dashboards": shared.dashboard_views(),
    }))
}

async fn deliveries(State(shared): State<Arc<Shared>>) -> Reply {
    let deliveries: Vec<_> = shared.deliveries().iter().cloned().collect();
    json(&json!(deliveries))
}

async fn lose_alert(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> StatusCode {
    match shared.lose_alert(&id) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::NOT_FOUND,
    }
}

#[derive(Default, Deserialize)]
struct Down {
    /// How long the port is closed.
    ms: Option<u64>,
}

impl Down {
    async fn read(shared: &Shared, request: Request) -> Result<Self, Answer> {
        let bytes = body::read(request, shared.config.max_body_bytes).await?.bytes;
        if bytes.is_empty() { Ok(Self::default()) } else { body::parse(&bytes) }
    }

    fn length(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or(0))
    }
}

async fn restart(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<StatusCode, Answer> {
    let down = Down::read(&shared, request).await?;
    tokio::spawn(async move { shared.restart(down.length()).await });
    Ok(StatusCode::ACCEPTED)
}

async fn empty(State(shared): State<Arc<Shared>>, request: Request) -> Result<StatusCode, Answer> {
    let down = Down::read(&shared, request).await?;
    tokio::spawn(async move { shared.empty(down.length()).await });
    Ok(StatusCode::ACCEPTED)
}

async fn unreachable(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<StatusCode, Answer> {
    let down = Down::read(&shared, request).await?;
    tokio::spawn(async move {
        shared.set_listening(false).await;
        if down.ms.is_some() {
            tokio::time::sleep(down.length()).await;
            shared.set_listening(true).await;
        }
    });
    Ok(StatusCode::ACCEPTED)
}

async fn reachable(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.set_listening(true).await;
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct NewPassword {
    password: String,
}

/// The root user's password is another one from here on.
async fn password(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<StatusCode, Answer> {
    let asked: NewPassword = read(&shared, request).await?;
    shared.store().accounts.root.password = asked.password;
    Ok(StatusCode::NO_CONTENT)
}

async fn read<T: serde::de::DeserializeOwned>(
    shared: &Shared,
    request: Request,
) -> Result<T, Answer> {
    let bytes = body::read(request, shared.config.max_body_bytes).await?.bytes;
    body::parse(&bytes)
}
