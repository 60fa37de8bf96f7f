//! The files of the command line, read and held against the language.

use std::path::{Path, PathBuf};

use securitywatch_api::document::{self, Document, DocumentErrors};
use securitywatch_api::field::FieldPath;

use crate::check::Problem;

/// Documents with the text they came from.
#[derive(Debug, Default)]
pub struct Documents {
    /// In the order of the files; empty when there is a problem.
    pub all: Vec<Document>,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: String,
}

impl Documents {
    /// Reads all files.
    ///
    /// # Errors
    /// Everything that is wrong in any of them.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match read(path) {
                Ok(file) => files.push(file),
                Err(problem) => problems.push(problem),
            }
        }
        let texts = files.iter().map(|file| (file.name.as_str(), file.text.as_str()));
        match document::load_all(texts) {
            Ok(all) if problems.is_empty() => Ok(Self { all, files }),
            Ok(_) => Err(problems),
            Err(errors) => {
                problems.extend(in_file(errors));
                Err(problems)
            }
        }
    }

    /// A problem of `document` that only a node could show.
    #[must_use]
    pub fn problem(&self, document: &Document, path: &FieldPath, message: String) -> Problem {
        let file = self.files.iter().find(|file| file.name == document.file);
        let position = document::locate(file.map_or("", |file| &file.text), document, path);
        Problem {
            file: document.file.clone(),
            position: Some((position.line, position.column)),
            path: path.to_string(),
            message,
        }
    }
}

fn read(path: &Path) -> Result<File, Problem> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(File { name, text }),
        Err(error) => Err(Problem {
            file: name,
            position: None,
            path: String::new(),
            message: format!("cannot be read: {}", without_number(&error)),
        }),
    }
}

/// The system's words without `(os error 2)` behind them.
fn without_number(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn in_file(errors: DocumentErrors) -> impl Iterator<Item = Problem> {
    errors.errors.into_iter().map(|error| Problem {
        file: error.file,
        position: Some((error.position.line, error.position.column)),
        path: error.path.to_string(),
        message: error.message,
    })
}
