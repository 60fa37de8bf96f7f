#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::encode::recorded::{self, Parsed};
use crate::event::{Action, Arg, Association, Hook, PathValue, Pod, WallTime};

fn event(body: Body) -> Event {
    let process = Process {
        binary: "/usr/bin/curl".into(),
        arguments: "https://example.org".into(),
        ..Process::default()
    };
    Event { seq: 1, time: WallTime(1), process: Arc::new(process), parent: None, tid: 1, body }
}

fn line_of(event: &Event) -> String {
    let mut out = Vec::new();
    CompactEncoder::new("node1", false, false).write_line(event, &mut out);
    String::from_utf8(out).unwrap()
}

fn hook_line(function: &str, args: Vec<Value>) -> String {
    let args = args.into_iter().map(|value| Arg { label: "".into(), value }).collect();
    let hook = Arc::new(Hook { function: function.into(), ..Hook::default() });
    line_of(&event(Body::Kprobe(Kprobe {
        hook,
        args,
        ret: None,
        action: Action::Post,
        return_action: Action::Post,
    })))
}

fn path(path: &str) -> PathValue {
    PathValue { path: path.into(), ..PathValue::default() }
}

fn file(name: &str) -> Value {
    Value::File(path(name))
}

fn string(text: &str) -> Value {
    Value::String(text.into())
}

fn sock(saddr: &str, daddr: &str) -> Value {
    Value::Sock(SockValue {
        family: 2,
        kind: 1,
        protocol: 6,
        mark: 0,
        priority: 0,
        saddr: Some(saddr.parse().unwrap()),
        daddr: Some(daddr.parse().unwrap()),
        sport: 41234,
        dport: 443,
        cookie: 1,
        state: 2,
    })
}

#[test]
fn exec_and_exit() {
    assert_eq!(line_of(&event(Body::Exec)), "🚀 process node1 /usr/bin/curl https://example.org\n");
    let exit = |status, signal| Body::Exit(Exit { status, signal, time: WallTime(0) });
    assert_eq!(
        line_of(&event(exit(60, 0))),
        "💥 exit    node1 /usr/bin/curl https://example.org 60\n"
    );
    assert_eq!(
        line_of(&event(exit(0, 9))),
        "💥 exit    node1 /usr/bin/curl https://example.org SIGKILL\n"
    );
}

#[test]
fn a_pod_stands_for_the_node_and_arguments_are_one_token() {
    let mut event = event(Body::Exec);
    let pod = Pod { namespace: "default".into(), name: "xwing".into(), ..Pod::default() };
    event.process = Arc::new(Process {
        arguments: "-s -X POST".into(),
        association: Some(Arc::new(Association::of(pod))),
        ..(*event.process).clone()
    });
    assert_eq!(line_of(&event), "🚀 process default/xwing /usr/bin/curl \"-s -X POST\"\n");
    event.process = Arc::new(Process::default());
    event.body = Body::Exit(Exit { status: 0, signal: 0, time: WallTime(0) });
    assert_eq!(line_of(&event), "💥 exit    node1   0\n");
}

#[test]
fn sockets() {
    let ends = "node1 /usr/bin/curl tcp 10.0.0.1:41234 -> 1.2.3.4:443";
    let args = || vec![sock("10.0.0.1", "1.2.3.4")];
    assert_eq!(hook_line("tcp_connect", args()), format!("🔌 connect {ends}\n"));
    assert_eq!(hook_line("tcp_close", args()), format!("🧹 close   {ends}\n"));
    let mut with_bytes = args();
    with_bytes.push(Value::Int(80));
    assert_eq!(hook_line("tcp_sendmsg", with_bytes), format!("📤 sendmsg {ends} bytes 80\n"));
    assert_eq!(
        hook_line("tcp_connect", vec![sock("::1", "::1")]),
        "🔌 connect node1 /usr/bin/curl tcp ::1:41234 -> ::1:443\n"
    );
    assert_eq!(hook_line("tcp_connect", vec![]), "🔌 connect node1 /usr/bin/curl \n");
}

