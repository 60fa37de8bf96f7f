//! Events as Tetragon's JSON export writes them, one object a line.
//!
//! The rules are protobuf's JSON mapping: zero and empty fields are absent, except the wrapper types
//! (`pid`, `uid`, `auid`, `tid`, `in_init_tree`) and the chosen member of a `oneof` (`int_arg`); 64-bit
//! numbers are strings. Keys stand in the order Tetragon writes them, though readers must not rely on it.

use std::io::Write as _;
use std::net::IpAddr;

use super::names;
use super::rfc3339::Rfc3339;
use crate::event::{
    Arg, Body, Event, Exit, Kprobe, PathValue, Pod, Process, SockValue, Value, WallTime,
};

pub mod text;

/// Writes events of one node. Reuse it: it remembers what the events have in common.
#[derive(Debug)]
pub struct JsonEncoder {
    /// `,"node_name":"...","time":"`
    node: Vec<u8>,
    time: Rfc3339,
}

impl JsonEncoder {
    /// An encoder for the events of node `node_name`.
    #[must_use]
    pub fn new(node_name: &str) -> Self {
        let mut node = Vec::new();
        if !node_name.is_empty() {
            node.extend_from_slice(b",\"node_name\":");
            text::string(node_name, &mut node);
        }
        node.extend_from_slice(b",\"time\":\"");
        Self { node, time: Rfc3339::default() }
    }

    /// Appends `event` as one line, newline included. Allocates only for `out` to grow, and once for each
    /// process's common part.
    pub fn write_line(&mut self, event: &Event, out: &mut Vec<u8>) {
        out.extend_from_slice(match event.body {
            Body::Exec => b"{\"process_exec\":{\"process\":".as_slice(),
            Body::Exit(_) => b"{\"process_exit\":{\"process\":",
            Body::Kprobe(_) => b"{\"process_kprobe\":{\"process\":",
        });
        process(&event.process, event.process.refcnt, event.tid, out);
        if let Some(parent) = &event.parent {
            out.extend_from_slice(b",\"parent\":");
            process(parent, 0, parent.pid, out);
        }
        match &event.body {
            Body::Exec => {}
            Body::Exit(exit) => self.exit(exit, out),
            Body::Kprobe(body) => kprobe(body, out),
        }
        out.push(b'}');
        out.extend_from_slice(&self.node);
        self.time.write(event.time, out);
        out.extend_from_slice(b"\"}\n");
    }

    fn exit(&mut self, exit: &Exit, out: &mut Vec<u8>) {
        if let Some(signal) = names::signal(exit.signal) {
            plain_field(b",\"signal\":\"", signal, out);
        }
        if exit.status != 0 {
            out.extend_from_slice(b",\"status\":");
            text::number(exit.status, out);
        }
        out.extend_from_slice(b",\"time\":\"");
        self.time.write(exit.time, out);
        out.push(b'"');
    }
}

/// `key` ends with the opening quote; `value` is one of our own words and needs no escape.
fn plain_field(key: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// `key` ends with the opening quote; an empty value is absent.
fn string_field(key: &[u8], value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.extend_from_slice(key);
        text::string_inside(value, out);
        out.push(b'"');
    }
}

fn process(process: &Process, refcnt: u32, tid: u32, out: &mut Vec<u8>) {
    let common = process.json.get_or_render(|| render_common(process));
    out.extend_from_slice(common.as_bytes());
    if let Some(of) = process.pod() {
        pod(of, process, out);
    }
    string_field(b",\"docker\":\"", &process.docker, out);
    string_field(b",\"parent_exec_id\":\"", &process.parent_exec_id, out);
    if refcnt != 0 {
        out.extend_from_slice(b",\"refcnt\":");
        text::number(refcnt, out);
    }
    out.extend_from_slice(b",\"tid\":");
    text::number(tid, out);
    out.extend_from_slice(if process.in_init_tree {
        b",\"in_init_tree\":true}"
    } else {
        b",\"in_init_tree\":false}"
    });
}

