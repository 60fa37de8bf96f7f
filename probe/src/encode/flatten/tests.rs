#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::event::{Action, Association, Container, ExecProbe, Hook};
use securitywatch_api::rule::Value;
use serde_json::{Map, Value as Json};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

fn origin() -> Origin {
    Origin {
        node_name: "node \"1\"".into(),
        cluster: Some("c1".into()),
        boot_id: "5b0b1a0e-1".into(),
        run_id: "r1".into(),
    }
}

fn full_process() -> Process {
    Process {
        exec_id: "Z29s".into(),
        parent_exec_id: "cGFy".into(),
        pid: 7,
        uid: 1000,
        auid: u32::MAX,
        cwd: "/tmp".into(),
        binary: "/usr/bin/curl".into(),
        arguments: "-s \"a b\"\t\\ é\u{1}".into(),
        flags: "execve clone".into(),
        start_time: WallTime(1_795_314_912_324_015_510),
        in_init_tree: true,
        docker: "0123456789abcdef0123456789abcde".into(),
        refcnt: 1,
        namespace_pid: 1,
        association: Some(Arc::new(Association::of(Pod {
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: "u-1".into(),
            container: Container {
                id: "containerd://ab".into(),
                name: "web".into(),
                image_id: "sha256:1".into(),
                image_name: "nginx".into(),
                start_time: WallTime(1_795_314_000_000_000_000),
                privileged: false,
                exec_probes: vec![
                    ExecProbe::new(&["curl", "-s", "\"a", "b\"\t\\", "é\u{1}"].map(str::to_owned))
                        .unwrap(),
                ],
            },
            labels: vec![
                ("app.kubernetes.io/name".into(), "we\"b".into()),
                ("tier".into(), "x".into()),
            ],
            workload: "web".into(),
            workload_kind: "StatefulSet".into(),
            ..Pod::default()
        }))),
        ..Process::default()
    }
}

fn sock() -> SockValue {
    SockValue {
        family: 2,
        kind: 1,
        protocol: 6,
        mark: 1,
        priority: 2,
        saddr: Some(IpAddr::from([10, 0, 0, 1])),
        daddr: Some(IpAddr::from([93, 184, 215, 14])),
        sport: 48542,
        dport: 443,
        cookie: 18_388_290_580_460_203_008,
        state: 2,
    }
}

fn path_value() -> PathValue {
    PathValue { path: "/etc/shadow".into(), unresolved: true, mode: 0o100_640 }
}

fn every_value() -> Vec<ArgValue> {
    vec![
        ArgValue::String("s".into()),
        ArgValue::Int(-4),
        ArgValue::Uint(4),
        ArgValue::Long(i64::MIN),
        ArgValue::Size(u64::MAX),
        ArgValue::File(path_value()),
        ArgValue::Path(path_value()),
        ArgValue::Sock(sock()),
        ArgValue::Error("fault"),
    ]
}

fn event(body: Body) -> Event {
    Event {
        seq: 41,
        time: WallTime(1_795_314_912_324_010_170),
        process: Arc::new(full_process()),
        parent: Some(Arc::new(full_process())),
        tid: 8,
        body,
    }
}

fn kprobe(values: Vec<ArgValue>, ret: Option<ArgValue>) -> Body {
    let arg = |value| Arg { label: "".into(), value };
    Body::Kprobe(Kprobe {
        hook: Arc::new(Hook {
            function: "tcp_connect".into(),
            policy: "egress".into(),
            message: "a \"message\"".into(),
            tags: vec!["t1".into(), "t2".into()],
            watch: 0,
        }),
        args: values.into_iter().map(arg).collect(),
        ret: ret.map(arg),
        action: Action::Sigkill,
        return_action: Action::Post,
    })
}

