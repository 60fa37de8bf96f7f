//! What is wrong with a file: where, which field, and what to do.

use std::fmt;

use super::node::Position;
use crate::field::FieldPath;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError {
    /// The file's name as it was given.
    pub file: String,
    /// Where in the file.
    pub position: Position,
    /// Which field; the root for what concerns the whole document.
    pub path: FieldPath,
    /// What is wrong and how to mend it; a few lines where it shows the place.
    pub message: String,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, position: Position { line, column }, path, message } = self;
        write!(f, "{file}:{line}:{column}")?;
        if !path.as_str().is_empty() {
            write!(f, "  {path}")?;
        }
        for line in message.lines() {
            write!(f, "\n   {line}")?;
        }
        Ok(())
    }
}

/// Everything wrong with a file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DocumentErrors {
    /// In the order of the file's lines.
    pub errors: Vec<DocumentError>,
}

impl fmt::Display for DocumentErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}")?;
        }
        let count = self.errors.len();
        write!(f, "refused: {count} error{}", if count == 1 { "" } else { "s" })
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    errors: Vec<DocumentError>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), errors: Vec::new() }
    }

    pub(super) fn add(&mut self, position: Position, path: &FieldPath, message: impl Into<String>) {
        let error = DocumentError {
            file: self.file.clone(),
            position,
            path: path.clone(),
            message: message.into(),
        };
        // Two checks may see the same mistake.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.errors.len()
    }

    pub(super) fn into_result<T>(mut self, value: T) -> Result<T, DocumentErrors> {
        if self.errors.is_empty() {
            return Ok(value);
        }
        self.errors.sort_by_key(|error| error.position);
        Err(DocumentErrors { errors: self.errors })
    }
}
