//! When two answers are the same. Everything is compared exactly but for the rules named here.

use std::io::Read;

use serde_json::Value;

use crate::client::Answer;
use crate::recording::{Request, Response};

/// The day of the recording: a time of it is the server's clock, not data. The stand-in's clock is set to
/// that day, so a time of another day is still a difference.
const RECORDED_DAY: [&str; 2] = ["2026-11-22T", "2026-11-22 "];

/// Identifiers, ports and directories of one installation (`/about`).
const INSTALLATION: [&str; 4] = ["deploymentId", "staging", "grpcPort", "path"];

/// Lists that come out of a hash map in the real server: of `/info`, and whole answers.
const UNORDERED: [&str; 2] = ["datasetLabels", "datasetTags"];
const UNORDERED_ANSWERS: [&str; 3] = ["/api/v1/logstream", "/api/v1/targets", "/api/v1/user"];

pub fn compare(
    request: &Request,
    expected: &Response,
    answer: Option<Answer>,
) -> Result<(), String> {
    let answer = match (expected.status, answer) {
        (None, None) => return Ok(()),
        (status, None) if aborts(status, &expected.body) => return Ok(()),
        (None, Some(answer)) => {
            return Err(format!("answered {}, expected a closed connection", answer.status));
        }
        (Some(status), None) => return Err(format!("closed the connection, expected {status}")),
        (Some(_), Some(answer)) => answer,
    };
    if Some(answer.status) != expected.status {
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(format!("status {}, expected {:?}: {body}", answer.status, expected.status));
    }
    for (name, value) in expected.headers.iter().flatten() {
        let got = answer.headers.get(name);
        let same = match name.as_str() {
            // Rule "elapsed": a duration, whatever it took.
            "p-time-elapsed" => got.is_some_and(|got| got.ends_with('s')),
            _ => got == Some(value),
        };
        if !same {
            return Err(format!("header {name}: {got:?}, expected {value:?}"));
        }
    }
    body(request, &expected.body, &answer)
}

/// Rule "abort": a dying server closes the connection, or gets out this one last word, by chance.
fn aborts(status: Option<u16>, body: &Value) -> bool {
    status == Some(500) && body == "Error: channel closed"
}

fn body(request: &Request, expected: &Value, answer: &Answer) -> Result<(), String> {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if let Some(judged) = described(request, expected, answer, &text) {
        return judged;
    }
    let is_json = answer.headers.get("content-type").is_some_and(|kind| kind == "application/json");
    match expected {
        // JSON that is one string is kept as that string.
        Value::String(_)
            if is_json && serde_json::from_str::<Value>(&text).ok().as_ref() == Some(expected) =>
        {
            Ok(())
        }
        Value::String(expected) if without_suggestion(&text) == without_suggestion(expected) => {
            Ok(())
        }
        Value::String(expected) => Err(format!("body {text:?}, expected {expected:?}")),
        expected => {
            let got: Value =
                serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
            same(&mut sorted(request, got), &mut sorted(request, expected.clone()), "")
        }
    }
}

/// Rule "described": the file keeps a description of a body too long to keep. None: it keeps the body.
fn described(
    request: &Request,
    expected: &Value,
    answer: &Answer,
    text: &str,
) -> Option<Result<(), String>> {
    let description = expected.as_str().unwrap_or_default();
    let number_of = |what: &str| description.strip_prefix('<')?.strip_suffix(what);
    let same = |got: String, expected: &str| {
        if got == expected { Ok(()) } else { Err(format!("{got}, expected {expected}")) }
    };
    if request.path == "/api/v1/metrics" && answer.status == 200 {
        // Rule "metrics": the recorded metrics are there, with their types.
        let mut types = description.lines().filter(|line| line.starts_with("# TYPE"));
        let missing = types.find(|line| !text.contains(*line));
        return Some(missing.map_or(Ok(()), |line| Err(format!("no line {line:?}"))));
    }
    if description == "<gzip bytes>" {
        return Some(is_gzip_of_json(&answer.body));
    }
    let got = || serde_json::from_str::<Value>(text).unwrap_or_default();
    let length = |list: &Value| list.as_array().map_or(0, Vec::len).to_string();
    if let Some(count) = number_of(" fields>") {
        return Some(same(length(&got()["fields"]), count));
    }
    if let Some(count) = number_of(" items>") {
        return Some(same(length(&got()), count));
    }
    // A list of alerts by their titles.
    let titles = expected.as_array().filter(|titles| titles.first().is_some_and(Value::is_string));
    if let Some(titles) = titles.filter(|_| request.path == "/api/v1/alerts") {
        let got = got();
        let got: Vec<&Value> = got.as_array()?.iter().map(|alert| &alert["title"]).collect();
        return Some(same(format!("{got:?}"), &format!("{titles:?}")));
    }
    None
}

fn is_gzip_of_json(body: &[u8]) -> Result<(), String> {
    let mut plain = String::new();
    flate2::read::GzDecoder::new(body)
        .read_to_string(&mut plain)
        .map_err(|error| format!("no gzip: {error}"))?;
    serde_json::from_str::<Value>(&plain).map(drop).map_err(|error| error.to_string())
}

/// Rule "suggestion": of several functions with equally similar names the engine names one by chance.
fn without_suggestion(text: &str) -> &str {
    text.split_once("Did you mean").map_or(text, |(before, _)| before)
}

/// Rule "unordered".
fn sorted(request: &Request, mut body: Value) -> Value {
    if UNORDERED_ANSWERS.contains(&request.path.as_str())
        && let Some(list) = body.as_array_mut()
    {
        list.sort_by_key(ToString::to_string);
    }
    body
}

fn same(got: &mut Value, expected: &mut Value, path: &str) -> Result<(), String> {
    let key = path.rsplit('.').next().unwrap_or_default();
    match (&mut *got, &mut *expected) {
        // Rule "installation".
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_))
            if INSTALLATION.contains(&key) =>
        {
            return Ok(());
        }
        // Rule "clock": another time of that day in the same format.
        (Value::String(got), Value::String(expected))
            if RECORDED_DAY.iter().any(|day| expected.starts_with(day) && got.starts_with(day)) =>
        {
            let shape = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
            if shape(got) == shape(expected) {
                return Ok(());
            }
        }
        (Value::Object(got), Value::Object(expected)) => {
            let (names, wanted): (Vec<_>, Vec<_>) =
                (got.keys().cloned().collect(), expected.keys().cloned().collect());
            if names != wanted {
                return Err(format!("keys of {path:?}: {names:?}, expected {wanted:?}"));
            }
            return names.iter().try_for_each(|name| {
                same(&mut got[name], &mut expected[name], &format!("{path}.{name}"))
            });
        }
        (Value::Array(got), Value::Array(expected)) if got.len() == expected.len() => {
            if UNORDERED.contains(&key) {
                got.sort_by_key(ToString::to_string);
                expected.sort_by_key(ToString::to_string);
            }
            let pairs = got.iter_mut().zip(expected.iter_mut());
            return pairs.enumerate().try_for_each(|(index, (got, expected))| {
                same(got, expected, &format!("{path}[{index}]"))
            });
        }
        _ => {}
    }
    if got == expected { Ok(()) } else { Err(format!("{path:?}: {got}, expected {expected}")) }
}
