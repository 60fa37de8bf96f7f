//! What the server has stored, for tests.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::Shared;
use crate::alerts::config::Alert;
use crate::targets::{Kind, Target};

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamView {
    pub name: String,
    /// `X-P-Dataset-Labels` at its creation.
    pub labels: Vec<String>,
    /// `"30d"`
    pub retention: Option<String>,
    /// Names and types (`Utf8`, `Float64`, `Boolean`, `Timestamp(ms)`...).
    pub columns: BTreeMap<String, String>,
    pub rows: usize,
    /// The old generation's document of alerts.
    pub document: Option<Value>,
}

/// A target with its secrets, which the API masks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetView {
    pub id: String,
    pub name: String,
    /// `slack`, `webhook` or `alertManager`.
    pub kind: String,
    pub endpoint: String,
    pub headers: BTreeMap<String, String>,
    pub skip_tls_check: bool,
    pub basic: Option<(String, String)>,
    /// What the outbound policy says of it now.
    pub refusal: Option<String>,
}

/// An alert with what the API hides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertView {
    pub id: String,
    pub title: String,
    pub query: String,
    pub stream: String,
    pub severity: String,
    pub tags: Vec<String>,
    pub targets: Vec<String>,
    pub other_fields: Map<String, Value>,
    /// `not-triggered`, `triggered` or `disabled`.
    pub state: String,
    /// Whether it is run again and again and can find anything: not when it is disabled, has died after
    /// errors, or was there at the last restart.
    pub is_evaluated: bool,
    /// Since it was created.
    pub evaluations: u64,
    pub failures_in_a_row: u32,
    pub last_error: Option<String>,
    /// When it is evaluated or its targets are told again; none while that happens, and never again.
    pub next: Option<SystemTime>,
    /// All that GET answers.
    pub full: Value,
}

impl TargetView {
    fn new(target: &Target, refusal: Option<String>) -> Self {
        let (kind, headers) = match &target.kind {
            Kind::Slack { .. } => ("slack", BTreeMap::new()),
            Kind::Webhook { headers, .. } => ("webhook", headers.clone()),
            Kind::AlertManager { .. } => ("alertManager", BTreeMap::new()),
        };
        Self {
            id: target.id.to_string(),
            name: target.name.clone(),
            kind: kind.to_owned(),
            endpoint: target.endpoint().to_string(),
            headers,
            skip_tls_check: target.skip_tls_check(),
            basic: target.basic().map(|(user, password)| (user.to_owned(), password.to_owned())),
            refusal,
        }
    }
}

impl AlertView {
    fn new(alert: &Alert, is_evaluated: bool) -> Self {
        let full = alert.show();
        let word = |name: &str| full[name].as_str().unwrap_or_default().to_owned();
        Self {
            id: alert.id.to_string(),
            title: alert.config.title.clone(),
            query: alert.config.query.clone(),
            stream: alert.dataset.clone(),
            severity: word("severity"),
            tags: alert.config.tags.clone().unwrap_or_default(),
            targets: alert.config.targets.iter().map(ToString::to_string).collect(),
            other_fields: alert.config.other.clone(),
            state: word("state"),
            is_evaluated,
            evaluations: alert.health.evaluations,
            failures_in_a_row: alert.health.failures_in_a_row,
            last_error: alert.health.last_error.clone(),
            next: alert.health.next.map(SystemTime::from),
            full,
        }
    }
}

impl Shared {
    pub(crate) fn stream_views(&self) -> Vec<StreamView> {
        let now = self.now();
        let mut store = self.store();
        let streams = store.streams_mut().map(|(name, stream)| StreamView {
            name: name.clone(),
            labels: stream.settings.labels.clone(),
            retention: stream.retention.first().map(|task| task.duration().to_owned()),
            columns: stream
                .columns(now)
                .iter()
                .map(|(name, data_type)| (name.clone(), data_type.to_string()))
                .collect(),
            rows: stream.row_count(),
            document: stream.document.as_ref().map(crate::documents::Document::show),
        });
        streams.collect()
    }

    pub(crate) fn target_views(&self) -> Vec<TargetView> {
        let store = self.store();
        let targets = store.targets.by_id.values();
        let view = |target: &Target| {
            let verdict = store.targets.policy.judge(target, &self.config.hosts);
            TargetView::new(target, verdict.err().map(|refusal| refusal.to_string()))
        };
        targets.map(view).collect()
    }

    pub(crate) fn alert_views(&self) -> Vec<AlertView> {
        let store = self.store();
        let alerts = store.alerts.by_id.values();
        alerts.map(|alert| AlertView::new(alert, store.alerts.is_evaluated(alert))).collect()
    }

    pub(crate) fn dashboard_views(&self) -> Vec<Value> {
        let store = self.store();
        store.dashboards.iter().map(|(id, dashboard)| dashboard.show(*id)).collect()
    }
}
