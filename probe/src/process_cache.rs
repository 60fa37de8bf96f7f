//! Which process a record belongs to: every image that is running, its parent, and for a while those that
//! have ended.

use std::collections::{HashMap, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::cgroups::{self, CgroupFacts};
use crate::event::{Association, Process, WallTime, joined_arguments};
use crate::sensor::procfs::Found;
use crate::sensor::record::{Exec, Fork, ImageKey, exec_flag};

/// How long an ended image stays known, in boot-time ns: records of the other ring may still name it.
const LINGER_NS: u64 = 5_000_000_000;

/// Most ended images that are kept: a storm of forks must not grow the probe.
const MAX_ENDED: usize = 16_384;

/// All images by identity.
#[derive(Debug)]
pub struct ProcessCache {
    node: String,
    images: HashMap<ImageKey, Image>,
    /// The image each thread group runs now.
    current: HashMap<u32, u64>,
    ended: VecDeque<(u64, ImageKey)>,
    /// Wall time of boot, in ns; moves when the clock is set.
    boot_wall_ns: i64,
}

/// A process and its parent. A child holds its parent's image, so a parent outlives its own end as long
/// as a child needs it, and no longer chain builds up.
#[derive(Debug, Clone)]
pub struct Image {
    pub process: Arc<Process>,
    pub parent: Option<Arc<Process>>,
}

/// The pod's cgroup that a process is in, and what is known of that; empty on the host.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub cgroup: Option<Arc<CgroupFacts>>,
    /// In a cluster.
    pub association: Option<Arc<Association>>,
}

impl ProcessCache {
    /// An empty cache for a node of that name.
    #[must_use]
    pub fn new(node: &str, boot_wall_ns: i64) -> Self {
        Self {
            node: node.to_owned(),
            images: HashMap::new(),
            current: HashMap::new(),
            ended: VecDeque::new(),
            boot_wall_ns,
        }
    }

    /// Images known, ended ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The clock was set, or drifted.
    pub const fn set_boot_wall(&mut self, ns: i64) {
        self.boot_wall_ns = ns;
    }

    /// Boot time to wall time.
    #[must_use]
    pub const fn wall(&self, boot_ns: u64) -> WallTime {
        WallTime(self.boot_wall_ns + boot_ns as i64)
    }

    /// The image, or what its thread group runs now if the kernel side did not know the exec time.
    #[must_use]
    pub fn get(&self, key: ImageKey) -> Option<&Image> {
        self.images.get(&key).or_else(|| {
            let exec_time = *self.current.get(&key.tgid)?;
            self.images.get(&ImageKey { tgid: key.tgid, exec_time })
        })
    }

    /// A process that /proc shows. Parents come first, so a parent that is missing is unknown.
    pub fn insert_found(&mut self, found: &Found, place: Place) {
        let key = ImageKey { tgid: found.pid, exec_time: found.start_time };
        if self.current.contains_key(&found.pid) {
            return;
        }
        let parent =
            self.get(ImageKey { tgid: found.parent, exec_time: 0 }).map(|i| Arc::clone(&i.process));
        let in_init_tree =
            found.namespace_pid == 1 || parent.as_ref().is_some_and(|p| p.in_init_tree);
        let root = found.cwd == b"/";
        let mut flags = String::from(if root { "procFS rootcwd" } else { "procFS" });
        if in_init_tree {
            flags.push_str(" inInitTree");
        }
        let process = Process {
            exec_id: self.exec_id(key),
            parent_exec_id: match &parent {
                Some(parent) => parent.exec_id.clone(),
                None if found.parent == 0 => self.exec_id(ImageKey { tgid: 0, exec_time: 1 }),
                None => String::new(),
            },
            pid: found.pid,
            uid: found.uid,
            auid: found.auid,
            cwd: text(&found.cwd),
            binary: text(&found.executable),
            arguments: arguments(&found.argv),
            flags,
            start_time: self.wall(found.start_time),
            in_init_tree,
            docker: docker(place.cgroup.as_ref(), &found.cgroup),
            namespace_pid: found.namespace_pid,
            cgroup: place.cgroup,
            association: place.association,
            ..Process::default()
        };
        self.insert(key, Arc::new(process), parent);
    }

