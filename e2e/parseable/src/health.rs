//! Probes, and what the server says of itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Shared;
use crate::answer::{Answer, Reply, json};

pub(crate) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// The version recorded; the identifiers are this server's own.
pub(crate) async fn about() -> Reply {
    json(&json!({
        "version": "v2.9.5",
        "uiVersion": "development",
        "commit": "7fe859f9",
        "deploymentId": "01M80EQVS6T4ADFT6TQQXWZRP7",
        "updateAvailable": false,
        "latestVersion": null,
        "llmActive": false,
        "llmProvider": null,
        "oidcActive": false,
        "license": {"name": "AGPL-3.0-only", "version": "v1", "plan": "OSS", "deploymentInfo": "Managed"},
        "mode": "Standalone",
        "staging": "memory",
        "hotTier": "Disabled",
        "grpcPort": 8001,
        "store": {"type": "Local drive", "path": "memory"},
        "analytics": {"clarityTag": null},
    }))
}

/// The start time is the sign of a restart a client looks for.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let started = shared.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    metric(
        "parseable_incoming_requests",
        "counter",
        "Incoming Requests",
        shared.counts.requests.load(Ordering::Relaxed),
    );
    metric(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        started,
    );
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// Alerts, targets and API keys: there are none, and none can be made here.
pub(crate) async fn empty_list() -> Reply {
    json(&json!([]))
}

/// The outbound policy before anyone sets it.
pub(crate) async fn target_policy() -> Reply {
    json(&json!({
        "allowPrivate": false,
        "allowedDomains": [],
        "allowedCidrs": [],
        "deniedDomains": [],
        "deniedCidrs": [],
        "allowInvalidTls": false,
    }))
}

/// What the operator's tests will bring.
pub(crate) async fn not_built() -> Reply {
    Err(Answer::Text(
        StatusCode::NOT_IMPLEMENTED,
        "stand-in: this route is not part of it (alerts, targets, dashboards, users, API keys, counts)"
            .to_owned(),
    ))
}

/// Every other path is the page of the user interface.
pub(crate) async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html")], "<html></html>\n").into_response()
}
