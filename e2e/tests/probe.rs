//! The probe on real kernels: what a node can do, both backends, enforcement, policies that come and go, and
//! the ways it may be refused.
//!
//! Needs the images of `e2e/setup guests`; `make test` prepares them and runs these.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::LazyLock;

use securitywatch_e2e::built;
use securitywatch_e2e::guest::{Guest, Kernel, Outcome, Rootfs};
use serde_json::Value;

static PROBE: LazyLock<PathBuf> = LazyLock::new(|| built::program("securitywatch-probe").unwrap());

/// Words for the scripts: `start OPTIONS` until every hook is attached, `stop`, `said TEXT` until the log has it.
const WORDS: &str = r#"
start() {
  probe run "$@" --output none --event-log /out/events --ready-file /tmp/ready > /out/log 2>&1 & PROBE=$!
  until [ -e /tmp/ready ]; do kill -0 $PROBE || exit 3; sleep 0.05; done
}
stop() { kill $PROBE; wait $PROBE; echo $? > /out/probe.code; }
said() { until grep -q "$1" /out/log; do kill -0 $PROBE || exit 3; sleep 0.05; done; }
"#;

const FILE_AND_TCP: &str = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: watched}
spec:
  kprobes:
  - call: security_file_permission
    syscall: false
    return: true
    args: [{index: 0, type: file}, {index: 1, type: int}]
    returnArg: {index: 0, type: int}
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [/etc/passwd]}]
  - call: tcp_connect
    syscall: false
    args: [{index: 0, type: sock}]
    selectors:
    - matchArgs: [{index: 0, operator: DPort, values: ["9"]}]
  - call: sys_symlink
    syscall: true
    args: [{index: 0, type: string}, {index: 1, type: string}]
"#;

fn guest(kernel: Kernel, script: &str) -> Guest {
    Guest::new(kernel, Rootfs::Minimal, format!("{WORDS}\n{script}"))
        .program(PROBE.as_path(), "/bin/probe")
        .file("/watched.yaml", FILE_AND_TCP, 0o644)
}

fn run(guest: &Guest) -> Outcome {
    let outcome = guest.run().unwrap();
    assert_eq!(outcome.exit_code, 0, "{}\n{}", outcome.text("log"), outcome.console);
    assert_eq!(outcome.kernel_warnings(), Vec::<&str>::new());
    outcome
}

/// Those that this kernel has.
const fn backends(kernel: Kernel) -> &'static [&'static str] {
    match kernel {
        Kernel::V6_1 => &["fentry", "kprobe"],
        Kernel::V6_12 => &["fentry", "kprobe", "kprobe-multi"],
    }
}

/// The events of one kind: their bodies.
fn events(outcome: &Outcome, kind: &str) -> Vec<Value> {
    let lines = outcome.text("events");
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()[kind].take())
        .filter(|body| !body.is_null())
        .collect()
}

