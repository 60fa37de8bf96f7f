//! A receiver of alerts on loopback.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::Result;

/// One call.
#[derive(Debug, Clone)]
pub struct Received {
    /// By this machine's clock.
    pub at: SystemTime,
    pub body: Value,
}

/// A webhook that keeps what it gets.
#[derive(Debug)]
pub struct Sink {
    pub url: String,
    got: Arc<Got>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Got {
    calls: Mutex<Vec<Received>>,
    answer: Mutex<(u16, Duration)>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    /// Answers 200 unless told otherwise.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/T0KEN-of-the-sink", listener.local_addr()?);
        let got = Arc::new(Got::default());
        *lock(&got.answer) = (200, Duration::ZERO);
        let router = Router::new().fallback(post(take)).with_state(Arc::clone(&got));
        let task = tokio::spawn(async move {
            // Ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, got, task })
    }

    /// From now on answers with `status`, after `wait`.
    pub fn answer(&self, status: u16, wait: Duration) {
        *lock(&self.got.answer) = (status, wait);
    }

    /// What came and when, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Received> {
        lock(&self.got.calls).clone()
    }

    /// What came, in order.
    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.calls().into_iter().map(|call| call.body).collect()
    }

    /// The messages that came, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let message = |body: &Value| body["message"].as_str().unwrap_or_default().to_owned();
        self.bodies().iter().map(message).collect()
    }
}

async fn take(State(got): State<Arc<Got>>, body: String) -> StatusCode {
    let (status, wait) = *lock(&got.answer);
    let body = serde_json::from_str(&body).unwrap_or(Value::Null);
    lock(&got.calls).push(Received { at: SystemTime::now(), body });
    tokio::time::sleep(wait).await;
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
