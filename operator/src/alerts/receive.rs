//! Where probes report: `POST /v1/hits` over TLS, answered by the replica that acts and by no other.
//!
//! A replica that waits for its turn does not listen at all, so a probe that the Service sends there is refused at once and
//! tries the next connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use securitywatch_api::alerting::wire::{HITS_PATH, HitReport, MAX_BYTES, MAX_HITS};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

use super::certificate::keep;
use super::listener::TlsListener;
use super::take::take;
use super::{Gatekeeper, Identity};
use crate::backoff;
use crate::context::Context;
use crate::health::Readiness;
use crate::lock::lock;

/// How often the certificate's Secret is looked at.
const LOOK: Duration = Duration::from_secs(600);

/// Why nobody can report.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for the reports of probes on {address}: {source}; choose another --alerts-addr"
)]
pub struct ServeError {
    address: SocketAddr,
    source: std::io::Error,
}

/// What the receiver needs.
#[derive(Debug)]
pub struct Door {
    /// `--alerts-addr`
    pub address: SocketAddr,
    /// The name that probes call the operator by.
    pub host: String,
    /// Lets probes in.
    pub gatekeeper: Gatekeeper,
    /// Whether the watches are known.
    pub readiness: Arc<Readiness>,
    /// The certificate that nodes are to get.
    pub certificate: Mutex<Option<String>>,
}

/// Receives until dropped.
///
/// # Errors
/// The address cannot be used.
pub async fn serve(context: &Arc<Context>, door: &Arc<Door>) -> Result<(), ServeError> {
    let failed = |source| ServeError { address: door.address, source };
    let mut identity = certificate(context, door).await;
    loop {
        *lock(&door.certificate) = Some(identity.certificate.clone());
        context.desk.changed();
        let listener = TcpListener::bind(door.address).await.map_err(failed)?;
        let listener = TlsListener::new(listener, &identity).map_err(failed)?;
        let router = Router::new()
            .route(HITS_PATH, post(hits))
            .with_state((Arc::clone(context), Arc::clone(door)));
        info!(address = %door.address, host = door.host, "Probes report here.");
        tokio::select! {
            served = axum::serve(listener, router) => served.map_err(failed)?,
            next = another(context, door, &identity) => identity = next,
        }
    }
}

/// The certificate, however long it takes to get one.
async fn certificate(context: &Context, door: &Door) -> Identity {
    let mut failures: u32 = 0;
    loop {
        match keep(&context.client, &context.namespace, &door.host).await {
            Ok(identity) => return identity,
            Err(error) => {
                failures = failures.saturating_add(1);
                context.metrics.failed("Secret", "certificate");
                warn!(%error, "No certificate, so no probe can report hits; trying again.");
                sleep(backoff::after(failures)).await;
            }
        }
    }
}

/// Ends when another certificate is to be shown.
async fn another(context: &Context, door: &Door, shown: &Identity) -> Identity {
    loop {
        sleep(backoff::jitter(LOOK)).await;
        let found = certificate(context, door).await;
        if found != *shown {
            return found;
        }
    }
}

async fn hits(
    State((context, door)): State<(Arc<Context>, Arc<Door>)>,
    request: Request,
) -> Response {
    let (outcome, response) = match report(&context, &door, request).await {
        Ok(answer) => ("taken", ([(CONTENT_TYPE, "application/json")], answer).into_response()),
        Err((status, why)) => {
            let outcome = match status {
                StatusCode::UNAUTHORIZED => "unauthenticated",
                StatusCode::FORBIDDEN => "forbidden",
                StatusCode::SERVICE_UNAVAILABLE => "unready",
                _ => "malformed",
            };
            (outcome, (status, format!("{why}\n")).into_response())
        }
    };
    context.metrics.alert_report(outcome);
    response
}

async fn report(
    context: &Arc<Context>,
    door: &Door,
    request: Request,
) -> Result<String, (StatusCode, String)> {
    // First of all: whoever it is not, is not read.
    let token = bearer(request.headers());
    let node = door.gatekeeper.node_of(token).await.map_err(|no| (no.status(), no.to_string()))?;
    if !door.readiness.is_set() {
        let why = "the first lists of watches are not complete";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned()));
    }
    let body = to_bytes(request.into_body(), MAX_BYTES).await;
    let body = body.map_err(|_| {
        (StatusCode::PAYLOAD_TOO_LARGE, format!("a report has at most {MAX_BYTES} bytes"))
    })?;
    let report: HitReport = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("no report of hits: {error}")))?;
    if report.node != *node {
        let why =
            format!("the probe of node {node} reports for {node} only, not for {}", report.node);
        return Err((StatusCode::FORBIDDEN, why));
    }
    if report.hits.len() > MAX_HITS {
        return Err((StatusCode::BAD_REQUEST, format!("a report has at most {MAX_HITS} hits")));
    }
    let answer = take(context, &node, report.hits).await;
    serde_json::to_string(&answer)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}
