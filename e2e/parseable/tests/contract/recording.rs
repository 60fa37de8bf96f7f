//! The recorded exchanges.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub struct Exchange {
    pub name: String,
    pub request: Option<Request>,
    pub response: Option<Response>,
    /// Of the observation "visibility over time": rows seen by window.
    pub same_minute: Option<BTreeMap<String, u64>>,
    /// What the server sent to a target.
    pub delivery: Option<Delivery>,
    #[serde(rename = "from_1.2_s_after_the_minute_boundary")]
    pub next_minute: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// As it stands in the file: the order of keys decides the columns in error texts.
    pub body: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
pub struct Response {
    /// None: the connection was closed without an answer.
    pub status: Option<u16>,
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub body: Value,
}

#[derive(Debug, Deserialize)]
pub struct Delivery {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

pub fn read(path: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Part of every time, so that it is printed in full as a real clock's are.
pub const ODD: Duration = Duration::from_nanos(123_456_789);

/// When the file was recorded: its queries end a minute after they were asked.
pub fn clock(file: &[Exchange]) -> Option<SystemTime> {
    let end = file.iter().find_map(|exchange| {
        let request = exchange.request.as_ref()?;
        let body: Value = serde_json::from_str(request.body.get()).ok()?;
        let end = body.get("endTime")?.as_str()?;
        DateTime::parse_from_rfc3339(end).ok()
    })?;
    Some(SystemTime::from(end) - Duration::from_secs(60) + ODD)
}
