//! An alert: what a client gives, what the server keeps and shows.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ulid::Ulid;

use crate::answer::Answer;

const MAX_OTHER_FIELDS: usize = 10;

/// The server's own fields: removed without a word where a client gives them.
const RESERVED: [&str; 7] =
    ["version", "id", "state", "notificationState", "created", "lastTriggeredAt", "datasets"];

/// The body of POST and PUT.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    #[serde(default)]
    pub(crate) severity: Severity,
    pub(crate) title: String,
    pub(crate) query: String,
    #[serde(default)]
    pub(crate) query_type: QueryType,
    #[serde(default)]
    pub(crate) alert_type: AlertType,
    #[serde(default)]
    anomaly_config: Value,
    #[serde(default)]
    forecast_config: Value,
    pub(crate) threshold_config: Threshold,
    pub(crate) eval_config: EvalConfig,
    #[serde(default)]
    pub(crate) notification_config: NotificationConfig,
    pub(crate) targets: Vec<Ulid>,
    pub(crate) tags: Option<Vec<String>>,
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Critical,
    High,
    #[default]
    Medium,
    Low,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueryType {
    #[default]
    Builder,
    #[serde(alias = "sql")]
    Code,
    Promql,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlertType {
    #[default]
    Threshold,
    Anomaly,
    Forecast,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Threshold {
    pub(crate) operator: Operator,
    pub(crate) value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operator {
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = ">=")]
    GreaterOrEqual,
    #[serde(rename = "<=")]
    LessOrEqual,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum EvalConfig {
    RollingWindow(RollingWindow),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RollingWindow {
    pub(crate) eval_start: String,
    /// Ignored: always now.
    eval_end: String,
    pub(crate) eval_frequency: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct NotificationConfig {
    pub(crate) interval: u64,
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self { interval: 1 }
    }
}

/// In the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Triggered,
    NotTriggered,
    Disabled,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NotificationState {
    Notify,
    /// Until a time, or `indefinite`.
    Mute(String),
}

impl Severity {
    pub(crate) fn capitalised(self) -> &'static str {
        match self {
            Self::Critical => "Critical",
            Self::High => "High",
            Self::Medium => "Medium",
            Self::Low => "Low",
        }
    }
}

impl Operator {
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::Less => "<",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
        }
    }
}

impl Threshold {
    #[allow(clippy::float_cmp, reason = "the server compares counts so")]
    pub(crate) fn is_crossed_by(self, value: f64) -> bool {
        match self.operator {
            Operator::Greater => value > self.value,
            Operator::Less => value < self.value,
            Operator::Equal => value == self.value,
            Operator::NotEqual => value != self.value,
            Operator::GreaterOrEqual => value >= self.value,
            Operator::LessOrEqual => value <= self.value,
        }
    }
}

impl Request {
    pub(crate) fn window(&self) -> &RollingWindow {
        let EvalConfig::RollingWindow(window) = &self.eval_config;
        window
    }

    /// What a new alert must satisfy, beside its query and its targets.
    pub(crate) fn check_new(&mut self) -> Result<(), Answer> {
        self.check_type()?;
        match self.notification_config.interval {
            0 => return Err(Answer::bad_request("Notification interval cannot be 0")),
            interval if interval > self.window().eval_frequency => {
                return Err(Answer::bad_request(
                    "Notification interval cannot exceed evaluation frequency",
                ));
            }
            _ => {}
        }
        self.check_window()?;
        self.other.retain(|name, _| !RESERVED.contains(&name.as_str()));
        let found = self.other.len();
        if found > MAX_OTHER_FIELDS {
            return Err(Answer::bad_request(format!(
                "other_fields can contain at most {MAX_OTHER_FIELDS} fields, found {found}"
            )));
        }
        Ok(())
    }