    /// A new image in its place.
    pub fn exec(&mut self, key: ImageKey, exec: &Exec<'_>, place: Place) -> &Image {
        let parent = self.get(exec.parent).map(|i| Arc::clone(&i.process));
        let process = Process {
            exec_id: self.exec_id(key),
            parent_exec_id: self.parent_id(parent.as_deref(), exec.parent),
            pid: key.tgid,
            uid: exec.uid,
            auid: exec.auid,
            cwd: text(exec.cwd),
            binary: binary(exec.filename, exec.cwd),
            arguments: arguments(exec.argv),
            flags: exec_flags(exec.flags),
            start_time: self.wall(key.exec_time),
            in_init_tree: exec.flags & exec_flag::IN_INIT_TREE != 0,
            docker: docker(place.cgroup.as_ref(), exec.cgroup),
            namespace_pid: exec.namespace_pid,
            cgroup: place.cgroup,
            association: place.association,
            ..Process::default()
        };
        if let Some(old) = self.current.get(&key.tgid).copied() {
            self.end(ImageKey { tgid: key.tgid, exec_time: old }, key.exec_time);
        }
        self.insert(key, Arc::new(process), parent)
    }

    /// A new process that runs its parent's image, as Tetragon shows it: the parent's fields, its own
    /// identity, and `refcnt` 1 until an exec replaces it.
    pub fn fork(&mut self, key: ImageKey, fork: &Fork) -> &Image {
        let parent = self.get(fork.parent).map(|i| Arc::clone(&i.process));
        let mut process = parent.as_deref().cloned().unwrap_or_default();
        process.exec_id = self.exec_id(key);
        process.parent_exec_id = self.parent_id(parent.as_deref(), fork.parent);
        process.pid = key.tgid;
        process.namespace_pid = fork.namespace_pid;
        process.start_time = self.wall(key.exec_time);
        process.in_init_tree = fork.flags & exec_flag::IN_INIT_TREE != 0;
        process.flags =
            String::from(if process.in_init_tree { "execve inInitTree" } else { "execve" });
        process.refcnt = 1;
        self.insert(key, Arc::new(process), parent)
    }

    /// The process ended at `time` (boot ns): its image is forgotten a little later.
    pub fn exit(&mut self, key: ImageKey, time: u64) {
        if self.current.get(&key.tgid) == Some(&key.exec_time) {
            self.current.remove(&key.tgid);
        }
        self.end(key, time);
    }

    fn end(&mut self, key: ImageKey, time: u64) {
        self.ended.push_back((time + LINGER_NS, key));
        if self.ended.len() > MAX_ENDED
            && let Some((_, oldest)) = self.ended.pop_front()
        {
            self.images.remove(&oldest);
        }
    }

    /// Forgets what ended long enough before `now` (boot ns).
    pub fn expire(&mut self, now: u64) {
        while let Some((time, key)) = self.ended.front().copied() {
            if time > now {
                break;
            }
            self.ended.pop_front();
            self.images.remove(&key);
        }
    }

    /// The process is in this pod's cgroup. One that was in another when it called exec, as a runtime's own that
    /// becomes the container's, is of this pod from now on. One that leaves its pod keeps it: it came from there.
    pub fn entered(&mut self, key: ImageKey, place: Place) {
        let exec_time = match self.images.contains_key(&key) {
            true => key.exec_time,
            false => self.current.get(&key.tgid).copied().unwrap_or_default(),
        };
        let key = ImageKey { tgid: key.tgid, exec_time };
        let Some(image) = self.images.get_mut(&key) else { return };
        image.process = Arc::new(Process {
            docker: docker(place.cgroup.as_ref(), &[]),
            cgroup: place.cgroup,
            association: place.association,
            ..Process::clone(&image.process)
        });
    }

