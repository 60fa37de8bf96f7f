//! When what a target received is what was recorded.

use std::collections::BTreeMap;

use crate::peers::Received;
use crate::recording::Delivery;
use crate::session::Session;

/// Empty when they are the same.
pub fn difference(session: &Session, received: &Received, expected: &Delivery) -> String {
    let headers: BTreeMap<String, String> = received
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), session.recorded(value)))
        .collect();
    let body = session.recorded(&received.body);
    if received.method != expected.method {
        return format!("method {}", received.method);
    }
    if headers != expected.headers {
        return format!("headers {headers:?}, expected {:?}", expected.headers);
    }
    if comparable(&body) != comparable(&expected.body) {
        return format!("body {body:?}, expected {:?}", expected.body);
    }
    String::new()
}

/// Rule "clock": times are another of that day in the same format. Rule "hash map": the order of groups and
/// of the columns in them is chance in the real server.
fn comparable(body: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut groups = Vec::new();
    for line in body.lines() {
        match line
            .split_once(". ")
            .and_then(|(number, rest)| Some((number, rest.split_once(" → ")?)))
        {
            Some((number, (labels, value))) if number.parse::<u32>().is_ok() => {
                let mut labels: Vec<&str> = labels.split(", ").collect();
                labels.sort_unstable();
                groups.push(format!("{} → {value}", labels.join(", ")));
            }
            _ => lines.push(without_times(line)),
        }
    }
    groups.sort();
    lines.extend(groups);
    lines
}

fn without_times(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find("2026-11-22T") {
        let (before, time) = rest.split_at(start);
        let end = time.find(|c: char| !(c.is_ascii_digit() || "T:.+-Z".contains(c)));
        let (time, after) = time.split_at(end.unwrap_or(time.len()));
        out.push_str(before);
        out.push_str(&time.replace(|c: char| c.is_ascii_digit(), "0"));
        rest = after;
    }
    out + rest
}
