//! How things on a server say whose they are.
//!
//! Alerts carry tags. Targets have ids that are computed from the owner, and carry the owner in their name. Entries of
//! the old generation's documents have nothing but their name, so it is in there too.

use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use crate::desired::Owner;

/// On every alert of ours.
pub(crate) const TAG: &str = "securitywatch";

/// The first `count` hex digits of the SHA-256 of `parts`, which cannot run into each other.
pub(crate) fn digest(parts: &[&str], count: usize) -> String {
    let mut hex = String::with_capacity(64);
    for byte in hash(parts) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex.truncate(count);
    hex
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// The cluster in a target's name or an entry's: 8 hex digits.
pub(crate) fn cluster_mark(cluster_id: &str) -> String {
    digest(&["cluster", cluster_id], 8)
}

/// `sw-cluster:...`
pub(crate) fn cluster_tag(cluster_id: &str) -> String {
    format!("{CLUSTER_TAG}{cluster_id}")
}

/// `sw-uid:...`
pub(crate) fn uid_tag(uid: &str) -> String {
    format!("{UID_TAG}{uid}")
}

const CLUSTER_TAG: &str = "sw-cluster:";
const UID_TAG: &str = "sw-uid:";
pub(crate) const ALERT_TAG: &str = "sw-alert:";
const HASH_TAG: &str = "sw-hash:";

/// Which alert of the watch it is. Not the name itself: a comma in a tag makes it useless as a filter.
pub(crate) fn alert_tag(name: &str) -> String {
    format!("{ALERT_TAG}{}", digest(&["alert", name], 12))
}

/// What the alert was last written as.
pub(crate) fn hash_tag(canonical: &str) -> String {
    format!("{HASH_TAG}{}", digest(&["spec", canonical], 16))
}

/// Whether only we write such tags.
pub(crate) fn is_own_tag(tag: &str) -> bool {
    tag == TAG || [CLUSTER_TAG, UID_TAG, ALERT_TAG, HASH_TAG].iter().any(|own| tag.starts_with(own))
}

/// The cluster among an alert's tags.
pub(crate) fn cluster_of(tags: &[String]) -> Option<&str> {
    tags.iter().find_map(|tag| tag.strip_prefix(CLUSTER_TAG))
}

/// The uid among an alert's tags.
pub(crate) fn uid_of(tags: &[String]) -> Option<&str> {
    tags.iter().find_map(|tag| tag.strip_prefix(UID_TAG))
}

/// The hash among an alert's tags.
pub(crate) fn hash_of(tags: &[String]) -> Option<&str> {
    tags.iter().map(String::as_str).find(|tag| tag.starts_with(HASH_TAG))
}

/// Tells targets apart: the creation of the watch in milliseconds, then 80 bits of a hash. The same after every restart, so
/// that creating is the same request as changing.
pub(crate) fn target_id(owner: &Owner, key: &str) -> Ulid {
    Ulid::from_parts(owner.created_ms & 0xffff_ffff_ffff, target_bits(owner, key))
}

fn target_bits(owner: &Owner, key: &str) -> u128 {
    let hash = hash(&["target", &owner.cluster_id, &owner.uid, key]);
    hash.iter().take(10).fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
}

/// `sw/SecurityWatch/shop/egress/wget_command/0 [1a2b3c4d/0b5e1c6e-...]`
pub(crate) fn target_name(owner: &Owner, key: &str) -> String {
    let cluster = cluster_mark(&owner.cluster_id);
    format!("sw/{}/{key} [{cluster}/{}]", owner.title, owner.uid)
}

/// Cluster mark and uid in a target's name; `None` for one that is not ours.
pub(crate) fn target_owner(name: &str) -> Option<(&str, &str)> {
    let (_, mark) = name.strip_prefix("sw/")?.strip_suffix(']')?.rsplit_once(" [")?;
    mark.split_once('/')
}

/// `sw/1a2b3c4d/0b5e1c6e/SecurityWatch/shop/egress/`: what entries of a document begin with. The uid is cut: a webhook shows
/// the name.
pub(crate) fn entry_prefix(owner: &Owner) -> String {
    let cluster = cluster_mark(&owner.cluster_id);
    format!("sw/{cluster}/{}/{}/", uid_mark(&owner.uid), owner.title)
}

/// The uid in an entry's name: 8 hex digits.
pub(crate) fn uid_mark(uid: &str) -> String {
    digest(&["uid", uid], 8)
}

/// Cluster mark and uid mark in an entry's name; `None` for one that is not ours.
pub(crate) fn entry_owner(name: &str) -> Option<(&str, &str)> {
    let (cluster, rest) = name.strip_prefix("sw/")?.split_once('/')?;
    let (uid, _) = rest.split_once('/')?;
    let mark = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    (mark(cluster) && mark(uid)).then_some((cluster, uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            cluster_id: "7f1c".into(),
            uid: "0b5e1c6e-6f0c-4a43-9b59-6a3a3a1e7a10".into(),
            title: "SecurityWatch/shop/egress".into(),
            created_ms: 1_795_312_441_395,
        }
    }

    #[test]
    fn a_target_has_one_id_and_no_other_watch_has_it() {
        let id = target_id(&owner(), "wget/0");
        assert_eq!(id, target_id(&owner(), "wget/0"));
        assert_eq!(id.timestamp_ms(), 1_795_312_441_395);
        let others = [
            target_id(&owner(), "wget/1"),
            target_id(&Owner { cluster_id: "7f1d".into(), ..owner() }, "wget/0"),
            target_id(&Owner { uid: "x".into(), ..owner() }, "wget/0"),
        ];
        assert!(!others.contains(&id));
        // The title may change its spelling from version to version.
        assert_eq!(id, target_id(&Owner { title: "other".into(), ..owner() }, "wget/0"));
    }

    #[test]
    fn names_tell_their_owner() {
        let cluster = cluster_mark("7f1c");
        let name = target_name(&owner(), "odd ] [name/0");
        assert_eq!(target_owner(&name), Some((cluster.as_str(), owner().uid.as_str())));
        assert_eq!(target_owner("sw/default/hook"), None);
        assert_eq!(target_owner("hook [a/b]"), None);
        let entry = format!("{}wget/x", entry_prefix(&owner()));
        assert_eq!(entry_owner(&entry), Some((cluster.as_str(), uid_mark(&owner().uid).as_str())));
        assert_eq!(entry_owner("sw/default/hook/x"), None);
    }
}
