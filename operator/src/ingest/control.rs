//! Keeps the Secret as the watches need it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use securitywatch_api::cluster::{ALERTS_CERTIFICATE, INGEST_SECRET, OPERATOR_MANAGER};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Ingest, wanted};
use crate::backoff;
use crate::error::{Error, within};
use crate::telemetry::Metrics;

/// Many watches that are applied at once make one write.
const GATHER: Duration = Duration::from_millis(500);
/// How often the Secret is compared although no watch changed.
const COMPARE: Duration = Duration::from_secs(60);

/// Where a changed account is left.
#[derive(Debug, Default)]
pub struct Desk {
    changed: Notify,
}

impl Desk {
    /// Some watch's account changed, or a watch is gone.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    /// Works until dropped. `watches` gives all watches there are; `None` while that is not known. `certificate` is the one
    /// that nodes know the operator by, where there is one.
    pub async fn run(
        &self,
        client: &Client,
        namespace: &str,
        metrics: &Metrics,
        watches: impl Fn() -> Option<BTreeMap<String, Ingest>>,
        certificate: impl Fn() -> Option<String>,
    ) {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let mut failures: u32 = 0;
        loop {
            let wait =
                if failures == 0 { backoff::jitter(COMPARE) } else { backoff::after(failures) };
            // Told or not, the time has come.
            let _ = timeout(wait, self.changed.notified()).await;
            sleep(GATHER).await;
            let Some(watches) = watches() else { continue };
            match keep(&api, &watches, certificate(), metrics).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    metrics.failed("Secret", error.class());
                    warn!(%error, "The nodes' accounts could not be written; trying again.");
                }
            }
        }
    }
}

async fn keep(
    api: &Api<Secret>,
    watches: &BTreeMap<String, Ingest>,
    certificate: Option<String>,
    metrics: &Metrics,
) -> Result<(), Error> {
    let found = within("get secret", api.get_opt(INGEST_SECRET)).await?;
    let exists = found.is_some();
    let present = content(found);
    let mut wanted = wanted(&present, watches);
    if let Some(certificate) = certificate {
        wanted.insert(ALERTS_CERTIFICATE.to_owned(), certificate.into_bytes());
    } else if let Some(known) = present.get(ALERTS_CERTIFICATE) {
        // There is none yet, and that of before may still be right.
        wanted.insert(ALERTS_CERTIFICATE.to_owned(), known.clone());
    }
    if wanted == present && (exists || wanted.is_empty()) {
        return Ok(());
    }
    let params = PatchParams::apply(OPERATOR_MANAGER).force();
    let patch = Patch::Apply(secret(&wanted));
    let written = within("apply secret", api.patch(INGEST_SECRET, &params, &patch)).await?;
    // Keys that somebody else wrote do not go by leaving them out.
    let foreign: serde_json::Map<String, Value> = content(Some(written))
        .into_keys()
        .filter(|key| !wanted.contains_key(key))
        .map(|key| (key, Value::Null))
        .collect();
    if !foreign.is_empty() {
        let patch = Patch::Merge(json!({"data": foreign}));
        let params = PatchParams::default();
        within("patch secret", api.patch(INGEST_SECRET, &params, &patch)).await?;
    }
    metrics.wrote("Secret");
    info!(secret = INGEST_SECRET, keys = wanted.len(), "Wrote the nodes' accounts.");
    Ok(())
}

fn content(secret: Option<Secret>) -> BTreeMap<String, Vec<u8>> {
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    data.into_iter().map(|(key, value)| (key, value.0)).collect()
}

fn secret(wanted: &BTreeMap<String, Vec<u8>>) -> Value {
    let data: BTreeMap<_, _> =
        wanted.iter().map(|(key, value)| (key, ByteString(value.clone()))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": INGEST_SECRET,
            "labels": {"app.kubernetes.io/managed-by": "securitywatch-operator"},
        },
        "type": "Opaque",
        "data": data,
    })
}
