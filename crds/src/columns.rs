//! The columns that a shipped event can have: names, types, nothing else.
//!
//! The set is closed: the probe writes these and no others, and gives a new stream all of them before its first
//! event. So it is built once and each column lives for the whole run; cells point at columns instead of
//! carrying names.

use std::sync::LazyLock;

/// `event_type` of a row that only gives a stream its columns; rules that count must leave it out.
pub const SEED_EVENT_TYPE: &str = "securitywatch.seed";

/// What the stream's column is created as, and what every value of it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A JSON string that never parses as a time when the column is created.
    Text,
    /// A JSON number (64-bit float on the server; wider integers are text).
    Number,
    /// A JSON boolean.
    Bool,
    /// An RFC 3339 string; the server keeps milliseconds.
    Time,
}

/// One column.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// As in the stream: `process_exec_process_binary`.
    pub name: &'static str,
    /// Its type for ever.
    pub kind: ColumnType,
    /// `,"name":`, ready for the row writer.
    pub key: &'static str,
}

/// Columns of one process, under a prefix such as `process_exec_process`.
#[derive(Debug)]
pub struct ProcessColumns {
    pub exec_id: &'static Column,
    pub pid: &'static Column,
    pub uid: &'static Column,
    pub cwd: &'static Column,
    pub binary: &'static Column,
    pub arguments: &'static Column,
    pub flags: &'static Column,
    pub start_time: &'static Column,
    pub auid: &'static Column,
    pub pod: PodColumns,
    pub docker: &'static Column,
    pub parent_exec_id: &'static Column,
    pub refcnt: &'static Column,
    pub tid: &'static Column,
    pub in_init_tree: &'static Column,
}

/// Columns of a process's pod.
#[derive(Debug)]
pub struct PodColumns {
    pub namespace: &'static Column,
    pub name: &'static Column,
    pub uid: &'static Column,
    pub container_id: &'static Column,
    pub container_name: &'static Column,
    pub container_image_id: &'static Column,
    pub container_image_name: &'static Column,
    pub container_start_time: &'static Column,
    pub container_pid: &'static Column,
    pub container_maybe_exec_probe: &'static Column,
    pub labels: &'static Column,
    pub workload: &'static Column,
    pub workload_kind: &'static Column,
}

/// Process and parent of one event kind.
#[derive(Debug)]
pub struct KindColumns {
    pub process: ProcessColumns,
    pub parent: ProcessColumns,
}

/// `process_exit`'s own.
#[derive(Debug)]
pub struct ExitColumns {
    pub signal: &'static Column,
    pub status: &'static Column,
    pub time: &'static Column,
}

/// `process_kprobe`'s own.
#[derive(Debug)]
pub struct KprobeColumns {
    pub function_name: &'static Column,
    pub action: &'static Column,
    pub return_action: &'static Column,
    pub policy_name: &'static Column,
    pub message: &'static Column,
    pub tags: &'static Column,
    pub args_json: &'static Column,
    /// `args_0_…` to `args_4_…`
    pub indexed: Vec<ArgColumns>,
    /// `args_…`: the first argument of each kind
    pub first: ArgColumns,
    /// `return_…`
    pub ret: ArgColumns,
}

/// One argument position, one group of columns for each kind of value.
#[derive(Debug)]
pub struct ArgColumns {
    pub string: &'static Column,
    pub int: &'static Column,
    pub uint: &'static Column,
    pub long: &'static Column,
    pub size: &'static Column,
    pub error: &'static Column,
    pub file: PathColumns,
    pub path: PathColumns,
    pub sock: SockColumns,
}

/// Of a `file_arg` or `path_arg`.
#[derive(Debug)]
pub struct PathColumns {
    pub path: &'static Column,
    pub flags: &'static Column,
    pub permission: &'static Column,
}

/// Of a `sock_arg`.
#[derive(Debug)]
pub struct SockColumns {
    pub family: &'static Column,
    pub kind: &'static Column,
    pub protocol: &'static Column,
    pub mark: &'static Column,
    pub priority: &'static Column,
    pub saddr: &'static Column,
    pub daddr: &'static Column,
    pub sport: &'static Column,
    pub dport: &'static Column,
    pub cookie: &'static Column,
    pub state: &'static Column,
}

