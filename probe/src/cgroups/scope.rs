//! Scopes in the kernel: one bit for each generation of a policy, set for the pods and containers that it
//! selects.

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::loader::SharedMaps;

/// `SCOPE_BITS` in `records.h`: more than policies can be loaded, for an exchanged one has two for a while.
pub const SCOPE_BITS: usize = 1088;
/// `POD_UID` in `records.h`: bytes of the key of map `pods`, with a NUL.
const POD_UID: usize = 40;

/// The policies whose scope a pod or container is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeBits([u64; SCOPE_BITS / 64]);

impl Default for ScopeBits {
    fn default() -> Self {
        Self([0; SCOPE_BITS / 64])
    }
}

impl ScopeBits {
    /// Sets a bit; one that does not exist is none.
    pub fn set(&mut self, bit: u32) {
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    /// Clears a bit.
    pub fn clear(&mut self, bit: u32) {
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    /// Whether a bit is set.
    #[must_use]
    pub fn has(&self, bit: u32) -> bool {
        self.0.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// `struct scope` in memory order.
    fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// Why a scope is not in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ScopeMapsError {
    /// No cgroup can be of such a pod.
    #[error("{0:?} is no pod's uid")]
    Uid(String),
    /// The map is full, for example.
    #[error("map {map}: {source}")]
    Map {
        map: &'static str,
        #[source]
        source: libbpf_rs::Error,
    },
}

/// Which policies apply to which pod and container, in the kernel.
///
/// A process is in the scope of a policy if its pod's bit is set, **or** its container's. So a policy that
/// selects a whole pod needs the pod's bit only, which can be set before there is any container; one that
/// selects some containers of a pod must leave the pod's bit clear and set those of the containers.
#[derive(Debug)]
pub struct ScopeMaps {
    pods: MapHandle,
    containers: MapHandle,
}

impl ScopeMaps {
    /// Over the maps of a loaded kernel side; each owner may have its own.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(maps: &SharedMaps) -> Result<Self, ScopeMapsError> {
        let handle = |map: &MapHandle, name| {
            MapHandle::try_from(map).map_err(|source| ScopeMapsError::Map { map: name, source })
        };
        Ok(Self {
            pods: handle(&maps.pods, "pods")?,
            containers: handle(&maps.containers, "containers")?,
        })
    }

    /// What applies to all of a pod, existing cgroups and those to come. `uid` as in `metadata.uid`; that of a static
    /// pod's mirror is the annotation `kubernetes.io/config.hash`.
    ///
    /// # Errors
    /// No such uid, or the map is full.
    pub fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        set(&self.pods, "pods", &pod_key(uid)?, bits)
    }

    /// The pod is gone.
    ///
    /// # Errors
    /// As for [`Self::set_pod`]; a pod that is not there is no error.
    pub fn remove_pod(&self, uid: &str) -> Result<(), ScopeMapsError> {
        remove(&self.pods, "pods", &pod_key(uid)?)
    }

    /// What applies to one container, by the id of its cgroup ([`super::CgroupFacts::container_cgroup`]).
    ///
    /// # Errors
    /// The map is full.
    pub fn set_container(&self, cgroup: u64, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        set(&self.containers, "containers", &cgroup.to_ne_bytes(), bits)
    }

    /// The container is gone.
    ///
    /// # Errors
    /// The map cannot be written; a container that is not there is no error.
    pub fn remove_container(&self, cgroup: u64) -> Result<(), ScopeMapsError> {
        remove(&self.containers, "containers", &cgroup.to_ne_bytes())
    }
}

fn set(
    map: &MapHandle,
    name: &'static str,
    key: &[u8],
    bits: &ScopeBits,
) -> Result<(), ScopeMapsError> {
    map.update(key, &bits.to_bytes(), MapFlags::ANY)
        .map_err(|source| ScopeMapsError::Map { map: name, source })
}

fn remove(map: &MapHandle, name: &'static str, key: &[u8]) -> Result<(), ScopeMapsError> {
    match map.delete(key) {
        Err(source) if source.kind() != libbpf_rs::ErrorKind::NotFound => {
            Err(ScopeMapsError::Map { map: name, source })
        }
        _ => Ok(()),
    }
}

/// The key of map `pods`: as the kernel side reads it from a cgroup's name.
pub(super) fn pod_key(uid: &str) -> Result<[u8; POD_UID], ScopeMapsError> {
    let mut key = [0; POD_UID];
    match key.get_mut(..uid.len()) {
        Some(room) if !uid.is_empty() && uid.len() < POD_UID => {
            room.copy_from_slice(uid.as_bytes())
        }
        _ => return Err(ScopeMapsError::Uid(uid.to_owned())),
    }
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_cleared_one_by_one() {
        let mut bits = ScopeBits::default();
        assert!(bits.is_empty());
        for bit in [0, 63, 64, 1087] {
            bits.set(bit);
            assert!(bits.has(bit) && !bits.has(bit + 1));
        }
        assert_eq!(bits.to_bytes().len(), SCOPE_BITS / 8);
        assert_eq!(bits.to_bytes()[..16], [1, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0]);
        bits.set(SCOPE_BITS as u32);
        assert!(!bits.has(SCOPE_BITS as u32), "there is no such bit");
        for bit in [0, 63, 64, 1087] {
            bits.clear(bit);
        }
        assert!(bits.is_empty());
    }

    #[test]
    fn a_uid_is_a_key_of_fixed_length() {
        let uid = "0f6ee3a2-6a43-4a3c-9c5c-4f9d0c9be1aa";
        let key = pod_key(uid).unwrap();
        assert_eq!((&key[..36], &key[36..]), (uid.as_bytes(), &[0; 4][..]));
        assert!(pod_key("").is_err() && pod_key(&"a".repeat(40)).is_err());
        assert!(pod_key(&"a".repeat(39)).is_ok());
    }
}
