//! Follows the pods of this node.

use std::pin::pin;
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use super::Pods;
use super::known::KnownPod;
use crate::ship::{Backoff, root_cause};

/// Keeps `pods` as they are on the API server; never ends.
pub async fn follow(client: Client, node: String, pods: Pods) {
    let api = Api::<Pod>::all(client);
    let backoff = Backoff::default();
    let mut failures = 0;
    loop {
        let (error, listed) = follow_once(&api, &node, &pods).await;
        let why = error.map_or_else(|| "the watch ended".to_owned(), |error| root_cause(&error));
        failures = if listed { 1 } else { failures + 1 };
        if failures == 1 {
            tracing::warn!(
                why,
                "The pods of this node cannot be followed; what is known of them stays"
            );
        }
        pods.cannot_follow(why);
        tokio::time::sleep(backoff.delay(failures, None)).await;
    }
}

/// A list and a watch until something fails. A failed watch is begun anew by a list, although it could go on from where
/// it was: only a list says that the API server can be reached again.
async fn follow_once(api: &Api<Pod>, node: &str, pods: &Pods) -> (Option<watcher::Error>, bool) {
    // From the server's cache: thousands of nodes ask.
    let config = watcher::Config::default().any_semantic().fields(&format!("spec.nodeName={node}"));
    let mut events = pin!(watcher::watcher(api.clone(), config));
    let (started, mut listed) = (Instant::now(), false);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return (Some(error), listed),
        };
        if matches!(event, Event::InitDone) && !listed {
            listed = true;
            let took = started.elapsed();
            tracing::info!(?took, "The pods of this node are known");
        }
        pods.apply(read(event));
    }
    (None, listed)
}

fn read(event: Event<Pod>) -> Event<KnownPod> {
    match event {
        Event::Apply(pod) => Event::Apply(KnownPod::read(&pod)),
        Event::Delete(pod) => Event::Delete(KnownPod::read(&pod)),
        Event::Init => Event::Init,
        Event::InitApply(pod) => Event::InitApply(KnownPod::read(&pod)),
        Event::InitDone => Event::InitDone,
    }
}
