//! Which policies select which pod and container of this node, in the kernel before their hooks speak and for each
//! pod that comes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use securitywatch_api::policy::{POD_NAMESPACE_LABEL, PodScope};

use crate::cgroups::{ScopeBits, ScopeMaps, ScopeMapsError};

/// Where the bits go.
pub trait ScopeSink: Send + Debug {
    /// See [`ScopeMaps::set_pod`].
    ///
    /// # Errors
    /// The same.
    fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError>;
    /// See [`ScopeMaps::remove_pod`].
    ///
    /// # Errors
    /// The same.
    fn remove_pod(&self, uid: &str) -> Result<(), ScopeMapsError>;
    /// See [`ScopeMaps::set_container`].
    ///
    /// # Errors
    /// The same.
    fn set_container(&self, cgroup: u64, bits: &ScopeBits) -> Result<(), ScopeMapsError>;
    /// See [`ScopeMaps::remove_container`].
    ///
    /// # Errors
    /// The same.
    fn remove_container(&self, cgroup: u64) -> Result<(), ScopeMapsError>;
}

impl ScopeSink for ScopeMaps {
    fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.set_pod(uid, bits)
    }

    fn remove_pod(&self, uid: &str) -> Result<(), ScopeMapsError> {
        self.remove_pod(uid)
    }

    fn set_container(&self, cgroup: u64, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.set_container(cgroup, bits)
    }

    fn remove_container(&self, cgroup: u64) -> Result<(), ScopeMapsError> {
        self.remove_container(cgroup)
    }
}

/// The scopes of the policies that are loaded, by bit.
pub type Selecting = BTreeMap<u32, PodScope>;

/// A pod as selectors see it.
#[derive(Debug, Clone, Copy)]
pub struct PodView<'a> {
    pub namespace: &'a str,
    /// `None` while only the runtime knows the pod.
    pub labels: Option<&'a [(String, String)]>,
}

impl PodView<'_> {
    /// A pod whose labels are not known is selected only by those that ask for none.
    fn is_selected(&self, scope: &PodScope) -> bool {
        let Some(labels) = self.labels else {
            let mut requirements = scope.labels.requirements.iter();
            return requirements.all(|required| required.key == POD_NAMESPACE_LABEL)
                && scope.admits_pod(self.namespace, |_| None);
        };
        scope.admits_pod(self.namespace, |key| {
            let place = labels.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
            Some(labels[place].1.as_str())
        })
    }
}

/// The policies that select all of a pod.
#[must_use]
pub fn pod_bits(selecting: &Selecting, pod: PodView<'_>) -> ScopeBits {
    let whole = selecting.iter().filter(|(_, scope)| scope.containers.is_empty());
    bits(whole.filter(|(_, scope)| pod.is_selected(scope)))
}

/// The policies that select a container of a pod by its name or image.
#[must_use]
pub fn container_bits(
    selecting: &Selecting,
    pod: PodView<'_>,
    name: &str,
    image: &str,
) -> ScopeBits {
    let some = selecting.iter().filter(|(_, scope)| !scope.containers.is_empty());
    bits(some.filter(|(_, scope)| pod.is_selected(scope) && scope.admits_container(name, image)))
}

fn bits<'a>(selected: impl Iterator<Item = (&'a u32, &'a PodScope)>) -> ScopeBits {
    let mut bits = ScopeBits::default();
    for (bit, _) in selected {
        bits.set(*bit);
    }
    bits
}

/// What is in the kernel.
#[derive(Debug, Default)]
pub struct Scopes {
    pub selecting: Selecting,
    /// `None` where the kernel side does not run.
    sink: Option<Box<dyn ScopeSink>>,
    pods: HashMap<String, ScopeBits>,
    containers: HashMap<u64, ScopeBits>,
    /// Uids of pods whose bits are not in the kernel as they should be.
    failed: HashSet<String>,
    /// What was said of the last of these.
    error: Option<String>,
}

impl Scopes {
    /// From now on bits are written.
    pub fn write_to(&mut self, sink: Box<dyn ScopeSink>) {
        self.sink = Some(sink);
    }

    /// Writes a pod's bits, unless they are there.
    pub fn set_pod(&mut self, uid: &str, bits: ScopeBits) {
        let Some(sink) = &self.sink else { return };
        // What no policy selects needs no entry.
        let is_there = self.pods.get(uid).map_or(bits.is_empty(), |there| *there == bits);
        if is_there {
            return;
        }
        match sink.set_pod(uid, &bits) {
            Ok(()) => {
                self.pods.insert(uid.to_owned(), bits);
            }
            Err(error) => self.fails(uid, &error),
        }
    }

    /// Writes a container's bits, unless they are there. `uid` is its pod's.
    pub fn set_container(&mut self, uid: &str, cgroup: u64, bits: ScopeBits) {
        let Some(sink) = &self.sink else { return };
        let is_there = self.containers.get(&cgroup).map_or(bits.is_empty(), |there| *there == bits);
        if is_there {
            return;
        }
        match sink.set_container(cgroup, &bits) {
            Ok(()) => {
                self.containers.insert(cgroup, bits);
            }
            Err(error) => self.fails(uid, &error),
        }
    }

    /// No process can be in the pod any more.
    pub fn remove_pod(&mut self, uid: &str) {
        self.failed.remove(uid);
        let was_there = self.pods.remove(uid).is_some();
        if let Some(sink) = self.sink.as_ref().filter(|_| was_there)
            && let Err(error) = sink.remove_pod(uid)
        {
            tracing::warn!(uid, %error, "A pod that is gone stays in the kernel's table");
        }
    }

    /// No process can be in the container any more.
    pub fn remove_container(&mut self, cgroup: u64) {
        let was_there = self.containers.remove(&cgroup).is_some();
        if let Some(sink) = self.sink.as_ref().filter(|_| was_there)
            && let Err(error) = sink.remove_container(cgroup)
        {
            tracing::warn!(cgroup, %error, "A container that is gone stays in the kernel's table");
        }
    }

    fn fails(&mut self, uid: &str, error: &ScopeMapsError) {
        self.failed.insert(uid.to_owned());
        self.error = Some(error.to_string());
    }

    /// The pods to be written once more.
    pub fn take_failed(&mut self) -> Vec<String> {
        self.failed.drain().collect()
    }

    /// Why some pod is not in the scope that selects it.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let pods = self.failed.len();
        let error = self.error.as_deref().filter(|_| pods > 0)?;
        Some(format!("the scope of {pods} pods is not in the kernel: {error}"))
    }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