    /// A process nobody knows: bare pid, Tetragon's flag `unknown`.
    #[must_use]
    pub fn unknown(&self, key: ImageKey, place: Place) -> Image {
        let process = Process {
            exec_id: self.exec_id(key),
            pid: key.tgid,
            auid: u32::MAX,
            flags: String::from("unknown"),
            docker: docker(place.cgroup.as_ref(), &[]),
            cgroup: place.cgroup,
            association: place.association,
            start_time: self.wall(key.exec_time),
            ..Process::default()
        };
        Image { process: Arc::new(process), parent: None }
    }

    fn insert(
        &mut self,
        key: ImageKey,
        process: Arc<Process>,
        parent: Option<Arc<Process>>,
    ) -> &Image {
        self.current.insert(key.tgid, key.exec_time);
        let image = Image { process, parent };
        match self.images.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.insert(image);
                entry.into_mut()
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(image),
        }
    }

    fn exec_id(&self, key: ImageKey) -> String {
        BASE64.encode(format!("{}:{}:{}", self.node, key.exec_time, key.tgid))
    }

    fn parent_id(&self, parent: Option<&Process>, key: ImageKey) -> String {
        match parent {
            Some(parent) => parent.exec_id.clone(),
            None if key.tgid == 0 => self.exec_id(ImageKey { tgid: 0, exec_time: 1 }),
            None => self.exec_id(key),
        }
    }
}

/// Kernel bytes to text: what is not UTF-8 becomes U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The path given to exec, made absolute by the working directory.
fn binary(filename: &[u8], cwd: &[u8]) -> String {
    let (filename, cwd) = (text(filename), text(cwd));
    if filename.starts_with('/') || cwd.is_empty() {
        return filename;
    }
    let mut path = PathBuf::from(cwd);
    for component in Path::new(&filename).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            other => path.push(other),
        }
    }
    path.to_string_lossy().into_owned()
}

/// `argv[1..]` in one string. Trailing empty arguments are lost in Tetragon, and here.
fn arguments(argv: &[u8]) -> String {
    let end = argv.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    joined_arguments(argv[..end].split(|b| *b == 0).skip(1).map(String::from_utf8_lossy))
}

/// In Tetragon's order.
fn exec_flags(flags: u32) -> String {
    let mut out = String::from("execve");
    for (flag, word) in [
        (exec_flag::TRUNC_ARGS, " truncArgs"),
        (exec_flag::ERROR_FILENAME, " errorFilename"),
        (exec_flag::ERROR_ARGS, " errorArgs"),
        (exec_flag::NO_CWD, " nocwd"),
        (exec_flag::ROOT_CWD, " rootcwd"),
        (exec_flag::ERROR_CWD, " errorCWD"),
        (exec_flag::CLONE, " clone"),
        (exec_flag::IN_INIT_TREE, " inInitTree"),
    ] {
        if flags & flag != 0 {
            out.push_str(word);
        }
    }
    out
}

