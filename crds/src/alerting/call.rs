//! What travels from a hit to a receiver.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::watch::Alert;

/// What all calls of one alert share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertFacts {
    /// The watch's name or title.
    pub watch: String,
    /// Where the event can be looked up.
    pub stream: Option<String>,
    /// The alert's name.
    pub name: String,
    /// `critical`, `high`, `medium` or `low`
    pub severity: &'static str,
    /// As text where the text form can say it, else as SQL.
    pub rule: String,
}

impl AlertFacts {
    /// The facts of an alert of `watch`.
    #[must_use]
    pub fn new(watch: String, stream: Option<String>, alert: &Alert) -> Self {
        Self {
            watch,
            stream,
            name: alert.name.clone(),
            severity: alert.severity.as_str(),
            // Only the text form cannot ignore case; SQL can say it.
            rule: alert.rule.to_text().unwrap_or_else(|_| alert.rule.to_sql()),
        }
    }
}

/// The event behind a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// The alert's, filled in.
    pub message: String,
    /// When the kernel saw it, in nanoseconds since 1970.
    pub time_ns: i64,
    /// The same in RFC 3339.
    pub time_text: String,
    /// The node's name.
    pub node: String,
    /// `process_exec`, `process_exit` or `process_kprobe`
    pub event_type: String,
    /// As in the stream.
    pub event_id: String,
    /// Of the process's pod.
    pub namespace: Option<String>,
    /// Of the process's pod.
    pub pod: Option<String>,
    /// Of the process.
    pub binary: Option<String>,
}

/// One call to make.
#[derive(Debug, Clone)]
pub struct Call {
    /// Of its alert.
    pub facts: Arc<AlertFacts>,
    /// The first hit it stands for.
    pub hit: Hit,
    /// 1 is the first call of a firing.
    pub number: u32,
    /// Events it stands for.
    pub hits: u64,
    /// Made at the moment of its hit, not at the end of an interval.
    pub at_once: bool,
}
