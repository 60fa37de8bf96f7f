//! The types of columns: what a value makes of a new one, and where it goes when it does not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::json::ReaderBuilder;
use serde_json::{Map, Value, json};

use crate::answer::Answer;

/// Columns by name; the server keeps and shows them sorted.
pub(crate) type Columns = BTreeMap<String, DataType>;

/// When the server received the row.
pub(crate) const P_TIMESTAMP: &str = "p_timestamp";

/// A text in a new column becomes a time when the column's name contains one of these and the text is one.
const TIME_WORDS: [&str; 11] = [
    "time",
    "date",
    "timestamp",
    "created",
    "received",
    "ingested",
    "collected",
    "start",
    "end",
    "ts",
    "dt",
];

pub(crate) const fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// The type a value gives to a new column; none for null.
fn natural_type(name: &str, value: &Value) -> Option<DataType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(DataType::Boolean),
        Value::Number(_) => Some(DataType::Float64),
        Value::String(text) if sounds_like_time(name) && parse_time(text).is_some() => {
            Some(timestamp())
        }
        Value::String(_) => Some(DataType::Utf8),
        Value::Array(items) => Some(DataType::new_list(item_type(items), true)),
        // Flattening left no objects.
        Value::Object(_) => None,
    }
}

fn item_type(items: &[Value]) -> DataType {
    let mut kinds = items.iter().filter(|item| !item.is_null()).map(|item| match item {
        Value::Bool(_) => DataType::Boolean,
        Value::Number(number) if number.is_f64() => DataType::Float64,
        Value::Number(_) => DataType::Int64,
        _ => DataType::Utf8,
    });
    let Some(first) = kinds.next() else {
        return DataType::Null;
    };
    kinds.fold(first, |all, next| match (&all, &next) {
        _ if all == next => all,
        (DataType::Int64 | DataType::Float64, DataType::Int64 | DataType::Float64) => {
            DataType::Float64
        }
        _ => DataType::Utf8,
    })
}

fn sounds_like_time(name: &str) -> bool {
    let name = name.to_lowercase();
    TIME_WORDS.iter().any(|word| name.contains(word))
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    parsed.ok().map(|time| time.to_utc())
}

fn fits(value: &Value, data_type: &DataType) -> bool {
    match (value, data_type) {
        (Value::Null, _) => true,
        (Value::String(text), DataType::Timestamp(..)) => parse_time(text).is_some(),
        (Value::Number(number), DataType::Int64) => number.is_i64(),
        (Value::Array(items), DataType::List(item)) => {
            items.is_empty() || item_type(items) == *item.data_type()
        }
        (Value::String(_), DataType::Utf8)
        | (Value::Bool(_), DataType::Boolean)
        | (Value::Number(_), DataType::Float64) => true,
        _ => false,
    }
}

/// What is added to the name of a column that a value does not fit.
fn sibling(name: &str, value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Bool(_) => "bool",
        Value::Array(_) => "list",
        _ if natural_type(name, value) == Some(timestamp()) => "timestamp_ms",
        _ => "utf8",
    }
}

