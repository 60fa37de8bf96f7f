//! Calls a receiver.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use k8s_openapi::jiff::Timestamp;
use reqwest::{Client, RequestBuilder};
use securitywatch_api::alerting::{Call, ReceiverKind, Verdict};
use securitywatch_api::backoff::Backoff;
use securitywatch_api::watch::{Receiver, UrlSource};
use securitywatch_parseable::{Destination, TargetGuard, denial, guarded_client, root_cause};
use tokio::time::sleep;
use tracing::warn;

use super::lines::LineKey;
use super::take::{known, target};
use crate::context::Context;
use crate::lock::lock;
use crate::sync::destination;

/// From sending to the end of the answer's head.
const ANSWER: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Receivers close idle connections; one that they close while we write looks like a failure.
const POOL_IDLE: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 5;
const BACKOFF: Backoff = Backoff {
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
    longest_asked: Duration::from_secs(30),
};

/// The two ways to look at certificates.
#[derive(Debug)]
pub(super) struct Clients {
    guard: Arc<TargetGuard>,
    checking: Client,
    trusting: Client,
}

impl Clients {
    pub(super) fn new(guard: Arc<TargetGuard>) -> Result<Self, reqwest::Error> {
        let client = |trusting: bool| {
            guarded_client(&guard, |builder| {
                builder
                    .connect_timeout(CONNECT)
                    .timeout(ANSWER)
                    .pool_idle_timeout(POOL_IDLE)
                    .tls_danger_accept_invalid_certs(trusting)
            })
        };
        Ok(Self { checking: client(false)?, trusting: client(true)?, guard })
    }
}

/// Why a call did not arrive.
enum Failed {
    /// It may later; the wait that was asked for.
    Later(String, Option<Duration>),
    /// It will not.
    Refused(String),
}

/// Makes a call, several times if need be.
///
/// # Errors
/// It was given up: who, why and after how many attempts. Never the URL.
pub(super) async fn deliver(
    context: &Context,
    line: &LineKey,
    kind: ReceiverKind,
    call: &Call,
) -> Result<(), String> {
    let mut attempts = 0;
    let reason = loop {
        attempts += 1;
        let (reason, asked) = match attempt(context, line, kind, call).await {
            Ok(()) => {
                context.metrics.alert_called(kind.as_str(), "sent");
                if call.at_once {
                    context.metrics.alert_latency(since(call.hit.time_ns));
                }
                return Ok(());
            }
            Err(Failed::Refused(reason)) => break reason,
            Err(Failed::Later(reason, asked)) => (reason, asked),
        };
        if attempts >= ATTEMPTS {
            break reason;
        }
        sleep(BACKOFF.delay(attempts, asked)).await;
    };
    context.metrics.alert_called(kind.as_str(), "failed");
    let who = who(context, line, kind);
    let (alert, watch) = (&call.facts.name, &call.facts.watch);
    warn!(alert, watch, attempts, "An alert was not delivered: {who} {reason}");
    Err(match attempts {
        1 => format!("{who} {reason}"),
        _ => format!("{who} {reason}; gave up after {attempts} attempts"),
    })
}

async fn attempt(
    context: &Context,
    line: &LineKey,
    kind: ReceiverKind,
    call: &Call,
) -> Result<(), Failed> {
    let clients = &context.pager.clients;
    // Looked up each time: the Secret may have been mended meanwhile.
    let Some(destination) = where_to(context, line) else {
        return Err(Failed::Refused("has no URL or login: see condition ResolvedRefs".to_owned()));
    };
    let request = request(clients, kind, &destination, call)?;
    let response = request.send().await.map_err(|error| broken(&error.without_url()))?;
    let status = response.status().as_u16();
    let reason = format!("answered {status}");
    match Verdict::of(status) {
        Verdict::Delivered => Ok(()),
        Verdict::Refused => Err(Failed::Refused(reason)),
        Verdict::Later => {
            let asked = response.headers().get(RETRY_AFTER.as_str());
            let asked = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Err(Failed::Later(reason, asked.map(Duration::from_secs)))
        }
    }
}

fn where_to(context: &Context, line: &LineKey) -> Option<Destination> {
    let memory = context.memories.get(&line.watch)?;
    let (checked, reading) = {
        let memory = lock(&memory);
        let (_, checked, _) = memory.checked.as_ref()?;
        (Arc::clone(checked), memory.reading.clone()?)
    };
    let (_, receiver) = target(checked.as_ref().as_ref().ok()?, line)?;
    destination(receiver, &reading.resolved.book)
}

fn request(
    clients: &Clients,
    kind: ReceiverKind,
    destination: &Destination,
    call: &Call,
) -> Result<RequestBuilder, Failed> {
    let (url, trusting) = match destination {
        Destination::Webhook { url, skip_tls_check, .. }
        | Destination::Alertmanager { url, skip_tls_check, .. } => (url, *skip_tls_check),
        Destination::Slack { url } => (url, false),
    };
    let denied = |why: &dyn std::fmt::Display| Failed::Refused(format!("is not called: {why}"));
    clients.guard.check_receiver(url.expose()).map_err(|why| denied(&why))?;
    let client = if trusting { &clients.trusting } else { &clients.checking };
    let request = client.post(kind.endpoint(url.expose().clone()));
    let request = match destination {
        Destination::Webhook { headers, .. } => headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value.expose())),
        Destination::Alertmanager { login: Some(login), .. } => {
            request.basic_auth(&login.username, Some(login.password.expose()))
        }
        Destination::Alertmanager { login: None, .. } | Destination::Slack { .. } => request,
    };
    Ok(request.header(CONTENT_TYPE.as_str(), "application/json").body(kind.body(call).to_string()))
}

fn broken(error: &reqwest::Error) -> Failed {
    if let Some(why) = denial(error) {
        return Failed::Refused(format!("is not called: {why}"));
    }
    let reason = if error.is_timeout() {
        "did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("is not reachable: {}", root_cause(error))
    } else {
        format!("closed the connection: {}", root_cause(error))
    };
    Failed::Later(reason, None)
}

/// The kind and the place of the URL, never the URL.
fn who(context: &Context, line: &LineKey, kind: ReceiverKind) -> String {
    let named = || {
        let watch = known(context, &line.watch)?;
        let (_, receiver) = target(watch.checked.as_ref().as_ref().ok()?, line)?;
        let source = match receiver {
            Receiver::Webhook { url, .. }
            | Receiver::Slack { url }
            | Receiver::Alertmanager { url, .. } => url,
        };
        match source {
            UrlSource::Secret(key) => Some(format!("secret {} key {}", key.secret_name, key.key)),
            UrlSource::Inline(_) => None,
        }
    };
    match named() {
        Some(place) => format!("{} of {place}", kind.as_str()),
        None => kind.as_str().to_owned(),
    }
}

fn since(time_ns: i64) -> Duration {
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    Duration::from_nanos(u64::try_from(now.saturating_sub(time_ns)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        for attempts in 1..40 {
            assert!(BACKOFF.delay(attempts, None) <= BACKOFF.cap);
        }
        assert!(BACKOFF.delay(1, None) <= BACKOFF.base);
        let asked = BACKOFF.delay(1, Some(Duration::from_secs(7)));
        assert!(asked >= Duration::from_secs(7) && asked <= Duration::from_millis(7500));
        let longest = BACKOFF.delay(1, Some(Duration::from_secs(9999)));
        assert!(longest <= BACKOFF.longest_asked + BACKOFF.base);
    }
}
