//! The old generation (up to v1.7.3): one document of alerts for each stream.
//!
//! Nothing of it was recorded; it follows what is known of the documents' validation. No alert fires here.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answer, Reply, json, text};
use crate::columns::Columns;
use crate::rule_text::{self, Kind, Rule};
use crate::{Shared, body};

/// A document, as it is given and shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    version: Version,
    alerts: Vec<Alert>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Version {
    V1,
}

/// An `id` is taken and not shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alert {
    name: String,
    message: String,
    rule: AlertRule,
    targets: Vec<Target>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", content = "config", rename_all = "lowercase")]
enum AlertRule {
    Column(ColumnRule),
    Composite(Rule),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum ColumnRule {
    Numeric(NumericRule),
    Text(TextRule),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NumericRule {
    column: String,
    #[serde(default)]
    operator: rule_text::NumericOperator,
    value: serde_json::Number,
    #[serde(default = "once")]
    repeats: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextRule {
    column: String,
    #[serde(default)]
    operator: rule_text::TextOperator,
    #[serde(default)]
    ignore_case: bool,
    value: String,
    #[serde(default = "once")]
    repeats: u32,
}

fn once() -> u32 {
    1
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Target {
    Slack {
        endpoint: String,
        #[serde(default)]
        repeat: Repeat,
    },
    Webhook {
        endpoint: String,
        #[serde(default)]
        headers: std::collections::BTreeMap<String, String>,
        #[serde(default)]
        skip_tls_check: bool,
        #[serde(default)]
        repeat: Repeat,
    },
    Alertmanager {
        endpoint: String,
        #[serde(default)]
        skip_tls_check: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        username: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<String>,
        #[serde(default)]
        repeat: Repeat,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "RepeatText", into = "RepeatText")]
struct Repeat {
    interval: std::time::Duration,
    times: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct RepeatText {
    interval: String,
    #[serde(default = "five_times", skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

#[allow(clippy::unnecessary_wraps, reason = "the default of an optional field")]
fn five_times() -> Option<u32> {
    Some(5)
}

impl Default for Repeat {
    fn default() -> Self {
        Self { interval: std::time::Duration::from_secs(200), times: five_times() }
    }
}

impl TryFrom<RepeatText> for Repeat {
    type Error = humantime::DurationError;

    fn try_from(text: RepeatText) -> Result<Self, Self::Error> {
        Ok(Self { interval: humantime::parse_duration(&text.interval)?, times: text.times })
    }
}

impl From<Repeat> for RepeatText {
    fn from(repeat: Repeat) -> Self {
        let interval = humantime::format_duration(repeat.interval).to_string();
        Self { interval, times: repeat.times }
    }
}

/// Columns of a rule with what each must be.
impl AlertRule {
    fn columns(&self) -> Vec<(&str, Kind)> {
        match self {
            Self::Column(ColumnRule::Numeric(rule)) => vec![(&rule.column, Kind::Number)],
            Self::Column(ColumnRule::Text(rule)) => vec![(&rule.column, Kind::Text)],
            Self::Composite(rule) => rule.columns(),
        }
    }

    fn repeats(&self) -> u32 {
        match self {
            Self::Column(ColumnRule::Numeric(rule)) => rule.repeats,
            Self::Column(ColumnRule::Text(rule)) => rule.repeats,
            Self::Composite(_) => 1,
        }
    }
}

impl Document {
    pub(crate) fn show(&self) -> Value {
        json!(self)
    }

    fn check(&self, columns: &Columns) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for alert in &self.alerts {
            let name = &alert.name;
            if name.is_empty() {
                return Err("alert name cannot be empty".to_owned());
            }
            if !names.insert(name) {
                return Err(format!("alert name must be unique: {name}"));
            }
            if alert.message.is_empty() {
                return Err(format!("invalid alert {name}: message cannot be empty"));
            }
            if alert.targets.is_empty() {
                return Err(format!("invalid alert {name}: at least one target is required"));
            }
            if alert.rule.repeats() == 0 {
                return Err(format!("invalid alert {name}: repeats must be at least 1"));
            }
            alert.check_columns(columns)?;
        }
        Ok(())
    }
}

impl Alert {
    /// A rule's columns are looked at only when the message has one, as in the real server.
    fn check_columns(&self, columns: &Columns) -> Result<(), String> {
        let name = &self.name;
        let in_message = message_columns(&self.message);
        if in_message.is_empty() {
            return Ok(());
        }
        if let Some(missing) = in_message.iter().find(|column| !columns.contains_key(**column)) {
            return Err(format!("invalid alert {name}: column {missing} not in the schema"));
        }
        for (column, kind) in self.rule.columns() {
            match columns.get(column) {
                None => {
                    return Err(format!("invalid alert {name}: column {column} not in the schema"));
                }
                Some(data_type) if !kind.fits(data_type) => {
                    return Err(format!("invalid alert {name}: column {column} is {data_type}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// `{a}` and `{b}` of a message.
fn message_columns(message: &str) -> Vec<&str> {
    let pieces = message.split('{').skip(1);
    pieces.filter_map(|piece| piece.split_once('}').map(|(column, _)| column)).collect()
}

pub(crate) async fn get(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    let mut store = shared.store();
    match &store.get(&name)?.document {
        Some(document) if !document.alerts.is_empty() => json(&document.show()),
        _ => Err(Answer::Text(StatusCode::NOT_FOUND, "No alerts configured".to_owned())),
    }
}

/// Replaces the whole document.
pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let now = shared.now();
    let mut store = shared.store();
    let stream = store.get(&name)?;
    let document: Document = body::parse(&bytes)?;
    if stream.columns(now).is_empty() {
        return Err(Answer::Text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Log stream is not initialized, send an event to this logstream and try again"
                .to_owned(),
        ));
    }
    document.check(stream.columns(now)).map_err(Answer::bad_request)?;
    stream.document = Some(document);
    text(format!("set alert configuration for log stream {name}"))
}
