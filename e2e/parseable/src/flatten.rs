//! From events to flat rows: arrays make rows, objects make `_`-joined names.

use serde_json::{Map, Value};

use crate::answer::Answer;

/// Objects nested deeper than this keep their arrays as lists.
const MAX_LEVELS: usize = 10;

/// The rows of an ingested document. How many objects it held stands beside them.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) events: usize,
    pub(crate) rows: Vec<Map<String, Value>>,
}

/// An object, or an array of objects.
pub(crate) fn rows(document: Value) -> Result<Rows, Answer> {
    let mut out = Rows::default();
    match document {
        Value::Object(event) => add(event, &mut out)?,
        Value::Array(events) => {
            if holds_nothing(&events) {
                // The real server panics here.
                return Err(Answer::HangUp);
            }
            for event in events {
                match event {
                    Value::Object(event) => add(event, &mut out)?,
                    Value::Array(_) => {
                        return Err(Answer::not_recorded("an ingested array of arrays"));
                    }
                    _ => return Err(not_an_object()),
                }
            }
        }
        _ => return Err(not_an_object()),
    }
    Ok(out)
}

/// `[]` and `[[]]`.
fn holds_nothing(events: &[Value]) -> bool {
    events.iter().all(|event| matches!(event, Value::Array(inner) if holds_nothing(inner)))
}

fn not_an_object() -> Answer {
    Answer::bad_request("Invalid Request: Expected object in array of objects")
}

fn add(event: Map<String, Value>, out: &mut Rows) -> Result<(), Answer> {
    out.events += 1;
    let exploded = if levels(&event) > MAX_LEVELS { vec![event] } else { explode(event) };
    for object in exploded {
        let mut row = Map::new();
        join("", object, &mut row)?;
        out.rows.push(without_at(row)?);
    }
    Ok(())
}

/// Levels of objects below this one.
fn levels(object: &Map<String, Value>) -> usize {
    let inner = object.values().filter_map(Value::as_object);
    inner.map(|inner| 1 + levels(inner)).max().unwrap_or(0)
}

/// Each element of each array makes an object of its own; several arrays multiply.
fn explode(object: Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut made = vec![Map::new()];
    for (key, value) in object {
        let mut variants = variants(value);
        if variants.len() == 1 {
            let only = variants.swap_remove(0);
            for object in &mut made {
                object.insert(key.clone(), only.clone());
            }
            continue;
        }
        let mut multiplied = Vec::with_capacity(made.len() * variants.len());
        for variant in &variants {
            for object in &made {
                let mut object = object.clone();
                object.insert(key.clone(), variant.clone());
                multiplied.push(object);
            }
        }
        made = multiplied;
    }
    made
}

fn variants(value: Value) -> Vec<Value> {
    match value {
        Value::Object(object) => explode(object).into_iter().map(Value::Object).collect(),
        Value::Array(items) if !items.is_empty() => items.into_iter().flat_map(variants).collect(),
        other => vec![other],
    }
}

/// Names joined by `_`. Where a nested name meets a flat one of the same spelling, the nested wins.
fn join(
    prefix: &str,
    object: Map<String, Value>,
    row: &mut Map<String, Value>,
) -> Result<(), Answer> {
    let mut nested = Vec::new();
    for (key, value) in object {
        let name = if prefix.is_empty() { key } else { format!("{prefix}_{key}") };
        match value {
            Value::Object(inner) => nested.push((name, inner)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                lists(&name, items, row)?;
            }
            other => {
                row.insert(name, other);
            }
        }
    }
    for (name, inner) in nested {
        join(&name, inner, row)?;
    }
    Ok(())
}

/// An array of objects that was too deep to make rows: one list for each key.
fn lists(name: &str, items: Vec<Value>, row: &mut Map<String, Value>) -> Result<(), Answer> {
    let length = items.len();
    let mut columns: Map<String, Value> = Map::new();
    for (index, item) in items.into_iter().enumerate() {
        let Value::Object(object) = item else {
            return Err(Answer::not_recorded("a deep array of objects and other values"));
        };
        let mut flat = Map::new();
        join(name, object, &mut flat)?;
        for (key, value) in flat {
            let empty = || Value::Array(vec![Value::Null; length]);
            if let Some(list) = columns.entry(key).or_insert_with(empty).as_array_mut()
                && let Some(place) = list.get_mut(index)
            {
                *place = value;
            }
        }
    }
    row.extend(columns);
    Ok(())
}

/// `@x` becomes `_x`.
fn without_at(row: Map<String, Value>) -> Result<Map<String, Value>, Answer> {
    if !row.keys().any(|key| key.starts_with('@')) {
        return Ok(row);
    }
    let mut renamed = Map::new();
    for (key, value) in row {
        let name = match key.strip_prefix('@') {
            Some(rest) => format!("_{rest}"),
            None => key,
        };
        if renamed.insert(name, value).is_some() {
            return Err(Answer::not_recorded("keys @x and _x in one event"));
        }
    }
    Ok(renamed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn flat(document: Value) -> Value {
        let rows = rows(document).unwrap().rows;
        rows.into_iter().map(Value::Object).collect()
    }

    #[test]
    fn arrays_multiply() {
        let event = json!({"p": {"args": [{"sock": {"d": "1"}}, {"int": 5}], "n": "f", "tags": ["x", "y"]}});
        assert_eq!(
            flat(event),
            json!([
                {"p_args_sock_d": "1", "p_n": "f", "p_tags": "x"},
                {"p_args_int": 5, "p_n": "f", "p_tags": "x"},
                {"p_args_sock_d": "1", "p_n": "f", "p_tags": "y"},
                {"p_args_int": 5, "p_n": "f", "p_tags": "y"},
            ])
        );
    }

    #[test]
    fn special_values() {
        assert_eq!(
            flat(json!({"a": [[1, 2], [3]], "e": [], "o": {}, "@t": null})),
            json!([
                {"a": 1, "e": [], "_t": null},
                {"a": 2, "e": [], "_t": null},
                {"a": 3, "e": [], "_t": null},
            ])
        );
        assert_eq!(flat(json!({"a": {"b": 1}, "a_b": 2})), json!([{"a_b": 1}]));
    }

    #[test]
    fn too_deep_for_rows() {
        let mut event = json!({"s": [1, 2], "o": [{"k": 1}, {"k": 2, "l": 3}]});
        for _ in 0..11 {
            event = json!({"l": event});
        }
        let prefix = "l_".repeat(11);
        assert_eq!(
            flat(event),
            json!([{
                format!("{prefix}s"): [1, 2],
                format!("{prefix}o_k"): [1, 2],
                format!("{prefix}o_l"): [null, 3],
            }])
        );
    }
}
