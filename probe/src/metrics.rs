//! What the probe counts, for Prometheus and for the summary at the end.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    pub kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MissingLabel {
    /// `pod`, `labels` or `container`
    pub missing: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StreamLabel {
    pub stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StreamCause {
    pub stream: String,
    pub cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
pub struct AlertLabel {
    pub watch: String,
    pub alert: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NotificationLabel {
    pub watch: String,
    pub alert: String,
    /// `webhook`, `slack` or `alertmanager`
    pub target: &'static str,
}

/// All metrics. Clones of single counters are taken once and kept: looking one up by label is not for the hot path.
pub struct Metrics {
    registry: Registry,
    /// Events by kind, as emitted by the sensor.
    pub events: Family<KindLabel, Counter>,
    /// Events lost before they reached the outputs, by cause.
    pub lost: Family<CauseLabel, Counter>,
    /// Events of a pod that went out although something of it was not known in time.
    pub events_incomplete: Family<MissingLabel, Counter>,
    /// Rows a stream has acknowledged.
    pub shipped: Family<StreamLabel, Counter>,
    /// Rows a stream will never get, by cause.
    pub dropped: Family<StreamCause, Counter>,
    /// Requests acknowledged.
    pub batches: Family<StreamLabel, Counter>,
    /// Requests repeated, by cause.
    pub retries: Family<StreamCause, Counter>,
    /// JSON bytes acknowledged, before compression.
    pub raw_bytes: Family<StreamLabel, Counter>,
    /// Body bytes acknowledged, as sent.
    pub wire_bytes: Family<StreamLabel, Counter>,
    /// Bytes waiting to be acknowledged.
    pub queue_bytes: Family<StreamLabel, Gauge>,
    /// Rows waiting to be acknowledged.
    pub queue_rows: Family<StreamLabel, Gauge>,
    /// 1 while a stream refuses what is sent and waits for somebody to mend it.
    pub held: Family<StreamLabel, Gauge>,
    /// Seconds from the oldest event of a batch to its acknowledgement.
    pub ship_latency: Family<StreamLabel, Histogram, LatencyHistogram>,
    /// Rows that matched a rule.
    pub alert_hits: Family<AlertLabel, Counter>,
    /// Calls answered with 2xx.
    pub notifications: Family<NotificationLabel, Counter>,
    /// Calls given up.
    pub notification_failures: Family<NotificationLabel, Counter>,
    /// Calls repeated after an error.
    pub notification_retries: Family<NotificationLabel, Counter>,
    /// Seconds from an event to the 2xx of its call.
    pub alert_latency: Family<NotificationLabel, Histogram, LatencyHistogram>,
}

/// Makes histograms of seconds, from a few milliseconds, which is what a near server takes, to an outage of minutes.
#[derive(Debug, Clone)]
pub struct LatencyHistogram;

impl MetricConstructor<Histogram> for LatencyHistogram {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0,
        ])
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("securitywatch_probe");
        let r = &mut registry;
        Self {
            events: family(r, "events", "Events by kind"),
            lost: family(r, "lost", "Events lost before they reached the outputs, by cause"),
            events_incomplete: family(
                r,
                "events_incomplete",
                "Events of a pod that went out although something of it was not known in time",
            ),
            shipped: family(r, "shipped", "Rows acknowledged by a stream"),
            dropped: family(r, "dropped", "Rows a stream will never get, by cause"),
            batches: family(r, "batches", "Requests acknowledged"),
            retries: family(r, "retries", "Requests repeated, by cause"),
            raw_bytes: family(r, "raw_bytes", "JSON bytes acknowledged, before compression"),
            wire_bytes: family(r, "wire_bytes", "Body bytes acknowledged, as sent"),
            queue_bytes: family(r, "queue_bytes", "Bytes waiting to be acknowledged"),
            queue_rows: family(r, "queue_rows", "Rows waiting to be acknowledged"),
            held: family(
                r,
                "held",
                "1 while a stream refuses what is sent until somebody mends it",
            ),
            ship_latency: latency(
                r,
                "ship_latency",
                "From the oldest event of a batch to its acknowledgement",
            ),
            alert_hits: family(r, "alert_hits", "Rows that matched a rule"),
            notifications: family(r, "notifications", "Alert calls answered with 2xx"),
            notification_failures: family(r, "notification_failures", "Alert calls given up"),
            notification_retries: family(
                r,
                "notification_retries",
                "Alert calls repeated after an error",
            ),
            alert_latency: latency(
                r,
                "alert_latency",
                "From an event to the 2xx of its alert call",
            ),
            registry,
        }
    }

    /// Counts events lost before the outputs saw them; `cause` is one of a fixed set of words.
    pub fn lost(&self, cause: &'static str, events: u64) {
        self.lost.get_or_create(&CauseLabel { cause }).inc_by(events);
    }

    /// All metrics in the text format of OpenMetrics.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    Family<L, M>: Clone + Default + prometheus_client::registry::Metric,
{
    let family = Family::<L, M>::default();
    registry.register(name, help, family.clone());
    family
}

fn latency<L>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> Family<L, Histogram, LatencyHistogram>
where
    L: Clone + std::hash::Hash + Eq + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
{
    let family = Family::new_with_constructor(LatencyHistogram);
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

/// Why the metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {addr}: {source}; choose another --metrics-addr")]
pub struct ServeError {
    addr: SocketAddr,
    source: std::io::Error,
}

/// Serves `GET /metrics` on `addr` until the runtime ends; returns the address that is bound (port 0 is any).
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(addr: SocketAddr, metrics: Arc<Metrics>) -> Result<SocketAddr, ServeError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    let (listener, local) = bound.await.map_err(|source| ServeError { addr, source })?;
    let page = move || {
        let body = metrics.render();
        async move {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
        }
    };
    let app = Router::new().route("/metrics", get(page));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "The metrics endpoint stopped");
        }
    });
    Ok(local)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn metrics_are_served_under_their_prefix() {
        let metrics = Arc::new(Metrics::new());
        metrics.events.get_or_create(&KindLabel { kind: "process_exec" }).inc_by(3);
        metrics.lost("ring_full", 2);
        metrics.ship_latency.get_or_create(&StreamLabel { stream: "s".into() }).observe(0.2);
        let addr = serve(SocketAddr::from(([127, 0, 0, 1], 0)), metrics).await.unwrap();
        let mut connection = tokio::net::TcpStream::connect(addr).await.unwrap();
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        for line in [
            "securitywatch_probe_events_total{kind=\"process_exec\"} 3",
            "securitywatch_probe_lost_total{cause=\"ring_full\"} 2",
            "securitywatch_probe_ship_latency_seconds_bucket{le=\"0.25\",stream=\"s\"} 1",
        ] {
            assert!(answer.contains(line), "{line} not in {answer}");
        }
    }

    #[tokio::test]
    async fn a_taken_address_is_said() {
        let metrics = Arc::new(Metrics::new());
        let addr = serve(SocketAddr::from(([127, 0, 0, 1], 0)), metrics.clone()).await.unwrap();
        let error = serve(addr, metrics).await.unwrap_err().to_string();
        assert!(error.contains(&addr.to_string()) && error.contains("--metrics-addr"), "{error}");
    }
}
