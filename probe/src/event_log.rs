//! The event log: Tetragon's JSON lines in a file of bounded size, for log agents and for people.
//!
//! `events.log` is written; when it is full it becomes `events.log.1`, what was `.1` becomes `.2`, and so
//! on. A full or broken disk costs events of the log, counted, and nothing else: a
//! [`crate::line_writer::LineWriter`] keeps the file off the path of the events.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::line_writer::{LineSink, count_lines};
use crate::trouble::Troubles;

/// Tetragon's own limit for a file, 10 MB.
pub const DEFAULT_MAX_SIZE_BYTES: u64 = 10_000_000;
/// Tetragon's own number of rotated files.
pub const DEFAULT_MAX_FILES: u32 = 5;

const LACKS_EVENTS: &str = "the event log lacks events";

/// Where the log stands and how much of the disk it may take: `max_size_bytes * (1 + max_files)`.
#[derive(Debug, Clone)]
pub struct EventLogOptions {
    /// The file that is written; rotated files stand beside it.
    pub path: PathBuf,
    /// A file is rotated before it would grow beyond this. One longer line still gets a file of its own.
    pub max_size_bytes: u64,
    /// Rotated files that are kept; with 0 a full file is removed.
    pub max_files: u32,
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// The file or its folder is not there or not ours.
    #[error("cannot open event log {}: {source}; create its folder, or give another --event-log path", path.display())]
    Open {
        /// The log's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pipe, a device or a folder.
    #[error("event log {} is not a regular file, so it cannot be rotated; to pipe events use --output json", path.display())]
    NotAFile {
        /// The log's path.
        path: PathBuf,
    },
}

/// An open event log.
#[derive(Debug)]
pub struct EventLog {
    options: EventLogOptions,
    /// None after a failure, until the next append opens it again.
    current: Option<Current>,
    /// Lines lost since writing last worked; `Some` while it does not.
    failing: Option<u64>,
    troubles: Troubles,
}

#[derive(Debug)]
struct Current {
    file: File,
    size: u64,
    /// Device and inode: somebody else may move or remove the file.
    identity: (u64, u64),
}

impl EventLog {
    /// Opens the log for appending; a new file gets mode 0600.
    ///
    /// # Errors
    /// The path cannot be opened, or is not a regular file.
    pub fn open(options: EventLogOptions) -> Result<Self, EventLogError> {
        let path = &options.path;
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(EventLogError::NotAFile { path: path.clone() });
        }
        let current = Current::open(path)
            .map_err(|source| EventLogError::Open { path: path.clone(), source })?;
        Ok(Self { options, current: Some(current), failing: None, troubles: Troubles::default() })
    }

    /// The same for one who goes on without it: what cannot be opened now is tried again with the first events, and so
    /// long `troubles` tell.
    #[must_use]
    pub fn open_or_try_again(options: EventLogOptions, troubles: Troubles) -> Self {
        let mut log = Self { options, current: None, failing: None, troubles };
        match Current::open(&log.options.path) {
            Ok(current) => log.current = Some(current),
            Err(error) => log.fails(&error, 0),
        }
        log
    }

    fn fails(&mut self, error: &io::Error, lost: u64) {
        if self.failing.is_none() {
            tracing::error!(path = %self.options.path.display(), %error,
                "Cannot write the event log: events are missing from it until this is mended; shipping and alerts go on");
        }
        *self.failing.get_or_insert(0) += lost;
        self.troubles.set(LACKS_EVENTS, error);
    }

    /// Takes what was written off the front of `rest`.
    fn write_all(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        self.reopen_if_moved()?;
        while !rest.is_empty() {
            let max = self.options.max_size_bytes;
            let current = match &mut self.current {
                Some(current) => current,
                None => self.current.insert(Current::open(&self.options.path)?),
            };
            let fits = fitting_lines(rest, max.saturating_sub(current.size));
            if fits == 0 && current.size > 0 {
                self.rotate()?;
                continue;
            }
            // An empty file takes a line of any length.
            let (part, _) = rest.split_at(if fits == 0 { first_line(rest) } else { fits });
            let (written, result) = current.append(part);
            *rest = &rest[written..];
            if result.is_err() {
                self.current = None;
            }
            result?;
        }
        Ok(())
    }

    /// A log that was moved or removed by somebody else is written no further.
    fn reopen_if_moved(&mut self) -> io::Result<()> {
        let path = &self.options.path;
        let identity = std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        if self.current.as_ref().is_none_or(|current| Some(current.identity) != identity) {
            self.current = None;
            self.current = Some(Current::open(path)?);
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.current = None;
        let path = &self.options.path;
        let keep = self.options.max_files;
        if keep == 0 {
            return std::fs::remove_file(path);
        }
        // Only as far as the first gap: a rotation that failed half-way is finished by the next one,
        // and does not push one more file out at each try.
        let gap = (1..=keep).find(|number| !rotated(path, *number).exists()).unwrap_or(keep);
        for number in (1..gap).rev() {
            std::fs::rename(rotated(path, number), rotated(path, number + 1))?;
        }
        std::fs::rename(path, rotated(path, 1))
    }
}

impl LineSink for EventLog {
    /// Appends whole lines and returns how many of them were lost. Says once that writing fails, and
    /// once that it works again; each call tries anew.
    fn append(&mut self, lines: &[u8]) -> u64 {
        let mut rest = lines;
        let lost = match self.write_all(&mut rest) {
            Ok(()) => 0,
            Err(error) => {
                let lost = count_lines(rest);
                self.fails(&error, lost);
                lost
            }
        };
        if lost == 0
            && !lines.is_empty()
            && let Some(missing) = self.failing.take()
        {
            tracing::info!(path = %self.options.path.display(), missing, "Writing the event log again");
            self.troubles.clear(LACKS_EVENTS);
        }
        lost
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut size = found.len();
        if !ends_with_newline(&mut file, size)? {
            // A crash or a full disk left half a line; what follows must not become part of it.
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok(Self { file, size, identity: (found.dev(), found.ino()) })
    }

    /// Appends whole lines; returns the bytes of those that are in the file now.
    fn append(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < lines.len() {
            let error = match self.file.write(&lines[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(bytes) => {
                    written += bytes;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let whole = last_line_end(&lines[..written]);
            // Where even this fails, the next open ends the torn line.
            let _ = self.file.set_len(self.size + whole as u64);
            return (whole, Err(error));
        }
        self.size += written as u64;
        (written, Ok(()))
    }
}

fn ends_with_newline(file: &mut File, size: u64) -> io::Result<bool> {
    if size == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(size - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// `events.log.1`
fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Bytes of the whole lines at the start that fit into `room`.
fn fitting_lines(lines: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < lines.len() => last_line_end(&lines[..room]),
        _ => lines.len(),
    }
}

fn last_line_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1)
}

#[cfg(test)]
mod tests;
