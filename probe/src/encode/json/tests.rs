//! Against Tetragon's own recordings, and the rules they do not reach.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::encode::recorded::{self, Parsed};
use crate::event::{Action, Association, Container, ExecProbe, Grade, Hook};

fn line(event: &Event) -> String {
    let mut out = Vec::new();
    JsonEncoder::new("goldnode").write_line(event, &mut out);
    let text = String::from_utf8(out).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
    text
}

#[test]
fn recorded_events_come_out_as_they_went_in() {
    let Some(lines) = recorded::lines() else {
        return;
    };
    let mut encoder = JsonEncoder::new("goldnode");
    let mut out = Vec::new();
    let mut same: BTreeMap<&str, usize> = BTreeMap::new();
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    for (case, text) in &lines {
        match recorded::parse(text) {
            Parsed::Skipped(kind) => *skipped.entry(kind).or_default() += 1,
            Parsed::Event(event) => {
                out.clear();
                encoder.write_line(&event, &mut out);
                let ours = String::from_utf8_lossy(&out);
                let (ours, theirs): (serde_json::Value, serde_json::Value) =
                    (serde_json::from_str(&ours).unwrap(), serde_json::from_str(text).unwrap());
                assert_eq!(ours, theirs, "{case}");
                assert_eq!(out, format!("{text}\n").as_bytes(), "{case}: the order of keys");
                *same.entry(event.body.kind()).or_default() += 1;
            }
        }
    }
    println!(
        "{} recorded events; the same, byte for byte: {same:?}; skipped: {skipped:?}",
        lines.len()
    );
    assert!(same.values().sum::<usize>() > 6_000, "too few recorded events: {same:?}");
    // What is skipped is named, so that a kind of argument we learn does not stay untested.
    let known =
        ["process_lsm", "linux_binprm_arg", "process_credentials_arg", "cap_inheritable_arg"];
    assert!(skipped.keys().all(|kind| known.contains(&kind.as_str())), "{skipped:?}");
}

fn event(body: Body) -> Event {
    Event {
        seq: 1,
        time: WallTime(1_000_000_000),
        process: Arc::new(Process::default()),
        parent: None,
        tid: 0,
        body,
    }
}

fn kprobe_with(args: Vec<Arg>, ret: Option<Arg>, hook: Hook) -> Event {
    event(Body::Kprobe(Kprobe {
        hook: Arc::new(hook),
        args,
        ret,
        action: Action::Sigkill,
        return_action: Action::Post,
    }))
}

fn arg(label: &str, value: Value) -> Arg {
    Arg { label: label.into(), value }
}

#[test]
fn wrappers_stay_and_empty_fields_go() {
    assert_eq!(
        line(&event(Body::Exec)),
        concat!(
            r#"{"process_exec":{"process":{"pid":0,"uid":0,"auid":0,"tid":0,"in_init_tree":false}},"#,
            r#""node_name":"goldnode","time":"1970-01-01T00:00:01Z"}"#,
            "\n"
        )
    );
}

#[test]
fn members_of_a_oneof_stay_at_zero() {
    let sock = SockValue {
        family: 1,
        kind: 10,
        protocol: 0,
        mark: 3,
        priority: 4,
        saddr: None,
        daddr: Some("::ffff:10.0.0.1".parse().unwrap()),
        sport: 0,
        dport: 0,
        cookie: 0,
        state: 0,
    };
    let path = PathValue { path: "/a\"b".into(), unresolved: true, mode: 0o104_755 };
    let args = vec![
        arg("", Value::Int(0)),
        arg("", Value::Uint(0)),
        arg("", Value::Long(i64::MIN)),
        arg("", Value::Size(u64::MAX)),
        arg("name", Value::String(String::new())),
        arg("", Value::File(PathValue::default())),
        arg("p", Value::Path(path)),
        arg("", Value::Sock(sock)),
        arg("", Value::Error("fault")),
    ];
    let hook = Hook {
        function: "f".into(),
        policy: "p".into(),
        message: "m\n".into(),
        tags: vec!["a".into(), "b".into()],
        watch: 0,
    };
    let text = line(&kprobe_with(args, Some(arg("", Value::Int(0))), hook));
    let from = text.find(",\"function_name\"").unwrap();
    let to = text.find("},\"node_name\"").unwrap();
    assert_eq!(
        &text[from..to],
        concat!(
            r#","function_name":"f","args":[{"int_arg":0},{"uint_arg":0},{"long_arg":"-9223372036854775808"},"#,
            r#"{"size_arg":"18446744073709551615"},{"string_arg":"","label":"name"},{"file_arg":{"permission":"---------"}},"#,
            r#"{"path_arg":{"path":"/a\"b","flags":"unresolvedPathComponents","permission":"-rwsr-xr-x"},"label":"p"},"#,
            r#"{"sock_arg":{"family":"AF_UNIX","type":"10","protocol":"IPPROTO_IP","mark":3,"priority":4,"#,
            r#""daddr":"::ffff:10.0.0.1","state":"0"}},{"error_arg":{"Message":"fault"}}],"return":{"int_arg":0},"#,
            r#""action":"KPROBE_ACTION_SIGKILL","policy_name":"p","return_action":"KPROBE_ACTION_POST","#,
            r#""message":"m\n","tags":["a","b"]"#
        )
    );
}

