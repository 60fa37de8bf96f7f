//! Which path does what.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Ending, Reply, json};
use crate::counts::Counters;
use crate::faults::Fault;
use crate::{Shared, auth, body, health, ingest, query, streams};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // Ingest checks the credentials itself: an injected fault comes before them.
    let ingest = Router::new()
        .route("/api/v1/ingest", post(ingest::to_header))
        .route("/api/v1/logstream/{stream}", post(ingest::to_stream));
    let guarded = Router::new()
        .route("/api/v1/about", get(health::about))
        .route("/api/v1/metrics", get(health::metrics))
        .route("/api/v1/query", post(query::query))
        .route("/api/v1/logstream", get(streams::list))
        .route("/api/v1/logstream/schema/detect", post(streams::detect_schema))
        .route("/api/v1/logstream/{stream}", put(streams::put).delete(streams::delete))
        .route("/api/v1/logstream/{stream}/info", get(streams::info))
        .route("/api/v1/logstream/{stream}/schema", get(streams::schema))
        .route("/api/v1/logstream/{stream}/stats", get(streams::stats))
        .route(
            "/api/v1/logstream/{stream}/retention",
            get(streams::get_retention).put(streams::put_retention),
        )
        .route("/api/v1/logstream/{stream}/hottier", any(streams::hot_tier))
        .route("/api/v1/alerts", get(health::empty_list).fallback(health::not_built))
        .route("/api/v1/targets", get(health::empty_list).fallback(health::not_built))
        .route("/api/prism/v1/apikeys", get(health::empty_list).fallback(health::not_built))
        .route(
            "/api/v1/alert-target-policy",
            get(health::target_policy).fallback(health::not_built),
        )
        .route("/api/v1/alerts/{*rest}", any(health::not_built))
        .route("/api/v1/targets/{*rest}", any(health::not_built))
        .route("/api/v1/dashboards", any(health::not_built))
        .route("/api/v1/dashboards/{*rest}", any(health::not_built))
        .route("/api/v1/user", any(health::not_built))
        .route("/api/v1/user/{*rest}", any(health::not_built))
        .route("/api/v1/roles", any(health::not_built))
        .route("/api/v1/role/{*rest}", any(health::not_built))
        .route("/api/v1/counts", any(health::not_built))
        .route_layer(from_fn_with_state(Arc::clone(&shared), guard));
    Router::new()
        .route("/api/v1/liveness", get(health::alive))
        .route("/api/v1/readiness", get(health::alive))
        .merge(guarded)
        .merge(ingest)
        .layer(from_fn_with_state(Arc::clone(&shared), count))
        .route("/standin/requests", get(counts).delete(reset_counts))
        .route("/standin/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .fallback(unknown)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(compressed))
        .with_state(shared)
}

async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match auth::check(&shared.config.credentials, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(answer) => answer.into_response(),
    }
}

async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    Counters::add(&shared.counts.requests, 1);
    next.run(request).await
}

async fn unknown(request: Request) -> Response {
    if request.uri().path().starts_with("/api/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    health::page().await
}

/// The real server compresses when asked.
async fn compressed(request: Request, next: Next) -> Response {
    let accepted = request.headers().get(header::ACCEPT_ENCODING);
    let wanted = accepted.is_some_and(|list| {
        list.to_str().is_ok_and(|list| list.split(',').any(|name| name.trim().starts_with("gzip")))
    });
    let head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    if !wanted || head || response.extensions().get::<Ending>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(plain) = body.collect().await.map(|body| body.to_bytes()) else {
        return Answer::HangUp.into_response();
    };
    let body = match gzip(&plain) {
        Some(compressed) if !plain.is_empty() => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Body::from(compressed)
        }
        _ => Body::from(plain),
    };
    Response::from_parts(parts, body)
}

/// A 405 names GET alone where this router would name HEAD beside it.
pub(crate) fn name_no_head(response: &mut Response) {
    if let Some(allow) = response.headers_mut().get_mut(header::ALLOW)
        && let Ok(methods) = allow.to_str().map(|methods| methods.replace("GET,HEAD", "GET"))
        && let Ok(value) = HeaderValue::from_str(&methods)
    {
        *allow = value;
    }
}

fn gzip(plain: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

async fn counts(State(shared): State<Arc<Shared>>) -> Reply {
    json(&json!(shared.counts.read()))
}

async fn reset_counts(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.counts.reset();
    StatusCode::NO_CONTENT
}

/// `{"ingests": 3, "kind": "status", "status": 503, "text": "..."}`
#[derive(Deserialize)]
struct FaultRequest {
    ingests: u64,
    #[serde(flatten)]
    fault: Fault,
}

async fn list_faults(State(shared): State<Arc<Shared>>) -> Reply {
    json(&json!({"ingests": shared.faults.remaining()}))
}

async fn add_fault(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let bytes = body::read(request, shared.config.max_body_bytes).await?.bytes;
    let asked: FaultRequest = body::parse(&bytes)?;
    shared.faults.next_ingests(asked.ingests, asked.fault);
    list_faults(State(shared)).await
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}
