//! The SQL of an alert.

use jiff::Timestamp;
use securitywatch_api::columns::SEED_EVENT_TYPE;

use super::columns::{EVENT_ID, EVENT_TYPE, Kind, Schema};
use crate::desired::DesiredAlert;

/// The name of the one aggregate. The server reads the value by its alias.
pub(crate) const VALUE: &str = "alert_value";

/// Columns shown in a notification. The message of an alert grows by a line for each group.
const MAX_GROUPS: usize = 5;

/// Counts the events that match, by the columns of the message: their values are all of an event that a notification
/// shows. Columns that are not there, or that would print as `null`, make no group.
pub(crate) fn alert_query(stream: &str, alert: &DesiredAlert, schema: &Schema) -> String {
    query(stream, alert, schema, None)
}

/// The same over a time that is over, to see whether an alert should have fired. The condition on the time is explicit,
/// because the server does not filter the rows of the current minute by the time it is asked for.
pub(crate) fn window_query(
    stream: &str,
    alert: &DesiredAlert,
    schema: &Schema,
    from: Timestamp,
    to: Timestamp,
) -> String {
    query(stream, alert, schema, Some((from, to)))
}

fn query(
    stream: &str,
    alert: &DesiredAlert,
    schema: &Schema,
    window: Option<(Timestamp, Timestamp)>,
) -> String {
    let groups: Vec<String> = alert
        .message
        .columns()
        .into_iter()
        .filter(|column| matches!(schema.kind(column), Some(Kind::Text | Kind::Number)))
        .take(MAX_GROUPS)
        .map(identifier)
        .collect();
    let mut sql = String::from("SELECT ");
    for group in &groups {
        sql.push_str(group);
        sql.push_str(", ");
    }
    // A batch that is delivered twice counts once.
    match schema.kind(EVENT_ID) {
        Some(Kind::Text) => sql.push_str(&format!("COUNT(DISTINCT {})", identifier(EVENT_ID))),
        _ => sql.push_str("COUNT(*)"),
    }
    sql.push_str(&format!(" AS {} FROM {} WHERE (", identifier(VALUE), identifier(stream)));
    sql.push_str(&alert.rule.to_sql());
    sql.push(')');
    if schema.kind(EVENT_TYPE) == Some(Kind::Text) {
        // Not `<>`: that would leave out rows of shippers that know no such column.
        let column = identifier(EVENT_TYPE);
        // In parentheses: DataFusion's parser takes an AND that follows for a part of what is distinct.
        sql.push_str(&format!(" AND ({column} IS DISTINCT FROM '{SEED_EVENT_TYPE}')"));
    }
    if let Some((from, to)) = window {
        sql.push_str(&format!(
            " AND \"p_timestamp\" >= TIMESTAMP '{from}' AND \"p_timestamp\" < TIMESTAMP '{to}'"
        ));
    }
    if !groups.is_empty() {
        sql.push_str(&format!(" GROUP BY {}", groups.join(", ")));
    }
    sql
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use securitywatch_api::rule::{self, Template};
    use securitywatch_api::v1alpha1::Severity;
    use serde_json::json;

    use super::*;

    fn alert(message: &str) -> DesiredAlert {
        DesiredAlert {
            name: "a".into(),
            severity: Severity::High,
            message: Template::parse(message).unwrap(),
            rule: rule::parse(r#"binary =% "it's" or pid > 3"#).unwrap(),
            targets: Vec::new(),
        }
    }

    fn schema(columns: &[(&str, &str)]) -> Schema {
        let fields: Vec<_> =
            columns.iter().map(|(name, kind)| json!({"name": name, "data_type": kind})).collect();
        Schema::read(serde_json::from_value(json!({"fields": fields})).unwrap())
    }

    #[test]
    fn messages_become_groups_and_deliveries_count_once() {
        let full = schema(&[
            ("binary", "Utf8"),
            ("pid", "Float64"),
            ("pod", "Utf8"),
            ("host", "Boolean"),
            ("event_id", "Utf8"),
            ("event_type", "Utf8"),
        ]);
        assert_eq!(
            alert_query("tetrademo", &alert("{pod} {pid} {host} {nosuch}"), &full),
            "SELECT \"pid\", \"pod\", COUNT(DISTINCT \"event_id\") AS \"alert_value\" FROM \"tetrademo\" \
             WHERE (strpos(\"binary\", 'it''s') > 0 OR \"pid\" > 3) \
             AND (\"event_type\" IS DISTINCT FROM 'securitywatch.seed') GROUP BY \"pid\", \"pod\""
        );
    }

    #[test]
    fn a_stream_without_our_columns_is_counted_row_by_row() {
        assert_eq!(
            alert_query("s", &alert("shadow was read"), &Schema::default()),
            "SELECT COUNT(*) AS \"alert_value\" FROM \"s\" WHERE (strpos(\"binary\", 'it''s') > 0 OR \"pid\" > 3)"
        );
    }

    #[test]
    fn at_most_five_groups() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let full = schema(&names.map(|name| (name, "Utf8")));
        let message: String = names.iter().map(|name| format!("{{{name}}}")).collect();
        let sql = alert_query("s", &alert(&message), &full);
        assert!(sql.ends_with("GROUP BY \"a\", \"b\", \"c\", \"d\", \"e\""), "{sql}");
    }

    #[test]
    fn a_window_is_in_the_query_itself() {
        let (from, to) = ("2026-11-22T01:00:00Z", "2026-11-22T01:06:00Z");
        let sql = window_query(
            "s",
            &alert(""),
            &Schema::default(),
            from.parse().unwrap(),
            to.parse().unwrap(),
        );
        assert!(
            sql.ends_with(&format!(
                " AND \"p_timestamp\" >= TIMESTAMP '{from}' AND \"p_timestamp\" < TIMESTAMP '{to}'"
            )),
            "{sql}"
        );
    }
}
