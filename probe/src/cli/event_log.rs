//! Where the event log stands and how large it may become.

use std::path::PathBuf;

use clap::Args;

use crate::event_log::{
    DEFAULT_MAX_FILES, DEFAULT_MAX_SIZE_BYTES, EventLog, EventLogError, EventLogOptions,
};
use crate::trouble::Troubles;

const BYTES_PER_MB: u64 = 1_000_000;

/// `--event-log` and what belongs to it.
#[derive(Debug, Clone, Args)]
pub struct EventLogArgs {
    /// Write Tetragon's JSON lines to this file, readable by its owner only
    #[arg(long, value_name = "PATH", value_parser = event_log_path)]
    pub event_log: Option<PathBuf>,

    /// Rotate the event log before it grows beyond this
    #[arg(long, value_name = "MB", default_value_t = DEFAULT_MAX_SIZE_BYTES / BYTES_PER_MB,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub event_log_max_size_mb: u64,

    /// Rotated event logs to keep (PATH.1 is the newest)
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_FILES,
          value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub event_log_max_files: u32,
}

impl EventLogArgs {
    /// What they say; `None`: no log.
    #[must_use]
    pub fn options(&self) -> Option<EventLogOptions> {
        let path = self.event_log.clone()?;
        let max_size_bytes = self.event_log_max_size_mb * BYTES_PER_MB;
        Some(EventLogOptions { path, max_size_bytes, max_files: self.event_log_max_files })
    }

    /// The log, if there is to be one, for a probe that goes on without it.
    #[must_use]
    pub fn open_or_try_again(&self, troubles: &Troubles) -> Option<EventLog> {
        Some(EventLog::open_or_try_again(self.options()?, troubles.clone()))
    }

    /// Opens the log, if there is to be one.
    ///
    /// # Errors
    /// See [`EventLogError`].
    pub fn open(&self) -> Result<Option<EventLog>, EventLogError> {
        self.options().map(EventLog::open).transpose()
    }
}

/// Standard output has its own option, which does not try to rotate it.
fn event_log_path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the path is empty".to_owned()),
        "-" => Err("for standard output use --output json".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}
