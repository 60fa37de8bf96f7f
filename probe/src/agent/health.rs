//! `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// What the probe says of itself to the kubelet.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    /// What is still to come.
    waits_for: Mutex<String>,
}

/// Why the checks cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve health checks on {addr}: {source}; choose another --health-addr")]
pub struct HealthError {
    addr: SocketAddr,
    source: std::io::Error,
}

impl Health {
    /// Ready from now on; an API server that goes away later does not change that.
    pub fn ready(&self) {
        self.ready.store(true, Relaxed);
    }

    /// Not ready yet, and why.
    pub fn waits_for(&self, what: &str) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what.to_owned();
    }

    fn readiness(&self) -> (StatusCode, String) {
        if self.ready.load(Relaxed) {
            return (StatusCode::OK, "ok\n".to_owned());
        }
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        (StatusCode::SERVICE_UNAVAILABLE, format!("waits for {waits_for}\n"))
    }
}

/// Serves both until the runtime ends; returns the address that is bound (port 0 is any).
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(addr: SocketAddr, health: Arc<Health>) -> Result<SocketAddr, HealthError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    let (listener, local) = bound.await.map_err(|source| HealthError { addr, source })?;
    let app = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { health.readiness() }));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "The health checks stopped");
        }
    });
    Ok(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_is_ready() {
        let health = Health::default();
        health.waits_for("the first list of watches");
        let says = "waits for the first list of watches\n".to_owned();
        assert_eq!(health.readiness(), (StatusCode::SERVICE_UNAVAILABLE, says));
        health.ready();
        health.waits_for("nothing");
        assert_eq!(health.readiness(), (StatusCode::OK, "ok\n".to_owned()));
    }
}
