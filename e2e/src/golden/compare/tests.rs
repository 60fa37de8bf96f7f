#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! A comparer that finds nothing proves nothing: every kind of deviation is made on purpose and must be found.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::golden::cases;

/// A process of the small run below: name, arguments, pid, start, pid and start of its parent.
#[derive(Clone, Copy)]
struct Image(&'static str, &'static str, u64, u64, u64, u64);

const STARTER: Image = Image("/usr/bin/bash", "/t/run.sh", 1, 9, 0, 1);
const TRIGGER: Image = Image("/t/trigger.sh", "/t/trigger.sh", 50, 100, 1, 9);
const CAT: Image = Image("/usr/bin/cat", "/etc/passwd", 51, 110, 50, 100);
const CAT_AGAIN: Image = Image("/usr/bin/cat", "/etc/passwd", 52, 120, 50, 100);
const OTHER: Image = Image("/usr/bin/cat", "/etc/passwd", 49, 90, 1, 9);

fn process(image: Image) -> Value {
    let Image(binary, arguments, pid, start, parent_pid, parent_start) = image;
    json!({
        "exec_id": base64(&format!("goldnode:{start}:{pid}")), "pid": pid, "tid": pid, "uid": 0, "cwd": "/",
        "binary": binary, "arguments": arguments, "flags": "execve rootcwd clone", "refcnt": 1,
        "start_time": "2026-11-22T01:43:07.310803230Z", "in_init_tree": false,
        "parent_exec_id": base64(&format!("goldnode:{parent_start}:{parent_pid}")),
    })
}

fn event(kind: &str, image: Image, parent: Image, more: &Value) -> Value {
    let mut body = json!({"process": process(image), "parent": process(parent)});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    json!({kind: body, "node_name": "goldnode", "time": "2026-11-22T01:43:07.5Z"})
}

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn kprobe(image: Image, argument: &Value) -> Value {
    let more = json!({"function_name": "security_file_permission", "args": [argument], "action": "KPROBE_ACTION_POST"});
    event("process_kprobe", image, TRIGGER, &more)
}

/// The trigger runs `cat` twice; each reads two files.
fn run() -> Vec<Value> {
    let mut events = vec![
        event("process_exec", OTHER, STARTER, &json!({})),
        event("process_exec", TRIGGER, STARTER, &json!({})),
    ];
    for cat in [CAT, CAT_AGAIN] {
        events.push(event("process_exec", cat, TRIGGER, &json!({})));
        events.push(kprobe(cat, &json!({"file_arg": {"path": "/etc/passwd"}})));
        events.push(kprobe(cat, &json!({"int_arg": 51})));
        events.push(event(
            "process_exit",
            cat,
            TRIGGER,
            &json!({"status": 1, "time": "2026-11-22T01:43:08Z"}),
        ));
    }
    events.push(event("process_exit", TRIGGER, STARTER, &json!({"time": "2026-11-22T01:43:09Z"})));
    events
}

fn parsed(events: &[Value]) -> Recording {
    Recording::parse(&events.iter().map(|event| format!("{event}\n")).collect::<String>()).unwrap()
}

fn difference(seen: &[Value]) -> String {
    compare(&parsed(&run()), &parsed(seen)).unwrap_err().to_string()
}

#[test]
fn a_run_equals_itself_and_leaves_out_other_trees() {
    let run = parsed(&run());
    assert_eq!(compare(&run, &run), Ok(()));
    assert_eq!(run.processes.len(), 3, "{run:?}");
}

