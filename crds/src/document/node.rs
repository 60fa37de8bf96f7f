//! YAML (and with it JSON) as a tree whose every part knows where it stands.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value;

use crate::field::FieldPath;

/// Largest file, in bytes; the API server takes no larger object either.
const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of maps and lists.
const MAX_DEPTH: usize = 64;
/// Most nodes of a file, counted after aliases are replaced by what they stand for.
const MAX_NODES: usize = 200_000;

/// A place in a file: line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// The beginning of a file.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// What is wrong with a file before any field is looked at.
pub(super) type SyntaxError = (Position, String);

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) position: Position,
    /// Values in it, itself included.
    size: usize,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Null, boolean, number or string.
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One field of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_position: Position,
    pub(super) value: Node,
}

impl Node {
    /// The field `name` of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => {
                entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
            }
            _ => None,
        }
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self.content, Content::Scalar(Value::Null))
    }

    /// The same without positions; a null field is as absent as the API server makes it.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(entries) => entries
                .iter()
                .filter(|entry| !entry.value.is_null())
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// Where `path` stands, seen from here; for what is absent, where the nearest thing around it does.
    pub(super) fn locate(&self, path: &FieldPath) -> Position {
        self.locate_text(path.as_str())
    }

    fn locate_text(&self, path: &str) -> Position {
        let path = path.strip_prefix('.').unwrap_or(path);
        let inner = match &self.content {
            Content::Map(entries) => entries.iter().find_map(|entry| {
                // A key may hold dots itself, so it is matched as a whole, up to where a step can end.
                let rest = path.strip_prefix(entry.key.as_str())?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some((&entry.value, rest))
            }),
            Content::List(items) => path.strip_prefix('[').and_then(|rest| {
                let (index, rest) = rest.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }),
            Content::Scalar(_) => None,
        };
        inner.map_or(self.position, |(node, rest)| node.locate_text(rest))
    }
}

/// Every document of `text` that is not empty. What stands before a mistake is returned with it.
pub(super) fn parse(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes, at most {MAX_BYTES} are possible", text.len());
        return (Vec::new(), Some((Position::START, message)));
    }
    let text = join_surrogates(text);
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(&text);
    while let Some(event) = parser.next_event() {
        let step = event.map_err(syntax_error).and_then(|(event, span)| builder.take(event, span));
        if let Err(error) = step {
            return (builder.documents, Some(error));
        }
    }
    (builder.documents, None)
}

/// JSON writes characters beyond the sixteenth bit as two escapes; YAML knows no such pairs and would
/// refuse them.
fn join_surrogates(text: &str) -> Cow<'_, str> {
    const ESCAPE_BYTES: usize = 6;
    let mut joined = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        let first = at + found;
        // An escaped backslash begins no escape of its own.
        at = first + 1 + text[first + 1..].chars().next().map_or(0, char::len_utf8);
        let second = first + ESCAPE_BYTES;
        let units = [escaped_unit(text, first), escaped_unit(text, second)];
        if let [Some(high @ 0xd800..=0xdbff), Some(low)] = units
            && let Some(Ok(character)) = char::decode_utf16([high, low]).next()
        {
            joined.push_str(&text[copied..first]);
            joined.push(character);
            at = second + ESCAPE_BYTES;
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    joined.push_str(&text[copied..]);
    Cow::Owned(joined)
}

/// The number behind `\uXXXX` at byte `at`.
fn escaped_unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    digits
        .chars()
        .all(|c| c.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

fn syntax_error(error: ScanError) -> SyntaxError {
    let position =
        Position { line: error.marker().line().max(1), column: error.marker().col() + 1 };
    (position, format!("this is not YAML: {}", error.info()))
}

/// Turns the parser's events into nodes, without recursion: the depth of a file is its author's choice.
#[derive(Debug, Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
#[derive(Debug)]
struct Open {
    position: Position,
    anchor: usize,
    size: usize,
    kind: OpenKind,
}

#[derive(Debug)]
enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashSet<String>, key: Option<(String, Position)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let position = Position::of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text.into_owned(), style, tag.as_deref())
                    .map_err(|message| (position, message))?;
                self.finish(Content::Scalar(value), position, anchor, 1)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err((
                        position,
                        "this alias stands for nothing that is complete before it".to_owned(),
                    ));
                };
                self.count(node.size, position)?;
                self.add(Node { position, ..node })
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), position)?;
                self.begin(OpenKind::List(Vec::new()), position, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), position)?;
                let kind = OpenKind::Map { entries: Vec::new(), seen: HashSet::new(), key: None };
                self.begin(kind, position, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let content = match open.kind {
                        OpenKind::List(items) => Content::List(items),
                        OpenKind::Map { entries, .. } => Content::Map(entries),
                    };
                    self.finish(content, open.position, open.anchor, open.size)
                }
                None => Ok(()),
            },
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(
        &mut self,
        kind: OpenKind,
        position: Position,
        anchor: usize,
    ) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err((position, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        if let Some(Open { kind: OpenKind::Map { key: None, .. }, .. }) = self.open.last() {
            return Err((
                position,
                "a field's name is a single word, not a list or a map".to_owned(),
            ));
        }
        self.open.push(Open { position, anchor, size: 1, kind });
        Ok(())
    }

    fn finish(
        &mut self,
        content: Content,
        position: Position,
        anchor: usize,
        size: usize,
    ) -> Result<(), SyntaxError> {
        self.count(1, position)?;
        let node = Node { content, position, size };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.add(node)
    }

    fn count(&mut self, nodes: usize, position: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err((position, format!("the file has more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), SyntaxError> {
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        open.size += node.size;
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map { entries, seen, key } => match key.take() {
                Some((key, key_position)) => entries.push(Entry { key, key_position, value: node }),
                None => {
                    let position = node.position;
                    let name = key_text(node)?;
                    if !seen.insert(name.clone()) {
                        return Err((
                            position,
                            format!("{name:?} stands twice in the same map: remove one"),
                        ));
                    }
                    *key = Some((name, position));
                }
            },
        }
        Ok(())
    }
}

/// A field's name; a number or a boolean is the text it was written as, near enough for a message.
fn key_text(node: Node) -> Result<String, SyntaxError> {
    match node.content {
        Content::Scalar(Value::String(text)) => Ok(text),
        Content::Scalar(other) => Ok(other.to_string()),
        Content::List(_) | Content::Map(_) => {
            Err((node.position, "a field's name is a single word, not a list or a map".to_owned()))
        }
    }
}

fn refuse_tag(tag: Option<&Tag>, position: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err((position, format!("the tag {tag} means nothing here")))
        }
        _ => Ok(()),
    }
}

/// YAML 1.2's core schema.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
            return Ok(Value::String(text));
        }
        Some(tag) if !tag.is_yaml_core_schema() => {
            return Err(format!("the tag {tag} means nothing here"));
        }
        _ => {}
    }
    if style != ScalarStyle::Plain {
        return Ok(Value::String(text));
    }
    Ok(match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(&text).unwrap_or(Value::String(text)),
    })
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return plain_digits(hex, 16).map(Value::from);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return plain_digits(octal, 8).map(Value::from);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::from(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(Value::from(number));
    }
    // Rust reads "1e5", "1.5" and ".5" as YAML does, and nothing with letters can begin with a digit.
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
}

fn plain_digits(digits: &str, radix: u32) -> Option<u64> {
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten()
}