/// Types the rows of one request. Columns that are new stand in the answer; values that do not fit
/// their column have moved to its sibling.
pub(crate) fn settle(rows: &mut [Map<String, Value>], known: &Columns) -> Columns {
    let mut new = infer(rows, known);
    for row in rows.iter_mut() {
        let misfits: Vec<String> = row
            .iter()
            .filter(|(name, value)| match known.get(*name).or_else(|| new.get(*name)) {
                Some(data_type) => {
                    // A new time column's first text decided; a later one that is no time fails the batch.
                    let undecodable = *data_type == timestamp()
                        && value.is_string()
                        && !known.contains_key(*name);
                    !undecodable && !fits(value, data_type)
                }
                None => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in misfits {
            if let Some(value) = row.remove(&name) {
                let moved = format!("{name}_{}", sibling(&name, &value));
                if !known.contains_key(&moved)
                    && let Some(data_type) = natural_type(&name, &value)
                {
                    new.entry(moved.clone()).or_insert(data_type);
                }
                row.insert(moved, value);
            }
        }
    }
    new
}

/// The columns no one knows yet. Different types in one batch make a text column.
fn infer(rows: &[Map<String, Value>], known: &Columns) -> Columns {
    let mut new = Columns::new();
    for (name, value) in rows.iter().flatten() {
        if known.contains_key(name) {
            continue;
        }
        let Some(data_type) = natural_type(name, value) else {
            continue;
        };
        let decided = new.entry(name.clone()).or_insert_with(|| data_type.clone());
        let both_texts = matches!(
            (&*decided, &data_type),
            (DataType::Timestamp(..), DataType::Utf8) | (DataType::Utf8, DataType::Timestamp(..))
        );
        if *decided != data_type && !both_texts {
            *decided = DataType::Utf8;
        }
    }
    new
}

/// Whether rows fit a schema that never changes.
pub(crate) fn check_static(rows: &[Map<String, Value>], columns: &Columns) -> Result<(), Answer> {
    for (name, value) in rows.iter().flatten() {
        let Some(data_type) = columns.get(name) else {
            return Err(Answer::bad_request("Invalid Request: Schema mismatch"));
        };
        if !fits(value, data_type) {
            let got = match value {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                _ => "string",
            };
            return Err(Answer::bad_request(format!(
                "Invalid Request: Could not process this event due to mismatch in datatype: field '{name}' \
                 expected {data_type} but got {got} value"
            )));
        }
    }
    Ok(())
}

/// Rows as columns. The values fit by now, but for a text that is no time in a new time column.
pub(crate) fn decode(
    mut rows: Vec<Map<String, Value>>,
    columns: &Columns,
) -> Result<RecordBatch, Answer> {
    for row in &mut rows {
        for (name, value) in row.iter_mut() {
            if let (Some(DataType::Timestamp(..)), Value::String(text)) =
                (columns.get(name), &*value)
                && let Some(time) = parse_time(text)
            {
                *value = Value::String(time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string());
            }
        }
    }
    let failed = |error| {
        Answer::bad_request(format!(
            "Invalid Request: Failed to create recordbatch due to {error:?}"
        ))
    };
    let mut decoder = ReaderBuilder::new(schema(columns))
        .with_batch_size(rows.len().max(1))
        .build_decoder()
        .map_err(failed)?;
    decoder.serialize(&rows).map_err(failed)?;
    let batch = decoder.flush().map_err(failed)?;
    Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(schema(columns))))
}

/// The columns as the engine wants them.
pub(crate) fn schema(columns: &Columns) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns as the server shows them.
pub(crate) fn schema_json(columns: &Columns) -> Value {
    let fields: Vec<Value> =
        columns.iter().map(|(name, data_type)| field_json(name, data_type)).collect();
    json!({"fields": fields, "metadata": {}})
}

fn field_json(name: &str, data_type: &DataType) -> Value {
    json!({
        "name": name,
        "data_type": type_json(data_type),
        "nullable": true,
        "dict_id": 0,
        "dict_is_ordered": false,
        "metadata": {},
    })
}

fn type_json(data_type: &DataType) -> Value {
    match data_type {
        DataType::Timestamp(..) => json!({"Timestamp": ["Millisecond", null]}),
        DataType::List(item) => json!({"List": field_json(item.name(), item.data_type())}),
        other => Value::String(other.to_string()),
    }
}

/// A type by the name a static schema uses.
pub(crate) fn named_type(name: &str) -> Option<DataType> {
    let list = |item| DataType::new_list(item, true);
    Some(match name {
        "int" => DataType::Int64,
        "double" | "float" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "string" => DataType::Utf8,
        "datetime" => timestamp(),
        "date" => DataType::Date32,
        "string_list" => list(DataType::Utf8),
        "int_list" => list(DataType::Int64),
        "double_list" | "float_list" => list(DataType::Float64),
        "boolean_list" => list(DataType::Boolean),
        _ => return None,
    })
}