#[test]
fn what_cannot_repeat_may_differ() {
    let text: String = run().iter().map(|event| format!("{event}\n")).collect();
    let later = text
        .replace("2026-11-22T01:43", "2031-01-01T11:11")
        .replace("\"refcnt\":1", "\"refcnt\":7");
    assert_eq!(compare(&parsed(&run()), &Recording::parse(&later).unwrap()), Ok(()));

    // The same run with other pids and starts; the pid in an argument moves along.
    let shift = |image: Image| {
        Image(image.0, image.1, image.2 + 300, image.3 * 7, image.4 + 300, image.5 * 7)
    };
    let mut shifted = run();
    for value in &mut shifted {
        let kind = value
            .as_object()
            .unwrap()
            .keys()
            .find(|key| key.starts_with("process_"))
            .unwrap()
            .clone();
        for role in ["process", "parent"] {
            let pid = value[&kind][role]["pid"].as_u64().unwrap();
            let image = [STARTER, TRIGGER, CAT, CAT_AGAIN, OTHER]
                .into_iter()
                .find(|image| image.2 == pid)
                .unwrap();
            value[&kind][role] = process(if image.2 == 1 {
                Image(image.0, image.1, 301, 63, 0, 1)
            } else {
                shift(image)
            });
        }
        if value[&kind]["args"][0]["int_arg"] == 51 {
            value[&kind]["args"][0]["int_arg"] = json!(351);
        }
    }
    assert_eq!(compare(&parsed(&run()), &parsed(&shifted)), Ok(()));
}

#[test]
fn a_changed_value_is_found() {
    let mut seen = run();
    seen[3]["process_kprobe"]["args"][0]["file_arg"]["path"] = json!("/etc/shadow");
    assert_eq!(
        difference(&seen),
        "/usr/bin/cat /etc/passwd: event 2 (process_kprobe security_file_permission): args[0].file_arg.path: recorded \"/etc/passwd\", seen \"/etc/shadow\""
    );
    let mut seen = run();
    seen[5]["process_exit"]["status"] = json!(2);
    assert!(difference(&seen).ends_with("status: recorded 1, seen 2"));
}

#[test]
fn a_pid_in_an_argument_must_be_the_same_process() {
    let mut seen = run();
    seen[4]["process_kprobe"]["args"][0]["int_arg"] = json!(52);
    assert!(difference(&seen).ends_with("args[0].int_arg: recorded 51, seen 52"));
}

#[test]
fn a_missing_or_added_field_is_found() {
    let mut seen = run();
    seen[5]["process_exit"].as_object_mut().unwrap().remove("status");
    assert!(difference(&seen).ends_with("status: recorded 1, seen nothing"));
    let mut seen = run();
    seen[5]["process_exit"]["signal"] = json!("SIGKILL");
    assert!(difference(&seen).ends_with("signal: recorded nothing, seen \"SIGKILL\""));
    let mut seen = run();
    seen[2].as_object_mut().unwrap().remove("time");
    assert!(difference(&seen).ends_with("time: recorded \"<time>\", seen nothing"));
}

#[test]
fn a_malformed_value_is_found_although_its_content_is_free() {
    let mut seen = run();
    seen[2]["time"] = json!("now");
    assert!(difference(&seen).ends_with("seen \"now\""));
    let mut seen = run();
    seen[2]["process_exec"]["process"]["pid"] = json!(77);
    assert!(
        difference(&seen)
            .ends_with("process.pid: recorded \"<pid>\", seen \"<not the pid of exec_id>\"")
    );
    let mut seen = run();
    seen[4]["process_kprobe"]["process"]["tid"] = json!(77);
    assert!(
        difference(&seen).ends_with("process.tid: recorded \"<pid>\", seen \"<another thread>\"")
    );
}

#[test]
fn a_wrong_parent_is_found() {
    let mut seen = run();
    seen[2]["process_exec"]["parent"] = process(STARTER);
    assert!(difference(&seen).contains("parent."), "{}", difference(&seen));
}

#[test]
fn a_missing_event_is_found() {
    let mut seen = run();
    seen.remove(4);
    assert!(
        difference(&seen).starts_with("/usr/bin/cat /etc/passwd: event 3"),
        "{}",
        difference(&seen)
    );
    let mut seen = run();
    seen.remove(9);
    assert_eq!(
        difference(&seen),
        "/usr/bin/cat /etc/passwd (no. 2): event 4: recorded process_exit, seen nothing"
    );
}

#[test]
fn an_added_event_is_found() {
    let mut seen = run();
    seen.insert(5, seen[4].clone());
    assert!(difference(&seen).starts_with("/usr/bin/cat /etc/passwd: event 4"));
    let mut seen = run();
    seen.push(seen[9].clone());
    assert_eq!(
        difference(&seen),
        "/usr/bin/cat /etc/passwd (no. 2): event 5: recorded nothing, seen process_exit"
    );
}

