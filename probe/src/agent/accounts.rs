//! What a watch ships with: the operator's files, `DIR/UID.username`, `UID.password` or `UID.apiKey`.

use std::io;
use std::path::{Path, PathBuf};

use securitywatch_api::cluster::{AccountPart, ingest_key};
use securitywatch_api::secret::Secret;

use crate::ship::Account;

/// Longest part of an account, in bytes; Parseable's own are far below.
const MAX_BYTES: u64 = 64 << 10;

/// Why an account cannot be used; each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("{} is not there", .0.display())]
    Missing(PathBuf),
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is empty, too long, or not one line of text", .0.display())]
    NotText(PathBuf),
}

/// Reads the account of the watch with this uid.
///
/// # Errors
/// [`AccountError`]; where there is nothing at all, for the user's name.
pub fn read(dir: &Path, uid: &str) -> Result<Account, AccountError> {
    let path = |part| dir.join(ingest_key(uid, part));
    match part(path(AccountPart::ApiKey)) {
        Ok(key) => return Ok(Account::ApiKey(key)),
        Err(AccountError::Missing(_)) => {}
        Err(error) => return Err(error),
    }
    let username = part(path(AccountPart::Username))?.expose().to_owned();
    Ok(Account::User { username, password: part(path(AccountPart::Password))? })
}

fn part(path: PathBuf) -> Result<Secret, AccountError> {
    let bytes = std::fs::metadata(&path).and_then(|file| {
        if file.len() > MAX_BYTES { Ok(Vec::new()) } else { std::fs::read(&path) }
    });
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(AccountError::Missing(path));
        }
        Err(source) => return Err(AccountError::Unreadable { path, source }),
    };
    match std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\n', '\r'])) {
        Ok(text) if !text.is_empty() && !text.contains(['\n', '\r', '\0']) => {
            Ok(Secret::new(text.to_owned()))
        }
        _ => Err(AccountError::NotText(path)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn an_account_is_a_user_or_a_key() {
        let dir = dir(&[
            ("u.username", "ada\n"),
            ("u.password", "pw"),
            ("k.apiKey", "key"),
            ("k.username", "x"),
        ]);
        let user = Account::User { username: "ada".into(), password: Secret::new("pw".into()) };
        assert_eq!(read(dir.path(), "u").unwrap(), user);
        assert_eq!(read(dir.path(), "k").unwrap(), Account::ApiKey(Secret::new("key".into())));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = dir(&[("half.username", "ada"), ("lines.apiKey", "a\nb"), ("empty.apiKey", "")]);
        let error = |uid| read(dir.path(), uid).unwrap_err().to_string();
        assert!(error("none").ends_with("none.username is not there"), "{}", error("none"));
        assert!(error("half").ends_with("half.password is not there"), "{}", error("half"));
        assert!(error("lines").contains("lines.apiKey is empty, too long, or not one line"));
        assert!(error("empty").contains("empty.apiKey is empty"));
    }
}
