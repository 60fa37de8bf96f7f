//! What pods and the operator of a real node call on this machine: a receiver of alerts, and a page to fetch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::Value;

use crate::control_plane::HOST;
use crate::sink::{Received, Sink};
use crate::wait::until;
use crate::{Result, ensure};

/// What clocks of nodes were ahead of this machine's when they asked, in seconds.
type Clocks = Arc<Mutex<Vec<f64>>>;

/// A running receiver, as nodes reach it at [`HOST`].
#[derive(Debug)]
pub struct Webhook {
    sink: Sink,
    page_port: u16,
    clocks: Clocks,
}

impl Webhook {
    /// Starts it on free ports.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let page_port = listener.local_addr()?.port();
        let clocks = Clocks::default();
        let routes = Router::new()
            .route("/", get(|| async { "hello\n" }))
            .route("/clock/{seconds}", get(clock))
            .with_state(Arc::clone(&clocks));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { sink: Sink::start().await?, page_port, clocks })
    }

    /// The webhook's URL, as nodes reach it.
    #[must_use]
    pub fn url(&self) -> String {
        self.sink.url.replace("127.0.0.1", HOST)
    }

    /// A page to fetch from a pod.
    #[must_use]
    pub fn page(&self) -> String {
        format!("http://{HOST}:{}/", self.page_port)
    }

    /// Where that page is.
    #[must_use]
    pub const fn page_port(&self) -> u16 {
        self.page_port
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Received> {
        self.sink.calls()
    }

    /// How much the clock of a node that asked for `/clock/SECONDS` is ahead.
    #[must_use]
    pub fn clock_offset(&self) -> Option<f64> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
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

async fn clock(State(clocks): State<Clocks>, Path(seconds): Path<f64>) -> StatusCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    clocks.lock().unwrap_or_else(PoisonError::into_inner).push(seconds - now);
    StatusCode::NO_CONTENT
}
