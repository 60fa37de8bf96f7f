//! Which columns the alerts of a watch need, and which of them the stream lacks.

use std::collections::{BTreeMap, BTreeSet};

use securitywatch_api::columns::{self, COLUMNS, Column, ColumnType, SEED_EVENT_TYPE};
use securitywatch_api::nearest::nearest;
use securitywatch_api::rule::{Expr, Test};
use serde_json::{Map, Value, json};

use crate::desired::DesiredAlert;
use crate::failure::{Failure, FailureClass};
use crate::wire::SchemaDocument;

/// Leaves seed rows and repeated deliveries out of the count.
pub(crate) const EVENT_TYPE: &str = "event_type";
/// The same on every delivery of one event.
pub(crate) const EVENT_ID: &str = "event_id";

/// What a column holds, as far as a query cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// Times, booleans, lists: nothing a rule compares, and printed as `null` in a notification.
    Other,
}

/// The columns of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Schema(BTreeMap<String, Kind>);

impl Schema {
    pub(crate) fn read(document: SchemaDocument) -> Self {
        let kind = |shown: &Value| match shown.as_str() {
            Some("Utf8" | "LargeUtf8" | "Utf8View") => Kind::Text,
            Some("Float64" | "Int64" | "UInt64" | "Float32" | "Int32") => Kind::Number,
            _ => Kind::Other,
        };
        Self(
            document.fields.into_iter().map(|field| (field.name, kind(&field.data_type))).collect(),
        )
    }

    pub(crate) fn kind(&self, column: &str) -> Option<Kind> {
        self.0.get(column).copied()
    }
}

/// The columns that a seed row gives the stream: those that the alerts name, the stream lacks and the probe
/// writes. Not all that the probe writes: somebody else's stream may be near the number of columns at which the server
/// refuses everything.
pub(crate) fn missing(schema: &Schema, alerts: &[DesiredAlert]) -> Vec<&'static Column> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    if !alerts.is_empty() {
        wanted.extend([EVENT_TYPE, EVENT_ID]);
    }
    for alert in alerts {
        wanted.extend(alert.rule.columns());
        wanted.extend(alert.message.columns());
    }
    wanted
        .into_iter()
        .filter(|name| schema.kind(name).is_none())
        .filter_map(columns::column)
        .collect()
}

