//! Follows the objects of the API server and keeps [`Objects`] as they are there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{DeserializeGuard, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_all};
use kube::{Api, Client, Resource};
use securitywatch_api::v1alpha1::{ClusterSecurityWatch, PolicyKind, SecurityWatch};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::store::{Keyed, Objects, PolicyObject, Store, Watched};

/// How often one source's trouble is told.
const REPEAT_LOG: Duration = Duration::from_secs(60);

/// The objects as they are now, and word of each change.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    known: Arc<Mutex<Known>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    objects: Objects,
    /// Counts changes.
    version: u64,
}

impl Cluster {
    /// What is known now, if it is not what it was at version `seen`; cheap, as the objects themselves are shared.
    pub fn newer_than(&self, seen: &mut u64) -> Option<Objects> {
        let known = self.lock();
        let is_newer = known.version != std::mem::replace(seen, known.version);
        is_newer.then(|| known.objects.clone())
    }

    /// Ends when something has changed since it ended last.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    // A panic elsewhere leaves the stores whole: each event is one step.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The labels of this node, as they are now.
    pub(super) fn set_node(&self, labels: BTreeMap<String, String>) {
        let mut known = self.lock();
        if known.objects.node.as_deref() != Some(&labels) {
            known.objects.node = Some(Arc::new(labels));
            known.version += 1;
            self.changed.notify_one();
        }
    }

    fn update<T>(
        &self,
        select: fn(&mut Objects) -> &mut Store<T>,
        change: impl FnOnce(&mut Store<T>) -> bool,
    ) {
        let mut known = self.lock();
        if change(select(&mut known.objects)) {
            known.version += 1;
            self.changed.notify_one();
        }
    }
}

/// Follows both kinds of watch. Neither task ends.
pub fn follow_watches(client: &Client, cluster: &Cluster) {
    let namespaced = Api::<DeserializeGuard<SecurityWatch>>::all(client.clone());
    tokio::spawn(follow(namespaced, cluster.clone(), "SecurityWatch", Watched::read, |all| {
        &mut all.watches
    }));
    let cluster_wide = Api::<DeserializeGuard<ClusterSecurityWatch>>::all(client.clone());
    tokio::spawn(follow(
        cluster_wide,
        cluster.clone(),
        "ClusterSecurityWatch",
        Watched::read,
        |all| &mut all.cluster_watches,
    ));
}

/// Follows the kinds of policy that some watch names.
#[derive(Debug, Default)]
pub struct PolicyFollowers {
    cluster_wide: Option<JoinHandle<()>>,
    namespaced: Option<JoinHandle<()>>,
}

impl PolicyFollowers {
    /// Starts and ends followers so that exactly `wanted` kinds are followed.
    pub fn follow(&mut self, client: &Client, cluster: &Cluster, wanted: &[PolicyKind]) {
        let kinds = [
            (PolicyKind::TracingPolicy, &mut self.cluster_wide),
            (PolicyKind::TracingPolicyNamespaced, &mut self.namespaced),
        ];
        for (kind, follower) in kinds {
            match (wanted.contains(&kind), follower.take()) {
                (true, None) => *follower = Some(follow_policies(client, cluster, kind)),
                (false, Some(running)) => {
                    running.abort();
                    // What is not followed is not known.
                    cluster.update(store_of(kind), |store| {
                        *store = Store::default();
                        true
                    });
                }
                (_, unchanged) => *follower = unchanged,
            }
        }
    }
}

fn store_of(kind: PolicyKind) -> fn(&mut Objects) -> &mut Store<PolicyObject> {
    match kind {
        PolicyKind::TracingPolicy => |all| &mut all.policies,
        PolicyKind::TracingPolicyNamespaced => |all| &mut all.namespaced_policies,
    }
}

fn follow_policies(client: &Client, cluster: &Cluster, kind: PolicyKind) -> JoinHandle<()> {
    let (name, plural) = match kind {
        PolicyKind::TracingPolicy => ("TracingPolicy", "tracingpolicies"),
        PolicyKind::TracingPolicyNamespaced => {
            ("TracingPolicyNamespaced", "tracingpoliciesnamespaced")
        }
    };
    let kind_of = GroupVersionKind::gvk("cilium.io", "v1alpha1", name);
    let resource = ApiResource::from_gvk_with_plural(&kind_of, plural);
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    tokio::spawn(follow(api, cluster.clone(), name, PolicyObject::read, store_of(kind)))
}

/// Keeps one store as its kind is in the cluster. What it has stays while the API server is away.
#[allow(
    clippy::manual_async_fn,
    reason = "that the future can go to another thread stands here, not where it is spawned"
)]
fn follow<K, T>(
    api: Api<K>,
    cluster: Cluster,
    kind: &'static str,
    read: fn(K) -> T,
    select: fn(&mut Objects) -> &mut Store<T>,
) -> impl Future<Output = ()> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Send + Sync,
    T: Keyed + Send + Sync + 'static,
{
    async move {
        // From the server's cache: thousands of nodes ask.
        let config = watcher::Config::default().any_semantic();
        let mut events = pin!(watch_all(api, config).default_backoff());
        let mut trouble = Trouble { kind, told: None };
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    trouble.passed(&event);
                    cluster.update(select, |store| store.apply(map(event, read)));
                }
                Err(error) if is_no_such_kind(&error) => {
                    trouble.tell(&"the cluster has no such kind: install its definition");
                    cluster.update(select, Store::no_such_kind);
                }
                Err(error) => trouble.tell(&crate::ship::root_cause(&error)),
            }
        }
    }
}

fn map<K, T>(event: Event<K>, read: fn(K) -> T) -> Event<T> {
    match event {
        Event::Apply(object) => Event::Apply(read(object)),
        Event::Delete(object) => Event::Delete(read(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(read(object)),
        Event::InitDone => Event::InitDone,
    }
}

fn is_no_such_kind(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 404
    )
}

/// Tells of a source's trouble, not at each attempt.
struct Trouble {
    kind: &'static str,
    told: Option<Instant>,
}

impl Trouble {
    fn tell(&mut self, why: &dyn std::fmt::Display) {
        let kind = self.kind;
        if self.told.is_none_or(|at| at.elapsed() >= REPEAT_LOG) {
            self.told = Some(Instant::now());
            tracing::warn!(
                kind,
                "Objects cannot be watched: {why}; what is loaded stays loaded, and the watch is tried again"
            );
        }
    }

    fn passed<K>(&mut self, event: &Event<K>) {
        // A list that begins is only an attempt.
        if !matches!(event, Event::Init) && self.told.take().is_some() {
            tracing::info!(kind = self.kind, "Objects are watched again");
        }
    }
}
