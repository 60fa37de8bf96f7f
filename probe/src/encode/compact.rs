//! Events as one short line each, for people: Tetragon's compact view.
//!
//! `<emoji> <word padded to 7> <namespace/pod or node> <binary> <rest>`. Tetragon's trailing
//! `🛑 CAP_SYS_ADMIN` is left out: it is shown there for processes with 22 or more capabilities,
//! whichever they are.

use std::io::Write as _;

use super::names;
use super::rfc3339::Rfc3339;
use crate::event::{Body, Event, Exit, Kprobe, Process, SockValue, Value};

pub mod quote;

/// Writes compact lines of one node's events.
#[derive(Debug, Clone)]
pub struct CompactEncoder {
    node: String,
    colors: bool,
    /// Tells whether each line starts with its event's time.
    timestamps: bool,
    time: Rfc3339,
}

/// What a line says of an alert.
#[derive(Debug, Clone, Copy)]
pub struct AlertLine<'a> {
    /// The alert's name in the watch.
    pub name: &'a str,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: &'a str,
    /// The rendered message.
    pub message: &'a str,
    /// What became of it, for example `webhook 200 in 84 ms`.
    pub outcome: &'a str,
}

#[derive(Clone, Copy)]
enum Color {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
}

impl CompactEncoder {
    /// Lines for node `node_name`; with `colors`, in ANSI colours.
    #[must_use]
    pub fn new(node_name: &str, colors: bool, timestamps: bool) -> Self {
        Self { node: node_name.to_owned(), colors, timestamps, time: Rfc3339::default() }
    }

    /// Appends `event` as one line, newline included.
    pub fn write_line(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.timestamps {
            self.time.write_aligned(event.time, out);
            out.push(b' ');
        }
        match &event.body {
            Body::Exec => {
                self.start("🚀", "process", &event.process, out);
                self.token(&event.process.arguments, out);
            }
            Body::Exit(exit) => self.exit(*exit, &event.process, out),
            Body::Kprobe(kprobe) => self.kprobe(kprobe, &event.process, out),
        }
        out.push(b'\n');
    }

    /// Appends the line of a fired alert, newline included.
    pub fn write_alert(&self, alert: &AlertLine<'_>, out: &mut Vec<u8>) {
        self.paint(Color::Yellow, out, |out| out.extend_from_slice("🔔 alert  ".as_bytes()));
        out.push(b' ');
        quote::word(alert.name, out);
        out.extend_from_slice(b" (");
        quote::word(alert.severity, out);
        out.extend_from_slice(b"): ");
        quote::sentence(alert.message, out);
        out.extend_from_slice(b" -> ");
        quote::sentence(alert.outcome, out);
        out.push(b'\n');
    }

    fn exit(&self, exit: Exit, process: &Process, out: &mut Vec<u8>) {
        self.start("💥", "exit", process, out);
        self.token(&process.arguments, out);
        out.push(b' ');
        self.paint(Color::Red, out, |out| match names::signal(exit.signal) {
            Some(signal) => out.extend_from_slice(signal.as_bytes()),
            None => print(out, format_args!("{}", exit.status)),
        });
    }

