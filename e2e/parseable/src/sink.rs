//! Ingest that only counts, for measuring a client: the fast path behind [`crate::Config::sink`].

use axum::extract::Request;

use crate::answer::Answer;
use crate::body;
use crate::counts::Taken;

/// Reads a body and counts the objects in it.
pub(crate) async fn count(request: Request, limit: usize) -> Result<Taken, Answer> {
    let body = body::read_json(request, limit).await?;
    let events = events(&body.bytes).ok_or_else(|| {
        Answer::bad_request("Json deserialize error: not a complete object or array of objects")
    })?;
    Ok(Taken {
        body_bytes: body.sent_bytes,
        inflated_bytes: body.bytes.len(),
        events,
        rows: events,
    })
}

/// Objects of the document: those of the outer array, or the one object. None where brackets or quotes do
/// not close. No value is parsed.
fn events(json: &[u8]) -> Option<usize> {
    let (mut depth, mut events, mut in_array) = (0usize, 0, false);
    let mut position = 0;
    while let Some(&byte) = json.get(position) {
        position += 1;
        match byte {
            b'"' => position = after_string(json, position)?,
            b'[' => {
                in_array |= depth == 0;
                depth += 1;
            }
            b'{' => {
                events += usize::from(depth == usize::from(in_array));
                depth += 1;
            }
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0).then_some(events)
}

fn after_string(json: &[u8], mut position: usize) -> Option<usize> {
    loop {
        let rest = json.get(position..)?;
        let found = memchr::memchr2(b'"', b'\\', rest)?;
        position += found + 1;
        match rest.get(found) {
            Some(b'"') => return Some(position),
            // What is escaped is never the end.
            _ => position += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::events;

    #[test]
    fn objects_are_counted() {
        for (json, count) in [
            (r#"[{"a":1},{"b":{"c":[{}]}}]"#, Some(2)),
            (r#"{"a":[{"b":1},{"c":2}]}"#, Some(1)),
            (r#"[{"a":"}{\"[\\"},{"b":"\\\\"}]"#, Some(2)),
            ("[]", Some(0)),
            (r#"[{"a":1}"#, None),
            (r#"[{"a":"x}]"#, None),
            ("]", None),
        ] {
            assert_eq!(events(json.as_bytes()), count, "{json}");
        }
    }
}
