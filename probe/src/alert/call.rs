//! What travels from a hit to a receiver and back.

use crate::event::WallTime;
use securitywatch_api::rule::{Row, Value};
use std::sync::Arc;
use std::time::Duration;

/// What all calls of one alert share.
#[derive(Debug)]
pub(super) struct AlertFacts {
    pub watch: String,
    pub stream: Option<String>,
    pub name: String,
    pub severity: &'static str,
    pub rule: String,
}

/// The event behind a call.
#[derive(Debug, Clone, Default)]
pub(super) struct Hit {
    pub message: String,
    pub time: WallTime,
    /// RFC 3339
    pub time_text: String,
    pub node: String,
    pub event_type: &'static str,
    pub event_id: String,
    pub namespace: Option<String>,
    pub pod: Option<String>,
    pub binary: Option<String>,
}

impl Hit {
    pub fn describe(
        row: &crate::encode::flatten::Row<'_>,
        time: WallTime,
        message: String,
    ) -> Self {
        let text = |column: &str| match row.get(column) {
            Some(Value::Text(text)) => Some(text.to_owned()),
            _ => None,
        };
        let kind = row.kind();
        let of_process = |what: &str| text(&format!("{kind}_process_{what}"));
        Self {
            message,
            time,
            time_text: text("event_time").unwrap_or_default(),
            node: text("node_name").unwrap_or_default(),
            event_type: kind,
            event_id: text("event_id").unwrap_or_default(),
            namespace: of_process("pod_namespace"),
            pod: of_process("pod_name"),
            binary: of_process("binary"),
        }
    }
}

/// One call to make.
#[derive(Debug)]
pub(super) struct Call {
    pub facts: Arc<AlertFacts>,
    pub hit: Hit,
    pub number: u32,
    pub hits: u64,
    pub at_once: bool,
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
