//! Metrics. No label names an object: their number would grow with the cluster.

use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::lock::lock;

/// Upper bounds of the time from an event to its call, in seconds.
const LATENCIES: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];
/// Upper bounds of reconcile times, in seconds.
const DURATIONS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    kind: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    receiver: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyState {
    kind: &'static str,
    ready: &'static str,
}

/// What the operator counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<OfKind, Counter>,
    failures: Family<Failed, Counter>,
    duration: Family<OfKind, Histogram>,
    writes: Family<OfKind, Counter>,
    watch_failures: Family<OfKind, Counter>,
    malformed: Family<OfKind, Counter>,
    syncs: Family<Outcome, Counter>,
    events: Family<Outcome, Counter>,
    alert_reports: Family<Outcome, Counter>,
    alert_hits: Family<Outcome, Counter>,
    alert_calls: Family<Called, Counter>,
    alert_latency: Histogram,
    leader: Gauge,
    nodes: Gauge,
    watches: Family<ReadyState, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("securitywatch_operator")),
            reconciles: Family::default(),
            failures: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            writes: Family::default(),
            watch_failures: Family::default(),
            malformed: Family::default(),
            syncs: Family::default(),
            events: Family::default(),
            alert_reports: Family::default(),
            alert_hits: Family::default(),
            alert_calls: Family::default(),
            alert_latency: Histogram::new(LATENCIES),
            leader: Gauge::default(),
            nodes: Gauge::default(),
            watches: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = lock(&self.registry);
        let registry = &mut *registry;
        let counter =
            |registry: &mut Registry, name: &str, help: &str, metric: &Family<OfKind, Counter>| {
                registry.register(name, help, metric.clone());
            };
        counter(registry, "reconciles", "Reconciles of objects", &self.reconciles);
        counter(registry, "writes", "Writes to the API server, by the kind written", &self.writes);
        counter(
            registry,
            "watch_failures",
            "Broken or refused watch requests",
            &self.watch_failures,
        );
        counter(registry, "malformed_objects", "Objects that could not be read", &self.malformed);
        registry.register(
            "failures",
            "Reconciles that failed and will be repeated, by cause",
            self.failures.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconcile",
            Unit::Seconds,
            self.duration.clone(),
        );
        registry.register("parseable_syncs", "Syncs with Parseable servers", self.syncs.clone());
        registry.register("events", "Kubernetes Events", self.events.clone());
        let reports = "Reports of hits by probes";
        registry.register("alert_reports", reports, self.alert_reports.clone());
        registry.register("alert_hits", "Hits in these reports", self.alert_hits.clone());
        registry.register("alert_calls", "Calls of receivers", self.alert_calls.clone());
        registry.register_with_unit(
            "alert_latency",
            "From an event to the answer of the receiver that it calls at once",
            Unit::Seconds,
            self.alert_latency.clone(),
        );
        registry.register("leader", "1 while this replica acts", self.leader.clone());
        registry.register("reporting_nodes", "Nodes with a report", self.nodes.clone());
        registry.register(
            "watches",
            "Watches by the status of their condition Ready",
            self.watches.clone(),
        );
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Only if a metric cannot be written as text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &lock(&self.registry))?;
        Ok(text)
    }

    /// A reconcile ended.
    pub fn reconciled(&self, kind: &'static str, took: Duration) {
        self.reconciles.get_or_create(&OfKind { kind }).inc();
        self.duration.get_or_create(&OfKind { kind }).observe(took.as_secs_f64());
    }

    /// Something failed and will be repeated.
    pub fn failed(&self, kind: &'static str, class: &'static str) {
        self.failures.get_or_create(&Failed { kind, class }).inc();
    }

    /// An object was written.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&OfKind { kind }).inc();
    }

    /// A watch request broke or was refused.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&OfKind { kind }).inc();
    }

    /// An object could not be read.
    pub fn malformed(&self, kind: &'static str) {
        self.malformed.get_or_create(&OfKind { kind }).inc();
    }

    /// A sync with a Parseable server ended.
    pub fn synced(&self, outcome: &'static str) {
        self.syncs.get_or_create(&Outcome { outcome }).inc();
    }

    /// An Event was written or could not be.
    pub fn announced(&self, outcome: &'static str) {
        self.events.get_or_create(&Outcome { outcome }).inc();
    }

    /// A probe reported, or somebody who may not.
    pub fn alert_report(&self, outcome: &'static str) {
        self.alert_reports.get_or_create(&Outcome { outcome }).inc();
    }

    /// A hit was judged.
    pub fn alert_hit(&self, outcome: &'static str) {
        self.alert_hits.get_or_create(&Outcome { outcome }).inc();
    }

    /// A call of a kind of receiver ended.
    pub fn alert_called(&self, receiver: &'static str, outcome: &'static str) {
        self.alert_calls.get_or_create(&Called { receiver, outcome }).inc();
    }

    /// A call that was made at once was answered so long after its event.
    pub fn alert_latency(&self, took: Duration) {
        self.alert_latency.observe(took.as_secs_f64());
    }

    /// Whether this replica acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// How many nodes have a report.
    pub fn nodes(&self, nodes: usize) {
        self.nodes.set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// How many watches of a kind have this status of `Ready`.
    pub fn watches(&self, kind: &'static str, ready: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.watches.get_or_create(&ReadyState { kind, ready }).set(count);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_text_has_every_metric_with_its_labels() {
        let metrics = Metrics::new();
        metrics.reconciled("SecurityWatch", Duration::from_millis(3));
        metrics.failed("SecurityWatch", "conflict");
        metrics.leads(true);
        let text = metrics.text().unwrap();
        for line in [
            "securitywatch_operator_reconciles_total{kind=\"SecurityWatch\"} 1",
            "securitywatch_operator_failures_total{kind=\"SecurityWatch\",class=\"conflict\"} 1",
            "securitywatch_operator_reconcile_duration_seconds_count{kind=\"SecurityWatch\"} 1",
            "securitywatch_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