/// Every shape: each value in each position, as return value, and the other kinds.
fn every_event() -> Vec<Event> {
    let mut events = vec![
        event(Body::Exec),
        event(Body::Exit(Exit { status: 1, signal: 9, time: WallTime(1_795_314_913_000_000_000) })),
        event(kprobe(vec![], None)),
    ];
    let values = every_value();
    for shift in 0..values.len() {
        let mut turned = values.clone();
        turned.rotate_left(shift);
        events.push(event(kprobe(turned[..INDEXED_ARGS].to_vec(), Some(turned[0].clone()))));
    }
    events
}

fn as_json(event: &Event) -> Map<String, Json> {
    let origin = origin();
    let row = flatten(event, &origin, &mut Rfc3339::default(), Vec::new());
    let mut out = Vec::new();
    row.write_open(&mut out);
    close(&mut out, 3);
    serde_json::from_slice(&out)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out)))
}

fn type_of(value: &Json) -> &'static str {
    match value {
        Json::String(_) => "text",
        Json::Number(_) => "number",
        Json::Bool(_) => "bool",
        other => panic!("not a scalar: {other}"),
    }
}

#[test]
fn every_column_of_every_event_is_seeded_with_its_type() {
    let mut seed = HashMap::new();
    for row in seed_rows(&origin(), WallTime(1_795_314_912_324_010_170)) {
        for (name, value) in serde_json::from_slice::<Map<String, Json>>(&row).unwrap() {
            let kind = type_of(&value);
            let is_time = value.as_str().is_some_and(|v| v.starts_with("2026-11-22T"));
            assert_eq!(
                *seed.entry(name.clone()).or_insert((kind, is_time)),
                (kind, is_time),
                "{name}"
            );
        }
    }
    let mut used = HashSet::new();
    for event in every_event() {
        for (name, value) in as_json(&event) {
            let (kind, is_time) = seed.get(&name).unwrap_or_else(|| panic!("{name} is not seeded"));
            assert_eq!(type_of(&value), *kind, "{name}");
            if *is_time {
                assert!(value.as_str().unwrap().starts_with("2026-11-22T"), "{name}: {value}");
            }
            used.insert(name);
        }
    }
    let unused: Vec<_> = seed.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "seeded, but no event carries it: {unused:?}");
}

#[test]
fn seed_rows_say_what_they_are_and_list_all_columns() {
    let rows = seed_rows(&origin(), WallTime(1));
    let mut names = HashSet::new();
    for row in &rows {
        let row: Map<String, Json> = serde_json::from_slice(row).unwrap();
        assert_eq!(row["event_type"], SEED_EVENT_TYPE);
        names.extend(row.keys().cloned());
    }
    assert_eq!(names, columns().iter().map(|c| c.name.to_owned()).collect());
}

#[test]
fn matcher_and_json_see_the_same_values() {
    let origin = origin();
    for event in every_event() {
        let json = as_json(&event);
        let row = flatten(&event, &origin, &mut Rfc3339::default(), Vec::new());
        assert_eq!(row.iter().count() + 1, json.len(), "all but seq");
        for (column, value) in row.iter() {
            assert!(admits(column.kind, &value), "{}", column.name);
            assert_eq!(row.value(column.name), Some(value));
            match value {
                Value::Text(text) => assert_eq!(json[column.name], *text),
                Value::Number(number) => assert_eq!(json[column.name].as_f64(), Some(number)),
                Value::Bool(flag) => assert_eq!(json[column.name], flag),
            }
        }
        assert_eq!(row.value("no_such_column"), None);
        assert_eq!(row.value("process_exec_no_such"), None);
    }
}

#[test]
fn what_is_empty_has_no_column() {
    let bare = Event {
        process: Arc::new(Process { pid: 1, ..Process::default() }),
        parent: None,
        ..event(Body::Exit(Exit { status: 0, signal: 0, time: WallTime(0) }))
    };
    let row = as_json(&bare);
    let mut own: Vec<_> =
        row.keys().filter(|k| k.starts_with("process_")).map(String::as_str).collect();
    own.sort_unstable();
    assert_eq!(
        own,
        [
            "process_exit_process_auid",
            "process_exit_process_in_init_tree",
            "process_exit_process_pid",
            "process_exit_process_tid",
            "process_exit_process_uid"
        ]
    );
}

