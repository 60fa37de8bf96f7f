//! Which path does what.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, patch, post, put};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;

use crate::accounts::{forbidden, handlers as accounts, privilege};
use crate::answer::{Answer, Ending};
use crate::{
    Generation, Shared, alerts, control, dashboards, documents, faults, health, ingest, query,
    requests, streams, targets,
};

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // Ingest checks the credentials itself: an injected fault comes before them.
    let ingest = Router::new()
        .route("/api/v1/ingest", post(ingest::to_header))
        .route("/api/v1/logstream/{stream}", post(ingest::to_stream));
    let of_generation = match shared.config.generation {
        Generation::Current => current(),
        Generation::V1 => old(),
    };
    let guarded =
        of_generation.merge(common()).route_layer(from_fn_with_state(Arc::clone(&shared), guard));
    Router::new()
        .route("/api/v1/liveness", get(health::alive))
        .route("/api/v1/readiness", get(health::alive))
        .merge(guarded)
        .merge(ingest)
        .layer(from_fn_with_state(Arc::clone(&shared), faults::inject))
        .layer(from_fn_with_state(Arc::clone(&shared), requests::watch))
        .merge(control::routes())
        .fallback(unknown)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(compressed))
        .with_state(shared)
}

/// Only what steers the stand-in.
pub(crate) fn control_router(shared: Arc<Shared>) -> Router {
    control::routes().with_state(shared)
}

/// What both generations have.
fn common() -> Router<Arc<Shared>> {
    Router::new()
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
        .route("/api/v1/user", get(accounts::users))
        .route("/api/v1/user/{name}", post(accounts::add_user).delete(accounts::delete_user))
        .route("/api/v1/user/{name}/role", get(accounts::user_roles))
        .route("/api/v1/user/{name}/role/{how}", patch(accounts::change_user_roles))
        .route("/api/v1/user/{name}/generate-new-password", post(accounts::new_password))
        .route("/api/v1/roles", get(accounts::roles))
        .route(
            "/api/v1/role/{name}",
            get(accounts::role).put(accounts::put_role).delete(accounts::delete_role),
        )
        .route("/api/v1/counts", any(health::not_built))
}

/// Since v2.4.1, with the additions up to the recorded version.
fn current() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/alerts", get(alerts::list).post(alerts::post))
        .route("/api/v1/alerts/list_tags", get(alerts::list_tags))
        .route("/api/v1/alerts/{id}", get(alerts::get).put(alerts::put).delete(alerts::delete))
        .route("/api/v1/alerts/{id}/evaluate_alert", put(alerts::evaluate))
        .route("/api/v1/alerts/{id}/disable", patch(alerts::disable))
        .route("/api/v1/alerts/{id}/enable", patch(alerts::enable))
        .route(
            "/api/v1/alerts/{id}/update_notification_state",
            patch(alerts::update_notification_state),
        )
        .route("/api/v1/targets", get(targets::list).post(targets::post))
        .route("/api/v1/targets/{id}", get(targets::get).put(targets::put).delete(targets::delete))
        .route("/api/v1/alert-target-policy", get(targets::get_policy).put(targets::put_policy))
        .route("/api/v1/dashboards", get(dashboards::list).post(dashboards::post))
        .route("/api/v1/dashboards/list_tags", get(dashboards::list_tags))
        .route(
            "/api/v1/dashboards/{id}",
            get(dashboards::get).put(dashboards::put).delete(dashboards::delete),
        )
        .route("/api/v1/dashboards/{id}/add_tile", put(dashboards::add_tile))
        .route("/api/prism/v1/apikeys", get(accounts::keys).post(accounts::add_key))
        .route("/api/prism/v1/apikeys/validate", post(accounts::validate_key))
        .route("/api/prism/v1/apikeys/{id}", get(accounts::key))
        .route("/api/prism/v1/apikeys/{id}", delete(accounts::delete_key))
}

/// Up to v1.7.3.
fn old() -> Router<Arc<Shared>> {
    Router::new().route("/api/v1/logstream/{stream}/alert", get(documents::get).put(documents::put))
}

/// Lets in who has the privilege the route asks for.
async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let caller = match shared.store().accounts.caller(request.headers()) {
        Ok(caller) => caller,
        Err(answer) => return answer.into_response(),
    };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let (action, stream) = privilege::asked(request.method(), route, request.uri().path());
    let allowed = match stream {
        Some(stream) => caller.may_on(action, stream),
        None => caller.may(action),
    };
    if !allowed {
        return forbidden().into_response();
    }
    request.extensions_mut().insert(caller);
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