/// One row that has `columns`, each with its type for ever: the same values that the probe seeds with.
pub(crate) fn seed_row(columns: &[&'static Column], owner_uid: &str, now: &str) -> Value {
    let mut row = Map::new();
    for column in columns {
        let value = match column.kind {
            // An empty text never looks like a time, whatever the column is called.
            ColumnType::Text => json!(""),
            ColumnType::Number => json!(0),
            ColumnType::Bool => json!(false),
            ColumnType::Time => json!(now),
        };
        row.insert(column.name.to_owned(), value);
    }
    row.insert(EVENT_TYPE.to_owned(), json!(SEED_EVENT_TYPE));
    row.insert(EVENT_ID.to_owned(), json!(format!("{owner_uid}-seed")));
    Value::Object(row)
}

/// Whether the rule can be asked of the stream.
///
/// # Errors
/// The first column that is not there, or holds another kind of value than the rule compares.
pub(crate) fn check_rule(schema: &Schema, stream: &str, rule: &Expr) -> Result<(), Failure> {
    let mut result = Ok(());
    rule.each_leaf(&mut |leaf| {
        let wanted = match leaf.test {
            Test::Text { .. } => Kind::Text,
            Test::Number { .. } => Kind::Number,
        };
        if result.is_ok() {
            result = match schema.kind(&leaf.column) {
                Some(found) if found == wanted => Ok(()),
                Some(found) => Err(other_kind(stream, &leaf.column, found, wanted)),
                None => Err(absent(stream, &leaf.column)),
            };
        }
    });
    result
}

fn absent(stream: &str, column: &str) -> Failure {
    let known = || COLUMNS.all.iter().map(|column| column.name);
    let hint = match nearest(column, known()) {
        _ if columns::column(column).is_some() => {
            "; the server did not take the row that would have made it".to_owned()
        }
        Some(near) => format!("; the probe writes no such column, did you mean {near}?"),
        None => {
            "; the probe writes no such column, so it comes only if something else does".to_owned()
        }
    };
    let message =
        format!("waiting for column {column}, which stream {stream} does not have yet{hint}");
    Failure::new(FailureClass::ColumnPending, message)
}

fn other_kind(stream: &str, column: &str, found: Kind, wanted: Kind) -> Failure {
    let word = |kind| match kind {
        Kind::Text => "a text",
        Kind::Number => "a number",
        Kind::Other => "neither text nor number",
    };
    let message = format!(
        "the rule compares {column} as {}, but in stream {stream} it is {}; change the rule, or name another stream in \
         target.parseable.stream",
        word(wanted),
        word(found)
    );
    Failure::new(FailureClass::AlertRejected, message)
}

#[cfg(test)]
mod tests {
    use securitywatch_api::rule::{self, Template};
    use securitywatch_api::v1alpha1::Severity;

    use super::*;

    fn schema(columns: &[(&str, &str)]) -> Schema {
        let fields: Vec<Value> = columns
            .iter()
            .map(|(name, kind)| json!({"name": name, "data_type": kind, "nullable": true}))
            .collect();
        Schema::read(serde_json::from_value(json!({"fields": fields, "metadata": {}})).unwrap())
    }

    fn alert(rule: &str, message: &str) -> DesiredAlert {
        DesiredAlert {
            name: "a".into(),
            severity: Severity::High,
            message: Template::parse(message).unwrap(),
            rule: rule::parse(rule).unwrap(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_new_stream_gets_what_the_alerts_name_and_no_more() {
        let alerts = [alert(
            r#"process_exec_process_binary =% "wget" and process_exec_process_pid > 1 and nosuch = 1"#,
            "{process_exec_process_pod_name} {event_time}",
        )];
        let columns = missing(&schema(&[("event_id", "Utf8")]), &alerts);
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        assert_eq!(
            names,
            [
                "event_time",
                "event_type",
                "process_exec_process_binary",
                "process_exec_process_pid",
                "process_exec_process_pod_name"
            ]
        );
        assert_eq!(
            seed_row(&columns, "uid", "2026-11-22T01:02:03Z"),
            json!({
                "event_type": "securitywatch.seed", "event_id": "uid-seed", "event_time": "2026-11-22T01:02:03Z",
                "process_exec_process_binary": "", "process_exec_process_pid": 0, "process_exec_process_pod_name": ""
            })
        );
        assert_eq!(missing(&schema(&[]), &[]), Vec::<&Column>::new());
    }

    #[test]
    fn a_rule_that_cannot_be_asked_says_why() {
        let schema = schema(&[("binary", "Utf8"), ("pid", "Float64"), ("tags", "List")]);
        let check = |rule: &str| check_rule(&schema, "tetrademo", &rule::parse(rule).unwrap());
        assert_eq!(check(r#"binary = "x" and pid > 3"#), Ok(()));
        for (rule, class, words) in [
            (
                r#"pid = "3""#,
                FailureClass::AlertRejected,
                "the rule compares pid as a text, but in stream tetrademo it is a number",
            ),
            (r#"tags = "3""#, FailureClass::AlertRejected, "neither text nor number"),
            ("nosuch = 3", FailureClass::ColumnPending, "so it comes only if something else does"),
            (
                r#"process_exec_proces_binary = "x""#,
                FailureClass::ColumnPending,
                "did you mean process_exec_process_binary?",
            ),
            (
                r#"binary = "x" and !(process_exec_process_binary = "x")"#,
                FailureClass::ColumnPending,
                "did not take the row",
            ),
        ] {
            let failure = check(rule).unwrap_err();
            assert_eq!(failure.class, class, "{rule}");
            assert!(failure.message.contains(words), "{rule}: {failure}");
        }
    }
}
