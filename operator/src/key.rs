//! Names of watches.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource};
use securitywatch_api::v1alpha1::{
    API_VERSION, ClusterSecurityWatch, SecurityWatch, Watch, WatchStatus,
};
use serde::de::DeserializeOwned;

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WatchKind {
    /// `SecurityWatch`.
    Namespaced,
    /// `ClusterSecurityWatch`.
    Cluster,
}

impl WatchKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Namespaced, Self::Cluster];

    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaced => "SecurityWatch",
            Self::Cluster => "ClusterSecurityWatch",
        }
    }
}

/// One watch by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// Its kind.
    pub kind: WatchKind,
    /// Absent for cluster watches.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// `SecurityWatch/shop/egress` or `ClusterSecurityWatch/egress`.
impl fmt::Display for WatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind.as_str())?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl WatchKey {
    /// The reference of Events.
    #[must_use]
    pub fn reference(&self, uid: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(self.kind.as_str().to_owned()),
            name: Some(self.name.clone()),
            namespace: self.namespace.clone(),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }
    }

    /// The reference of queues.
    #[must_use]
    pub fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        let reference = ObjectRef::new(&self.name);
        match &self.namespace {
            Some(namespace) => reference.within(namespace),
            None => reference,
        }
    }
}

/// What the operator does with both kinds alike.
pub trait WatchObject:
    Watch<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Which one it is.
    const KIND: WatchKind;

    /// The objects of one namespace, or all cluster-scoped ones.
    fn api(client: Client, namespace: Option<&str>) -> Api<Self>;

    /// The status, to be dropped where it is not needed.
    fn take_status(&mut self) -> Option<WatchStatus>;
}

impl WatchObject for SecurityWatch {
    const KIND: WatchKind = WatchKind::Namespaced;

    fn api(client: Client, namespace: Option<&str>) -> Api<Self> {
        Api::namespaced(client, namespace.unwrap_or("default"))
    }

    fn take_status(&mut self) -> Option<WatchStatus> {
        self.status.take()
    }
}

impl WatchObject for ClusterSecurityWatch {
    const KIND: WatchKind = WatchKind::Cluster;

    fn api(client: Client, _: Option<&str>) -> Api<Self> {
        Api::all(client)
    }

    fn take_status(&mut self) -> Option<WatchStatus> {
        self.status.take()
    }
}

/// The key of an object.
pub fn key_of<K: WatchObject>(meta: &kube::core::ObjectMeta) -> WatchKey {
    WatchKey {
        kind: K::KIND,
        namespace: meta.namespace.clone(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_the_kind_and_the_namespace_if_there_is_one() {
        let mut key = WatchKey {
            kind: WatchKind::Namespaced,
            namespace: Some("shop".into()),
            name: "egress".into(),
        };
        assert_eq!(key.to_string(), "SecurityWatch/shop/egress");
        key.kind = WatchKind::Cluster;
        key.namespace = None;
        assert_eq!(key.to_string(), "ClusterSecurityWatch/egress");
    }
}
