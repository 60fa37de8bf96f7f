//! Which of the machine's cgroup hierarchies pods are told apart by.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;

/// A kind of file system that cgroups are mounted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// One controller's, or some controllers' together.
    Version1,
    /// All controllers'.
    Unified,
}

/// `enum hierarchy_kind` in `cgroups.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Unified = 0,
    Memory = 1,
    Pids = 2,
    Cpu = 3,
}

/// The controllers that kubelets need, the surest first: runtimes make every container a cgroup of each.
const CONTROLLERS: [(Kind, &str); 3] =
    [(Kind::Memory, "memory"), (Kind::Pids, "pids"), (Kind::Cpu, "cpu")];

/// The hierarchy in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub kind: Kind,
    /// As the kernel numbers hierarchies; the unified one is 0.
    pub id: u32,
    /// Where it is mounted.
    pub root: PathBuf,
}

/// Why pods cannot be told apart.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("no cgroup file system is mounted at {}", .0.display())]
    NotMounted(PathBuf),
    #[error(
        "{} shows the cgroups of this container only: mount the host's into it, and name it by --cgroup-root",
        .0.display()
    )]
    Namespaced(PathBuf),
}

impl Layout {
    /// The hierarchy at `root`, usually `/sys/fs/cgroup`.
    ///
    /// # Errors
    /// There is none, or only a part of it.
    pub fn detect(root: &Path) -> Result<Self, LayoutError> {
        let numbers = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let layout = choose(root, &numbers, file_system)?;
        // A container without a view of the host has its own cgroup for a root, whose number is any.
        match super::scan::cgroup_id(&layout.root) {
            Some(ROOT_ID) => Ok(layout),
            _ => Err(LayoutError::Namespaced(root.to_owned())),
        }
    }
}

/// The id of every hierarchy's root.
const ROOT_ID: u64 = 1;

fn file_system(path: &Path) -> Option<FileSystem> {
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP2: u64 = 0x6367_7270;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    match statfs(path).ok()?.f_type as u64 {
        CGROUP => Some(FileSystem::Version1),
        CGROUP2 => Some(FileSystem::Unified),
        _ => None,
    }
}

/// `numbers` is /proc/self/cgroup: lines of `number:controllers:path`.
fn choose(
    root: &Path,
    numbers: &str,
    file_system: impl Fn(&Path) -> Option<FileSystem>,
) -> Result<Layout, LayoutError> {
    let unified = |root: PathBuf| Layout { kind: Kind::Unified, id: 0, root };
    if file_system(root) == Some(FileSystem::Unified) {
        return Ok(unified(root.to_owned()));
    }
    let number_of = |controller: &str| {
        numbers.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, _) = rest.split_once(':')?;
            controllers.split(',').any(|c| c == controller).then(|| number.parse().ok())?
        })
    };
    for (kind, controller) in CONTROLLERS {
        let mount = root.join(controller);
        if file_system(&mount) == Some(FileSystem::Version1)
            && let Some(id) = number_of(controller)
        {
            return Ok(Layout { kind, id, root: mount });
        }
    }
    let beside = root.join("unified");
    if file_system(&beside) == Some(FileSystem::Unified) {
        return Ok(unified(beside));
    }
    Err(LayoutError::NotMounted(root.to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HYBRID: &str = "13:name=systemd:/\n9:cpu,cpuacct:/\n8:pids:/a\n4:memory:/b/c:d\n0::/\n";

    fn chosen(mounts: &[(&str, FileSystem)], numbers: &str) -> Result<Layout, LayoutError> {
        choose(Path::new("/c"), numbers, |path| {
            mounts.iter().find(|(at, _)| Path::new(at) == path).map(|(_, kind)| *kind)
        })
    }

    fn layout(kind: Kind, id: u32, root: &str) -> Layout {
        Layout { kind, id, root: root.into() }
    }

    #[test]
    fn the_unified_hierarchy_where_it_is_the_only_one() {
        let found = chosen(&[("/c", FileSystem::Unified)], "0::/a/b\n").unwrap();
        assert_eq!(found, layout(Kind::Unified, 0, "/c"));
    }

    #[test]
    fn a_controllers_where_controllers_have_their_own() {
        let unified = ("/c/unified", FileSystem::Unified);
        let v1 = |at| (at, FileSystem::Version1);
        for (mounts, expected) in [
            (
                vec![unified, v1("/c/memory"), v1("/c/pids"), v1("/c/cpu")],
                layout(Kind::Memory, 4, "/c/memory"),
            ),
            (vec![unified, v1("/c/pids")], layout(Kind::Pids, 8, "/c/pids")),
            (vec![v1("/c/cpu")], layout(Kind::Cpu, 9, "/c/cpu")),
            (vec![unified], layout(Kind::Unified, 0, "/c/unified")),
        ] {
            assert_eq!(chosen(&mounts, HYBRID).unwrap(), expected);
        }
        let unnumbered = chosen(&[v1("/c/memory"), unified], "0::/\n").unwrap();
        assert_eq!(unnumbered.kind, Kind::Unified, "a mount that no process is in is not used");
    }

    #[test]
    fn nothing_where_nothing_is_mounted() {
        let error = chosen(&[], HYBRID).unwrap_err();
        assert!(error.to_string().contains("/c"), "{error}");
    }
}