    /// The same for a change, in other words.
    pub(crate) fn check_change(&self) -> Result<(), Answer> {
        self.check_type()?;
        let (interval, frequency) =
            (self.notification_config.interval, self.window().eval_frequency);
        if interval > frequency {
            return Err(Answer::bad_request(
                "Cannot perform this operation: evalFrequency should be greater than target repetition  interval",
            ));
        }
        if interval == 0 {
            // The real handler divides by it.
            return Err(Answer::HangUp);
        }
        self.check_window()
    }

    fn check_type(&self) -> Result<(), Answer> {
        let kind = match self.alert_type {
            AlertType::Threshold => return Ok(()),
            AlertType::Anomaly => "anomaly",
            AlertType::Forecast => "forecast",
        };
        Err(Answer::bad_request(format!("Upgrade to Parseable Enterprise for {kind} type alerts")))
    }

    fn check_window(&self) -> Result<(), Answer> {
        match humantime::parse_duration(&self.window().eval_start) {
            Ok(_) => Ok(()),
            Err(_) => Err(Answer::bad_request(
                "Cannot perform this operation: evalStart should be of type humantime",
            )),
        }
    }
}

/// An alert as the server keeps it.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) id: Ulid,
    pub(crate) config: Request,
    pub(crate) dataset: String,
    pub(crate) state: State,
    pub(crate) notification_state: NotificationState,
    pub(crate) created: DateTime<Utc>,
    pub(crate) last_triggered: Option<DateTime<Utc>>,
    /// Read from storage at a start of the server: its query is planned where no stream is.
    pub(crate) from_storage: bool,
    pub(crate) health: Health,
}

/// What the API does not show.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    pub(crate) evaluations: u64,
    pub(crate) failures_in_a_row: u32,
    pub(crate) last_error: Option<String>,
    /// When its task does something next; none while it does, and when it has ended.
    pub(crate) next: Option<DateTime<Utc>>,
}

impl Alert {
    /// The whole of it.
    pub(crate) fn show(&self) -> Value {
        let config = &self.config;
        let mut shown = json!({
            "version": "v2",
            "id": self.id,
            "severity": config.severity,
            "title": config.title,
            "query": config.query,
            "queryType": config.query_type,
            "datasets": [self.dataset],
            "alertType": config.alert_type,
            "anomalyConfig": config.anomaly_config,
            "forecastConfig": config.forecast_config,
            "thresholdConfig": config.threshold_config,
            "evalConfig": config.eval_config,
            "targets": config.targets,
            "state": self.state,
            "notificationState": self.notification_state,
            "notificationConfig": config.notification_config,
            "created": stamp(self.created),
            "tags": config.tags,
            "lastTriggeredAt": self.last_triggered.map(stamp),
        });
        self.add_other_fields(&mut shown);
        shown
    }

    /// A line of the list.
    pub(crate) fn summarize(&self) -> Value {
        let mut shown = json!({
            "title": self.config.title,
            "created": list_stamp(self.created),
            "alertType": self.config.alert_type,
            "notificationState": self.notification_state,
            "id": self.id,
            "severity": self.config.severity.capitalised(),
            "state": self.state,
            "datasets": [self.dataset],
        });
        if let Some(tags) = &self.config.tags {
            shown["tags"] = json!(tags);
        }
        if let Some(last) = self.last_triggered {
            shown["lastTriggeredAt"] = json!(list_stamp(last));
        }
        self.add_other_fields(&mut shown);
        shown
    }

    fn add_other_fields(&self, shown: &mut Value) {
        if let Value::Object(shown) = shown {
            shown.extend(self.config.other.clone());
        }
    }

    pub(crate) fn is_muted(&self, now: DateTime<Utc>) -> bool {
        match &self.notification_state {
            NotificationState::Notify => false,
            NotificationState::Mute(until) => match DateTime::parse_from_rfc3339(until) {
                Ok(until) => now < until,
                Err(_) => true,
            },
        }
    }
}

/// A time in an object.
pub(crate) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

/// A time in a list.
pub(crate) fn list_stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.9f UTC").to_string()
}
