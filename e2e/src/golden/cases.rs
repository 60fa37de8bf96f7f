//! A folder of cases: each a folder with `events.jsonl` and, where there is one, `policy.yaml`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::guest::repository;

#[derive(Debug, Error)]
pub enum CasesError {
    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: no case in it (a case is a folder with events.jsonl)", .0.display())]
    Empty(PathBuf),
    #[error("{}: not found; it should lie beside the folder of cases, or one level up", .0.display())]
    NoTrigger(PathBuf),
}

/// A policy and what Tetragon recorded under it.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// None: exec and exit events only.
    pub policy: Option<String>,
    /// JSON lines.
    pub events: String,
}

/// `golden/cases` of the shared data: in `SECURITYWATCH_SHARED`, or `../shared` beside the repository.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let shared = std::env::var_os("SECURITYWATCH_SHARED")
        .map_or_else(|| repository().join("../shared"), PathBuf::from);
    Some(shared.join("golden/cases")).filter(|folder| folder.is_dir())
}

/// All cases of a folder (or the one case that the folder is), by name.
///
/// # Errors
/// Something cannot be read, or there is no case.
pub fn read(folder: &Path) -> Result<Vec<Case>, CasesError> {
    if folder.join("events.jsonl").is_file() {
        return Ok(vec![read_case(folder)?]);
    }
    let failed = |source| CasesError::Read { path: folder.to_owned(), source };
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        folders.push(entry.map_err(failed)?.path());
    }
    folders.sort();
    let cases = folders
        .iter()
        .filter(|folder| folder.join("events.jsonl").is_file())
        .map(|folder| read_case(folder))
        .collect::<Result<Vec<_>, _>>()?;
    if cases.is_empty() { Err(CasesError::Empty(folder.to_owned())) } else { Ok(cases) }
}

/// The trigger that the cases were recorded with: `trigger.sh` in the folder or above it.
///
/// # Errors
/// There is none.
pub fn trigger(folder: &Path) -> Result<String, CasesError> {
    let absolute = folder
        .canonicalize()
        .map_err(|source| CasesError::Read { path: folder.to_owned(), source })?;
    absolute
        .ancestors()
        .take(3)
        .map(|folder| folder.join("trigger.sh"))
        .find(|path| path.is_file())
        .map_or_else(
            || Err(CasesError::NoTrigger(folder.join("trigger.sh"))),
            |path| read_file(&path),
        )
}

fn read_case(folder: &Path) -> Result<Case, CasesError> {
    let policy = folder.join("policy.yaml");
    Ok(Case {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        policy: if policy.is_file() { Some(read_file(&policy)?) } else { None },
        events: read_file(&folder.join("events.jsonl"))?,
    })
}

fn read_file(path: &Path) -> Result<String, CasesError> {
    fs::read_to_string(path).map_err(|source| CasesError::Read { path: path.to_owned(), source })
}
