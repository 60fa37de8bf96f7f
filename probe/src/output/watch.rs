//! What one watch asks of the outputs.

use super::OutputError;
use crate::alert::{Alert, Reported, WatchAlerts, arm};
use crate::event::Event;
use crate::secrets::Secrets;
use crate::ship::{self, Credentials, Keeper};
use securitywatch_api::document::{Document, Kind};
use securitywatch_api::v1alpha1::SecretRef;
use std::sync::Arc;

/// What one watch asks of the outputs.
#[derive(Debug, Clone)]
pub struct WatchOutput {
    pub name: String,
    pub target: Option<ship::Target>,
    /// Which events are this watch's business at all.
    pub scope: Scope,
    /// See [`WatchAlerts::sees_all`].
    pub sees_all: bool,
    pub alerts: Vec<Alert>,
    /// Alerts whose hits go to the operator.
    pub reported: Option<Reported>,
}

/// Whose processes a watch may see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every pod's and the host's.
    Everything,
    /// Those of this namespace's pods. A process whose pod is not known belongs to none.
    Namespace(Arc<str>),
}

impl Scope {
    /// Whether the event is in it.
    #[must_use]
    pub fn admits(&self, event: &Event) -> bool {
        match self {
            Self::Everything => true,
            Self::Namespace(namespace) => {
                event.process.pod().is_some_and(|pod| *pod.namespace == **namespace)
            }
        }
    }
}

impl WatchOutput {
    /// Neither ships nor alerts.
    #[must_use]
    pub const fn silent(name: String) -> Self {
        Self {
            name,
            target: None,
            scope: Scope::Everything,
            sees_all: false,
            alerts: Vec::new(),
            reported: None,
        }
    }

    /// Reads what a document's target and alerts need from `secrets`.
    ///
    /// # Errors
    /// The first thing that is wrong, with what to create or mend.
    pub fn from_document(document: &Document, secrets: &Secrets) -> Result<Self, OutputError> {
        let watch = || document.title();
        let account = |field, secret: &Option<SecretRef>| {
            let read = |s: &SecretRef| Credentials::from_secret(secrets, &s.secret_name);
            secret.as_ref().map(read).transpose().map_err(|source| OutputError::Secret {
                watch: watch(),
                field,
                source,
            })
        };
        let target = match &document.parseable {
            None => None,
            Some(parseable) => {
                let management = account("credentials", &parseable.credentials)?;
                let ingest = account("ingestCredentials", &parseable.ingest_credentials)?;
                Some(ship::Target {
                    url: parseable.url.as_str().trim_end_matches('/').to_owned(),
                    stream: parseable.stream.clone(),
                    retention_days: parseable.retention_days,
                    credentials: ingest.or_else(|| management.clone()).unwrap_or_default(),
                    management,
                    keeper: Keeper::Probe,
                })
            }
        };
        let arm = |alert| arm(&document.name, alert, secrets);
        let alerts = document.alerts.iter().map(arm).collect::<Result<_, _>>();
        let alerts = alerts.map_err(|source| OutputError::Alert { watch: watch(), source })?;
        let sees_all = document.kind == Kind::AlertsV1;
        // One machine without pods is one scope, whatever namespace a document names.
        let scope = Scope::Everything;
        let name = document.name.clone();
        Ok(Self { name, target, scope, sees_all, alerts, reported: None })
    }
}

pub(super) fn watch_alerts(watches: Vec<WatchOutput>) -> Vec<WatchAlerts> {
    let mut streams: Vec<String> =
        watches.iter().filter_map(|w| Some(w.target.as_ref()?.stream.clone())).collect();
    streams.dedup();
    // Rules without a stream of their own are about the one there is.
    let only = if streams.len() == 1 { streams.pop() } else { None };
    let stream_of = |watch: &WatchOutput| match &watch.target {
        Some(target) => Some(target.stream.clone()),
        None if watch.sees_all => only.clone(),
        None => None,
    };
    let alerts = |w: WatchOutput| WatchAlerts {
        stream: stream_of(&w),
        watch: w.name,
        sees_all: w.sees_all,
        alerts: w.alerts,
    };
    watches.into_iter().map(alerts).collect()
}
