//! TracingPolicy objects that watches refer to.
//!
//! They belong to Tetragon and may not exist as a kind at all. They are looked for once a watch refers
//! to one, and from then on followed; of each only its hash and whether it can be honoured is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, pin_mut};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use securitywatch_api::cluster::policy_hash;
use securitywatch_api::compile::compile_policy;
use securitywatch_api::field::FieldPath;
use securitywatch_api::policy::Policy;
use securitywatch_api::tracing_policy::TracingPolicySpec;
use securitywatch_api::v1alpha1::PolicyKind;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::error::{short, within};
use crate::lock::lock;
use crate::telemetry::Metrics;

/// How often a missing kind is looked for again.
const DISCOVERY: Duration = Duration::from_secs(30);

/// A policy object by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    /// Whether it is a `TracingPolicyNamespaced`, then its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// What is known of a policy object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It is not known yet whether there is one.
    Pending,
    /// The cluster has no such kind.
    KindMissing,
    /// The operator may not read the kind.
    Forbidden,
    /// There is none of that name.
    Absent,
    /// There is one.
    Found(PolicyFacts),
}

/// What is kept of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFacts {
    /// Of its spec.
    pub hash: String,
    /// Its size in words, or what is wrong with it.
    pub judged: Result<String, String>,
}

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Pending,
    Missing,
    Forbidden,
    Listed(HashMap<PolicyKey, PolicyFacts>),
}

/// The policy objects of the cluster.
#[derive(Debug, Default)]
pub struct Policies {
    kinds: [Mutex<Kind>; 2],
    wanted: Notify,
}

const KINDS: [(PolicyKind, &str, &str); 2] = [
    (PolicyKind::TracingPolicy, "TracingPolicy", "tracingpolicies"),
    (PolicyKind::TracingPolicyNamespaced, "TracingPolicyNamespaced", "tracingpoliciesnamespaced"),
];

impl Policies {
    /// What is known; starts the search the first time.
    pub fn look(&self, kind: PolicyKind, key: &PolicyKey) -> Lookup {
        self.wanted.notify_one();
        match &*lock(&self.kinds[usize::from(kind == PolicyKind::TracingPolicyNamespaced)]) {
            Kind::Pending => Lookup::Pending,
            Kind::Missing => Lookup::KindMissing,
            Kind::Forbidden => Lookup::Forbidden,
            Kind::Listed(policies) => {
                policies.get(key).cloned().map_or(Lookup::Absent, Lookup::Found)
            }
        }
    }

    /// Follows the objects, once somebody asked for one. `changed` is told which of them changed; `None`
    /// is all.
    pub async fn run(
        &self,
        client: &Client,
        metrics: &Metrics,
        changed: impl Fn(Option<&PolicyKey>),
    ) {
        self.wanted.notified().await;
        let changed = &changed;
        futures::join!(
            self.follow(0, client, metrics, changed),
            self.follow(1, client, metrics, changed)
        );
    }

    async fn follow(
        &self,
        which: usize,
        client: &Client,
        metrics: &Metrics,
        changed: &impl Fn(Option<&PolicyKey>),
    ) {
        let (_, kind, plural) = KINDS[which];
        let set = |state: Kind| {
            let mut known = lock(&self.kinds[which]);
            let same = std::mem::discriminant(&*known) == std::mem::discriminant(&state);
            *known = state;
            drop(known);
            if !same {
                changed(None);
            }
        };
        loop {
            match exists(client, plural).await {
                Some(true) => {
                    self.watch_kind(which, client, metrics, &set, changed).await;
                }
                Some(false) => set(Kind::Missing),
                None => {}
            }
            sleep(crate::backoff::jitter(DISCOVERY)).await;
            tracing::debug!(kind, "Looking again for the kind.");
        }
    }

