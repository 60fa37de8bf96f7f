//! What kubelets and container runtimes name cgroups. Pure; the kernel side (`bpf/cgroup.bpf.c`) has the same rules.
//!
//! | | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | pod | `kubepods-burstable-pod<uid, dashes as _>.slice` | `pod<uid>` |
//! | container | `cri-containerd-<id>.scope`, `crio-<id>.scope` | `<id>`, `crio-<id>` |

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named<'name> {
    /// A pod's own cgroup.
    Pod { uid: String },
    /// A container beside its pod: containerd without the systemd driver under a kubelet with it.
    Container { uid: String, id: &'name str },
}

const ID_LEN: usize = 64;

/// The pod that a cgroup outside of any pod starts; `None` for the host's.
pub(super) fn pod(name: &str) -> Option<Named<'_>> {
    if let Some((of_pod, id)) = name.split_once(":cri-containerd:")
        && is_container_id(id)
    {
        let uid = pod_uid(of_pod)?;
        return Some(Named::Container { uid, id });
    }
    pod_uid(name).map(|uid| Named::Pod { uid })
}

fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    is_uid(uid).then(|| uid.replace('_', "-"))
}

/// 8-4-4-4-12 hexadecimal digits, or the 32 that a static pod's hash has.
fn is_uid(text: &str) -> bool {
    let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    let is_part = |(i, c): (usize, u8)| match i {
        8 | 13 | 18 | 23 => matches!(c, b'-' | b'_'),
        _ => is_hex(c),
    };
    match text.len() {
        36 => text.bytes().enumerate().all(is_part),
        32 => text.bytes().all(is_hex),
        _ => false,
    }
}

/// CRI-O's monitor of a container: a process of the host, though its cgroup stands beside the container's.
pub(super) fn is_monitor(name: &str) -> bool {
    name.starts_with("crio-conmon-")
}

/// The id in a container's cgroup's name, 64 hexadecimal digits: `cri-containerd-<id>.scope`, `crio-<id>.scope`,
/// `docker-<id>.scope`, `libpod-<id>.scope`, `…:cri-containerd:<id>` or the bare id.
#[must_use]
pub fn container_id(name: &str) -> Option<&str> {
    if is_monitor(name) {
        return None;
    }
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit(['-', ':']).next()?;
    is_container_id(id).then_some(id)
}

/// The runtime that names a container's cgroup like that, as a container's id begins; empty where the name does not say.
#[must_use]
pub fn runtime(name: &str) -> &'static str {
    if name.starts_with("cri-containerd-") || name.contains(":cri-containerd:") {
        "containerd"
    } else if name.starts_with("crio-") {
        "cri-o"
    } else if name.starts_with("docker-") {
        "docker"
    } else {
        ""
    }
}

fn is_container_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0f6ee3a2-6a43-4a3c-9c5c-4f9d0c9be1aa";
    const HASH: &str = "d4b6f43b6a1f0a2c3f0e8c8d57e90b11";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn underscored() -> String {
        UID.replace('-', "_")
    }

    #[test]
    fn pods_of_both_drivers_and_every_class() {
        let is = |uid: &str| Some(Named::Pod { uid: uid.to_owned() });
        for name in [
            format!("pod{UID}"),
            format!("kubepods-pod{}.slice", underscored()),
            format!("kubepods-burstable-pod{}.slice", underscored()),
            format!("kubepods-besteffort-pod{}.slice", underscored()),
            format!("kubelet-kubepods-burstable-pod{}.slice", underscored()),
        ] {
            assert_eq!(pod(&name), is(UID), "{name}");
        }
        for name in [format!("pod{HASH}"), format!("kubepods-burstable-pod{HASH}.slice")] {
            assert_eq!(pod(&name), is(HASH), "{name}");
        }
        let mixed = format!("kubepods-burstable-pod{}.slice:cri-containerd:{ID}", underscored());
        assert_eq!(pod(&mixed), Some(Named::Container { uid: UID.to_owned(), id: ID }));
    }

    #[test]
    fn the_hosts_cgroups_are_no_pods() {
        for name in [
            "",
            "pod",
            "kubepods.slice",
            "kubepods-burstable.slice",
            "burstable",
            "podman.slice",
            "system.slice",
            &format!("pod{UID}x"),
            &format!("xpod{UID}"),
            &format!("pod{}.slice", underscored()),
            &format!("kubepods-pod{}", underscored()),
            &format!("pod{}", UID.to_uppercase()),
            &format!("pod{HASH}0"),
            &format!("docker-{ID}.scope"),
            &format!("kubepods-pod{}.slice:cri-containerd:{}", underscored(), &ID[1..]),
        ] {
            assert_eq!(pod(name), None, "{name}");
        }
    }

    #[test]
    fn container_ids_of_every_runtime() {
        for name in [
            ID.to_owned(),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("crio-{ID}"),
            format!("docker-{ID}.scope"),
            format!("libpod-{ID}.scope"),
            format!("kubelet-pod-slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(container_id(&name), Some(ID), "{name}");
        }
        for name in [
            "",
            "init.scope",
            "container",
            "user@0.service",
            &format!("crio-conmon-{ID}.scope"),
            "session-1.scope",
        ] {
            assert_eq!(container_id(name), None, "{name}");
        }
    }
}
