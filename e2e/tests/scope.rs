//! Pods by their cgroups, on real kernels: cgroups made by hand as kubelets and runtimes make them, with processes that
//! enter them before they call exec. What each policy selects is told to `scoped` (`src/scoped.rs`).
//!
//! Needs the images of `e2e/setup guests`; `make test` prepares them and runs these.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use securitywatch_e2e::built;
use securitywatch_e2e::guest::{Guest, Kernel, Outcome, Rootfs};
use serde_json::Value;

static SCOPED: LazyLock<PathBuf> = LazyLock::new(|| built::program("scoped").unwrap());

const SHOP: &str = "0f6ee3a2-6a43-4a3c-9c5c-4f9d0c9be1aa";
const BANK: &str = "5b2d1c0e-93f4-4d55-8a21-77b6c1d2e3f4";
/// A static pod's.
const OLD: &str = "d4b6f43b6a1f0a2c3f0e8c8d57e90b11";

/// Words for the scripts. `within CGROUP COMMAND...`: like a runtime, first into the cgroup, then exec.
const WORDS: &str = r#"
start() {
  mkfifo /tmp/commands
  scoped "$@" < /tmp/commands > /out/answers 2> /out/log & SCOPED=$!
  exec 3> /tmp/commands
  asked=1; answered
}
answered() {
  until [ "$(wc -l < /out/answers)" -ge $asked ]; do kill -0 $SCOPED || exit 3; sleep 0.02; done
}
ask() { echo "$*" >&3; asked=$((asked + 1)); answered; }
stop() { ask stop; wait $SCOPED; }
within() {
  cgroup=$1; shift
  /bin/sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' $cgroup "$@"
}
# reads NAME CGROUP: whether a process there may read the file
reads() { within $2 /bin/cat /secret > /dev/null 2>&1; echo $? > /out/$1; }
echo secret > /secret
"#;

/// Kills who reads the file; `selectors` say whom.
fn deadly(selectors: &str) -> String {
    format!(
        r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {{name: deadly}}
spec:
  {selectors}
  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{{index: 0, type: file}}]
    selectors:
    - matchArgs: [{{index: 0, operator: Equal, values: [/secret]}}]
      matchActions: [{{action: Sigkill}}]
"#
    )
}

fn of_namespace(namespace: &str) -> String {
    format!(
        "podSelector: {{matchExpressions: [{{key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: [{namespace}]}}]}}"
    )
}

fn guest(kernel: Kernel, script: &str) -> Guest {
    Guest::new(kernel, Rootfs::Minimal, format!("{WORDS}\n{script}"))
        .program(SCOPED.as_path(), "/bin/scoped")
        .file("/shop.yaml", deadly(&of_namespace("shop")), 0o644)
        .file("/bank.yaml", deadly(&of_namespace("bank")), 0o644)
        .file("/host.yaml", deadly("hostSelector: {}"), 0o644)
        .file("/main.yaml", deadly("containerSelector: {matchLabels: {name: main}}"), 0o644)
}

fn run(guest: &Guest) -> Outcome {
    let outcome = guest.run().unwrap();
    let log = outcome.text("log");
    assert_eq!(outcome.exit_code, 0, "{log}\n{}", outcome.console);
    assert_eq!(outcome.kernel_warnings(), Vec::<&str>::new());
    let answers = outcome.text("answers");
    assert!(answers.lines().all(|answer| answer == "ok"), "{answers}\n{log}");
    outcome
}

