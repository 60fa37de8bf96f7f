//! What the probe knows of one event, before it becomes JSON, a row or an alert.
//!
//! The shapes follow Tetragon's export schema; `encode` writes them. Strings are already valid UTF-8
//! (kernel bytes pass a lossy conversion in `sensor`).

mod pod;

use std::sync::{Arc, OnceLock};

use crate::cgroups::CgroupFacts;
pub(crate) use pod::joined_arguments;
pub use pod::{Association, Container, ExecProbe, Grade, Pod};

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

/// One event in the order the sensor emits it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts the events of this run of the probe from 1, without holes: a hole downstream is a loss downstream.
    pub seq: u64,
    /// When the kernel saw it.
    pub time: WallTime,
    /// The process as it was at its last exec.
    pub process: Arc<Process>,
    /// Its parent, where known.
    pub parent: Option<Arc<Process>>,
    /// The thread that caused the event (host pid namespace).
    pub tid: u32,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Body {
    /// `process_exec`
    Exec,
    /// `process_exit`
    Exit(Exit),
    /// `process_kprobe`
    Kprobe(Kprobe),
}

impl Body {
    /// The JSON key of the event: `process_exec`, `process_exit`, `process_kprobe`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exec => "process_exec",
            Self::Exit(_) => "process_exit",
            Self::Kprobe(_) => "process_kprobe",
        }
    }
}

/// A process image: one successful exec (or the copy a fork made of one).
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// base64 of `node:ktime_ns:pid`.
    pub exec_id: String,
    /// The same of the parent; empty when there is none.
    pub parent_exec_id: String,
    /// Host pid (thread group id).
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Login uid; 4294967295 is unset.
    pub auid: u32,
    /// Working directory at exec; empty is unknown.
    pub cwd: String,
    /// Path given to exec, made absolute.
    pub binary: String,
    /// argv[1..] joined by Tetragon's rule.
    pub arguments: String,
    /// Space-joined, for example `execve rootcwd clone`.
    pub flags: String,
    /// When the image started.
    pub start_time: WallTime,
    /// Descends from pid 1 of a container's pid namespace.
    pub in_init_tree: bool,
    /// First 31 characters of the container id; empty on the host.
    pub docker: String,
    /// 0 is not shown. Tetragon shows 1 on the exit of a fork that never called exec.
    pub refcnt: u32,
    /// Pid in its own pid namespace; 0 where that is the host's.
    pub namespace_pid: u32,
    /// Its cgroup, where that is a pod's.
    pub cgroup: Option<Arc<CgroupFacts>>,
    /// The same, with what is known of the pod (cluster mode); `None` on the host.
    pub association: Option<Arc<Association>>,
    /// The part of the JSON object before the pod, which is the same in all events, rendered at first use.
    ///
    /// ## Warning
    /// Change a process by changing a clone before it is shared: a clone starts with nothing rendered,
    /// while a field changed in place after the first event would not be seen in the JSON.
    pub json: RenderedOnce,
}

impl Process {
    /// Its pod, as far as it is known by now.
    #[must_use]
    pub fn pod(&self) -> Option<&Arc<Pod>> {
        self.association.as_ref()?.pod()
    }

    /// Whether it looks like an exec probe of its container.
    #[must_use]
    pub fn may_be_exec_probe(&self) -> bool {
        let probes = self.pod().map_or(&[][..], |pod| &pod.container.exec_probes);
        probes.iter().any(|probe| probe.is_like(&self.binary, &self.arguments))
    }
}

/// Text that is rendered at most once for the value it stands in; empty in a clone.
#[derive(Debug, Default)]
pub struct RenderedOnce(OnceLock<Box<str>>);

impl RenderedOnce {
    /// The text; `render` makes it the first time.
    pub fn get_or_render(&self, render: impl FnOnce() -> Box<str>) -> &str {
        self.0.get_or_init(render)
    }
}

impl Clone for RenderedOnce {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// `process_exit`'s own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// exit_code >> 8
    pub status: u32,
    /// The killing signal's number; 0 is none.
    pub signal: u8,
    /// When it ended.
    pub time: WallTime,
}

/// `process_kprobe`'s own fields.
#[derive(Debug, Clone)]
pub struct Kprobe {
    /// The policy's side, shared by all events of the hook.
    pub hook: Arc<Hook>,
    /// In the order of the policy; `nop` arguments are left out.
    pub args: Vec<Arg>,
    /// Present when the policy asks for the return value.
    pub ret: Option<Arg>,
    pub action: Action,
    pub return_action: Action,
}

/// What all events of one hook share.
#[derive(Debug, Clone, Default)]
pub struct Hook {
    /// As attached: `tcp_connect`, `__x64_sys_openat`.
    pub function: String,
    pub policy: String,
    pub message: String,
    pub tags: Vec<String>,
    /// Number of the watch in the loaded set; routes the event to that watch's alerts and target.
    pub watch: usize,
}

/// One argument with its optional label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Shared with the policy; empty is none.
    pub label: Arc<str>,
    pub value: Value,
}

/// One argument's value; the name of its JSON key stands behind each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// string_arg
    String(String),
    /// int_arg
    Int(i32),
    /// uint_arg
    Uint(u32),
    /// long_arg (JSON string)
    Long(i64),
    /// size_arg (JSON string)
    Size(u64),
    /// file_arg
    File(PathValue),
    /// path_arg
    Path(PathValue),
    /// sock_arg
    Sock(SockValue),
    /// error_arg: the argument could not be read
    Error(&'static str),
}

/// A path with the file's mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathValue {
    pub path: String,
    /// The walk ended before the root: `"flags":"unresolvedPathComponents"`.
    pub unresolved: bool,
    /// `st_mode`; shown ls-style as `permission` (`-rw-r--r--`).
    pub mode: u16,
}

/// A socket; zero fields are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SockValue {
    /// AF_*
    pub family: u16,
    /// SOCK_*
    pub kind: u16,
    /// IPPROTO_*
    pub protocol: u16,
    pub mark: u32,
    pub priority: u32,
    pub saddr: Option<std::net::IpAddr>,
    pub daddr: Option<std::net::IpAddr>,
    pub sport: u16,
    pub dport: u16,
    /// The same for all events of one socket; JSON string.
    pub cookie: u64,
    /// TCP_*
    pub state: u8,
}

/// Tetragon's `KPROBE_ACTION_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    #[default]
    Post,
    Sigkill,
    NoPost,
}

impl Action {
    /// The JSON word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "KPROBE_ACTION_POST",
            Self::Sigkill => "KPROBE_ACTION_SIGKILL",
            Self::NoPost => "KPROBE_ACTION_NOPOST",
        }
    }
}
