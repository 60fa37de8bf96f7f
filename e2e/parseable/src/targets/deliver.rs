//! Calls to targets, made as the recorded server makes them: at most once, whatever the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{Method, Request, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use ulid::Ulid;
use url::Url;

use super::{Kind, Target};
use crate::Shared;
use crate::alerts::text::Notification;

const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// So many are kept.
pub(crate) const KEPT: usize = 10_000;

/// One call to a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    pub at: SystemTime,
    pub alert_id: String,
    pub alert_title: String,
    pub target_id: String,
    /// Empty where the target is gone.
    pub url: String,
    /// The alert went back to not triggered.
    pub is_resolved: bool,
    pub body: String,
    pub outcome: Outcome,
}

/// How a call ended. The server itself looks at none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver's status.
    Answered(u16),
    Failed(String),
    /// The outbound policy does not allow it, or the target is gone.
    Blocked(String),
}

/// Calls a target in the background.
pub(crate) fn send(shared: &Arc<Shared>, alert: Ulid, target: Ulid, notification: Notification) {
    let shared = Arc::clone(shared);
    shared.under_way.fetch_add(1, Ordering::SeqCst);
    tokio::spawn(async move {
        let found = {
            let store = shared.store();
            let target = store.targets.by_id.get(&target).cloned();
            target.map(|t| (store.targets.policy.judge(&t, &shared.config.hosts), t))
        };
        let mut delivery = Delivery {
            at: shared.now().into(),
            alert_id: alert.to_string(),
            alert_title: notification.title.clone(),
            target_id: target.to_string(),
            url: String::new(),
            is_resolved: notification.resolved_at.is_some(),
            body: String::new(),
            outcome: Outcome::Blocked("no such target".to_owned()),
        };
        if let Some((verdict, target)) = found {
            delivery.url = target.endpoint().to_string();
            delivery.body = body(&shared, &target, &notification);
            delivery.outcome = match verdict {
                Err(refusal) => Outcome::Blocked(refusal.to_string()),
                Ok(address) => call(&target, address, delivery.body.clone()).await,
            };
        }
        shared.delivered(delivery);
    });
}

fn body(shared: &Shared, target: &Target, notification: &Notification) -> String {
    match target.kind {
        Kind::Webhook { .. } => notification.text.clone(),
        Kind::Slack { .. } => notification.for_slack(),
        Kind::AlertManager { .. } => notification.for_alert_manager(&shared.deployment()),
    }
}

async fn call(target: &Target, address: IpAddr, body: String) -> Outcome {
    match tokio::time::timeout(PATIENCE, try_call(target, address, body)).await {
        Ok(Ok(status)) => Outcome::Answered(status),
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed("no answer in 30 s".to_owned()),
    }
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the stand-in speaks no TLS: {0} was not called")]
    Tls(String),
    #[error("no connection in 3 s")]
    Slow,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] axum::http::Error),
}

async fn try_call(target: &Target, address: IpAddr, body: String) -> Result<u16, CallError> {
    let url = target.endpoint();
    if url.scheme() != "http" {
        return Err(CallError::Tls(url.to_string()));
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let connecting = TcpStream::connect(SocketAddr::new(address, port));
    let stream =
        tokio::time::timeout(CONNECT_PATIENCE, connecting).await.map_err(|_| CallError::Slow)??;
    let request = request(target, url, body)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.status().as_u16())
}

fn request(target: &Target, url: &Url, body: String) -> Result<Request<Body>, axum::http::Error> {
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path = format!("{path}?{query}");
    }
    let host = match (url.host_str().unwrap_or_default(), url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    let mut request = Request::builder().method(Method::POST).uri(path);
    match &target.kind {
        Kind::Webhook { headers, .. } => {
            for (name, value) in headers {
                request = request.header(name, value);
            }
        }
        Kind::Slack { .. } | Kind::AlertManager { .. } => {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
    }
    if let Some((username, password)) = target.basic() {
        let credentials = BASE64_STANDARD.encode(format!("{username}:{password}"));
        request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
    }
    request
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "gzip,br")
        .header(header::HOST, host)
        .body(Body::from(body))
}
