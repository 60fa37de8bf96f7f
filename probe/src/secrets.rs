//! Secrets from files laid out like a mounted Secret: `DIR/NAME/KEY`.

use securitywatch_api::secret::Secret;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why a secret cannot be had; each message says what to create.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "secret \"{name}\" is needed for its key \"{key}\": give --secrets DIR and create DIR/{name}/{key}"
    )]
    NoDirectory { name: String, key: String },
    #[error("secret \"{name}\" does not exist: create {}", path.display())]
    NoSecret { name: String, path: PathBuf },
    #[error("secret \"{name}\" has no key \"{key}\": create {}", path.display())]
    NoKey { name: String, key: String, path: PathBuf },
    #[error("secret \"{name}\": {} is empty: write the value into it", path.display())]
    Empty { name: String, path: PathBuf },
    #[error("secret \"{name}\": {} is not text: it must be UTF-8 without line breaks", path.display())]
    NotText { name: String, path: PathBuf },
    #[error(
        "\"{0}\" cannot name a secret or a key: it may have letters, digits, '-', '_' and '.', and not start with a dot"
    )]
    BadName(String),
    #[error("secret \"{name}\": cannot read {}: {source}", path.display())]
    Unreadable { name: String, path: PathBuf, source: io::Error },
}

/// The directory of secrets, or its absence.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    dir: Option<PathBuf>,
}

impl Secrets {
    /// `dir` is the value of `--secrets`.
    #[must_use]
    pub const fn new(dir: Option<PathBuf>) -> Self {
        Self { dir }
    }

    /// A key that must exist, read now and followed from now on.
    ///
    /// # Errors
    /// [`SecretError`] names the file to create or mend.
    pub fn get(&self, name: &str, key: &str) -> Result<SecretFile, SecretError> {
        for part in [name, key] {
            check_name(part)?;
        }
        let Some(dir) = &self.dir else {
            return Err(SecretError::NoDirectory { name: name.to_owned(), key: key.to_owned() });
        };
        SecretFile::open(name, key, dir.join(name).join(key))
    }

    /// Whether the key exists, for choices such as "apiKey, else username and password".
    #[must_use]
    pub fn has(&self, name: &str, key: &str) -> bool {
        check_name(name).is_ok()
            && check_name(key).is_ok()
            && self.dir.as_ref().is_some_and(|dir| dir.join(name).join(key).is_file())
    }
}

/// Names become parts of a path: nothing may climb out of the directory.
fn check_name(part: &str) -> Result<(), SecretError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if part.is_empty() || part.starts_with('.') || !part.chars().all(fits) {
        return Err(SecretError::BadName(part.to_owned()));
    }
    Ok(())
}

/// One key's file with the value it last had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    name: String,
    key: String,
    path: PathBuf,
    modified: Option<SystemTime>,
    value: Secret,
}

impl SecretFile {
    fn open(name: &str, key: &str, path: PathBuf) -> Result<Self, SecretError> {
        let (modified, value) = read(name, key, &path)?;
        Ok(Self { name: name.to_owned(), key: key.to_owned(), path, modified, value })
    }

    /// The Secret's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's name, for messages.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value as last read.
    #[must_use]
    pub const fn value(&self) -> &Secret {
        &self.value
    }

    /// Reads the file again if it was replaced; `true` when the value is another one now.
    ///
    /// # Errors
    /// The old value stays in use.
    pub fn refresh(&mut self) -> Result<bool, SecretError> {
        // A mounted Secret is replaced by a new symlink target, which has its own time.
        let modified = fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if modified.is_some() && modified == self.modified {
            return Ok(false);
        }
        let (modified, value) = read(&self.name, &self.key, &self.path)?;
        self.modified = modified;
        let changed = value != self.value;
        self.value = value;
        Ok(changed)
    }
}

fn read(name: &str, key: &str, path: &Path) -> Result<(Option<SystemTime>, Secret), SecretError> {
    // The time first: a change between the two is then seen at the next refresh.
    let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
    let bytes = fs::read(path).map_err(|source| refusal(name, key, path, source))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| SecretError::NotText { name: name.to_owned(), path: path.to_owned() })?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(SecretError::Empty { name: name.to_owned(), path: path.to_owned() });
    }
    if text.contains(['\n', '\r', '\0']) {
        return Err(SecretError::NotText { name: name.to_owned(), path: path.to_owned() });
    }
    Ok((modified, Secret::new(text.to_owned())))
}

fn refusal(name: &str, key: &str, path: &Path, source: io::Error) -> SecretError {
    let (name, path) = (name.to_owned(), path.to_owned());
    match source.kind() {
        io::ErrorKind::NotFound if path.parent().is_some_and(Path::is_dir) => {
            SecretError::NoKey { name, key: key.to_owned(), path }
        }
        io::ErrorKind::NotFound => SecretError::NoSecret { name, path },
        _ => SecretError::Unreadable { name, path, source },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, Secrets) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let secrets = Secrets::new(Some(dir.path().to_owned()));
        (dir, secrets)
    }

    #[test]
    fn the_trailing_newline_is_not_part_of_it() {
        let (_dir, secrets) = with(&[("oncall/url", "https://example.test/hook\n")]);
        let file = secrets.get("oncall", "url").unwrap();
        assert_eq!(file.value().expose(), "https://example.test/hook");
        assert!(secrets.has("oncall", "url") && !secrets.has("oncall", "token"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_create() {
        let (dir, secrets) =
            with(&[("oncall/other", "x"), ("empty/url", "\n"), ("lines/url", "a\nb")]);
        let message = |name: &str, key: &str| secrets.get(name, key).unwrap_err().to_string();
        let path = dir.path().display();
        assert_eq!(
            message("oncall", "url"),
            format!("secret \"oncall\" has no key \"url\": create {path}/oncall/url")
        );
        assert_eq!(
            message("nosuch", "url"),
            format!("secret \"nosuch\" does not exist: create {path}/nosuch/url")
        );
        assert!(message("empty", "url").contains("is empty"));
        assert!(message("lines", "url").contains("without line breaks"));
        assert!(
            Secrets::default()
                .get("oncall", "url")
                .unwrap_err()
                .to_string()
                .contains("--secrets DIR")
        );
    }

    #[test]
    fn no_name_leaves_the_directory() {
        let (_dir, secrets) = with(&[("a/b", "x")]);
        for (name, key) in [("..", "b"), ("a/..", "b"), ("a", "../a/b"), ("", "b"), ("a", "..data")]
        {
            assert!(matches!(secrets.get(name, key), Err(SecretError::BadName(_))), "{name} {key}");
            assert!(!secrets.has(name, key));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let (_dir, secrets) = with(&[("oncall/url", "hunter2")]);
        let shown = format!("{:?}", secrets.get("oncall", "url").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_replaced_file_is_read_again_and_only_then() {
        let (dir, secrets) = with(&[("s/k", "old")]);
        let path = dir.path().join("s/k");
        let mut file = secrets.get("s", "k").unwrap();
        assert!(!file.refresh().unwrap());
        fs::write(&path, "new").unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::File::open(&path).unwrap().set_modified(later).unwrap();
        assert!(file.refresh().unwrap());
        assert_eq!(file.value().expose(), "new");
        assert!(!file.refresh().unwrap());
        fs::remove_file(&path).unwrap();
        assert!(file.refresh().is_err());
        assert_eq!(file.value().expose(), "new", "the last good value stays");
    }
}