/// Every column, by use.
#[derive(Debug)]
pub struct Columns {
    pub event_type: &'static Column,
    pub event_id: &'static Column,
    pub event_time: &'static Column,
    pub node_name: &'static Column,
    pub cluster: &'static Column,
    pub boot_id: &'static Column,
    pub run_id: &'static Column,
    pub seq: &'static Column,
    pub exec: KindColumns,
    pub exit: KindColumns,
    pub exit_own: ExitColumns,
    pub kprobe: KindColumns,
    pub kprobe_own: KprobeColumns,
    /// In the order of creation.
    pub all: Vec<&'static Column>,
}

/// Arguments with columns of their own. Hooks read at most this many, so none is left to `args_json` alone.
pub const INDEXED_ARGS: usize = 5;

/// Every column there is.
pub static COLUMNS: LazyLock<Columns> = LazyLock::new(build);

/// The column of this name.
#[must_use]
pub fn column(name: &str) -> Option<&'static Column> {
    COLUMNS.all.iter().find(|c| c.name == name).copied()
}

fn build() -> Columns {
    let mut all = Vec::new();
    let mut top = Group::new(&mut all, "");
    let (event_type, event_id) = (top.text("event_type"), top.text("event_id"));
    let event_time = top.time("event_time");
    let (node_name, cluster) = (top.text("node_name"), top.text("cluster"));
    let (boot_id, run_id) = (top.text("boot_id"), top.text("run_id"));
    let seq = top.number("seq");
    Columns {
        event_type,
        event_id,
        event_time,
        node_name,
        cluster,
        boot_id,
        run_id,
        seq,
        exec: kind(&mut all, "process_exec"),
        exit: kind(&mut all, "process_exit"),
        exit_own: exit(&mut all),
        kprobe: kind(&mut all, "process_kprobe"),
        kprobe_own: kprobe(&mut all),
        all,
    }
}

fn kind(all: &mut Vec<&'static Column>, event: &str) -> KindColumns {
    KindColumns {
        process: process(all, &format!("{event}_process")),
        parent: process(all, &format!("{event}_parent")),
    }
}

fn process(all: &mut Vec<&'static Column>, prefix: &str) -> ProcessColumns {
    let pod = pod(all, &format!("{prefix}_pod"));
    let mut g = Group::new(all, prefix);
    ProcessColumns {
        exec_id: g.text("exec_id"),
        pid: g.number("pid"),
        uid: g.number("uid"),
        cwd: g.text("cwd"),
        binary: g.text("binary"),
        arguments: g.text("arguments"),
        flags: g.text("flags"),
        start_time: g.time("start_time"),
        auid: g.number("auid"),
        pod,
        docker: g.text("docker"),
        parent_exec_id: g.text("parent_exec_id"),
        refcnt: g.number("refcnt"),
        tid: g.number("tid"),
        in_init_tree: g.bool("in_init_tree"),
    }
}

fn pod(all: &mut Vec<&'static Column>, prefix: &str) -> PodColumns {
    let mut g = Group::new(all, prefix);
    PodColumns {
        namespace: g.text("namespace"),
        name: g.text("name"),
        uid: g.text("uid"),
        container_id: g.text("container_id"),
        container_name: g.text("container_name"),
        container_image_id: g.text("container_image_id"),
        container_image_name: g.text("container_image_name"),
        container_start_time: g.time("container_start_time"),
        container_pid: g.number("container_pid"),
        container_maybe_exec_probe: g.bool("container_maybe_exec_probe"),
        labels: g.text("pod_labels"),
        workload: g.text("workload"),
        workload_kind: g.text("workload_kind"),
    }
}

fn exit(all: &mut Vec<&'static Column>) -> ExitColumns {
    let mut g = Group::new(all, "process_exit");
    ExitColumns { signal: g.text("signal"), status: g.number("status"), time: g.time("time") }
}