/// The object up to `auid`: what is the same in all events. The pod may become known between two of them.
fn render_common(process: &Process) -> Box<str> {
    let mut out = Vec::with_capacity(320 + process.binary.len() + process.arguments.len());
    out.push(b'{');
    string_field(b"\"exec_id\":\"", &process.exec_id, &mut out);
    if out.len() > 1 {
        out.push(b',');
    }
    out.extend_from_slice(b"\"pid\":");
    text::number(process.pid, &mut out);
    out.extend_from_slice(b",\"uid\":");
    text::number(process.uid, &mut out);
    string_field(b",\"cwd\":\"", &process.cwd, &mut out);
    string_field(b",\"binary\":\"", &process.binary, &mut out);
    string_field(b",\"arguments\":\"", &process.arguments, &mut out);
    string_field(b",\"flags\":\"", &process.flags, &mut out);
    start_time(process.start_time, &mut out);
    out.extend_from_slice(b",\"auid\":");
    text::number(process.auid, &mut out);
    rendered(out)
}

/// Everything the writers here write comes from `str`s and ASCII literals.
fn rendered(bytes: Vec<u8>) -> Box<str> {
    String::from_utf8(bytes).unwrap_or_default().into_boxed_str()
}

/// 0 is an unknown start.
fn start_time(time: WallTime, out: &mut Vec<u8>) {
    if time != WallTime::default() {
        out.extend_from_slice(b",\"start_time\":\"");
        Rfc3339::default().write(time, out);
        out.push(b'"');
    }
}

/// Writes the members of an object one after the other: a comma before each but the first.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Members<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn string(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            text::string(value, self.key(key));
        }
    }

    fn number(&mut self, key: &str, value: u32) {
        if value != 0 {
            text::number(value, self.key(key));
        }
    }

    /// The word for `number`, or the number itself as a string.
    fn word(&mut self, key: &str, word: Option<&'static str>, number: u16) {
        let out = self.key(key);
        out.push(b'"');
        match word {
            Some(word) => out.extend_from_slice(word.as_bytes()),
            None => text::number(number, out),
        }
        out.push(b'"');
    }

    fn address(&mut self, key: &str, address: Option<IpAddr>) {
        if let Some(address) = address {
            let out = self.key(key);
            // Writing to a Vec cannot fail.
            let _ = write!(out, "\"{address}\"");
        }
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// All processes of a container have the same pod, but for two members in its middle.
fn pod(pod: &Pod, process: &Process, out: &mut Vec<u8>) {
    let [before, after] = &pod.json;
    out.extend_from_slice(before.get_or_render(|| render_pod_start(pod)).as_bytes());
    if process.namespace_pid != 0 {
        out.extend_from_slice(b"\"pid\":");
        text::number(process.namespace_pid, out);
        out.push(b',');
    }
    if process.may_be_exec_probe() {
        out.extend_from_slice(b"\"maybe_exec_probe\":true,");
    }
    out.extend_from_slice(after.get_or_render(|| render_pod_end(pod)).as_bytes());
}

fn render_pod_start(pod: &Pod) -> Box<str> {
    let mut out = b",\"pod\":".to_vec();
    let mut members = Members::open(&mut out);
    members.string("namespace", &pod.namespace);
    members.string("name", &pod.name);
    members.string("uid", &pod.uid);
    let container = &pod.container;
    let mut members = Members::open(members.key("container"));
    members.string("id", &container.id);
    members.string("name", &container.name);
    let mut image = Members::open(members.key("image"));
    image.string("id", &container.image_id);
    image.string("name", &container.image_name);
    image.close();
    start_time(container.start_time, &mut out);
    out.push(b',');
    rendered(out)
}

fn render_pod_end(pod: &Pod) -> Box<str> {
    // Tetragon shows the object for every container, with `privileged` only where it is true.
    let security: &[u8] = if pod.container.privileged {
        b"\"security_context\":{\"privileged\":true}}"
    } else {
        b"\"security_context\":{}}"
    };
    let mut out = security.to_vec();
    let mut members = Members { out: &mut out, first: false };
    if !pod.labels.is_empty() {
        let mut labels = Members::open(members.key("pod_labels"));
        for (key, value) in &pod.labels {
            labels.label(key, value);
        }
        labels.close();
    }
    members.string("workload", &pod.workload);
    members.string("workload_kind", &pod.workload_kind);
    members.close();
    rendered(out)
}

impl Members<'_> {
    /// A member of a map: any key, and the value is shown even when empty.
    fn label(&mut self, key: &str, value: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        text::string(key, self.out);
        self.out.push(b':');
        text::string(value, self.out);
    }
}

