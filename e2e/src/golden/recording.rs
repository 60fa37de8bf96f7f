//! Event lines -> the processes of the trigger's tree, each with its comparable events.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{mask, races};

/// The program whose run is compared, and the arguments of the shell that starts it.
const TRIGGER: &str = "/t/trigger.sh";
const STARTER: &str = "/t/run.sh";

/// Lines that are no events.
#[derive(Debug, Error)]
pub enum RecordingError {
    #[error("line {line}: not JSON: {source}")]
    NotJson { line: usize, source: serde_json::Error },
    #[error("line {line}: {what}")]
    NotAnEvent { line: usize, what: String },
    #[error("no process_exec of {TRIGGER} with parent {STARTER}")]
    NoTrigger,
}

/// One run of the trigger.
#[derive(Debug, Clone)]
pub struct Recording {
    /// In the order of their start.
    pub processes: Vec<Process>,
    /// Which process a pid was, by its first image's name.
    pub pids: BTreeMap<u64, Name>,
}

/// One process image: what ran between two execs, or a fork's copy.
#[derive(Debug, Clone)]
pub struct Process {
    pub name: Name,
    pub events: Vec<Event>,
}

/// What an image is called in both runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub binary: String,
    pub arguments: String,
    /// Among those of equal binary and arguments, by start; from 1.
    pub position: usize,
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.binary)?;
        if !self.arguments.is_empty() {
            write!(formatter, " {}", self.arguments)?;
        }
        if self.position > 1 {
            write!(formatter, " (no. {})", self.position)?;
        }
        Ok(())
    }
}

/// One event, with what cannot repeat masked.
#[derive(Debug, Clone)]
pub struct Event {
    /// `process_exec`
    pub kind: String,
    pub value: Value,
}

/// One line before it is attributed.
struct Line {
    number: usize,
    kind: String,
    document: Map<String, Value>,
}

/// Node name, start in the kernel's nanoseconds, pid.
struct ExecId {
    node: String,
    start: u64,
    pid: u64,
}

impl Recording {
    /// Reads event lines and keeps the last run of the trigger in them.
    ///
    /// # Errors
    /// A line is no event, or no trigger ran.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(index, line)| Line::parse(index + 1, line))
            .collect::<Result<Vec<_>, _>>()?;
        let root = lines
            .iter()
            .rev()
            .find(|line| line.starts_trigger())
            .ok_or(RecordingError::NoTrigger)?
            .exec_id()
            .to_owned();

        let parents: BTreeMap<&str, &str> =
            lines.iter().map(|line| (line.exec_id(), line.parent_exec_id())).collect();
        let lines: Vec<&Line> =
            lines.iter().filter(|line| descends(line.exec_id(), &root, &parents)).collect();
        let names = names(&lines)?;

        let mut processes: BTreeMap<(u64, &str), Process> = BTreeMap::new();
        let mut pids = BTreeMap::new();
        for line in &lines {
            let id = line.decoded_exec_id()?;
            let name = &names[line.exec_id()];
            let event = line.masked(&id, &names);
            processes
                .entry((id.start, line.exec_id()))
                .or_insert_with(|| Process { name: name.clone(), events: Vec::new() })
                .events
                .push(event);
        }
        for ((_, exec_id), process) in &processes {
            if let Some(id) = decode_exec_id(exec_id) {
                pids.entry(id.pid).or_insert_with(|| process.name.clone());
            }
        }
        let processes =
            processes.into_values().filter(|process| !races::undecided(process)).collect();
        Ok(Self { processes, pids })
    }

    /// The process called `name`.
    #[must_use]
    pub fn process(&self, name: &Name) -> Option<&Process> {
        self.processes.iter().find(|process| process.name == *name)
    }
}

/// True when following parents from `exec_id` leads to `root`.
fn descends(exec_id: &str, root: &str, parents: &BTreeMap<&str, &str>) -> bool {
    let mut current = exec_id;
    // No tree is deeper than the number of its processes; a loop of parents ends here too.
    for _ in 0..=parents.len() {
        if current == root {
            return true;
        }
        match parents.get(current) {
            Some(parent) => current = parent,
            None => return false,
        }
    }
    false
}

/// The name of every process that shows up, those outside the tree (the trigger's parent) included.
fn names(lines: &[&Line]) -> Result<BTreeMap<String, Name>, RecordingError> {
    let mut started: BTreeMap<(String, String), BTreeSet<(u64, String)>> = BTreeMap::new();
    for line in lines {
        for process in [line.process(), line.body().get("parent").unwrap_or(&Value::Null)] {
            let exec_id = text_of(process, "exec_id");
            let Some(id) = decode_exec_id(exec_id) else {
                continue;
            };
            let key =
                (text_of(process, "binary").to_owned(), mask::dates(text_of(process, "arguments")));
            started.entry(key).or_default().insert((id.start, exec_id.to_owned()));
        }
    }
    let mut names = BTreeMap::new();
    for ((binary, arguments), by_start) in started {
        for (index, (_, exec_id)) in by_start.into_iter().enumerate() {
            names.insert(
                exec_id,
                Name { binary: binary.clone(), arguments: arguments.clone(), position: index + 1 },
            );
        }
    }
    for line in lines {
        if !names.contains_key(line.exec_id()) {
            return Err(line.error(format!(
                "exec_id {:?} is not the base64 of node:start:pid",
                line.exec_id()
            )));
        }
    }
    Ok(names)
}

