//! Finds the first difference between a recording and what was seen.
//!
//! Per process image, the sequence of events must be equal in kind, order, fields and values. Between processes
//! the order is free.

use serde_json::Value;
use thiserror::Error;

use super::recording::{Event, Name, Process, Recording};

/// The first thing that differs.
#[derive(Debug, Error, PartialEq)]
pub enum Difference {
    #[error("{process}: recorded, but not seen")]
    ProcessMissing { process: String },
    #[error("{process}: seen, but not recorded ({kinds})")]
    ProcessExtra { process: String, kinds: String },
    #[error("{process}: event {index}: recorded {event}, seen nothing")]
    EventMissing { process: String, index: usize, event: String },
    #[error("{process}: event {index}: recorded nothing, seen {event}")]
    EventExtra { process: String, index: usize, event: String },
    #[error("{process}: event {index} ({event}): {found}")]
    Field { process: String, index: usize, event: String, found: Box<FieldDifference> },
}

/// The first field of an event that differs; values as JSON, or `nothing`.
#[derive(Debug, PartialEq)]
pub struct FieldDifference {
    pub field: String,
    pub recorded: String,
    pub seen: String,
}

impl std::fmt::Display for FieldDifference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: recorded {}, seen {}", self.field, self.recorded, self.seen)
    }
}

/// Compares in the order of the recording.
///
/// # Errors
/// The first difference.
pub fn compare(recorded: &Recording, seen: &Recording) -> Result<(), Difference> {
    let pids = Pids { recorded, seen };
    for process in &recorded.processes {
        let counterpart = seen
            .process(&process.name)
            .ok_or_else(|| Difference::ProcessMissing { process: process.name.to_string() })?;
        compare_process(process, counterpart, &pids)?;
    }
    match seen.processes.iter().find(|process| recorded.process(&process.name).is_none()) {
        Some(extra) => Err(Difference::ProcessExtra {
            process: extra.name.to_string(),
            kinds: extra.events.iter().map(describe).collect::<Vec<_>>().join(", "),
        }),
        None => Ok(()),
    }
}

fn compare_process(recorded: &Process, seen: &Process, pids: &Pids<'_>) -> Result<(), Difference> {
    let process = || recorded.name.to_string();
    let (recorded, seen) = if recorded.events.iter().any(enforces) {
        (until_enforced(&recorded.events), until_enforced(&seen.events))
    } else {
        (recorded.events.iter().collect(), seen.events.iter().collect())
    };
    for (position, recorded) in recorded.iter().enumerate() {
        let index = position + 1;
        let Some(seen) = seen.get(position) else {
            return Err(Difference::EventMissing {
                process: process(),
                index,
                event: describe(recorded),
            });
        };
        if let Some(found) = first_difference(&recorded.value, &seen.value, &recorded.kind, pids) {
            return Err(Difference::Field {
                process: process(),
                index,
                event: describe(recorded),
                found: Box::new(found),
            });
        }
    }
    match seen.get(recorded.len()) {
        Some(extra) => Err(Difference::EventExtra {
            process: process(),
            index: recorded.len() + 1,
            event: describe(extra),
        }),
        None => Ok(()),
    }
}

/// The event says that the process was killed for it.
fn enforces(event: &Event) -> bool {
    event.value[&event.kind]["action"] == "KPROBE_ACTION_SIGKILL"
}

/// A killed process may do more or less before it dies: what counts are the events up to the enforcing one, and
/// how it ended.
fn until_enforced(events: &[Event]) -> Vec<&Event> {
    let enforcing = events.iter().position(enforces).map_or(events.len(), |position| position + 1);
    let (before, after) = events.split_at(enforcing);
    before.iter().chain(after.iter().filter(|event| event.kind == "process_exit")).collect()
}

/// `process_kprobe tcp_connect`
fn describe(event: &Event) -> String {
    match event.value[&event.kind]["function_name"].as_str() {
        Some(function) => format!("{} {function}", event.kind),
        None => event.kind.clone(),
    }
}

