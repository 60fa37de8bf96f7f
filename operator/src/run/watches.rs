//! Follows the watches of one kind and asks for a pass over each that changes.

use std::sync::Arc;

use futures::{StreamExt as _, pin_mut};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use tracing::warn;

use crate::context::Context;
use crate::error::short;
use crate::key::{WatchKey, WatchObject, key_of};

/// The watches, and what keeps them up to date until it is dropped.
pub(super) fn follow<K: WatchObject>(
    context: Arc<Context>,
) -> (Store<DeserializeGuard<K>>, impl Future<Output = ()>) {
    let (store, writer) = reflector::store::<DeserializeGuard<K>>();
    let api: Api<DeserializeGuard<K>> = Api::all(context.client.clone());
    let events = watcher(api, watcher::Config::default().timeout(crate::WATCH_SECONDS))
        .default_backoff()
        .modify(slim)
        .reflect(writer);
    let work = async move {
        pin_mut!(events);
        let mut listed: Vec<WatchKey> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                // The store has a list only when it is complete: a pass before that would see the old one.
                Ok(watcher::Event::InitApply(object)) => {
                    listed.push(key_of::<K>(object.meta()));
                }
                Ok(watcher::Event::InitDone) => {
                    listed.drain(..).for_each(|key| context.triggers.fire(key));
                }
                Ok(watcher::Event::Apply(object)) => {
                    context.triggers.fire(key_of::<K>(object.meta()));
                }
                Ok(watcher::Event::Delete(object)) => {
                    forget(&context, object.meta().uid.as_deref().unwrap_or_default());
                }
                Err(error) => {
                    context.metrics.watch_failed(K::KIND.as_str());
                    warn!(kind = K::KIND.as_str(), error = %short(&error), "Following the watches failed; trying again.");
                }
            }
        }
    };
    (store, work)
}

/// What takes memory and is not needed.
fn slim<K: WatchObject>(object: &mut DeserializeGuard<K>) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

/// A watch is gone.
pub(super) fn forget(context: &Context, uid: &str) {
    if context.memories.forget(uid).is_some() {
        context.engine.servers.forget(uid);
        context.pager.forget(uid);
    }
    context.desk.changed();
}