fn events(outcome: &Outcome) -> Vec<Value> {
    outcome.text("events").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How cgroups are mounted, and where the hierarchy is in which kubelets make the pods.
struct Mounts {
    name: &'static str,
    script: &'static str,
    pods: &'static str,
}

/// The guest starts with the unified one.
const UNIFIED: Mounts = Mounts { name: "unified", script: "", pods: "/sys/fs/cgroup" };
const HYBRID: Mounts = Mounts {
    name: "hybrid",
    script: "
        umount /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup
        mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/memory /sys/fs/cgroup/pids
        mount -t cgroup2 none /sys/fs/cgroup/unified || exit 4
        mount -t cgroup -o memory none /sys/fs/cgroup/memory || exit 5
        mount -t cgroup -o pids none /sys/fs/cgroup/pids || exit 6
        # The other hierarchies number their cgroups alike.
        for n in 1 2 3 4 5 6 7 8 9; do mkdir /sys/fs/cgroup/unified/$n /sys/fs/cgroup/pids/$n; done
    ",
    pods: "/sys/fs/cgroup/memory",
};
/// Debian's newer kernels have no memory controller of its own.
const HYBRID_PIDS: Mounts = Mounts {
    name: "hybrid without memory",
    script: "
        umount /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup
        mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/pids
        mount -t cgroup2 none /sys/fs/cgroup/unified || exit 4
        mount -t cgroup -o pids none /sys/fs/cgroup/pids || exit 6
        for n in 1 2 3 4 5 6 7 8 9; do mkdir /sys/fs/cgroup/unified/$n; done
    ",
    pods: "/sys/fs/cgroup/pids",
};
const VERSION_1: Mounts = Mounts {
    name: "version 1",
    script: "
        umount /sys/fs/cgroup; mount -t tmpfs none /sys/fs/cgroup
        mkdir /sys/fs/cgroup/pids; mount -t cgroup -o pids none /sys/fs/cgroup/pids || exit 6
    ",
    pods: "/sys/fs/cgroup/pids",
};

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_policy_acts_in_its_pods_only_and_from_their_first_process_on() {
    let id = |digit: char| digit.to_string().repeat(64);
    let script = |mounts: &Mounts, backend: &str| {
        let slice = |uid: &str| {
            format!(
                "$PODS/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
                uid.replace('-', "_")
            )
        };
        format!(
            "
            {mount}
            PODS={pods}
            SHOP={shop}/cri-containerd-{a}.scope
            BANK={bank}/cri-containerd-{b}.scope
            OLD=$PODS/kubepods/besteffort/pod{OLD}/{c}
            # There before the probe; its sandbox too.
            mkdir -p $OLD $PODS/kubepods/besteffort/pod{OLD}/{d} $PODS/system.slice/x.service
            start /sys/fs/cgroup /out/events {backend}
            # The watch brings pods before the kubelet makes their cgroups.
            ask pod {SHOP} shop
            ask pod {BANK} bank
            ask pod {OLD} shop
            ask apply /shop.yaml
            mkdir -p $SHOP/container $BANK {shop}/crio-conmon-{a}.scope
            reads shop.shop $SHOP; reads shop.nested $SHOP/container; reads shop.bank $BANK; reads shop.old $OLD
            reads shop.monitor {shop}/crio-conmon-{a}.scope; reads shop.host $PODS/system.slice/x.service
            # A pod cannot be taken for another.
            mkdir -p $BANK/kubepods/pod{SHOP}/{a}
            reads shop.disguised $BANK/kubepods/pod{SHOP}/{a}
            # Made again, under the same name with another number.
            rmdir $SHOP/container $SHOP {shop}/crio-conmon-{a}.scope {shop}; mkdir -p $SHOP
            reads shop.again $SHOP
            ask apply /bank.yaml
            reads bank.shop $SHOP; reads bank.bank $BANK; reads bank.old $OLD
            ask apply /host.yaml
            reads host.shop $SHOP; reads host.bank $BANK; reads host.host $PODS/system.slice/x.service
            ask apply /main.yaml
            reads main.unnamed $OLD
            ask container {c} main
            reads main.old $OLD; reads main.sandbox $PODS/kubepods/besteffort/pod{OLD}/{d}; reads main.shop $SHOP
            stop
            ",
            mount = mounts.script,
            pods = mounts.pods,
            shop = slice(SHOP),
            bank = slice(BANK),
            a = id('a'),
            b = id('b'),
            c = id('c'),
            d = id('d'),
        )
    };
    let cases = [
        (Kernel::V6_1, &UNIFIED, "fentry"),
        (Kernel::V6_1, &HYBRID, "kprobe"),
        (Kernel::V6_12, &UNIFIED, "kprobe"),
        (Kernel::V6_12, &HYBRID_PIDS, "fentry"),
        (Kernel::V6_12, &VERSION_1, "fentry"),
    ];
    for (kernel, mounts, backend) in cases {
        let outcome = run(&guest(kernel, &script(mounts, backend)));
        let case = format!("{} {} {backend}", kernel.series(), mounts.name);
        let killed: Vec<&str> = outcome
            .files
            .iter()
            .filter(|(name, code)| name.contains('.') && code.as_slice() == b"137\n")
            .map(|(name, _)| name.as_str())
            .collect();
        let expected = [
            "bank.bank",
            "host.host",
            "main.old",
            "shop.again",
            "shop.nested",
            "shop.old",
            "shop.shop",
        ];
        assert_eq!(killed, expected, "{case}\n{}", outcome.text("log"));
        let others = outcome.files.iter().filter(|(name, code)| {
            name.contains('.') && !killed.contains(&name.as_str()) && code.as_slice() == b"0\n"
        });
        assert_eq!(others.count(), 11, "{case}: the rest read on");

        let events = events(&outcome);
        let lost = &events.last().unwrap()["lost"];
        assert!(lost.as_array().unwrap().iter().all(|count| *count == 0), "{case}: {lost}");
        // Containers of the processes that were killed: also of the nested one, whose own cgroup names none.
        let mut killed: Vec<(&str, &str)> = events
            .iter()
            .map(|event| &event["process_kprobe"])
            .filter(|body| body["action"] == "KPROBE_ACTION_SIGKILL")
            .map(|body| &body["process"])
            .map(|process| {
                (process["exec_id"].as_str().unwrap(), process["docker"].as_str().unwrap_or("none"))
            })
            .collect();
        // A process may come to the hook twice before it dies.
        killed.dedup();
        let containers: Vec<&str> =
            killed.iter().map(|(_, docker)| &docker[..docker.len().min(1)]).collect();
        assert_eq!(containers, ["a", "a", "c", "a", "b", "n", "c"], "{case}");
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn an_exchange_of_selectors_misses_nothing_and_confuses_nobody() {
    let policy = |selectors: &str, message: &str| {
        format!(
            r#"
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {{name: telling}}
spec:
  {selectors}
  kprobes:
  - call: security_file_open
    syscall: false
    message: {message}
    args: [{{index: 0, type: file}}]
    selectors:
    - matchArgs: [{{index: 0, operator: Equal, values: [/secret]}}]
"#
        )
    };
    // One process of each namespace opens the file again and again; the third pod is selected by either policy.
    let script = format!(
        "
        for pod in {SHOP} {BANK} {OLD}; do mkdir -p /sys/fs/cgroup/kubepods/pod$pod/$pod; done
        start /sys/fs/cgroup /out/events auto
        ask pod {SHOP} shop
        ask pod {BANK} bank
        ask pod {OLD} both
        ask apply /one.yaml
        for pod in {SHOP} {BANK} {OLD}; do
            rest='/bin/usleep 20000'; [ $pod = {OLD} ] && rest=:
            within /sys/fs/cgroup/kubepods/pod$pod/$pod /bin/sh -c '
                n=0
                until [ -e /tmp/over ]; do : < /secret; n=$((n + 1)); $1; done
                echo $n > /out/$0.opened
            ' $pod \"$rest\" & echo $! >> /tmp/loops
        done
        for n in 1 2; do ask apply /two.yaml; ask apply /one.yaml; done
        touch /tmp/over; wait $(cat /tmp/loops)
        stop
        "
    );
    for kernel in Kernel::ALL {
        let guest = guest(kernel, &script)
            .file("/one.yaml", policy(&of_namespace("shop, both"), "one"), 0o644)
            .file("/two.yaml", policy(&of_namespace("bank, both"), "two"), 0o644)
            .timeout(Duration::from_secs(400));
        let outcome = run(&guest);
        let case = kernel.series();
        let events = events(&outcome);
        let lost = &events.last().unwrap()["lost"];
        assert!(lost.as_array().unwrap().iter().all(|count| *count == 0), "{case}: {lost}");
        let told = |uid: &str, message: &str| {
            let is = |event: &&Value| {
                let body = &event["process_kprobe"];
                let arguments = body["process"]["arguments"].as_str().unwrap_or_default();
                body["message"] == message && arguments.contains(uid)
            };
            events.iter().filter(is).count()
        };
        assert_eq!((told(SHOP, "two"), told(BANK, "one")), (0, 0), "{case}");
        assert!(told(SHOP, "one") > 0 && told(BANK, "two") > 0, "{case}");
        let opened: usize = outcome.text(&format!("{OLD}.opened")).trim().parse().unwrap();
        let (one, two) = (told(OLD, "one"), told(OLD, "two"));
        assert!(one > 0 && two > 0, "{case}: {one} {two}");
        assert_eq!(one + two, opened, "{case}: every call is told once");
    }
}
