//! The pod of a process. Its cgroup says at once which pod and container that is; what else is known of them comes
//! later, from the API server and the container runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{RenderedOnce, WallTime};

/// A pod with one of its containers.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub container: Container,
    /// Sorted by key.
    pub labels: Vec<(String, String)>,
    pub workload: String,
    pub workload_kind: String,
    /// Its JSON before and after what differs from process to process.
    pub json: [RenderedOnce; 2],
}

/// A container of a pod. Without a name it is the pod's sandbox, or not known yet.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// `containerd://<64 hex>`
    pub id: String,
    pub name: String,
    pub image_id: String,
    pub image_name: String,
    pub start_time: WallTime,
    pub privileged: bool,
    pub exec_probes: Vec<ExecProbe>,
}

/// The command of a liveness, readiness or startup probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecProbe {
    binary: String,
    /// Joined as those of a process are.
    arguments: String,
}

impl ExecProbe {
    /// `None` for an empty command.
    #[must_use]
    pub fn new(command: &[String]) -> Option<Self> {
        let (binary, arguments) = command.split_first()?;
        let arguments = joined_arguments(arguments.iter().map(String::as_str));
        Some(Self { binary: binary.clone(), arguments })
    }

    /// Tetragon's rule: the same path, or the same name if the command is no absolute path, with the same arguments.
    #[must_use]
    pub fn is_like(&self, binary: &str, arguments: &str) -> bool {
        if !self.binary.starts_with('/') {
            return name_of(binary) == name_of(&self.binary) && arguments == self.arguments;
        }
        // A script is started with its own path in front of its arguments.
        let of_script = || {
            let rest = arguments.strip_prefix(binary)?;
            Some(rest == self.arguments || rest.strip_prefix(' ') == Some(&self.arguments))
        };
        binary == self.binary
            && (arguments == self.arguments || of_script().is_some_and(|is_like| is_like))
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Arguments in one string, as Tetragon joins them: one with a space is quoted, and if it is the first, the text
/// begins with a space.
pub(crate) fn joined_arguments<T: AsRef<str>>(arguments: impl Iterator<Item = T>) -> String {
    let mut out = String::new();
    for (n, argument) in arguments.enumerate() {
        let argument = argument.as_ref();
        if argument.contains(' ') {
            out.push_str(" \"");
            out.push_str(argument);
            out.push('"');
        } else {
            if n > 0 {
                out.push(' ');
            }
            out.push_str(argument);
        }
    }
    out
}

/// How much is known of a pod and its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Something is missing: the pod's labels and workload, or which of its containers it is.
    Partial,
    /// All but what the container's status brings a second after its start: the image's id, the start time.
    Named,
    /// All there is.
    Complete,
}

/// A pod's cgroup, shared by all processes that were started in it, with the pod as it becomes known.
#[derive(Debug, Default)]
pub struct Association {
    /// As the cgroup has it: of a static pod the kubelet's, which is not the API server's.
    pub pod_uid: Arc<str>,
    /// 64 hexadecimal digits; empty for a cgroup that is the pod's and no container's.
    pub container_id: Arc<str>,
    /// `containerd`, `cri-o`, `docker`; empty where the cgroup does not say.
    pub runtime: &'static str,
    /// By grade. Filled once each, so that who reads an event needs no lock.
    known: [OnceLock<Arc<Pod>>; 3],
    /// What was known of pods in general when it was looked for last.
    looked: AtomicU64,
}

impl Association {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(pod_uid: Arc<str>, container_id: Arc<str>, runtime: &'static str) -> Self {
        Self { pod_uid, container_id, runtime, ..Self::default() }
    }

    /// All is known.
    #[must_use]
    pub fn of(pod: Pod) -> Self {
        let association = Self::new(pod.uid.as_str().into(), "".into(), "");
        association.learn(Grade::Complete, Arc::new(pod));
        association
    }

    /// What is known by now.
    #[must_use]
    pub fn pod(&self) -> Option<&Arc<Pod>> {
        self.known.iter().rev().find_map(OnceLock::get)
    }

    /// How much that is.
    #[must_use]
    pub fn grade(&self) -> Option<Grade> {
        let grades = [Grade::Complete, Grade::Named, Grade::Partial];
        grades.into_iter().find(|grade| self.known[*grade as usize].get().is_some())
    }

    /// Takes what was learnt, unless as much was known before.
    pub fn learn(&self, grade: Grade, pod: Arc<Pod>) {
        let _ = self.known[grade as usize].set(pod);
    }

    /// Whether something may have become known since the last call.
    pub fn is_to_look(&self, version: u64) -> bool {
        self.known[Grade::Complete as usize].get().is_none()
            && self.looked.swap(version, Ordering::Relaxed) != version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(command: &[&str]) -> ExecProbe {
        let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        ExecProbe::new(&command).unwrap()
    }

    #[test]
    fn an_exec_probe_is_known_by_its_path_or_name_and_its_arguments() {
        let by_name = probe(&["cat", "/tmp/healthy"]);
        assert!(by_name.is_like("/bin/cat", "/tmp/healthy"));
        assert!(!by_name.is_like("/bin/cat", "/etc/shadow"));
        assert!(!by_name.is_like("/bin/tac", "/tmp/healthy"));
        let by_path = probe(&["/bin/sh", "-c", "exit 0"]);
        assert!(by_path.is_like("/bin/sh", "-c \"exit 0\""));
        assert!(!by_path.is_like("/usr/bin/sh", "-c \"exit 0\""));
        assert_eq!(ExecProbe::new(&[]), None);
    }

    #[test]
    fn a_script_has_its_own_path_before_its_arguments() {
        let script = probe(&["/health/ping.sh", "5"]);
        assert!(script.is_like("/health/ping.sh", "/health/ping.sh 5"));
        assert!(script.is_like("/health/ping.sh", "5"));
        assert!(!script.is_like("/health/ping.sh", "/health/ping.sh 6"));
        let bare = probe(&["/health/ping.sh"]);
        assert!(bare.is_like("/health/ping.sh", "/health/ping.sh"));
    }

    #[test]
    fn more_becomes_known_and_never_less() {
        let named = |name: &str| Arc::new(Pod { name: name.into(), ..Pod::default() });
        let association = Association::new("u".into(), "".into(), "");
        assert!(
            association.is_to_look(1) && !association.is_to_look(1) && association.is_to_look(2)
        );
        assert!(association.pod().is_none() && association.grade().is_none());
        association.learn(Grade::Complete, named("all"));
        association.learn(Grade::Partial, named("some"));
        assert_eq!(association.pod().unwrap().name, "all");
        assert_eq!(association.grade(), Some(Grade::Complete));
        assert!(!association.is_to_look(3), "there is nothing more to learn");
    }
}
