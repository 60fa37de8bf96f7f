//! One flat row: columns and values in a stable order, borrowed from the event where it can be.

use super::columns::Column;
use crate::encode::json::text;
use securitywatch_api::rule::{self, Value};

/// One event (or seed) as scalar columns. Absent values have no cell: never a null, never an empty time.
#[derive(Debug, Default)]
pub struct Row<'a> {
    kind: &'static str,
    cells: Vec<(&'static Column, Cell<'a>)>,
    /// What had to be rendered (times, addresses, lists); cells point into it.
    text: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    /// Anything a process can choose: needs escaping.
    Text(&'a str),
    /// Words of ours without quotes, backslashes or control characters.
    Plain(&'a str),
    /// The same two, rendered into the row's own text.
    RenderedText(usize, usize),
    RenderedPlain(usize, usize),
    Unsigned(u64),
    Signed(i64),
    Bool(bool),
}

impl<'a> Row<'a> {
    /// `buffer` is where rendered values go; give back the last row's [`Row::into_buffer`] to save the allocation.
    pub(super) fn new(kind: &'static str, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { kind, cells: Vec::with_capacity(80), text: buffer }
    }

    /// The event's kind: `process_exec`, `process_exit`, `process_kprobe`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// For the next row.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.text
    }

    /// The value of a column, if this row has it.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<Value<'_>> {
        // Columns of the other kinds are the common miss of a watch with several rules.
        if column.starts_with("process_") && !column.starts_with(self.kind) {
            return None;
        }
        let (_, cell) = self.cells.iter().find(|(c, _)| c.name == column)?;
        Some(self.read(*cell))
    }

    /// All columns with their values, in writing order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Column, Value<'_>)> {
        self.cells.iter().map(|(column, cell)| (*column, self.read(*cell)))
    }

    // 2^53 is beyond every number a row carries: wider integers are text.
    #[expect(clippy::cast_precision_loss)]
    fn read<'r>(&'r self, cell: Cell<'a>) -> Value<'r> {
        match cell {
            Cell::Text(text) | Cell::Plain(text) => Value::Text(text),
            Cell::RenderedText(from, to) | Cell::RenderedPlain(from, to) => {
                Value::Text(self.rendered_str(from, to))
            }
            Cell::Unsigned(number) => Value::Number(number as f64),
            Cell::Signed(number) => Value::Number(number as f64),
            Cell::Bool(flag) => Value::Bool(flag),
        }
    }

    /// Only UTF-8 is ever rendered.
    fn rendered_str(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(self.rendered(from, to)).unwrap_or_default()
    }

    fn rendered(&self, from: usize, to: usize) -> &[u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Appends the row as a JSON object that is still open, so that a stream can add its own columns:
    /// finish with [`close`] or a bare `}`.
    pub fn write_open(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for (column, cell) in &self.cells {
            out.extend_from_slice(column.key.as_bytes());
            match *cell {
                Cell::Text(value) => text::string(value, out),
                Cell::Plain(value) => push_plain(out, value.as_bytes()),
                Cell::RenderedText(from, to) => text::string(self.rendered_str(from, to), out),
                Cell::RenderedPlain(from, to) => push_plain(out, self.rendered(from, to)),
                Cell::Unsigned(number) => text::number(number, out),
                Cell::Signed(number) => text::number(number, out),
                Cell::Bool(flag) => {
                    out.extend_from_slice(if flag { b"true" } else { b"false" });
                }
            }
        }
        // Each key starts with the comma that separates it from the one before; the first has none before it.
        match out.get_mut(start) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
    }

    pub(super) fn push(&mut self, column: &'static Column, cell: Cell<'a>) {
        self.cells.push((column, cell));
    }

    /// Nothing is pushed for an empty string: absent and empty are one in Tetragon's JSON.
    pub(super) fn text(&mut self, column: &'static Column, text: &'a str) {
        if !text.is_empty() {
            self.push(column, Cell::Text(text));
        }
    }

    /// As [`Row::text`], for strings that need no escaping.
    pub(super) fn plain(&mut self, column: &'static Column, text: &'a str) {
        if !text.is_empty() {
            self.push(column, Cell::Plain(text));
        }
    }

    /// Zero is absent.
    pub(super) fn nonzero(&mut self, column: &'static Column, number: u64) {
        if number != 0 {
            self.push(column, Cell::Unsigned(number));
        }
    }

    pub(super) fn render_text(&mut self, column: &'static Column, f: impl FnOnce(&mut Vec<u8>)) {
        let (from, to) = self.render(f);
        if from != to {
            self.push(column, Cell::RenderedText(from, to));
        }
    }

    pub(super) fn render_plain(&mut self, column: &'static Column, f: impl FnOnce(&mut Vec<u8>)) {
        let (from, to) = self.render(f);
        if from != to {
            self.push(column, Cell::RenderedPlain(from, to));
        }
    }

    fn render(&mut self, f: impl FnOnce(&mut Vec<u8>)) -> (usize, usize) {
        let from = self.text.len();
        f(&mut self.text);
        (from, self.text.len())
    }
}

impl rule::Row for Row<'_> {
    fn get(&self, column: &str) -> Option<Value<'_>> {
        self.value(column)
    }
}

/// Appends a quoted string that is known to need no escaping.
pub(super) fn push_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Ends an object begun by [`Row::write_open`] with the stream's own row number.
pub fn close(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(super::columns::COLUMNS.seq.key.as_bytes());
    text::number(seq, out);
    out.push(b'}');
}
