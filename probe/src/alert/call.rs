//! From a row to the hit that a call tells of, and what became of the call.

use crate::encode::flatten::Row;
use crate::event::WallTime;
use securitywatch_api::alerting::Hit;
use securitywatch_api::rule::Value;
use std::time::Duration;

/// A text of the row.
pub(super) fn text(row: &Row<'_>, column: &str) -> Option<String> {
    match row.value(column) {
        Some(Value::Text(text)) => Some(text.to_owned()),
        _ => None,
    }
}

/// A text of the event's process.
pub(super) fn of_process(row: &Row<'_>, what: &str) -> Option<String> {
    text(row, &format!("{}_process_{what}", row.kind()))
}

pub(super) fn describe(row: &Row<'_>, time: WallTime, message: String) -> Hit {
    Hit {
        message,
        time_ns: time.0,
        time_text: text(row, "event_time").unwrap_or_default(),
        node: text(row, "node_name").unwrap_or_default(),
        event_type: row.kind().to_owned(),
        event_id: text(row, "event_id").unwrap_or_default(),
        namespace: of_process(row, "pod_namespace"),
        pod: of_process(row, "pod_name"),
        binary: of_process(row, "binary"),
    }
}

/// What became of one call.
#[derive(Debug, Clone)]
pub struct AlertReport {
    pub watch: String,
    pub alert: String,
    pub severity: &'static str,
    pub message: String,
    /// `webhook`, `slack` or `alertmanager`
    pub target: &'static str,
    /// 1 is the first call of a firing.
    pub call: u32,
    /// Events the call stood for.
    pub hits: u64,
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx.
    Sent {
        status: u16,
        /// From the event to the answer.
        latency: Duration,
    },
    /// Given up, with the last reason.
    Failed { reason: String, attempts: u32 },
}

impl std::fmt::Display for AlertReport {
    /// The outcome: `webhook 200 in 84 ms`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.outcome {
            Outcome::Sent { status, latency } => {
                write!(f, "{} {status} in {} ms", self.target, latency.as_millis())?;
            }
            Outcome::Failed { reason, attempts: 1 } => write!(f, "{} {reason}", self.target)?,
            Outcome::Failed { reason, attempts } => {
                write!(f, "{} {reason}; gave up after {attempts} attempts", self.target)?;
            }
        }
        match (self.call, self.hits) {
            (1, _) => Ok(()),
            (call, 1) => write!(f, " (call {call})"),
            (call, hits) => write!(f, " (call {call}, {hits} hits)"),
        }
    }
}
