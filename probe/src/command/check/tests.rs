#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use super::*;

const WATCH: &str = r#"apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata: {name: egress}
spec:
  tracingPolicy:
    spec:
      kprobes:
      - call: tcp_connect
        syscall: false
        args:
        - {index: 0, type: sock}
        selectors:
        - matchArgs:
          - {index: 0, operator: NotDAddr, values: [127.0.0.0/8, "::1"]}
  alerts:
  - name: wget
    message: "wget in {process_exec_process_pod_name}"
    rule: (process_exec_process_binary =% "/usr/bin/wget")
    targets:
    - webhook: {urlFrom: {secretName: oncall, key: url}}
"#;

/// The report, with the folder of the file taken out.
fn report(text: &str, capabilities: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("egress.yaml");
    std::fs::write(&path, text).unwrap();
    let args = CheckArgs {
        files: vec![path],
        capabilities: Some(capabilities.to_owned()),
        backend: BackendChoice::Auto,
    };
    let text = check(&args).unwrap().to_string();
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn a_hook_gets_the_backend_of_the_node() {
    let accepted = |backend: &str, node: &str| {
        format!(
            "\
egress.yaml  ClusterSecurityWatch/egress
  kprobes[0] tcp_connect            {backend:<10} args sock   1 selector: NotDAddr 2 networks (v4 and v6)
  alerts[0]  wget                   matcher ok, SQL ok   columns process_exec_process_binary, process_exec_process_pod_name
{node}"
        )
    };
    assert_eq!(
        report(WATCH, "debian-12"),
        accepted(
            "fentry",
            "note: whether the functions exist on debian-12 is only known on the node\n\
             ok: 1 hook, 1 alert, debian-12 (6.1.0-56-cloud-amd64, BTF, fentry, kprobe, LSM)\n"
        )
    );
    let kprobes_only = kprobes_only();
    let text = report(WATCH, kprobes_only.path().join("node.json").to_str().unwrap());
    assert!(text.starts_with(&accepted("kprobe", "")), "{text}");
}

/// A node without trampolines, described by a file in a folder of its own.
fn kprobes_only() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::choose(Some("debian-12")).unwrap();
    let capabilities = crate::capabilities::Capabilities {
        fentry: Support::No { reason: "load: Invalid argument".into() },
        ..node.capabilities()
    };
    let text = serde_json::to_string(&capabilities).unwrap();
    std::fs::write(dir.path().join("node.json"), text).unwrap();
    dir
}

#[test]
fn a_node_without_a_backend_refuses_at_the_call() {
    let text = report(WATCH, "no-trampolines");
    assert!(
        text.contains("  kprobes[0] tcp_connect            refused    BackendUnavailable\n"),
        "{text}"
    );
    assert!(
        text.contains("\negress.yaml:8:15  spec.tracingPolicy.spec.kprobes[0].call\n   "),
        "{text}"
    );
    assert!(text.contains("fentry: load: Operation not permitted"), "{text}");
    assert!(text.ends_with("refused: 1 error\n"), "{text}");
}

#[test]
fn a_rule_is_shown_with_carets() {
    let text = report(&WATCH.replace("=%", "=~"), "debian-12");
    assert!(
        text.contains("egress.yaml:18:11  spec.alerts[0].rule\n   column 30: expected one of"),
        "{text}"
    );
    let mut lines =
        text.lines().skip_while(|line| !line.contains("(process_exec_process_binary =~"));
    let (source, carets) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(source.find("=~"), carets.find("^^"), "{text}");
    assert!(text.ends_with("refused: 1 error\n"), "{text}");
}

#[test]
fn every_mistake_of_every_file_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.yaml");
    std::fs::write(
        &bad,
        WATCH.replace("127.0.0.0/8", "\"${PODCIDR}\"").replace("syscall", "syscal"),
    )
    .unwrap();
    let args = CheckArgs {
        files: vec![PathBuf::from("/nothing/here.yaml"), bad],
        capabilities: None,
        backend: BackendChoice::Auto,
    };
    let report = check(&args).unwrap();
    let text = report.to_string();
    assert!(report.is_refused());
    assert!(
        text.starts_with("/nothing/here.yaml\n   cannot be read: No such file or directory\n"),
        "{text}"
    );
    assert!(text.contains("bad.yaml:9:9  spec.tracingPolicy.spec.kprobes[0].syscal\n"), "{text}");
}

#[test]
fn a_suspended_watch_says_so() {
    let text = report(
        &WATCH.replace("spec:\n  tracing", "spec:\n  suspend: true\n  tracing"),
        "debian-12",
    );
    assert!(text.contains("note: ClusterSecurityWatch/egress is suspended"), "{text}");
}

#[test]
fn the_samples_run_on_nodes_with_hooks() {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    for node in ["debian-12", "debian-13"] {
        let args = CheckArgs {
            files: vec![samples.join("egress.yaml"), samples.join("sensitive-files.yaml")],
            capabilities: Some(node.to_owned()),
            backend: BackendChoice::Auto,
        };
        let text = check(&args).unwrap().to_string();
        assert!(text.contains("\nok: 4 hooks, 6 alerts, "), "{text}");
    }
}

#[test]
fn an_alert_on_a_column_that_no_event_has_is_refused_at_its_field() {
    let text = report(&WATCH.replace("{process_exec_process_pod_name}", "{pod}"), "debian-12");
    assert!(
        text.contains(
            "\negress.yaml:17:14  spec.alerts[0].message\n   no event has a column \"pod\""
        ),
        "{text}"
    );
    let text = report(&WATCH.replace("process_binary =%", "proces_binary =%"), "debian-12");
    assert!(
        text.contains("\negress.yaml:18:11  spec.alerts[0].rule\n   no event has a column"),
        "{text}"
    );
    assert!(text.contains("did you mean \"process_exec_process_binary\"?"), "{text}");
}