/// The first 31 characters of the container's id, as Tetragon shows it; empty outside of containers. Cgroups of
/// pods are known whatever they are called; of others, the name tells.
fn docker(cgroup: Option<&Arc<CgroupFacts>>, name: &[u8]) -> String {
    const SHOWN: usize = 31;
    let id = match cgroup {
        Some(facts) => facts.container_id.as_deref(),
        None => std::str::from_utf8(name).ok().and_then(cgroups::container_id),
    };
    id.and_then(|id| id.get(..SHOWN)).unwrap_or_default().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_tetragons_quoting() {
        assert_eq!(arguments(b"env\0echo\0a b\0\0c\"d\0tab\tx\0"), "echo \"a b\"  c\"d tab\tx");
        assert_eq!(arguments(b"echo\0a b\0\0c\"d\0tab\tx\0"), " \"a b\"  c\"d tab\tx");
        assert_eq!(arguments(b"true\0"), "");
        assert_eq!(arguments(b"x\0a\0\0\0"), "a", "trailing empty arguments are lost");
        assert_eq!(arguments(b""), "");
        assert_eq!(arguments(b"x\0\xff\xfe\0"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn relative_binaries_become_absolute() {
        assert_eq!(binary(b"./x", b"/t/w"), "/t/w/x");
        assert_eq!(binary(b"../bin/x", b"/t/w"), "/t/bin/x");
        assert_eq!(
            binary(b"/bin/../bin/x", b"/t/w"),
            "/bin/../bin/x",
            "an absolute path stays as given"
        );
        assert_eq!(binary(b"x", b""), "x");
    }

    #[test]
    fn a_storm_of_processes_does_not_grow_the_cache() {
        let mut cache = ProcessCache::new("n", 0);
        let parent = ImageKey { tgid: 1, exec_time: 1 };
        for time in 2..2 * MAX_ENDED as u64 {
            let key = ImageKey { tgid: 2, exec_time: time };
            cache.fork(key, &Fork { parent, flags: 0, namespace_pid: 0 });
            cache.exit(key, time);
        }
        assert_eq!((cache.len(), cache.current.len()), (MAX_ENDED, 0));
        let last = ImageKey { tgid: 2, exec_time: 2 * MAX_ENDED as u64 - 1 };
        assert!(cache.get(last).is_some(), "the youngest stay");
        cache.expire(u64::MAX);
        assert!(cache.is_empty());
    }

    #[test]
    fn exec_ids_are_base64_of_node_time_and_pid() {
        let cache = ProcessCache::new("goldnode", 0);
        assert_eq!(
            cache.exec_id(ImageKey { tgid: 1, exec_time: 910_000_000 }),
            "Z29sZG5vZGU6OTEwMDAwMDAwOjE="
        );
        assert_eq!(cache.exec_id(ImageKey { tgid: 0, exec_time: 1 }), "Z29sZG5vZGU6MTow");
    }

    #[test]
    fn a_process_that_enters_a_pod_is_of_it_from_then_on() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let facts = |number, container_id: Option<&str>| {
            let facts = CgroupFacts {
                id: number,
                pod_uid: "uid".into(),
                container_cgroup: number,
                container_id: container_id.map(Arc::from),
                name: "name".into(),
            };
            Place { cgroup: Some(Arc::new(facts)), association: None }
        };
        let mut cache = ProcessCache::new("n", 0);
        let key = ImageKey { tgid: 2, exec_time: 5 };
        let parent = ImageKey { tgid: 1, exec_time: 1 };
        cache.fork(key, &Fork { parent, flags: 0, namespace_pid: 0 });
        assert_eq!(cache.get(key).expect("forked").process.docker, "");
        // The kernel side does not always know when the process called exec.
        cache.entered(ImageKey { tgid: 2, exec_time: 0 }, facts(7, Some(id)));
        let process = Arc::clone(&cache.get(key).expect("entered").process);
        assert_eq!((process.docker.as_str(), process.pid), (&id[..31], 2));
        assert_eq!(process.cgroup.as_ref().map(|c| c.id), Some(7));
        let child = ImageKey { tgid: 3, exec_time: 9 };
        assert_eq!(
            cache.fork(child, &Fork { parent: key, flags: 0, namespace_pid: 0 }).process.docker,
            id[..31]
        );
    }

    #[test]
    fn the_container_is_that_of_the_pods_cgroup_or_what_the_name_tells() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(docker(None, format!("docker-{id}.scope").as_bytes()), id[..31]);
        assert_eq!(docker(None, b"init.scope"), "");
        assert_eq!(docker(None, b"\xff"), "");
    }
}
