//! What is wrong with a rule's text, and where.

use std::fmt;

/// Characters of the line shown around the mistake; a rule may be one very long line.
const SHOWN_BEFORE: usize = 60;
const SHOWN_AFTER: usize = 40;

/// A rule that does not parse: where, what could have stood there, what stands there.
///
/// `Display` is one line (`column 29: expected ..., found "=~"`); [`ParseError::snippet`] is the
/// line with carets below.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Length of the mistake in characters, at least 1, never past the end of the line by more than 1.
    pub length: usize,
    /// What could have stood here.
    pub expected: String,
    /// What stands here: a quoted piece of the text, or `the end of the rule`.
    pub found: String,
    /// How to mend it, where that is known.
    pub hint: Option<String>,
    line_text: Box<str>,
    lines: usize,
}

impl ParseError {
    /// The mistake is `length` characters at character `position` of `text`.
    pub(super) fn at(
        text: &[char],
        position: usize,
        length: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        let position = position.min(text.len());
        let before = &text[..position];
        let line_start = before.iter().rposition(|c| *c == '\n').map_or(0, |newline| newline + 1);
        let line_end = text[position..]
            .iter()
            .position(|c| *c == '\n')
            .map_or(text.len(), |newline| position + newline);
        Self {
            line: 1 + before.iter().filter(|c| **c == '\n').count(),
            column: 1 + position - line_start,
            length: length.clamp(1, (line_end - position).max(1)),
            expected: expected.into(),
            found: found.into(),
            hint: None,
            line_text: text[line_start..line_end].iter().collect(),
            lines: 1 + text.iter().filter(|c| **c == '\n').count(),
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `expected ..., found ...` and the hint, without the place.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = format!("expected {}, found {}", self.expected, self.found);
        if let Some(hint) = &self.hint {
            message.push_str("; ");
            message.push_str(hint);
        }
        message
    }

    /// The line in question and carets below the mistake, each line after `indent`, without a newline
    /// at the end. A long line is cut around the mistake.
    #[must_use]
    pub fn snippet(&self, indent: &str) -> String {
        let line: Vec<char> = self.line_text.chars().collect();
        let offset = self.column - 1;
        let from = offset.saturating_sub(SHOWN_BEFORE);
        let to = line.len().min(offset + SHOWN_AFTER.max(self.length.min(SHOWN_AFTER * 2)));
        let mut shown = String::from(indent);
        let mut below = String::from(indent);
        if from > 0 {
            shown.push('…');
            below.push(' ');
        }
        shown.extend(&line[from..to]);
        if to < line.len() {
            shown.push('…');
        }
        // A tab stays a tab, so that the caret stands below its character.
        below.extend(line[from..offset].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }));
        below.push_str(&"^".repeat(self.length.min((to - offset).max(1))));
        format!("{}\n{below}", shown.trim_end())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.message())
    }
}
