//! The cgroups that were there before the kernel side watched.
//!
//! Each is handed over before those below it are listed. So one that is made meanwhile is seen by the kernel side,
//! which knows its parent by then, or in the list.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::table::CgroupFacts;

/// What takes the cgroups of pods.
pub trait Sink {
    /// There is one.
    fn add(&mut self, facts: &CgroupFacts);
    /// It was removed since.
    fn forget(&mut self, facts: &CgroupFacts);
}

/// Hands over every cgroup of a pod below `root`; returns the processes in them, with their cgroups' facts.
pub fn scan(root: &Path, sink: &mut dyn Sink) -> HashMap<u32, CgroupFacts> {
    let mut processes = HashMap::new();
    let mut left: Vec<(PathBuf, Option<CgroupFacts>)> = vec![(root.to_owned(), None)];
    while let Some((path, above)) = left.pop() {
        let Ok(entries) = fs::read_dir(&path) else { continue };
        let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        for folder in folders {
            let path = folder.path();
            let facts = folder.file_name().to_str().and_then(|name| {
                let metadata = folder.metadata().ok()?;
                CgroupFacts::below(above.as_ref(), metadata.ino(), name, metadata.uid() == 0)
            });
            if let Some(facts) = &facts {
                sink.add(facts);
                for pid in processes_of(&path) {
                    processes.insert(pid, facts.clone());
                }
                if cgroup_id(&path) != Some(facts.id) {
                    sink.forget(facts);
                }
            }
            left.push((path, facts));
        }
    }
    processes
}

/// The kernel's id of the cgroup at `path`: its inode's number.
pub(super) fn cgroup_id(path: &Path) -> Option<u64> {
    Some(fs::metadata(path).ok()?.ino())
}

/// Empty for a threaded cgroup, whose processes stand in the one above.
fn processes_of(path: &Path) -> Vec<u32> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<CgroupFacts>);

    impl Sink for Seen {
        fn add(&mut self, facts: &CgroupFacts) {
            self.0.push(facts.clone());
        }
        fn forget(&mut self, facts: &CgroupFacts) {
            self.0.retain(|seen| seen.id != facts.id);
        }
    }

    #[test]
    fn a_tree_of_folders_is_walked_from_the_top() {
        let root = tempfile::tempdir().unwrap();
        let uid = "0f6ee3a2-6a43-4a3c-9c5c-4f9d0c9be1aa";
        let id = "a".repeat(64);
        let inner = root.path().join(format!("kubepods/burstable/pod{uid}/{id}/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(root.path().join("system.slice/x.service")).unwrap();
        fs::write(inner.join("cgroup.procs"), "17\n0\n").unwrap();
        let mut seen = Seen::default();
        let processes = scan(root.path(), &mut seen);
        // Folders of a test's user are root's only where the tests run as root.
        if fs::metadata(&inner).unwrap().uid() != 0 {
            assert!(seen.0.is_empty() && processes.is_empty(), "a user cannot make a pod");
            return;
        }
        let names: Vec<&str> = seen.0.iter().map(|facts| &*facts.name).collect();
        assert_eq!(names, [&format!("pod{uid}"), &*id, "inner"]);
        assert_eq!(processes.keys().collect::<Vec<_>>(), [&17]);
        assert_eq!(processes[&17], seen.0[2]);
    }
}
