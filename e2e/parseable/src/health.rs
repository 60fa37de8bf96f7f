//! Probes, and what the server says of itself.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::answer::{Answer, Reply, json};
use crate::{Generation, Shared};

pub(crate) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// The version recorded, or the last of the old generation; the identifiers are this server's own.
pub(crate) async fn about(State(shared): State<Arc<Shared>>) -> Reply {
    let (version, license) = match shared.config.generation {
        Generation::Current => (
            "v2.9.5",
            json!({"name": "AGPL-3.0-only", "version": "v1", "plan": "OSS", "deploymentInfo": "Managed"}),
        ),
        Generation::V1 => ("v1.7.3", json!("AGPL-3.0-only")),
    };
    json(&json!({
        "version": version,
        "uiVersion": "development",
        "commit": "7fe859f9",
        "deploymentId": shared.store().deployment_id,
        "updateAvailable": false,
        "latestVersion": null,
        "llmActive": false,
        "llmProvider": null,
        "oidcActive": false,
        "license": license,
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
        shared.started_seconds(),
    );
    let mut response = text.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// Nothing of ours calls it.
pub(crate) async fn not_built() -> Reply {
    Err(Answer::Text(
        StatusCode::NOT_IMPLEMENTED,
        "stand-in: this route is not part of it".to_owned(),
    ))
}

/// Every other path is the page of the user interface.
pub(crate) async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html")], "<html></html>\n").into_response()
}