fn first_difference(
    recorded: &Value,
    seen: &Value,
    kind: &str,
    pids: &Pids<'_>,
) -> Option<FieldDifference> {
    let mut path = Vec::new();
    let (recorded, seen) = differ(recorded, seen, &mut path, pids)?;
    // The path reads better from inside the event.
    let inside = path.strip_prefix(&[kind.to_owned()][..]).unwrap_or(&path);
    let field =
        if inside.is_empty() { "kind".to_owned() } else { inside.join(".").replace(".[", "[") };
    Some(FieldDifference { field, recorded, seen })
}

/// The two values at the first place that differs, and the path to it.
fn differ(
    recorded: &Value,
    seen: &Value,
    path: &mut Vec<String>,
    pids: &Pids<'_>,
) -> Option<(String, String)> {
    match (recorded, seen) {
        (Value::Object(recorded), Value::Object(seen)) => {
            let mut keys: Vec<&String> = recorded
                .keys()
                .chain(seen.keys().filter(|key| !recorded.contains_key(*key)))
                .collect();
            // Inside the event first: a differing kind should not be reported as a differing time.
            keys.sort_by_key(|key| !key.starts_with("process_"));
            for key in keys {
                path.push(key.clone());
                match (recorded.get(key), seen.get(key)) {
                    (Some(recorded), Some(seen)) => {
                        if let Some(found) = differ(recorded, seen, path, pids) {
                            return Some(found);
                        }
                    }
                    (recorded, seen) => return Some((shown(recorded), shown(seen))),
                }
                path.pop();
            }
            None
        }
        (Value::Array(recorded), Value::Array(seen)) => {
            for index in 0..recorded.len().max(seen.len()) {
                path.push(format!("[{index}]"));
                match (recorded.get(index), seen.get(index)) {
                    (Some(recorded), Some(seen)) => {
                        if let Some(found) = differ(recorded, seen, path, pids) {
                            return Some(found);
                        }
                    }
                    (recorded, seen) => return Some((shown(recorded), shown(seen))),
                }
                path.pop();
            }
            None
        }
        _ if recorded == seen => None,
        _ if in_arguments(path) && pids.correspond(recorded, seen) => None,
        _ => Some((recorded.to_string(), seen.to_string())),
    }
}

fn in_arguments(path: &[String]) -> bool {
    path.iter().any(|step| step == "args")
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}

/// The pids of both runs, to accept one for the other where they are the same process.
struct Pids<'runs> {
    recorded: &'runs Recording,
    seen: &'runs Recording,
}

impl Pids<'_> {
    /// The values are equal but for pids, and each pid is the same process in its run.
    fn correspond(&self, recorded: &Value, seen: &Value) -> bool {
        match (recorded, seen) {
            (Value::Number(recorded), Value::Number(seen)) => recorded
                .as_u64()
                .zip(seen.as_u64())
                .is_some_and(|(recorded, seen)| self.same(recorded, seen)),
            (Value::String(recorded), Value::String(seen)) => {
                let (recorded, seen) = (pieces(recorded), pieces(seen));
                recorded.len() == seen.len()
                    && recorded.iter().zip(&seen).all(|(recorded, seen)| {
                        recorded == seen
                            || recorded
                                .parse()
                                .ok()
                                .zip(seen.parse().ok())
                                .is_some_and(|(recorded, seen)| self.same(recorded, seen))
                    })
            }
            _ => false,
        }
    }

    fn same(&self, recorded: u64, seen: u64) -> bool {
        let recorded: Option<&Name> = self.recorded.pids.get(&recorded);
        recorded.is_some() && recorded == self.seen.pids.get(&seen)
    }
}

/// A text cut into runs of digits and of anything else: `/proc/`, `157`, `/status`.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut digits = None;
    for (position, char) in text.char_indices() {
        let is_digit = char.is_ascii_digit();
        if digits.is_some_and(|before| before != is_digit) {
            pieces.push(&text[start..position]);
            start = position;
        }
        digits = Some(is_digit);
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests;