    fn kprobe(&self, kprobe: &Kprobe, process: &Process, out: &mut Vec<u8>) {
        let function = bare_function(&kprobe.hook.function);
        let args = Args(kprobe);
        let (emoji, word) = heading(function, args);
        self.start(emoji, word, process, out);
        match function {
            "sys_write" | "sys_read" => {
                self.token(args.file(0), out);
                out.push(b' ');
                if args.has(2) {
                    self.cyan(out, format_args!("{} bytes", args.size(2)));
                }
            }
            "fd_install" => self.token(args.file(1), out),
            "sys_openat" | "sys_open" => self.token(args.string(1), out),
            "sys_close" | "security_file_truncate" => self.token(args.file(0), out),
            "security_file_permission" | "security_mmap_file" if args.has(1) => {
                self.token(args.file(0), out);
            }
            "security_path_truncate" => self.token(args.path(0), out),
            "sys_mount" | "sys_pivot_root" => {
                self.token(args.string(0), out);
                out.push(b' ');
                self.token(args.string(1), out);
            }
            "sys_setuid" if args.has(0) => self.cyan(out, format_args!("{}", args.int(0))),
            "sys_setns" if args.has(1) => self.token(namespace_word(args.int(1)), out),
            "tcp_connect" | "tcp_close" => self.connection(args.sock(0), out),
            "tcp_sendmsg" => {
                self.connection(args.sock(0), out);
                print(out, format_args!(" bytes {}", args.int(1)));
            }
            function if is_headed(function) => {
                // Nothing of it fits a line. Tetragon writes no space behind these two.
                if matches!(function, "sys_clock_settime" | "proc_exec_connector") {
                    out.pop();
                }
            }
            _ => quote::word(&kprobe.hook.function, out),
        }
    }

    /// Up to and with the space before the rest.
    fn start(&self, emoji: &str, word: &str, process: &Process, out: &mut Vec<u8>) {
        self.paint(Color::Blue, out, |out| print(out, format_args!("{emoji} {word:<7}")));
        out.push(b' ');
        self.paint(Color::Green, out, |out| match process.pod() {
            // Of a pod that nobody knows yet there is only the uid.
            Some(pod) if !pod.name.is_empty() => {
                print(out, format_args!("{}/{}", pod.namespace, pod.name))
            }
            _ => quote::word(&self.node, out),
        });
        out.push(b' ');
        self.paint(Color::Magenta, out, |out| quote::word(&process.binary, out));
        out.push(b' ');
    }

    fn token(&self, text: &str, out: &mut Vec<u8>) {
        self.paint(Color::Cyan, out, |out| quote::word(text, out));
    }

    fn cyan(&self, out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
        self.paint(Color::Cyan, out, |out| print(out, text));
    }

    fn connection(&self, sock: Option<&SockValue>, out: &mut Vec<u8>) {
        let Some(sock) = sock else { return };
        self.paint(Color::Cyan, out, |out| {
            out.extend_from_slice(b"tcp ");
            endpoint(sock.saddr, sock.sport, out);
            out.extend_from_slice(b" -> ");
            endpoint(sock.daddr, sock.dport, out);
        });
    }

