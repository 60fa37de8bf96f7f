//! Test-only: Tetragon's recorded events, read back into [`Event`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value as Json;

use super::names;
use crate::event::{
    Action, Arg, Body, Event, Exit, Hook, Kprobe, PathValue, Process, SockValue, Value, WallTime,
};

/// An event, or the kind of event or argument that has no place in [`Event`].
pub enum Parsed {
    Event(Event),
    Skipped(String),
}

/// Every recorded line with the name of its case; `None`, and a word on it, without the recordings.
pub fn lines() -> Option<Vec<(String, String)>> {
    let shared = std::env::var_os("SECURITYWATCH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let cases = shared.join("golden/cases");
    let Ok(folders) = std::fs::read_dir(&cases) else {
        println!("skipped: no recordings in {}", cases.display());
        return None;
    };
    let mut lines = Vec::new();
    for folder in folders {
        let folder = folder.unwrap();
        let case = folder.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        lines.extend(text.lines().map(|line| (case.clone(), line.to_owned())));
    }
    Some(lines)
}

/// The same event with processes that were never rendered.
pub fn unrendered(event: &Event) -> Event {
    Event {
        process: Arc::new((*event.process).clone()),
        parent: event.parent.as_ref().map(|parent| Arc::new((**parent).clone())),
        ..event.clone()
    }
}

pub fn parse(line: &str) -> Parsed {
    let json: Json = serde_json::from_str(line).unwrap();
    let (kind, inner) =
        json.as_object().unwrap().iter().find(|(key, _)| key.starts_with("process_")).unwrap();
    let body = match kind.as_str() {
        "process_exec" => Body::Exec,
        "process_exit" => Body::Exit(Exit {
            status: u32::try_from(inner["status"].as_u64().unwrap_or(0)).unwrap(),
            signal: inner["signal"].as_str().map_or(0, |name| {
                (1..=64).find(|number| names::signal(*number) == Some(name)).unwrap()
            }),
            time: time(&inner["time"]),
        }),
        "process_kprobe" => match kprobe(inner) {
            Ok(kprobe) => Body::Kprobe(kprobe),
            Err(kind) => return Parsed::Skipped(kind),
        },
        other => return Parsed::Skipped(other.to_owned()),
    };
    Parsed::Event(Event {
        seq: 0,
        time: time(&json["time"]),
        process: Arc::new(process(&inner["process"])),
        parent: inner.get("parent").map(|parent| Arc::new(process(parent))),
        tid: number(&inner["process"]["tid"]),
        body,
    })
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn number<T: TryFrom<u64>>(json: &Json) -> T {
    T::try_from(json.as_u64().unwrap_or(0)).ok().expect("a number of the field's size")
}

/// Counted year by year and month by month, so that our writer is not checked by its own inverse.
fn time(json: &Json) -> WallTime {
    let Some(text) = json.as_str() else {
        return WallTime::default();
    };
    let (seconds, rest) = text.split_at(19);
    let fraction = rest.trim_start_matches('.').trim_end_matches('Z');
    let nanos: i64 = format!("{fraction:0<9}").parse().unwrap();
    let part = |range: std::ops::Range<usize>| seconds[range].parse::<i64>().unwrap();
    let days: i64 = (1970..part(0..4)).map(|year| if leap(year) { 366 } else { 365 }).sum::<i64>()
        + (1..part(5..7)).map(|month| month_days(part(0..4), month)).sum::<i64>()
        + part(8..10)
        - 1;
    let seconds = days * 86_400 + part(11..13) * 3_600 + part(14..16) * 60 + part(17..19);
    WallTime(seconds * 1_000_000_000 + nanos)
}

const fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn process(json: &Json) -> Process {
    Process {
        exec_id: text(&json["exec_id"]),
        parent_exec_id: text(&json["parent_exec_id"]),
        pid: number(&json["pid"]),
        uid: number(&json["uid"]),
        auid: number(&json["auid"]),
        cwd: text(&json["cwd"]),
        binary: text(&json["binary"]),
        arguments: text(&json["arguments"]),
        flags: text(&json["flags"]),
        start_time: time(&json["start_time"]),
        in_init_tree: json["in_init_tree"].as_bool().unwrap(),
        docker: text(&json["docker"]),
        refcnt: number(&json["refcnt"]),
        ..Process::default()
    }
}

fn action(json: &Json) -> Action {
    [Action::Post, Action::Sigkill, Action::NoPost]
        .into_iter()
        .find(|action| Some(action.as_str()) == json.as_str())
        .unwrap()
}

fn kprobe(json: &Json) -> Result<Kprobe, String> {
    let args = json["args"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Kprobe {
        hook: Arc::new(Hook {
            function: text(&json["function_name"]),
            policy: text(&json["policy_name"]),
            message: text(&json["message"]),
            tags: json["tags"]
                .as_array()
                .map_or_else(Vec::new, |tags| tags.iter().map(text).collect()),
            watch: 0,
        }),
        args: args.iter().map(arg).collect::<Result<_, _>>()?,
        ret: json.get("return").map(arg).transpose()?,
        action: action(&json["action"]),
        return_action: action(&json["return_action"]),
    })
}

fn arg(json: &Json) -> Result<Arg, String> {
    let (kind, value) = json.as_object().unwrap().iter().find(|(key, _)| *key != "label").unwrap();
    let value = match kind.as_str() {
        "string_arg" => Value::String(text(value)),
        "int_arg" => Value::Int(i32::try_from(value.as_i64().unwrap()).unwrap()),
        "uint_arg" => Value::Uint(number(value)),
        "long_arg" => Value::Long(text(value).parse().unwrap()),
        "size_arg" => Value::Size(text(value).parse().unwrap()),
        "file_arg" => Value::File(path(value)),
        "path_arg" => Value::Path(path(value)),
        "sock_arg" => Value::Sock(sock(value)),
        other => return Err(other.to_owned()),
    };
    Ok(Arg { label: text(&json["label"]).into(), value })
}

fn path(json: &Json) -> PathValue {
    let permission = json["permission"].as_str().unwrap();
    PathValue {
        path: text(&json["path"]),
        unresolved: json["flags"] == "unresolvedPathComponents",
        mode: (0..=u16::MAX)
            .find(|mode| names::permission(*mode, &mut [0; 10]) == permission.as_bytes())
            .unwrap(),
    }
}

fn coded(json: &Json, word: fn(u16) -> Option<&'static str>) -> u16 {
    (0..=u16::MAX).find(|code| word(*code) == json.as_str()).unwrap()
}

fn sock(json: &Json) -> SockValue {
    SockValue {
        family: coded(&json["family"], names::family),
        kind: coded(&json["type"], names::socket_type),
        protocol: coded(&json["protocol"], names::protocol),
        mark: number(&json["mark"]),
        priority: number(&json["priority"]),
        saddr: json["saddr"].as_str().map(|address| address.parse().unwrap()),
        daddr: json["daddr"].as_str().map(|address| address.parse().unwrap()),
        sport: number(&json["sport"]),
        dport: number(&json["dport"]),
        cookie: text(&json["cookie"]).parse().unwrap(),
        state: u8::try_from(coded(&json["state"], |code| {
            names::tcp_state(u8::try_from(code).unwrap_or(0))
        }))
        .unwrap(),
    }
}