#[test]
fn a_pod_stands_between_auid_and_parent() {
    let pod = Pod {
        namespace: "shop".into(),
        name: "web-0".into(),
        uid: "u".into(),
        container: Container {
            id: "containerd://ab".into(),
            name: "web".into(),
            image_id: "sha256:1".into(),
            image_name: "nginx".into(),
            start_time: WallTime(1),
            privileged: false,
            exec_probes: vec![ExecProbe::new(&["true".to_owned()]).unwrap()],
        },
        labels: vec![("app".into(), "web".into()), ("empty".into(), String::new())],
        workload: "web".into(),
        workload_kind: "StatefulSet".into(),
        ..Pod::default()
    };
    let process = Process {
        binary: "/bin/true".into(),
        namespace_pid: 7,
        exec_id: "x".into(),
        docker: "ab".into(),
        parent_exec_id: "y".into(),
        refcnt: 2,
        in_init_tree: true,
        association: Some(Arc::new(Association::of(pod))),
        ..Process::default()
    };
    let text = line(&Event {
        process: Arc::new(process.clone()),
        parent: Some(Arc::new(Process { pid: 4, ..process })),
        tid: 3,
        ..event(Body::Exit(Exit { status: 0, signal: 0, time: WallTime(0) }))
    });
    let pod = concat!(
        r#""pod":{"namespace":"shop","name":"web-0","uid":"u","container":{"id":"containerd://ab","name":"web","#,
        r#""image":{"id":"sha256:1","name":"nginx"},"start_time":"1970-01-01T00:00:00.000000001Z","pid":7,"#,
        r#""maybe_exec_probe":true,"security_context":{}},"pod_labels":{"app":"web","empty":""},"#,
        r#""workload":"web","workload_kind":"StatefulSet"},"docker":"ab","parent_exec_id":"y","#
    );
    assert_eq!(
        text,
        format!(
            "{}{pod}{}{pod}{}\n",
            r#"{"process_exit":{"process":{"exec_id":"x","pid":0,"uid":0,"binary":"/bin/true","auid":0,"#,
            r#""refcnt":2,"tid":3,"in_init_tree":true},"parent":{"exec_id":"x","pid":4,"uid":0,"binary":"/bin/true","auid":0,"#,
            concat!(
                r#""tid":4,"in_init_tree":true},"time":"1970-01-01T00:00:00Z"},"#,
                r#""node_name":"goldnode","time":"1970-01-01T00:00:01Z"}"#
            ),
        )
    );
}

#[test]
fn a_pod_that_becomes_known_later_is_shown_from_then_on() {
    let association = Arc::new(Association::new("u".into(), "ab".into(), "containerd"));
    let process =
        Arc::new(Process { association: Some(association.clone()), ..Process::default() });
    let of_process = Event { process, ..event(Body::Exec) };
    assert!(!line(&of_process).contains("pod"));
    let pod =
        |container: Container| Arc::new(Pod { name: "web-0".into(), container, ..Pod::default() });
    association.learn(Grade::Named, pod(Container::default()));
    assert!(
        line(&of_process).contains(r#""pod":{"name":"web-0","container":{"image":{},"security"#)
    );
    let privileged =
        Container { image_id: "sha256:1".into(), privileged: true, ..Container::default() };
    association.learn(Grade::Complete, pod(privileged));
    let shown =
        r#""container":{"image":{"id":"sha256:1"},"security_context":{"privileged":true}}}"#;
    assert!(line(&of_process).contains(shown), "{}", line(&of_process));
}

#[test]
fn a_changed_clone_is_rendered_anew() {
    let first = event(Body::Exec);
    line(&first);
    let mut process = (*first.process).clone();
    process.binary = "/bin/new".into();
    assert!(line(&Event { process: Arc::new(process), ..first }).contains("/bin/new"));
}

/// Run with `cargo test --release -p securitywatch-probe --lib speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures, judges nothing"]
fn speed() {
    let Some(lines) = recorded::lines() else {
        return;
    };
    let mut encoder = JsonEncoder::new("goldnode");
    let mut out = Vec::with_capacity(1 << 20);
    for kind in ["process_exec", "process_exit", "process_kprobe"] {
        let events: Vec<Event> = lines
            .iter()
            .filter_map(|(_, text)| match recorded::parse(text) {
                Parsed::Event(event) if event.body.kind() == kind => Some(event),
                _ => None,
            })
            .collect();
        for (what, fresh) in [("first event of each process", true), ("later events", false)] {
            let mut best = f64::MAX;
            for _ in 0..9 {
                let events: Vec<Event> = if fresh {
                    events.iter().map(recorded::unrendered).collect()
                } else {
                    events.clone()
                };
                let start = std::time::Instant::now();
                for event in &events {
                    if out.len() > 900_000 {
                        out.clear();
                    }
                    encoder.write_line(event, &mut out);
                }
                #[allow(clippy::cast_precision_loss)]
                let each = start.elapsed().as_nanos() as f64 / events.len() as f64;
                best = best.min(each);
            }
            println!("{kind}, {what}: {best:.0} ns an event");
        }
    }
}