    fn paint(&self, color: Color, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.colors {
            return write(out);
        }
        print(out, format_args!("\u{1b}[{}m", color as u8));
        write(out);
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Writing to a Vec cannot fail.
fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn endpoint(address: Option<std::net::IpAddr>, port: u16, out: &mut Vec<u8>) {
    match address {
        Some(address) => print(out, format_args!("{address}:{port}")),
        None => print(out, format_args!(":{port}")),
    }
}

/// `sys_openat` of `__x64_sys_openat`.
fn bare_function(function: &str) -> &str {
    ["__x64_", "__arm64_", "__ia32_"]
        .iter()
        .find_map(|prefix| function.strip_prefix(prefix))
        .unwrap_or(function)
}

/// A function with a heading of its own.
fn is_headed(function: &str) -> bool {
    HEADINGS.iter().any(|(of, ..)| *of == function)
}

/// Function, emoji and word of the lines that do not depend on the arguments.
const HEADINGS: [(&str, &str, &str); 23] = [
    ("sys_write", "📝", "write"),
    ("sys_read", "📚", "read"),
    ("fd_install", "📬", "open"),
    // With the variation selector, as Tetragon has it.
    ("sys_openat", "📬\u{fe0f}", "openat"),
    ("sys_open", "📬\u{fe0f}", "open"),
    ("sys_close", "📪", "close"),
    ("sys_mount", "💾", "mount"),
    ("sys_pivot_root", "💾", "pivot_root"),
    ("sys_setuid", "🔑", "setuid"),
    ("sys_clock_settime", "⏰", "clock_settime"),
    ("sys_setns", "🔧", "setns"),
    ("proc_exec_connector", "🔧", "proc_exec_connector"),
    ("tcp_connect", "🔌", "connect"),
    ("tcp_close", "🧹", "close"),
    ("tcp_sendmsg", "📤", "sendmsg"),
    ("bpf_check", "🐝", "bpf_load"),
    ("security_perf_event_alloc", "🐝", "perf_event_alloc"),
    ("security_bpf_map_alloc", "🗺", "bpf_map_create"),
    ("security_bpf_map_create", "🗺", "bpf_map_create"),
    ("security_file_permission", "❓", "security_file_permission"),
    ("security_mmap_file", "❓", "security_mmap_file"),
    ("security_path_truncate", "❓", "security_path_truncate"),
    ("security_file_truncate", "❓", "security_file_truncate"),
];

fn heading(function: &str, args: Args<'_>) -> (&'static str, &'static str) {
    const MAY_WRITE: i32 = 2;
    const MAY_READ: i32 = 4;
    match function {
        "security_file_permission" if args.has(1) => match args.int(1) {
            MAY_WRITE => return ("📝", "write"),
            MAY_READ => return ("📚", "read"),
            _ => {}
        },
        "security_mmap_file" if args.has(1) => return ("📝", mmap_word(args.uint(1))),
        "security_path_truncate" | "security_file_truncate" if args.has(0) => {
            return ("📝", "truncate");
        }
        _ => {}
    }
    HEADINGS
        .iter()
        .find(|(of, ..)| *of == function)
        .map_or(("❓", "syscall"), |(_, emoji, word)| (emoji, word))
}

/// By `PROT_READ` 1, `PROT_WRITE` 2, `PROT_EXEC` 4.
fn mmap_word(prot: u32) -> &'static str {
    match prot & 7 {
        0 => "mmap-",
        1 => "mmap-r",
        2 => "mmap-w",
        3 => "mmap-rw",
        4 => "mmap-x",
        5 => "mmap-rx",
        6 => "mmap-wx",
        _ => "mmap-rwx",
    }
}

/// `setns`'s second argument: `CLONE_NEW*`.
fn namespace_word(kind: i32) -> &'static str {
    match kind {
        0 => "any",
        0x0200_0000 => "cgroup",
        0x0800_0000 => "ipc",
        0x4000_0000 => "net",
        0x0002_0000 => "mnt",
        0x2000_0000 => "pid",
        0x80 => "time",
        0x1000_0000 => "user",
        0x0400_0000 => "uts",
        _ => "",
    }
}

/// A hook's arguments by position; a missing or different one reads as empty, as Tetragon's do.
#[derive(Clone, Copy)]
struct Args<'a>(&'a Kprobe);

impl<'a> Args<'a> {
    fn at(self, index: usize) -> Option<&'a Value> {
        self.0.args.get(index).map(|arg| &arg.value)
    }

    fn has(self, index: usize) -> bool {
        self.at(index).is_some()
    }

    fn string(self, index: usize) -> &'a str {
        if let Some(Value::String(text)) = self.at(index) { text } else { "" }
    }

    fn file(self, index: usize) -> &'a str {
        if let Some(Value::File(file)) = self.at(index) { &file.path } else { "" }
    }

    fn path(self, index: usize) -> &'a str {
        if let Some(Value::Path(path)) = self.at(index) { &path.path } else { "" }
    }

    fn sock(self, index: usize) -> Option<&'a SockValue> {
        if let Some(Value::Sock(sock)) = self.at(index) { Some(sock) } else { None }
    }

    fn int(self, index: usize) -> i32 {
        if let Some(Value::Int(number)) = self.at(index) { *number } else { 0 }
    }

    fn uint(self, index: usize) -> u32 {
        if let Some(Value::Uint(number)) = self.at(index) { *number } else { 0 }
    }

    fn size(self, index: usize) -> u64 {
        if let Some(Value::Size(number)) = self.at(index) { *number } else { 0 }
    }
}

#[cfg(test)]
mod tests;