fn kprobe(all: &mut Vec<&'static Column>) -> KprobeColumns {
    let prefix = "process_kprobe";
    let indexed = (0..INDEXED_ARGS).map(|i| arg(all, &format!("{prefix}_args_{i}"))).collect();
    let first = arg(all, &format!("{prefix}_args"));
    let ret = arg(all, &format!("{prefix}_return"));
    let mut g = Group::new(all, prefix);
    KprobeColumns {
        function_name: g.text("function_name"),
        action: g.text("action"),
        return_action: g.text("return_action"),
        policy_name: g.text("policy_name"),
        message: g.text("message"),
        tags: g.text("tags"),
        args_json: g.text("args_json"),
        indexed,
        first,
        ret,
    }
}

fn arg(all: &mut Vec<&'static Column>, prefix: &str) -> ArgColumns {
    let file = path(all, &format!("{prefix}_file_arg"));
    let path = path(all, &format!("{prefix}_path_arg"));
    let sock = sock(all, &format!("{prefix}_sock_arg"));
    let mut g = Group::new(all, prefix);
    ArgColumns {
        string: g.text("string_arg"),
        int: g.number("int_arg"),
        uint: g.number("uint_arg"),
        long: g.text("long_arg"),
        size: g.text("size_arg"),
        error: g.text("error_arg_Message"),
        file,
        path,
        sock,
    }
}

fn path(all: &mut Vec<&'static Column>, prefix: &str) -> PathColumns {
    let mut g = Group::new(all, prefix);
    PathColumns { path: g.text("path"), flags: g.text("flags"), permission: g.text("permission") }
}

fn sock(all: &mut Vec<&'static Column>, prefix: &str) -> SockColumns {
    let mut g = Group::new(all, prefix);
    SockColumns {
        family: g.text("family"),
        kind: g.text("type"),
        protocol: g.text("protocol"),
        mark: g.number("mark"),
        priority: g.number("priority"),
        saddr: g.text("saddr"),
        daddr: g.text("daddr"),
        sport: g.number("sport"),
        dport: g.number("dport"),
        cookie: g.text("cookie"),
        state: g.text("state"),
    }
}

/// Makes columns of one prefix and enters them in the list of all.
struct Group<'a> {
    all: &'a mut Vec<&'static Column>,
    prefix: &'a str,
}

impl<'a> Group<'a> {
    const fn new(all: &'a mut Vec<&'static Column>, prefix: &'a str) -> Self {
        Self { all, prefix }
    }

    fn text(&mut self, suffix: &str) -> &'static Column {
        self.add(suffix, ColumnType::Text)
    }

    fn number(&mut self, suffix: &str) -> &'static Column {
        self.add(suffix, ColumnType::Number)
    }

    fn bool(&mut self, suffix: &str) -> &'static Column {
        self.add(suffix, ColumnType::Bool)
    }

    fn time(&mut self, suffix: &str) -> &'static Column {
        self.add(suffix, ColumnType::Time)
    }

    // Leaked on purpose: built once, a few hundred names, needed until the process ends.
    fn add(&mut self, suffix: &str, kind: ColumnType) -> &'static Column {
        let joint = if self.prefix.is_empty() { "" } else { "_" };
        let key: &'static str = format!(",\"{}{joint}{suffix}\":", self.prefix).leak();
        let column: &'static Column =
            Box::leak(Box::new(Column { name: &key[2..key.len() - 2], kind, key }));
        self.all.push(column);
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_far_below_the_stream_limit() {
        let names: HashSet<_> = COLUMNS.all.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), COLUMNS.all.len(), "two columns share a name");
        // A stream with more than 1000 columns refuses everything for ever; kinds to come need room too.
        assert!(names.len() < 450, "{} columns", names.len());
    }

    #[test]
    fn names_used_by_published_rules_exist() {
        for wanted in [
            "process_exec_process_binary",
            "process_exit_process_binary",
            "process_exit_process_pod_name",
            "process_exec_process_pod_name",
            "process_kprobe_process_arguments",
            "process_kprobe_function_name",
            "process_kprobe_args_0_file_arg_path",
            "process_kprobe_args_file_arg_path",
            "process_kprobe_args_sock_arg_daddr",
            "process_kprobe_return_int_arg",
        ] {
            assert!(COLUMNS.all.iter().any(|c| c.name == wanted), "{wanted}");
        }
    }
}
