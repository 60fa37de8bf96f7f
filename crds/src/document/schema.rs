//! Checks a document's shape against the same schema the cluster uses.
//!
//! serde alone would stop at the first mistake and know no position. What passes here is what the API
//! server would let pass: fields, types, words, lengths and bounds.

use serde_json::{Map, Value};

use super::error::Report;
use super::node::{Content, Entry, Node};
use crate::field::FieldPath;
use crate::nearest::nearest;

/// Most words listed in a message; beyond, only the nearest is named.
const LISTED_WORDS: usize = 12;

/// Reports everything in `node`, which stands at `path`, that `schema` does not allow.
pub(super) fn check(node: &Node, schema: &Value, path: &FieldPath, report: &mut Report) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    let Some(kind) = schema.get("type").and_then(Value::as_str) else {
        return;
    };
    match (&node.content, kind) {
        (Content::Map(entries), "object") => check_map(node, entries, schema, path, report),
        (Content::List(items), "array") => check_list(node, items, schema, path, report),
        (Content::Scalar(value), _) if fits(value, kind) => {
            check_scalar(node, value, schema, path, report)
        }
        // A password must not show in a message.
        (content, _) if schema.get("format").and_then(Value::as_str) == Some("password") => {
            report.add(
                node.position,
                path,
                format!("{} is given, {} is expected", given(content), name(kind)),
            );
        }
        (content, _) => report.add(node.position, path, wrong_type(content, kind)),
    }
}

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        _ => false,
    }
}

fn wrong_type(content: &Content, kind: &str) -> String {
    match (content, kind) {
        (Content::Scalar(Value::Null), _) => {
            format!("the value is missing: {} is expected", name(kind))
        }
        (Content::Scalar(Value::Number(number)), "string") => {
            format!("{number} is a number, a string is expected: write \"{number}\"")
        }
        (Content::Scalar(Value::Bool(value)), "string") => {
            format!("{value} is a boolean, a string is expected: write \"{value}\"")
        }
        (Content::Scalar(Value::String(text)), "integer" | "number")
            if text.parse::<i64>().is_ok() =>
        {
            format!("{text:?} is a string, a number is expected: write {text}")
        }
        (Content::Scalar(Value::String(text)), "boolean") if text == "true" || text == "false" => {
            format!("{text:?} is a string, true or false is expected: write {text}")
        }
        (Content::Map(_), "array") => {
            "a map is given, a list is expected: begin each item with \"- \"".to_owned()
        }
        _ => format!("{} is given, {} is expected", given(content), name(kind)),
    }
}

const fn given(content: &Content) -> &'static str {
    match content {
        Content::Scalar(Value::Bool(_)) => "a boolean",
        Content::Scalar(Value::Number(_)) => "a number",
        Content::Scalar(_) => "a string",
        Content::List(_) => "a list",
        Content::Map(_) => "a map",
    }
}

fn name(kind: &str) -> &str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a string",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        other => other,
    }
}

