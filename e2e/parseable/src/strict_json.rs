//! JSON that refuses a key given twice, as ingest does.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::body;

const DUPLICATE: &str = "duplicate key in JSON";

/// Parses a document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Answer> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(invalid_text(bytes, error.valid_up_to()));
    }
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(value)) => Ok(value),
        // The server names no place here.
        Err(error) if error.to_string().starts_with(DUPLICATE) => {
            Err(body::deserialize_error(&DUPLICATE))
        }
        Err(error) => Err(body::deserialize_error(&error)),
    }
}

/// The recorded server says where the string with the bad bytes ends; this version of the parser would say
/// where they begin.
fn invalid_text(bytes: &[u8], at: usize) -> Answer {
    let (before, after) = bytes.split_at(at);
    let end = at + memchr::memchr(b'"', after).unwrap_or(after.len());
    let line = 1 + memchr::memchr_iter(b'\n', before).count();
    let column = 1 + end - memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let what = format!("invalid unicode code point at line {line} column {column}");
    body::deserialize_error(&what)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Strict(value))) = access.next_entry::<String, Strict>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(object))
    }
}