fn of_process<'events>(
    events: &'events [Value],
    binary: &str,
    arguments: &str,
) -> Vec<&'events Value> {
    let is = |event: &&Value| {
        event["process"]["binary"] == binary && event["process"]["arguments"] == arguments
    };
    events.iter().filter(is).collect()
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn capabilities_are_those_of_the_kernel() {
    for kernel in Kernel::ALL {
        let outcome = run(&guest(
            kernel,
            "probe capabilities > /out/text && probe capabilities --output json > /out/json",
        ));
        let text = outcome.text("text");
        assert!(text.lines().next().unwrap().contains(kernel.series()), "{text}");
        for class in ["exec/exit", "kprobe", "fentry/fexit", "syscalls"] {
            let line = text.lines().find(|line| line.trim_start().starts_with(class)).expect(class);
            assert!(line.split_whitespace().any(|word| word == "yes"), "{line}");
        }
        serde_json::from_str::<Value>(&outcome.text("json"))
            .expect("capabilities --output json is JSON");
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn all_backends_see_the_same() {
    let script = "
        start -f /watched.yaml --backend $BACKEND
        /bin/cat /etc/passwd > /dev/null
        /bin/nc -w 1 127.0.0.1 9 < /dev/null 2> /dev/null
        /bin/ln -s /target /tmp/link
        /bin/sh -c 'exit 5'
        stop
    ";
    for kernel in Kernel::ALL {
        for &backend in backends(kernel) {
            let outcome = run(&guest(kernel, &format!("BACKEND={backend}\n{script}")));
            let context = format!("{} {backend}\n{}", kernel.series(), outcome.text("log"));
            assert_eq!(outcome.text("probe.code"), "0\n", "{context}");

            let hits = events(&outcome, "process_kprobe");
            let reads = of_process(&hits, "/bin/cat", "/etc/passwd");
            assert!(!reads.is_empty(), "{context}");
            assert_eq!(reads[0]["function_name"], "security_file_permission", "{context}");
            assert_eq!(reads[0]["args"][0]["file_arg"]["path"], "/etc/passwd", "{context}");
            assert_eq!(reads[0]["return"]["int_arg"], 0, "{context}");

            let connects = of_process(&hits, "/bin/nc", "-w 1 127.0.0.1 9");
            assert_eq!(connects.len(), 1, "{context}");
            assert_eq!(connects[0]["args"][0]["sock_arg"]["daddr"], "127.0.0.1", "{context}");
            assert_eq!(connects[0]["args"][0]["sock_arg"]["dport"], 9, "{context}");

            let links = of_process(&hits, "/bin/ln", "-s /target /tmp/link");
            assert_eq!(links.len(), 1, "{context}");
            assert_eq!(links[0]["args"][0]["string_arg"], "/target", "{context}");
            assert_eq!(links[0]["args"][1]["string_arg"], "/tmp/link", "{context}");

            let exits = events(&outcome, "process_exit");
            assert_eq!(of_process(&exits, "/bin/sh", "-c \"exit 5\"")[0]["status"], 5, "{context}");
            let execs = events(&outcome, "process_exec");
            assert_eq!(of_process(&execs, "/bin/cat", "/etc/passwd").len(), 1, "{context}");
        }
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn sigkill_kills_who_matches_and_nobody_else() {
    let policy = r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: deadly}
spec:
  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{index: 0, type: file}, {index: 1, type: int}]
    selectors:
    - matchArgs: [{index: 0, operator: Equal, values: [/secret]}]
      matchActions: [{action: Sigkill}]
"#;
    let script = "
        echo secret > /secret; echo free > /free
        start -f /deadly.yaml --backend $BACKEND
        /bin/cat /secret > /out/read; echo $? > /out/secret.code
        /bin/cat /free > /out/free; echo $? > /out/free.code
        stop
    ";
    for kernel in Kernel::ALL {
        for &backend in backends(kernel) {
            let guest = guest(kernel, &format!("BACKEND={backend}\n{script}")).file(
                "/deadly.yaml",
                policy,
                0o644,
            );
            let outcome = run(&guest);
            assert_eq!(outcome.text("secret.code"), "137\n", "{}", outcome.text("log"));
            assert_eq!(
                (outcome.text("free.code"), outcome.text("free")),
                ("0\n".into(), "free\n".into())
            );
            let hits = events(&outcome, "process_kprobe");
            assert!(
                !hits.is_empty() && hits.iter().all(|hit| hit["process"]["arguments"] == "/secret"),
                "{hits:?}"
            );
            assert_eq!(hits[0]["action"], "KPROBE_ACTION_SIGKILL");
            let exits = events(&outcome, "process_exit");
            assert_eq!(of_process(&exits, "/bin/cat", "/secret")[0]["signal"], "SIGKILL");
            assert_eq!(of_process(&exits, "/bin/cat", "/free")[0]["signal"], Value::Null);
        }
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_policy_changes_and_goes_while_the_probe_runs_and_a_bad_one_changes_nothing() {
    let one = FILE_AND_TCP.replace("/etc/passwd", "/one");
    let two = FILE_AND_TCP.replace("/etc/passwd", "/two");
    let bad = FILE_AND_TCP.replace("operator: Equal", "operator: Sounds");
    let script = "
        echo 1 > /one; echo 2 > /two; cp /policy.one /policy.yaml
        read_both() { /bin/cat /one /two $1 > /dev/null; }
        start -f /policy.yaml
        read_both -u
        cp /policy.bad /policy.yaml; kill -HUP $PROBE; said 'not loaded again'
        read_both -uu
        cp /policy.two /policy.yaml; kill -HUP $PROBE; said 'Policy exchanged'
        read_both -uuu
        sed 's/name: watched/name: other/' /policy.two > /policy.yaml; kill -HUP $PROBE; said 'Policy removed'
        read_both -uuuu
        stop
    ";
    for kernel in Kernel::ALL {
        let guest = guest(kernel, script)
            .file("/policy.one", one.as_str(), 0o644)
            .file("/policy.two", two.as_str(), 0o644)
            .file("/policy.bad", bad.as_str(), 0o644);
        let outcome = run(&guest);
        let hits = events(&outcome, "process_kprobe");
        let seen = |option: &str| {
            let mut paths: Vec<&str> =
                of_process(&hits, "/bin/cat", &format!("/one /two {option}"))
                    .iter()
                    .filter_map(|hit| hit["args"][0]["file_arg"]["path"].as_str())
                    .collect();
            paths.dedup();
            paths
        };
        assert_eq!(seen("-u"), ["/one"], "{}", outcome.text("log"));
        assert_eq!(seen("-uu"), ["/one"], "after the bad policy: {}", outcome.text("log"));
        assert_eq!(seen("-uuu"), ["/two"], "{}", outcome.text("log"));
        assert_eq!(seen("-uuuu"), Vec::<&str>::new(), "{}", outcome.text("log"));
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn without_rights_or_btf_one_message_says_what_to_do() {
    let script = "
        setpriv --reuid 1000 /bin/probe run > /out/user 2>&1; echo $? > /out/user.code
        mount -t tmpfs none /sys/kernel/btf
        /bin/probe run > /out/btf 2>&1; echo $? > /out/btf.code
    ";
    let mut guest = guest(Kernel::V6_1, script);
    guest.rootfs = Rootfs::Golden;
    let outcome = run(&guest);
    for (name, word) in [("user", "root"), ("btf", "CONFIG_DEBUG_INFO_BTF")] {
        let text = outcome.text(name);
        assert_eq!(outcome.text(&format!("{name}.code")), "1\n", "{text}");
        assert!(text.contains(word) && text.lines().count() <= 3, "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// How many events the probe says it lost for this cause.
fn lost(outcome: &Outcome, cause: &str) -> u64 {
    let log = outcome.text("log");
    let line = log.lines().find(|line| line.starts_with("dropped") && line.ends_with(cause));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_default()
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn who_is_preempted_in_a_hook_hides_nobody() {
    const READS: usize = 2000;
    // Who gives way to everybody and does nothing but read is in the midst of the hook most of the time.
    let script = format!(
        "
        echo > /watched
        probe capabilities > /out/capabilities
        start -f /watched.yaml --backend $BACKEND
        taskset 1 dd if=/dev/zero of=/dev/null bs=1 & IDLE=$!
        renice -n 19 -p $IDLE
        taskset 1 sh -c 'n=0; while [ $n -lt {READS} ]; do read -r line < /watched; n=$((n+1)); done'
        kill $IDLE || exit 4
        stop
    "
    );
    let watched = FILE_AND_TCP.replace("/etc/passwd", "/watched");
    let seen = |model: &str, backend: &str| {
        let script = format!("BACKEND={backend}\n{script}");
        let mut guest =
            guest(Kernel::V6_12, &script).file("/watched.yaml", watched.as_str(), 0o644);
        guest.kernel_args = format!("preempt={model}");
        let outcome = run(&guest);
        (
            events(&outcome, "process_kprobe").len(),
            lost(&outcome, "recursion_miss"),
            outcome.text("capabilities").contains("this kernel preempts their programs"),
        )
    };
    assert_eq!(seen("voluntary", "auto"), (READS, 0, false));
    assert_eq!(seen("full", "auto"), (READS, 0, true));
    assert_eq!(seen("full", "kprobe-multi"), (READS, 0, true));
    // Who insists on trampolines is told what they missed; the calls of the other process count as well.
    let (events, missed, told) = seen("full", "fentry");
    assert!(events as u64 + missed >= READS as u64 && told, "{events} seen, {missed} missed");
}
