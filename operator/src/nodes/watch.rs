//! Feeds the index from the `SecurityWatchNode` objects.

use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, pin_mut};
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use securitywatch_api::v1alpha1::SecurityWatchNode;
use tracing::warn;

use super::Index;
use crate::lock::lock;
use crate::telemetry::Metrics;

/// Watches until dropped. `touched` is told which watches' counters changed, `listed` that a list is
/// complete.
pub async fn watch(
    client: Client,
    index: Arc<Mutex<Index>>,
    metrics: Arc<Metrics>,
    touched: impl Fn(&[Arc<str>]),
    listed: impl Fn(),
) {
    let api: Api<DeserializeGuard<SecurityWatchNode>> = Api::all(client);
    let config = watcher::Config::default().timeout(crate::WATCH_SECONDS);
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let uids = match event {
            Ok(watcher::Event::Init) => {
                lock(&index).begin_list();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(node) | watcher::Event::Apply(node)) => match &node.0 {
                Ok(node) => lock(&index).apply(&node.name_any(), node.status.as_ref()),
                Err(error) => {
                    metrics.malformed("SecurityWatchNode");
                    warn!(node = node.name_any(), %error, "A report cannot be read and is ignored.");
                    lock(&index).apply(&node.name_any(), None)
                }
            },
            Ok(watcher::Event::Delete(node)) => lock(&index).remove(&node.name_any()),
            Ok(watcher::Event::InitDone) => {
                let gone = lock(&index).end_list();
                listed();
                gone
            }
            Err(error) => {
                metrics.watch_failed("SecurityWatchNode");
                warn!(error = %crate::error::short(&error), "Watching the nodes' reports failed; trying again.");
                Vec::new()
            }
        };
        metrics.nodes(lock(&index).len());
        touched(&uids);
    }
}