#[test]
fn a_swapped_order_is_found_within_a_process_only() {
    let mut seen = run();
    seen.swap(3, 4);
    assert!(difference(&seen).starts_with("/usr/bin/cat /etc/passwd: event 2"));
    let mut seen = run();
    seen.swap(5, 6);
    assert_eq!(compare(&parsed(&run()), &parsed(&seen)), Ok(()));
}

#[test]
fn a_missing_or_added_process_is_found() {
    let mut seen = run();
    seen.drain(6..10);
    assert_eq!(difference(&seen), "/usr/bin/cat /etc/passwd (no. 2): recorded, but not seen");
    let mut seen = run();
    seen.insert(
        3,
        event("process_exec", Image("/usr/bin/id", "", 60, 115, 50, 100), TRIGGER, &json!({})),
    );
    assert_eq!(difference(&seen), "/usr/bin/id: seen, but not recorded (process_exec)");
}

#[test]
fn after_the_enforcing_event_only_the_exit_counts() {
    let killed = |extra: usize, signal: &str| {
        let mut events = run();
        events[3]["process_kprobe"]["action"] = json!("KPROBE_ACTION_SIGKILL");
        events[5]["process_exit"].as_object_mut().unwrap().remove("status");
        events[5]["process_exit"]["signal"] = json!(signal);
        for _ in 0..extra {
            events.insert(4, events[4].clone());
        }
        parsed(&events)
    };
    assert_eq!(compare(&killed(0, "SIGKILL"), &killed(2, "SIGKILL")), Ok(()));
    let alive = compare(&killed(0, "SIGKILL"), &killed(0, "SIGTERM")).unwrap_err().to_string();
    assert!(alive.ends_with("signal: recorded \"SIGKILL\", seen \"SIGTERM\""), "{alive}");
    let unpunished = compare(&killed(0, "SIGKILL"), &parsed(&run())).unwrap_err().to_string();
    assert!(
        unpunished
            .contains("action: recorded \"KPROBE_ACTION_SIGKILL\", seen \"KPROBE_ACTION_POST\""),
        "{unpunished}"
    );
}

#[test]
fn every_recording_equals_itself_and_no_line_of_it_can_go() {
    let Some(folder) = cases::default_folder() else {
        println!("skipped: no recorded cases at hand");
        return;
    };
    for case in cases::read(&folder).unwrap() {
        let recorded = Recording::parse(&case.events).unwrap();
        assert_eq!(compare(&recorded, &recorded), Ok(()), "{}", case.name);
        let lines: Vec<&str> = case.events.lines().collect();
        let free = lines.len()
            - recorded.processes.iter().map(|process| process.events.len()).sum::<usize>();
        // A sample of the lines: trying all of them takes half a minute.
        let tolerated = (1..lines.len())
            .step_by(9)
            .filter(|left_out| {
                let rest: String = lines
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| index != left_out)
                    .map(|(_, line)| format!("{line}\n"))
                    .collect();
                compare(&recorded, &Recording::parse(&rest).unwrap()).is_ok()
            })
            .count();
        let enforced =
            recorded.processes.iter().filter(|process| process.events.iter().any(enforces)).count();
        assert!(
            tolerated <= free + enforced,
            "{}: {tolerated} lines can go, at most {free} + {enforced} should",
            case.name
        );
    }
}

/// Tetragon's own runs must agree with each other, or the rules would be stricter than the truth.
#[test]
fn exec_and_exit_of_all_recordings_agree() {
    let Some(folder) = cases::default_folder() else {
        println!("skipped: no recorded cases at hand");
        return;
    };
    let lifecycle = |events: &str| {
        let kept = events.lines().filter(|line| {
            line.contains("\"process_exec\":") || line.contains("\"process_exit\":")
        });
        Recording::parse(&kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap()
    };
    let all = cases::read(&folder).unwrap();
    let base = lifecycle(&all.iter().find(|case| case.name == "base").unwrap().events);
    for case in &all {
        // The trigger itself kills one process. Where a policy killed more, exits differ.
        if case.events.matches("\"signal\":\"SIGKILL\"").count() > 1 {
            continue;
        }
        assert_eq!(compare(&base, &lifecycle(&case.events)), Ok(()), "{}", case.name);
    }
}