#[test]
fn arguments_by_position_by_kind_and_whole() {
    let values = vec![ArgValue::Int(4), ArgValue::File(path_value()), ArgValue::Int(2)];
    let row = as_json(&event(kprobe(values, Some(ArgValue::Int(0)))));
    assert_eq!(row["process_kprobe_args_0_int_arg"], 4);
    assert_eq!(row["process_kprobe_args_1_file_arg_path"], "/etc/shadow");
    assert_eq!(row["process_kprobe_args_1_file_arg_permission"], "-rw-r-----");
    assert_eq!(row["process_kprobe_args_2_int_arg"], 2);
    assert_eq!(row["process_kprobe_args_int_arg"], 4, "the first of its kind");
    assert_eq!(row["process_kprobe_args_file_arg_path"], "/etc/shadow");
    assert_eq!(row["process_kprobe_return_int_arg"], 0);
    assert_eq!(row["process_kprobe_tags"], "t1,t2");
    let args: Json =
        serde_json::from_str(row["process_kprobe_args_json"].as_str().unwrap()).unwrap();
    assert_eq!(args[1]["file_arg"]["path"], "/etc/shadow");
    assert_eq!(args.as_array().unwrap().len(), 3);
}

#[test]
fn identity_is_in_each_row() {
    let row = as_json(&event(Body::Exec));
    assert_eq!(row["event_type"], "process_exec");
    assert_eq!(row["event_id"], "r1-41");
    assert_eq!(row["event_time"], "2026-11-22T02:35:12.324010170Z");
    assert_eq!(row["node_name"], "node \"1\"");
    assert_eq!(row["seq"], 3);
    let labels = row["process_exec_process_pod_pod_labels"].as_str().unwrap();
    let labels: HashMap<String, String> = serde_json::from_str(labels).unwrap();
    assert_eq!(labels["app.kubernetes.io/name"], "we\"b");
}

/// Joins nested objects the way the server would; arrays are left to the other tests.
fn server_flattening(prefix: &str, json: &Json, out: &mut Map<String, Json>) {
    match json {
        Json::Object(members) => {
            for (key, value) in members {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
                server_flattening(&name, value, out);
            }
        }
        Json::Array(_) => {}
        scalar => {
            out.insert(prefix.to_owned(), scalar.clone());
        }
    }
}

#[test]
fn recorded_events_keep_the_columns_the_server_gave_them() {
    let Some(lines) = crate::encode::recorded::lines() else {
        return;
    };
    let mut compared = 0;
    for (case, line) in &lines {
        let crate::encode::recorded::Parsed::Event(event) = crate::encode::recorded::parse(line)
        else {
            continue;
        };
        let mut theirs = Map::new();
        server_flattening("", &serde_json::from_str(line).unwrap(), &mut theirs);
        let time = theirs.remove("time").unwrap();
        theirs.remove("node_name");
        let ours = as_json(&event);
        assert_eq!(ours["event_time"], time, "{case}");
        for (name, value) in &theirs {
            assert_eq!(ours.get(name), Some(value), "{case}: {name}");
        }
        for name in ours.keys().filter(|n| n.starts_with("process_") && !n.contains("_args_")) {
            assert!(
                theirs.contains_key(name) || name.ends_with("_tags"),
                "{case}: {name} is ours alone"
            );
        }
        compared += 1;
    }
    assert!(compared > 6000, "{compared} events");
}

/// Whether a value may stand in a column of this type.
const fn admits(kind: ColumnType, value: &Value<'_>) -> bool {
    matches!(
        (kind, value),
        (ColumnType::Text | ColumnType::Time, Value::Text(_))
            | (ColumnType::Number, Value::Number(_))
            | (ColumnType::Bool, Value::Bool(_))
    )
}