fn check_map(
    node: &Node,
    entries: &[Entry],
    schema: &Map<String, Value>,
    path: &FieldPath,
    report: &mut Report,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let values = schema.get("additionalProperties").filter(|values| values.is_object());
    for entry in entries {
        let path = path.field(&entry.key);
        match (properties.and_then(|known| known.get(&entry.key)), values) {
            // The API server drops a null field before it looks further.
            (Some(_), _) if entry.value.is_null() => {}
            (Some(schema), _) => check(&entry.value, schema, &path, report),
            (None, Some(schema)) => check(&entry.value, schema, &path, report),
            (None, None) => {
                report.add(entry.key_position, &path, unknown_field(&entry.key, properties));
            }
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for field in required.filter_map(Value::as_str) {
        if node.get(field).is_none_or(Node::is_null) {
            report.add(node.position, &path.field(field), format!("{field} is missing"));
        }
    }
    if let Some(most) = bound(schema, "maxProperties").filter(|most| entries.len() as i64 > *most) {
        report.add(
            node.position,
            path,
            format!("{} entries, at most {most} are possible", entries.len()),
        );
    }
}

fn unknown_field(field: &str, known: Option<&Map<String, Value>>) -> String {
    let known: Vec<&str> = known.into_iter().flatten().map(|(field, _)| field.as_str()).collect();
    match nearest(field, known.iter().copied()) {
        Some(near) => format!("unknown field {field:?}: did you mean {near}?"),
        None if known.is_empty() => format!("unknown field {field:?}: nothing can stand here"),
        None if known.len() <= LISTED_WORDS => {
            format!("unknown field {field:?}: here can stand {}", known.join(", "))
        }
        None => format!("unknown field {field:?}"),
    }
}

fn check_list(
    node: &Node,
    items: &[Node],
    schema: &Map<String, Value>,
    path: &FieldPath,
    report: &mut Report,
) {
    let count = items.len() as i64;
    if let Some(most) = bound(schema, "maxItems").filter(|most| count > *most) {
        report.add(node.position, path, format!("{count} items, at most {most} are possible"));
    }
    if let Some(least) = bound(schema, "minItems").filter(|least| count < *least) {
        report.add(node.position, path, format!("{count} items, at least {least} must be given"));
    }
    if let Some(item_schema) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check(item, item_schema, &path.index(index), report);
        }
    }
    let keys =
        schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten();
    for key in keys.filter_map(Value::as_str) {
        check_unique(items, key, path, report);
    }
}

fn check_unique(items: &[Node], key: &str, path: &FieldPath, report: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(value) = item.get(key) else { continue };
        let Some(text) = value.text() else { continue };
        if seen.contains(&text) {
            let path = path.index(index).field(key);
            report.add(
                value.position,
                &path,
                format!("{text:?} is taken by an earlier item of the list"),
            );
        }
        seen.push(text);
    }
}

fn check_scalar(
    node: &Node,
    value: &Value,
    schema: &Map<String, Value>,
    path: &FieldPath,
    report: &mut Report,
) {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        if !words.contains(value) {
            report.add(node.position, path, unknown_word(value, words));
        }
        return;
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as i64;
        if let Some(most) = bound(schema, "maxLength").filter(|most| length > *most) {
            report.add(
                node.position,
                path,
                format!("{length} characters, at most {most} are possible"),
            );
        }
        if let Some(least) = bound(schema, "minLength").filter(|least| length < *least) {
            let message = match length {
                0 => "the value is empty".to_owned(),
                _ => format!("{length} characters, at least {least} must be given"),
            };
            report.add(node.position, path, message);
        }
    }
    if let Some(number) = value.as_i64() {
        let least = bound(schema, "minimum").or_else(|| format_minimum(schema));
        let most = bound(schema, "maximum").or_else(|| format_maximum(schema));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            report.add(node.position, path, out_of_range(number, least, most));
        }
    }
}

fn out_of_range(number: i64, least: Option<i64>, most: Option<i64>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("{number} is out of range: {least} to {most}"),
        (Some(least), None) => format!("{number} is out of range: at least {least}"),
        (_, most) => format!("{number} is out of range: at most {}", most.unwrap_or(i64::MAX)),
    }
}

fn unknown_word(value: &Value, words: &[Value]) -> String {
    let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
    let text = value.as_str().unwrap_or_default();
    match nearest(text, words.iter().copied()) {
        Some(near) if words.len() > LISTED_WORDS => {
            format!("{value} is not known: did you mean {near}?")
        }
        _ => format!("{value} is not known: one of {}", words.join(", ")),
    }
}

/// A bound; the schema's generator writes some of them as floats.
fn bound(schema: &Map<String, Value>, keyword: &str) -> Option<i64> {
    let value = schema.get(keyword)?;
    value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
}

fn format_minimum(schema: &Map<String, Value>) -> Option<i64> {
    (schema.get("format")?.as_str()? == "int32").then_some(i64::from(i32::MIN))
}

fn format_maximum(schema: &Map<String, Value>) -> Option<i64> {
    (schema.get("format")?.as_str()? == "int32").then_some(i64::from(i32::MAX))
}