#[test]
fn files() {
    let who = "node1 /usr/bin/curl";
    for (function, args, line) in [
        (
            "security_file_permission",
            vec![file("/etc/shadow"), Value::Int(4)],
            format!("📚 read    {who} /etc/shadow"),
        ),
        (
            "security_file_permission",
            vec![file("/etc/shadow"), Value::Int(2)],
            format!("📝 write   {who} /etc/shadow"),
        ),
        (
            "security_file_permission",
            vec![file("/etc/shadow"), Value::Int(1)],
            format!("❓ security_file_permission {who} /etc/shadow"),
        ),
        (
            "security_file_permission",
            vec![file("/etc/shadow")],
            format!("❓ security_file_permission {who} "),
        ),
        (
            "security_mmap_file",
            vec![file("/bin/a b"), Value::Uint(5)],
            format!("📝 mmap-rx {who} \"/bin/a b\""),
        ),
        ("security_mmap_file", vec![file("/b"), Value::Uint(7)], format!("📝 mmap-rwx {who} /b")),
        (
            "security_path_truncate",
            vec![Value::Path(path("/var/log/x"))],
            format!("📝 truncate {who} /var/log/x"),
        ),
        (
            "security_file_truncate",
            vec![file("/var/log/x")],
            format!("📝 truncate {who} /var/log/x"),
        ),
        (
            "fd_install",
            vec![Value::Int(3), file("/etc/hosts")],
            format!("📬 open    {who} /etc/hosts"),
        ),
        (
            "__x64_sys_openat",
            vec![Value::Int(-100), string("/etc/hosts")],
            format!("📬\u{fe0f} openat  {who} /etc/hosts"),
        ),
        (
            "__x64_sys_open",
            vec![Value::Int(0), string("/etc/hosts")],
            format!("📬\u{fe0f} open    {who} /etc/hosts"),
        ),
        ("__x64_sys_close", vec![file("/x")], format!("📪 close   {who} /x")),
        (
            "__arm64_sys_write",
            vec![file("/x"), string("hi"), Value::Size(2)],
            format!("📝 write   {who} /x 2 bytes"),
        ),
        ("__x64_sys_read", vec![file("/x")], format!("📚 read    {who} /x ")),
    ] {
        assert_eq!(hook_line(function, args), format!("{line}\n"));
    }
}

#[test]
fn other_calls() {
    let who = "node1 /usr/bin/curl";
    for (function, args, line) in [
        (
            "__x64_sys_mount",
            vec![string("/dev/sda1"), string("/mnt")],
            format!("💾 mount   {who} /dev/sda1 /mnt"),
        ),
        (
            "__x64_sys_pivot_root",
            vec![string("/new"), string("/old")],
            format!("💾 pivot_root {who} /new /old"),
        ),
        ("__x64_sys_setuid", vec![Value::Int(0)], format!("🔑 setuid  {who} 0")),
        ("__x64_sys_clock_settime", vec![], format!("⏰ clock_settime {who}")),
        (
            "__x64_sys_setns",
            vec![Value::Int(3), Value::Int(0x4000_0000)],
            format!("🔧 setns   {who} net"),
        ),
        ("bpf_check", vec![], format!("🐝 bpf_load {who} ")),
        ("__x64_sys_linkat", vec![Value::Int(1)], format!("❓ syscall {who} __x64_sys_linkat")),
        ("commit_creds", vec![], format!("❓ syscall {who} commit_creds")),
    ] {
        assert_eq!(hook_line(function, args), format!("{line}\n"));
    }
}

#[test]
fn time_colors_and_alerts() {
    let mut out = Vec::new();
    let mut encoder = CompactEncoder::new("node1", true, true);
    encoder.write_line(&event(Body::Exec), &mut out);
    encoder.write_alert(
        &AlertLine {
            name: "curl_command",
            severity: "high",
            message: "curl command was executed from the pod: web-0\u{1b}",
            outcome: "webhook 200 in 84 ms",
        },
        &mut out,
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            "1970-01-01T00:00:00.000000001Z \u{1b}[34m🚀 process\u{1b}[0m \u{1b}[32mnode1\u{1b}[0m ",
            "\u{1b}[35m/usr/bin/curl\u{1b}[0m \u{1b}[36mhttps://example.org\u{1b}[0m\n",
            "\u{1b}[33m🔔 alert  \u{1b}[0m curl_command (high): curl command was executed from the pod: ",
            "web-0\\x1b -> webhook 200 in 84 ms\n"
        )
    );
}

#[test]
fn every_recorded_event_is_one_line_of_printable_text() {
    let Some(lines) = recorded::lines() else { return };
    let mut seen = 0;
    for (case, text) in lines {
        if let Parsed::Event(event) = recorded::parse(&text) {
            let line = line_of(&event);
            let inside = line.strip_suffix('\n').unwrap();
            assert!(!inside.contains(char::is_control), "{case}: {inside:?}");
            assert!(inside.contains(" node1 /"), "{case}: {inside:?}");
            seen += 1;
        }
    }
    assert!(seen > 6_000);
}
