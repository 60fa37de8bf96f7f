//! The objects of one kind as the API server last told them. Pure: events in, the whole out.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::watcher::Event;
use securitywatch_api::tracing_policy::TracingPolicySpec;
use securitywatch_api::v1alpha1::{PolicyKind, SecurityWatchSpec, Watch};

/// Namespace, empty for a cluster-scoped object, and name.
pub type Key = (String, String);

/// What can be held by a [`Store`].
pub trait Keyed: PartialEq {
    /// Where it stands.
    fn key(&self) -> Key;
}

/// A watch as far as a node reads it. Equal watches ask for the same: status and other metadata are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub uid: String,
    /// `None` is a `ClusterSecurityWatch`.
    pub namespace: Option<String>,
    pub name: String,
    pub generation: i64,
    /// Being deleted: what it made elsewhere is still being removed, and it is to run no more.
    pub leaving: bool,
    /// Or why it cannot be read.
    pub spec: Result<SecurityWatchSpec, String>,
}

/// A `TracingPolicy` or `TracingPolicyNamespaced`.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyObject {
    pub namespace: Option<String>,
    pub name: String,
    /// Or why it cannot be read.
    pub spec: Result<TracingPolicySpec, String>,
}

impl Watched {
    /// Reads an object, however malformed its spec is.
    pub fn read<K: Watch>(object: DeserializeGuard<K>) -> Self {
        let (metadata, spec) = match object.0 {
            Ok(watch) => (watch.meta().clone(), Ok(watch.watch_spec().clone())),
            Err(invalid) => (invalid.metadata, Err(invalid.error)),
        };
        Self {
            uid: metadata.uid.unwrap_or_default(),
            namespace: metadata.namespace,
            name: metadata.name.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            leaving: metadata.deletion_timestamp.is_some(),
            spec,
        }
    }

    /// `SecurityWatch/shop/egress` or `ClusterSecurityWatch/egress`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("SecurityWatch/{namespace}/{}", self.name),
            None => format!("ClusterSecurityWatch/{}", self.name),
        }
    }
}

impl PolicyObject {
    /// Reads an object of Tetragon's kinds, whose Rust types are not ours.
    #[must_use]
    pub fn read(mut object: DynamicObject) -> Self {
        let spec = object.data.get_mut("spec").map(serde_json::Value::take);
        let ObjectMeta { namespace, name, .. } = object.metadata;
        Self {
            namespace,
            name: name.unwrap_or_default(),
            spec: spec.ok_or_else(|| "spec is missing".to_owned()).and_then(|spec| {
                serde_json::from_value(spec).map_err(|error| format!("spec: {error}"))
            }),
        }
    }
}

fn key(namespace: Option<&String>, name: &str) -> Key {
    (namespace.cloned().unwrap_or_default(), name.to_owned())
}

impl Keyed for Watched {
    fn key(&self) -> Key {
        key(self.namespace.as_ref(), &self.name)
    }
}

impl Keyed for PolicyObject {
    fn key(&self) -> Key {
        key(self.namespace.as_ref(), &self.name)
    }
}

/// How much of a kind is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// No list has come yet.
    #[default]
    NotYet,
    /// The cluster has no such kind: its definition is not installed.
    NoSuchKind,
    /// Everything there was.
    All,
}

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct Store<T> {
    objects: BTreeMap<Key, Arc<T>>,
    /// A list that is being read; what was known before stays until it is complete.
    incoming: Option<BTreeMap<Key, Arc<T>>>,
    known: Known,
    /// Answers in a row that there is no such kind.
    denials: u32,
}

/// An API server that starts may deny a kind that it will know in a moment: what was listed is believed gone only after
/// this many denials, half a minute with the watcher's waits.
const DENIALS: u32 = 5;

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), incoming: None, known: Known::default(), denials: 0 }
    }
}

impl<T: Keyed> Store<T> {
    /// Takes one event; `true` when something is different now.
    pub fn apply(&mut self, event: Event<T>) -> bool {
        match event {
            Event::Init => {
                self.incoming = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                let incoming = self.incoming.get_or_insert_default();
                incoming.insert(object.key(), Arc::new(object));
                false
            }
            Event::InitDone => {
                let incoming = self.incoming.take().unwrap_or_default();
                let changed = self.known != Known::All || incoming != self.objects;
                self.denials = 0;
                (self.objects, self.known) = (incoming, Known::All);
                changed
            }
            Event::Apply(object) => {
                let key = object.key();
                if self.objects.get(&key).is_some_and(|known| **known == object) {
                    return false;
                }
                self.objects.insert(key, Arc::new(object));
                true
            }
            Event::Delete(object) => self.objects.remove(&object.key()).is_some(),
        }
    }

    /// The definition of the kind is said not to be there; `true` when something is different now.
    pub fn no_such_kind(&mut self) -> bool {
        self.denials = self.denials.saturating_add(1);
        let believed = self.known == Known::NotYet || self.denials >= DENIALS;
        if self.known == Known::NoSuchKind || !believed {
            return false;
        }
        *self = Self { known: Known::NoSuchKind, denials: self.denials, ..Self::default() };
        true
    }

    /// How much is known.
    #[must_use]
    pub const fn known(&self) -> Known {
        self.known
    }

    /// Everything, by namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.objects.values()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<&Arc<T>> {
        self.objects.get(&(namespace.unwrap_or_default().to_owned(), name.to_owned()))
    }
}

/// What the cluster says.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub watches: Store<Watched>,
    pub cluster_watches: Store<Watched>,
    pub policies: Store<PolicyObject>,
    pub namespaced_policies: Store<PolicyObject>,
    /// The labels of this node; `None` while they are not known.
    pub node: Option<Arc<BTreeMap<String, String>>>,
}

impl Objects {
    /// The store of a kind of policy.
    #[must_use]
    pub const fn policies(&self, kind: PolicyKind) -> &Store<PolicyObject> {
        match kind {
            PolicyKind::TracingPolicy => &self.policies,
            PolicyKind::TracingPolicyNamespaced => &self.namespaced_policies,
        }
    }

    /// Whether both kinds of watch were listed: before that, a watch that is not known may yet come.
    #[must_use]
    pub fn are_listed(&self) -> bool {
        self.watches.known() == Known::All && self.cluster_watches.known() == Known::All
    }

    /// The watches that are to run, if their spec says so.
    pub fn all_watches(&self) -> impl Iterator<Item = &Arc<Watched>> {
        self.watches.all().chain(self.cluster_watches.all()).filter(|watch| !watch.leaving)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