fn kprobe(kprobe: &Kprobe, out: &mut Vec<u8>) {
    let hook = &*kprobe.hook;
    string_field(b",\"function_name\":\"", &hook.function, out);
    if !kprobe.args.is_empty() {
        out.extend_from_slice(b",\"args\":");
        arguments(&kprobe.args, out);
    }
    if let Some(value) = &kprobe.ret {
        out.extend_from_slice(b",\"return\":");
        argument(value, out);
    }
    plain_field(b",\"action\":\"", kprobe.action.as_str(), out);
    string_field(b",\"policy_name\":\"", &hook.policy, out);
    plain_field(b",\"return_action\":\"", kprobe.return_action.as_str(), out);
    string_field(b",\"message\":\"", &hook.message, out);
    if let Some((first, rest)) = hook.tags.split_first() {
        out.extend_from_slice(b",\"tags\":[");
        text::string(first, out);
        for tag in rest {
            out.push(b',');
            text::string(tag, out);
        }
        out.push(b']');
    }
}

/// Appends the arguments of a hook as an array.
pub(super) fn arguments(args: &[Arg], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        argument(arg, out);
    }
    out.push(b']');
}

fn argument(arg: &Arg, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    match &arg.value {
        Value::String(value) => text::string(value, members.key("string_arg")),
        Value::Int(value) => text::number(*value, members.key("int_arg")),
        Value::Uint(value) => text::number(*value, members.key("uint_arg")),
        Value::Long(value) => quoted_number(*value, members.key("long_arg")),
        Value::Size(value) => quoted_number(*value, members.key("size_arg")),
        Value::File(value) => path(value, members.key("file_arg")),
        Value::Path(value) => path(value, members.key("path_arg")),
        Value::Sock(value) => sock(value, members.key("sock_arg")),
        Value::Error(message) => {
            let mut error = Members::open(members.key("error_arg"));
            error.string("Message", message);
            error.close();
        }
    }
    members.string("label", &arg.label);
    members.close();
}

fn quoted_number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.push(b'"');
    text::number(number, out);
    out.push(b'"');
}

fn path(path: &PathValue, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.string("path", &path.path);
    if path.unresolved {
        members.string("flags", "unresolvedPathComponents");
    }
    let out = members.key("permission");
    out.push(b'"');
    out.extend_from_slice(names::permission(path.mode, &mut [0; 10]));
    out.push(b'"');
    members.close();
}

fn sock(sock: &SockValue, out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    members.word("family", names::family(sock.family), sock.family);
    members.word("type", names::socket_type(sock.kind), sock.kind);
    members.word("protocol", names::protocol(sock.protocol), sock.protocol);
    members.number("mark", sock.mark);
    members.number("priority", sock.priority);
    members.address("saddr", sock.saddr);
    members.address("daddr", sock.daddr);
    members.number("sport", u32::from(sock.sport));
    members.number("dport", u32::from(sock.dport));
    if sock.cookie != 0 {
        quoted_number(sock.cookie, members.key("cookie"));
    }
    members.word("state", names::tcp_state(sock.state), u16::from(sock.state));
    members.close();
}

#[cfg(test)]
mod tests;