impl Line {
    fn parse(number: usize, text: &str) -> Result<Self, RecordingError> {
        let document: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| RecordingError::NotJson { line: number, source })?;
        let kinds: Vec<&String> =
            document.keys().filter(|key| key.starts_with("process_")).collect();
        let [kind] = kinds[..] else {
            return Err(RecordingError::NotAnEvent {
                line: number,
                what: format!("has {} event keys, expected one", kinds.len()),
            });
        };
        Ok(Self { number, kind: kind.clone(), document })
    }

    fn error(&self, what: String) -> RecordingError {
        RecordingError::NotAnEvent { line: self.number, what }
    }

    fn body(&self) -> &Value {
        self.document.get(&self.kind).unwrap_or(&Value::Null)
    }

    fn process(&self) -> &Value {
        self.body().get("process").unwrap_or(&Value::Null)
    }

    fn exec_id(&self) -> &str {
        text_of(self.process(), "exec_id")
    }

    fn parent_exec_id(&self) -> &str {
        text_of(self.process(), "parent_exec_id")
    }

    fn decoded_exec_id(&self) -> Result<ExecId, RecordingError> {
        decode_exec_id(self.exec_id()).ok_or_else(|| self.error("no exec_id".to_owned()))
    }

    fn starts_trigger(&self) -> bool {
        self.kind == "process_exec"
            && text_of(self.process(), "binary") == TRIGGER
            && self
                .body()
                .get("parent")
                .is_some_and(|parent| text_of(parent, "arguments") == STARTER)
    }

    fn masked(&self, id: &ExecId, names: &BTreeMap<String, Name>) -> Event {
        let mut value = Value::Object(self.document.clone());
        mask_value(&mut value, "", names);
        if text_of(&value, "node_name") != id.node {
            value["node_name"] =
                json!(format!("{} but exec_id says {}", text_of(&value, "node_name"), id.node));
        }
        let mut event = Event { kind: self.kind.clone(), value };
        races::settle(&names[self.exec_id()], &mut event);
        event
    }
}

fn mask_value(value: &mut Value, key: &str, names: &BTreeMap<String, Name>) {
    match value {
        Value::Object(fields) => {
            if matches!(key, "process" | "parent") {
                mask_process(fields, names);
            }
            for (key, value) in fields.iter_mut() {
                mask_value(value, key, names);
            }
        }
        Value::Array(items) => {
            for item in items {
                mask_value(item, key, names);
            }
        }
        Value::String(text) => {
            *value = json!(match key {
                "time" | "start_time" => mask::time(text),
                "arguments" => mask::dates(text),
                "cookie" => mask::cookie(text).map_or_else(|| text.clone(), str::to_owned),
                "path" => mask::inodes(text),
                _ => return,
            });
        }
        Value::Number(number) => {
            let mask = match key {
                // The peer's chosen port is the destination where a server's socket is shown.
                "sport" | "dport" => mask::chosen_port,
                "inum" => mask::namespace,
                _ => return,
            };
            if let Some(masked) = number.as_u64().and_then(mask) {
                *value = json!(masked);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Identifiers become the names of what they identify, so that they still must identify the same.
fn mask_process(fields: &mut Map<String, Value>, names: &BTreeMap<String, Name>) {
    let own_pid =
        fields.get("exec_id").and_then(Value::as_str).and_then(decode_exec_id).map(|id| id.pid);
    let pid = fields.get("pid").and_then(Value::as_u64);
    for key in ["exec_id", "parent_exec_id"] {
        let Some(exec_id) = fields.get(key).and_then(Value::as_str) else {
            continue;
        };
        let named = match names.get(exec_id) {
            Some(name) => name.to_string(),
            None => match decode_exec_id(exec_id) {
                Some(ExecId { pid: 0, .. }) => "<pid 0>".to_owned(),
                Some(_) => "<outside the trigger's tree>".to_owned(),
                None => exec_id.to_owned(),
            },
        };
        fields.insert(key.to_owned(), json!(named));
    }
    if let Some(tid) = fields.get("tid").and_then(Value::as_u64) {
        fields.insert(
            "tid".to_owned(),
            json!(if Some(tid) == pid { "<pid>" } else { "<another thread>" }),
        );
    }
    if pid.is_some() {
        fields.insert(
            "pid".to_owned(),
            json!(if pid == own_pid { "<pid>" } else { "<not the pid of exec_id>" }),
        );
    }
    fields.remove("refcnt");
}

fn text_of<'value>(value: &'value Value, key: &str) -> &'value str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn decode_exec_id(exec_id: &str) -> Option<ExecId> {
    let text = String::from_utf8(BASE64_STANDARD.decode(exec_id).ok()?).ok()?;
    let mut parts = text.rsplitn(3, ':');
    let pid = parts.next()?.parse().ok()?;
    let start = parts.next()?.parse().ok()?;
    Some(ExecId { node: parts.next()?.to_owned(), start, pid })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_exec_id_is_taken_apart() {
        let id = decode_exec_id("Z29sZG5vZGU6MzE3ODEwNTQ5NTg6MTU3").unwrap();
        assert_eq!((id.node.as_str(), id.start, id.pid), ("goldnode", 31_781_054_958, 157));
        assert!(decode_exec_id("Z29sZG5vZGU").is_none());
        assert!(decode_exec_id("").is_none());
        assert!(decode_exec_id("!!!!").is_none());
    }

    #[test]
    fn lines_that_are_no_events_are_named() {
        assert!(Recording::parse("{").unwrap_err().to_string().starts_with("line 1: not JSON"));
        assert_eq!(
            Recording::parse("{\"time\":\"\"}").unwrap_err().to_string(),
            "line 1: has 0 event keys, expected one"
        );
        assert!(matches!(Recording::parse("\n").unwrap_err(), RecordingError::NoTrigger));
    }
}
