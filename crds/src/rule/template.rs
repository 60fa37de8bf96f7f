//! The message of an alert: text with `{column}` placeholders.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{ParseError, Row, Value};

/// What a placeholder becomes when the event has no such column: the word Parseable prints for the
/// missing group value of an alert. An empty place would read like a cut message.
const MISSING: &str = "null";

/// A message ready to be rendered for each hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Parses a message. `{column}` names any column of the flattened event (also one a rule cannot
    /// name, such as a label with dots); `{{` and `}}` stand for a brace; a lone `}` is itself.
    ///
    /// # Errors
    /// A `{` without its `}`, and what stands between them being no column.
    pub fn parse(message: &str) -> Result<Self, ParseError> {
        let chars: Vec<char> = message.chars().collect();
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut position = 0;
        while let Some(c) = chars.get(position).copied() {
            let doubled = chars.get(position + 1) == Some(&c);
            match c {
                '{' | '}' if doubled => {
                    text.push(c);
                    position += 2;
                }
                '{' => {
                    let column = placeholder(&chars, position)?;
                    position += column.chars().count() + 2;
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Column(column));
                }
                other => {
                    text.push(other);
                    position += 1;
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { parts })
    }

    /// The columns it shows, sorted, each once.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&str> {
        let columns = self.parts.iter().filter_map(|part| match part {
            Part::Column(column) => Some(column.as_str()),
            Part::Text(_) => None,
        });
        columns.collect()
    }

    /// The message for one event. A whole number has no fraction, a missing column is `null`.
    #[must_use]
    pub fn render(&self, row: &impl Row) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Column(column) => match row.get(column) {
                    None => out.push_str(MISSING),
                    Some(Value::Text(text)) => out.push_str(text),
                    // Writing to a String cannot fail.
                    Some(Value::Number(number)) => drop(write!(out, "{number}")),
                    Some(Value::Bool(value)) => drop(write!(out, "{value}")),
                },
            }
        }
        out
    }
}

/// The message as it was written: with `{column}` in place.
impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Part::Column(column) => write!(f, "{{{column}}}")?,
            }
        }
        Ok(())
    }
}

/// The name between the `{` at `open` and its `}`.
fn placeholder(chars: &[char], open: usize) -> Result<String, ParseError> {
    let hint = "a brace itself is written {{";
    let rest = &chars[open + 1..];
    let stop =
        rest.iter().position(|c| matches!(c, '{' | '}') || c.is_whitespace() || c.is_control());
    match stop.map(|length| (length, rest[length])) {
        Some((0, '}')) => {
            Err(ParseError::at(chars, open, 2, "a column between { and }", "\"{}\"").hint(hint))
        }
        Some((length, '}')) => Ok(rest[..length].iter().collect()),
        Some((length, found)) => Err(ParseError::at(
            chars,
            open + 1 + length,
            1,
            "a column's name and }",
            format!("{found:?}"),
        )
        .hint(hint)),
        None => Err(ParseError::at(
            chars,
            open,
            chars.len() - open,
            "a } after the column's name",
            "the end of the message",
        )
        .hint(hint)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    struct Pod;

    impl Row for Pod {
        fn get(&self, column: &str) -> Option<Value<'_>> {
            match column {
                "pod" => Some(Value::Text("web-0")),
                "labels_app.kubernetes.io/name" => Some(Value::Text("web")),
                "pid" => Some(Value::Number(42.0)),
                "load" => Some(Value::Number(0.5)),
                "host" => Some(Value::Bool(false)),
                _ => None,
            }
        }
    }

    fn render(message: &str) -> String {
        Template::parse(message).unwrap().render(&Pod)
    }

    #[test]
    fn columns_are_filled_in() {
        assert_eq!(
            render("wget was executed from the pod : {pod}"),
            "wget was executed from the pod : web-0"
        );
        assert_eq!(render("{pod}{pid}/{load} {host}"), "web-042/0.5 false");
        assert_eq!(render("{labels_app.kubernetes.io/name}"), "web");
        assert_eq!(render("pod {nosuch}"), "pod null");
    }

    #[test]
    fn braces() {
        assert_eq!(render("a } b {{pod}} {pod}}}"), "a } b {pod} web-0}");
        assert_eq!(render(""), "");
    }

    #[test]
    fn what_was_written_can_be_read_again() {
        for message in ["wget in {pod}", "{{pod}} {pod}{pid}", "", "50 % } {{"] {
            let template = Template::parse(message).unwrap();
            assert_eq!(Template::parse(&template.to_string()), Ok(template), "{message}");
        }
        assert_eq!(Template::parse("wget in {pod}").unwrap().to_string(), "wget in {pod}");
    }

    #[test]
    fn a_message_without_columns() {
        let template = Template::parse("shadow was read").unwrap();
        assert!(template.columns().is_empty());
        let template = Template::parse("{b} {a} {b}").unwrap();
        assert_eq!(template.columns().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (message, column, text) in [
            (
                "pod {pod",
                5,
                "expected a } after the column's name, found the end of the message; a brace itself is written {{",
            ),
            (
                "pod {}",
                5,
                "expected a column between { and }, found \"{}\"; a brace itself is written {{",
            ),
            (
                "json {\"a b\"}",
                9,
                "expected a column's name and }, found ' '; a brace itself is written {{",
            ),
            (
                "{a{b}}",
                3,
                "expected a column's name and }, found '{'; a brace itself is written {{",
            ),
        ] {
            let error = Template::parse(message).unwrap_err();
            assert_eq!((error.column, error.message().as_str()), (column, text), "{message}");
        }
    }
}
