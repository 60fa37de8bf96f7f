//! Keeps the DaemonSet as the template says and counts its pods.

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use securitywatch_api::cluster::OPERATOR_MANAGER;
use serde_json::Value;
use tracing::{info, warn};

use super::{Place, ProbeConfig, render};
use crate::backoff;
use crate::error::{Error, short, within};
use crate::lock::lock;
use crate::status::Rollout;
use crate::telemetry::Metrics;

/// What a controller of the DaemonSet needs.
#[derive(Debug)]
pub struct Control {
    /// The values.
    pub config: ProbeConfig,
    /// The operator's namespace.
    pub namespace: String,
    /// The operator's Deployment.
    pub deployment: Option<String>,
    /// Where the count of the pods is left.
    pub rollout: Arc<Mutex<Option<Rollout>>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Generation and content of the last apply: as long as the object has the one and we want the other,
/// nothing of ours has changed and nothing is written.
#[derive(Debug, PartialEq)]
struct Applied {
    generation: Option<i64>,
    wanted: Value,
}

impl Control {
    /// Works until dropped. `changed` is told when the count of the pods changed, `known` that the DaemonSet,
    /// or that there is none, is known.
    pub async fn run(self, client: Client, changed: impl Fn(), known: impl Fn()) {
        let api: Api<DaemonSet> = Api::namespaced(client.clone(), &self.namespace);
        let place = self.place(&client).await;
        let wanted = render(&self.config, &place);
        let events = watcher(
            api.clone(),
            watcher::Config::default()
                .fields(&format!("metadata.name={}", self.config.name))
                .timeout(crate::WATCH_SECONDS),
        )
        .default_backoff();
        pin_mut!(events);
        let mut applied = None;
        let mut failures = 0;
        let mut seen = None;
        loop {
            let retry = async {
                match failures {
                    0 => std::future::pending().await,
                    failures => tokio::time::sleep(backoff::after(failures)).await,
                }
            };
            let event = tokio::select! {
                event = events.next() => match event { Some(event) => event, None => return },
                () = retry => Ok(watcher::Event::InitDone),
            };
            match event {
                Ok(watcher::Event::Init) => {
                    seen = None;
                    continue;
                }
                Ok(watcher::Event::InitApply(found)) => {
                    seen = Some(found);
                    continue;
                }
                Ok(watcher::Event::Apply(found)) => seen = Some(found),
                Ok(watcher::Event::Delete(_)) => seen = None,
                Ok(watcher::Event::InitDone) => {}
                Err(error) => {
                    self.metrics.watch_failed("DaemonSet");
                    warn!(error = %short(&error), "Watching the probe's DaemonSet failed; trying again.");
                    continue;
                }
            }
            self.count(seen.as_ref(), &changed);
            known();
            match self.apply(&api, &wanted, seen.as_ref(), &mut applied).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.metrics.failed("DaemonSet", error.class());
                    warn!(%error, "The probe's DaemonSet could not be applied; trying again.");
                }
            }
        }
    }

    async fn place(&self, client: &Client) -> Place {
        let mut place = Place { namespace: self.namespace.clone(), owner: None };
        let Some(name) = &self.deployment else { return place };
        let api: Api<Deployment> = Api::namespaced(client.clone(), &self.namespace);
        for failures in 1..=5 {
            match within("get deployment", api.get(name)).await {
                Ok(deployment) => {
                    place.owner = deployment.uid().map(|uid| (name.clone(), uid));
                    break;
                }
                Err(error) if error.is_not_found() => {
                    warn!(
                        deployment = name,
                        "No such Deployment: the probe's DaemonSet gets no owner and stays when the chart goes."
                    );
                    break;
                }
                Err(error) => {
                    warn!(%error, "The operator's Deployment could not be read; trying again.");
                    tokio::time::sleep(backoff::after(failures) / 5).await;
                }
            }
        }
        place
    }

    fn count(&self, found: Option<&DaemonSet>, changed: &impl Fn()) {
        let rollout = found.and_then(rollout);
        let mut kept = lock(&self.rollout);
        if *kept != rollout {
            *kept = rollout;
            drop(kept);
            changed();
        }
    }

    async fn apply(
        &self,
        api: &Api<DaemonSet>,
        wanted: &Value,
        found: Option<&DaemonSet>,
        applied: &mut Option<Applied>,
    ) -> Result<(), Error> {
        if let (Some(found), Some(applied)) = (found, applied.as_ref())
            && applied.generation == found.metadata.generation
            && applied.wanted == *wanted
            && metadata_holds(wanted, found)
        {
            return Ok(());
        }
        let params = PatchParams::apply(OPERATOR_MANAGER).force();
        let patch = Patch::Apply(wanted);
        let result =
            within("apply daemonset", api.patch(&self.config.name, &params, &patch)).await?;
        self.metrics.wrote("DaemonSet");
        let before = found.and_then(|found| found.metadata.resource_version.as_ref());
        if before != result.metadata.resource_version.as_ref() {
            info!(daemonset = self.config.name, "Applied the probe's DaemonSet.");
        }
        *applied = Some(Applied { generation: result.metadata.generation, wanted: wanted.clone() });
        Ok(())
    }
}

/// Labels and owners do not count into the generation: they are compared.
fn metadata_holds(wanted: &Value, found: &DaemonSet) -> bool {
    let labels = wanted["metadata"]["labels"].as_object();
    let owners = wanted["metadata"]["ownerReferences"].as_array();
    labels
        .into_iter()
        .flatten()
        .all(|(name, value)| found.labels().get(name).map(String::as_str) == value.as_str())
        && owners.into_iter().flatten().all(|owner| {
            found.owner_references().iter().any(|found| owner["uid"].as_str() == Some(&found.uid))
        })
}

/// What the DaemonSet says about its pods.
#[must_use]
pub fn rollout(found: &DaemonSet) -> Option<Rollout> {
    let status = found.status.as_ref()?;
    let number = |count: i32| u32::try_from(count).unwrap_or(0);
    Some(Rollout {
        desired: number(status.desired_number_scheduled),
        running: number(status.number_ready),
        counted: status.observed_generation.is_some()
            && status.observed_generation >= found.metadata.generation,
    })
}
