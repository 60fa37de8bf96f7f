//! What the parser says where a rule goes wrong.

use super::parse::{Enclosed, Operator, Parser, is_blank};
use super::{ParseError, is_column_char};

/// Characters of the text shown as `found`.
const MAX_FOUND: usize = 24;

impl Parser<'_> {
    pub(super) fn error(&self, length: usize, expected: String, found: String) -> ParseError {
        ParseError::at(self.text, self.position, length, expected, found)
    }

    /// The word (or the one character) at the position is not what can stand there.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let rest = &self.text[self.position..];
        let word = rest.iter().take_while(|c| is_column_char(**c)).count();
        let length = match rest.first() {
            None => return self.error(1, expected.into(), "the end of the rule".to_owned()),
            Some('"') => 1 + rest[1..].iter().take_while(|c| **c != '"').count() + 1,
            Some(_) => word.max(1),
        };
        let found: String = rest.iter().take(length).collect();
        self.error(length, expected.into(), quoted(&found))
    }

    pub(super) fn no_atom(&self) -> ParseError {
        let error = self.unexpected("a column, `(` or `!(`");
        match self.peek() {
            Some('!') => error.hint("a negation is !(...), without a blank before the ("),
            Some('"' | '\'') => error.hint("the column stands first, the value after it"),
            _ => error,
        }
    }

    pub(super) fn no_value(&self, op: Operator) -> ParseError {
        let expected = match (op.text, op.number) {
            (Some(_), Some(_)) => "a text in double quotes or unsigned digits",
            (Some(_), None) => "a text in double quotes",
            _ => "unsigned digits",
        };
        let error = self.unexpected(expected);
        match self.peek() {
            Some('-' | '+') if op.number.is_some() => {
                error.hint("a number in a rule has no sign and no fraction")
            }
            Some('\'') => error.hint("a text stands in double quotes"),
            Some(c) if c.is_alphabetic() => error.hint("a text stands in double quotes"),
            _ => error,
        }
    }

    pub(super) fn no_fraction(&self) -> ParseError {
        let rest = &self.text[self.position..];
        let number: String = rest.iter().take_while(|c| c.is_ascii_digit() || **c == '.').collect();
        self.error(number.chars().count(), "unsigned digits".to_owned(), quoted(&number))
            .hint("a number in a rule has no sign and no fraction")
    }

    pub(super) fn blank_in_negation(&self) -> ParseError {
        self.error(1, "no blank inside `!(` and `)`".to_owned(), "a blank".to_owned())
            .hint("write !(column = \"value\")")
    }

    /// The text goes on after a complete expression.
    pub(super) fn leftover(&self, enclosed: Enclosed) -> ParseError {
        let after_blank =
            self.position > 0 && self.text.get(self.position - 1).copied().is_some_and(is_blank);
        let mut here = Parser { ..*self };
        let blank = here.blanks() || after_blank;
        let end = match enclosed {
            Enclosed::Nothing => "the end of the rule",
            Enclosed::Parentheses | Enclosed::Negation => "`)`",
        };
        let error = here.unexpected(format!("`and`, `or` or {end}"));
        let rest: String = here.text[here.position..].iter().take(4).collect();
        let lower = rest.to_lowercase();
        if lower.starts_with("and") || lower.starts_with("or") {
            let exact = rest.starts_with("and") || rest.starts_with("or");
            return match (exact, blank) {
                (false, _) => error.hint("`and` and `or` are lower-case"),
                (true, _) => error.hint("`and` and `or` need a blank on both sides"),
            };
        }
        if rest.starts_with("&&") {
            error.hint("write `and`")
        } else if rest.starts_with("||") {
            error.hint("write `or`")
        } else if rest.starts_with(')') && enclosed == Enclosed::Nothing {
            error.hint("this `)` closes nothing")
        } else {
            error
        }
    }
}

/// A piece of the text for a message; long pieces are cut, control characters are shown as escapes.
pub(super) fn quoted(found: &str) -> String {
    let mut shown = String::new();
    for c in found.chars().take(MAX_FOUND) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if found.chars().count() > MAX_FOUND {
        shown.push('…');
    }
    if shown.contains('"') { format!("`{shown}`") } else { format!("\"{shown}\"") }
}
