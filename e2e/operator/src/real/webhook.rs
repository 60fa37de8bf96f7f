//! A receiver of alerts on this machine's loopback, which nodes reach at [`super::HOST`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;

use crate::control_plane::HOST;
use crate::wait::until;
use crate::{Result, ensure};

/// One call.
#[derive(Debug, Clone)]
pub struct Received {
    /// By this machine's clock.
    pub at: SystemTime,
    pub body: Value,
}

#[derive(Debug, Default)]
struct Log {
    calls: Mutex<Vec<Received>>,
    /// What clocks of nodes were ahead of this machine's when they asked, in seconds.
    clocks: Mutex<Vec<f64>>,
}

/// A running receiver.
#[derive(Debug)]
pub struct Webhook {
    port: u16,
    log: Arc<Log>,
}

impl Webhook {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let log = Arc::new(Log::default());
        let routes = Router::new()
            .route("/oncall", post(take))
            .route("/clock/{seconds}", get(clock))
            .route("/", get(|| async { "hello\n" }))
            .with_state(Arc::clone(&log));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { port, log })
    }

    /// The webhook's URL, as nodes reach it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{HOST}:{}/oncall", self.port)
    }

    /// A page to fetch from a pod.
    #[must_use]
    pub fn page(&self) -> String {
        format!("http://{HOST}:{}/", self.port)
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Received> {
        self.log.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much the clock of a node that asked for `/clock/SECONDS` is ahead.
    #[must_use]
    pub fn clock_offset(&self) -> Option<f64> {
        let clocks = self.log.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        // The request takes time, which makes the node's clock look late: the least late is the truest.
        clocks.iter().copied().reduce(f64::max)
    }

    /// The first call of an alert that `fits`.
    ///
    /// # Errors
    /// None within the time; the error lists what came.
    pub async fn call(
        &self,
        within: Duration,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<Received> {
        until(what, within, async || {
            let calls = self.calls();
            let found = calls.iter().find(|call| fits(&call.body)).cloned();
            let seen: Vec<String> = calls
                .iter()
                .map(|c| format!("{}: {}", c.body["alert"], c.body["message"]))
                .collect();
            ensure!(found.is_some(), "{} calls: {}", seen.len(), seen.join("; "));
            found.ok_or_else(|| "no call".into())
        })
        .await
    }
}

async fn take(State(log): State<Arc<Log>>, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call = Received { at: SystemTime::now(), body };
    log.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    StatusCode::OK
}

async fn clock(State(log): State<Arc<Log>>, Path(seconds): Path<f64>) -> StatusCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    log.clocks.lock().unwrap_or_else(PoisonError::into_inner).push(seconds - now);
    StatusCode::NO_CONTENT
}