    /// Returns when the kind is gone or may not be read.
    async fn watch_kind(
        &self,
        which: usize,
        client: &Client,
        metrics: &Metrics,
        set: &impl Fn(Kind),
        changed: &impl Fn(Option<&PolicyKey>),
    ) {
        let (_, kind, plural) = KINDS[which];
        let gvk = GroupVersionKind::gvk("cilium.io", "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let config = watcher::Config::default().timeout(crate::WATCH_SECONDS);
        let events = watcher(api, config).default_backoff();
        pin_mut!(events);
        let mut listing = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listing.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    let (key, facts) = facts(&object);
                    listing.insert(key, facts);
                }
                Ok(watcher::Event::InitDone) => {
                    info!(kind, objects = listing.len(), "Following the policy objects.");
                    set(Kind::Listed(std::mem::take(&mut listing)));
                    changed(None);
                }
                Ok(watcher::Event::Apply(object)) => {
                    let (key, facts) = facts(&object);
                    if self.replace(which, &key, Some(facts)) {
                        changed(Some(&key));
                    }
                }
                Ok(watcher::Event::Delete(object)) => {
                    let key = key(&object);
                    if self.replace(which, &key, None) {
                        changed(Some(&key));
                    }
                }
                Err(error) => {
                    metrics.watch_failed("TracingPolicy");
                    warn!(kind, error = %short(&error), "Watching policy objects failed; trying again.");
                    match refusal(&error) {
                        Some(403) => return set(Kind::Forbidden),
                        Some(404) => return set(Kind::Missing),
                        _ => {}
                    }
                }
            }
        }
    }

    fn replace(&self, which: usize, key: &PolicyKey, facts: Option<PolicyFacts>) -> bool {
        let mut kind = lock(&self.kinds[which]);
        let Kind::Listed(policies) = &mut *kind else { return false };
        match facts {
            Some(facts) => policies.insert(key.clone(), facts.clone()) != Some(facts),
            None => policies.remove(key).is_some(),
        }
    }
}

/// Whether the cluster has the kind; `None`: it did not say.
async fn exists(client: &Client, plural: &str) -> Option<bool> {
    match within("discover", client.list_api_group_resources("cilium.io/v1alpha1")).await {
        Ok(list) => Some(list.resources.iter().any(|resource| resource.name == plural)),
        Err(error) if error.is_not_found() => Some(false),
        Err(error) => {
            warn!(%error, "The API server's kinds could not be listed; trying again.");
            None
        }
    }
}

fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn key(object: &DynamicObject) -> PolicyKey {
    PolicyKey { namespace: object.namespace(), name: object.name_any() }
}

fn facts(object: &DynamicObject) -> (PolicyKey, PolicyFacts) {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    (key(object), judge(&object.name_any(), spec))
}

/// Judges the spec of a policy object as the probe will.
#[must_use]
pub fn judge(name: &str, spec: serde_json::Value) -> PolicyFacts {
    let spec: TracingPolicySpec = match serde_json::from_value(spec) {
        Ok(spec) => spec,
        Err(error) => {
            return PolicyFacts { hash: String::new(), judged: Err(format!("spec: {error}")) };
        }
    };
    let judged = compile_policy(name, &FieldPath::root().field("spec"), &spec)
        .map(|policy| size(&policy))
        .map_err(|errors| crate::observe::listed(&errors));
    PolicyFacts { hash: policy_hash(&spec), judged }
}

/// `1 hook, 2 selectors`, and what happens to a process besides being reported.
#[must_use]
pub fn size(policy: &Policy) -> String {
    let selectors = policy.hooks.iter().map(|hook| hook.selectors.len()).sum();
    let effect = if policy.kills() {
        "; on a match the process is killed, its call not prevented"
    } else {
        ""
    };
    let count = |count: usize, word: &str| {
        if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
    };
    format!("{}, {}{effect}", count(policy.hooks.len(), "hook"), count(selectors, "selector"))
}

/// The state of a policy as a shared handle.
pub type Shared = Arc<Policies>;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(actions: &serde_json::Value) -> String {
        let hook = json!({
            "call": "tcp_connect", "syscall": false, "args": [{"index": 0, "type": "sock"}],
            "selectors": [{"matchActions": actions}]
        });
        judge("egress", json!({"kprobes": [hook]})).judged.unwrap()
    }

    #[test]
    fn killed_is_told_and_is_not_prevented() {
        assert_eq!(judged(&json!([])), "1 hook, 1 selector");
        assert_eq!(
            judged(&json!([{"action": "Sigkill"}])),
            "1 hook, 1 selector; on a match the process is killed, its call not prevented"
        );
    }
}
