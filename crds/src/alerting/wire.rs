//! What a probe reports to the operator, and the answer.
//!
//! A hit carries the values of the columns that the alert's message shows, and the operator fills them into the message
//! of the watch as it has it: a node that was broken into can lie about its own events, but cannot put words of
//! its own around them. Which node it is the operator takes from the token, never from here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rule::{Row, Value};

/// The audience of the token that a probe comes with: one for the API server is of no use here, nor this one there.
pub const AUDIENCE: &str = "securitywatch-operator";
/// Where hits are posted.
pub const HITS_PATH: &str = "/v1/hits";
/// Most hits in a report.
pub const MAX_HITS: usize = 256;
/// A report is not filled beyond this.
pub const FULL_BYTES: usize = 256 << 10;
/// The longest report that is read: a full one and one more hit, each character escaped.
pub const MAX_BYTES: usize = 2 << 20;
/// Longest text of a column, in bytes, and of all columns of a hit together.
const MAX_TEXT: (usize, usize) = (4 << 10, 64 << 10);

/// Hits of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HitReport {
    /// Must be the one that the token names.
    pub node: String,
    /// In the order they happened, at most [`MAX_HITS`].
    pub hits: Vec<ReportedHit>,
}

/// The answer to a [`HitReport`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HitAnswer {
    /// Places of hits that the operator has not done with: to be reported again in a moment. All others are done.
    pub pending: Vec<usize>,
}

/// An event that matched an alert's rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedHit {
    /// The watch's uid.
    pub watch: String,
    /// Of the spec that the rule stood in.
    pub generation: i64,
    /// The alert's name.
    pub alert: String,
    /// As in the stream. The same hit reported again has the same.
    pub event_id: String,
    /// `process_exec`, `process_exit` or `process_kprobe`
    pub event_type: String,
    /// When the kernel saw it, in nanoseconds since 1970.
    pub time_ns: i64,
    /// What the message shows; a column that is not here is absent from the event.
    pub columns: BTreeMap<String, Scalar>,
    /// Of the process's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Of the process's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Events it stands for: those with the same message that came within a moment are one hit.
    pub events: u64,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true`
    Bool(bool),
    /// `7`
    Number(f64),
    /// `"x"`
    Text(String),
}

impl ReportedHit {
    /// Takes over the columns that a message shows, cut to what a report has room for.
    #[must_use]
    pub fn columns<'a>(
        row: &impl Row,
        shown: impl IntoIterator<Item = &'a str>,
    ) -> BTreeMap<String, Scalar> {
        let mut left = MAX_TEXT.1;
        let value = |column: &'a str| {
            let scalar = match row.get(column)? {
                Value::Bool(value) => Scalar::Bool(value),
                Value::Number(value) => Scalar::Number(value),
                Value::Text(text) => {
                    let text = cut(text, MAX_TEXT.0.min(left));
                    left = left.saturating_sub(text.len());
                    Scalar::Text(text)
                }
            };
            Some((column.to_owned(), scalar))
        };
        shown.into_iter().filter_map(value).collect()
    }

    /// About how long it is as JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = |scalar: &Scalar| match scalar {
            Scalar::Text(text) => text.len(),
            Scalar::Number(_) | Scalar::Bool(_) => 8,
        };
        let columns = self.columns.iter().map(|(name, value)| name.len() + text(value) + 8);
        let rest = [&self.namespace, &self.pod, &self.binary];
        let rest = rest.into_iter().flatten().map(String::len).sum::<usize>();
        256 + self.alert.len() + rest + columns.sum::<usize>()
    }
}

impl Row for ReportedHit {
    fn get(&self, column: &str) -> Option<Value<'_>> {
        Some(match self.columns.get(column)? {
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Number(value) => Value::Number(*value),
            Scalar::Text(text) => Value::Text(text),
        })
    }
}

/// At most `most` bytes, with a mark where something is left out.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::rule::Template;

    struct Event(String);

    impl Row for Event {
        fn get(&self, column: &str) -> Option<Value<'_>> {
            match column {
                "pod" => Some(Value::Text(&self.0)),
                "pid" => Some(Value::Number(42.0)),
                "host" => Some(Value::Bool(true)),
                _ => None,
            }
        }
    }

    fn hit(pod: &str) -> ReportedHit {
        ReportedHit {
            watch: "u".into(),
            generation: 3,
            alert: "a".into(),
            event_id: "r-7".into(),
            event_type: "process_exec".into(),
            time_ns: 1_700_000_000_123_456_789,
            columns: ReportedHit::columns(&Event(pod.into()), ["host", "none", "pid", "pod"]),
            namespace: None,
            pod: Some("web-0".into()),
            binary: None,
            events: 1,
        }
    }

    #[test]
    fn the_message_is_the_same_on_both_sides() {
        let message = Template::parse("{pod} {pid} {host} {none}").unwrap();
        let sent = serde_json::to_string(&hit("web-0")).unwrap();
        let received: ReportedHit = serde_json::from_str(&sent).unwrap();
        assert_eq!(message.render(&received), message.render(&Event("web-0".into())));
        assert_eq!(received, hit("web-0"));
        assert_eq!(received.time_ns, 1_700_000_000_123_456_789);
    }

    #[test]
    fn what_the_wire_has_is_stable() {
        assert_eq!(
            serde_json::to_value(hit("w")).unwrap(),
            json!({"watch": "u", "generation": 3, "alert": "a", "eventId": "r-7", "eventType": "process_exec",
                   "timeNs": 1_700_000_000_123_456_789_i64, "columns": {"host": true, "pid": 42.0, "pod": "w"},
                   "pod": "web-0", "events": 1})
        );
    }

    #[test]
    fn a_process_cannot_make_a_hit_of_any_length() {
        let long = hit(&"ä".repeat(100_000));
        assert!(long.size() < 5000, "{}", long.size());
        assert!(serde_json::to_vec(&long).unwrap().len() < 5000);
        assert_eq!(cut("äää", 5), "ä…");
        assert_eq!(cut("x", 0), "…");
    }
}
