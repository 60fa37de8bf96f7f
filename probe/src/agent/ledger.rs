//! What a probe that is killed leaves to the next one of its pod: when it last was alive, and what it had not yet
//! shipped.
//!
//! One page of a file in the pod's own volume, written in place whenever the numbers change. A write of less than a page is
//! whole or not there when the process is killed; after a crash of the node it may be missing or torn, which reads as
//! nothing known.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The file's name in its folder.
const NAME: &str = "ledger.json";
/// The length of a record, padded: a shorter one leaves nothing of a longer one behind.
const RECORD_BYTES: usize = 512;
const SIGN_OF_LIFE: SignedDuration = SignedDuration::from_secs(1);

/// The open file.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    record: Record,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Changes when the node starts again.
    boot_id: String,
    /// The last sign of life.
    alive: Timestamp,
    /// Events that were taken and are neither delivered nor counted as lost.
    waiting: u64,
    /// Events that earlier probes of this pod took to their graves.
    lost: u64,
    /// It ended as it was asked to.
    ended: bool,
}

/// What is known of the probe before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// When it last was alive: from then until this one's hooks were attached nobody looked.
    pub until: Timestamp,
    /// How it ended.
    pub end: End,
    /// Events that were not shipped when it, or one before it, ended.
    pub lost: u64,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// It was not.
    Killed,
    /// With its node.
    Rebooted,
}

impl Ledger {
    /// Opens the file in `folder`, and says what it tells of the probe before.
    ///
    /// # Errors
    /// The folder cannot be written to. What the file holds is never an error.
    pub fn open(folder: &Path, boot_id: &str, now: Timestamp) -> io::Result<(Self, Option<Past>)> {
        let path = folder.join(NAME);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let past = read(&file).map(|record| record.past(boot_id));
        let lost = past.as_ref().map_or(0, |past| past.lost);
        let boot_id = boot_id.to_owned();
        let record = Record { boot_id, alive: now, waiting: 0, lost, ended: false };
        let ledger = Self { file, record };
        ledger.write()?;
        Ok((ledger, past))
    }

    /// Notes how many events wait; where nothing has changed, once a second, as a sign of life. To be called as often as
    /// a loss is to be known.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&mut self, waiting: u64, now: Timestamp) -> io::Result<()> {
        if waiting == self.record.waiting && now.duration_since(self.record.alive) < SIGN_OF_LIFE {
            return Ok(());
        }
        (self.record.waiting, self.record.alive) = (waiting, now);
        self.write()
    }

    /// The end, as it should be.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(mut self, waiting: u64, now: Timestamp) -> io::Result<()> {
        (self.record.ended, self.record.waiting, self.record.alive) = (true, waiting, now);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.record)?;
        bytes.resize(RECORD_BYTES.max(bytes.len()), b' ');
        self.file.write_all_at(&bytes, 0)
    }
}

fn read(file: &File) -> Option<Record> {
    let mut bytes = [0; RECORD_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes[..length]).ok()
}

impl Record {
    fn past(&self, boot_id: &str) -> Past {
        let end = match (self.ended, self.boot_id == boot_id) {
            (true, _) => End::Stopped,
            (false, true) => End::Killed,
            (false, false) => End::Rebooted,
        };
        Past { until: self.alive, end, lost: self.lost.saturating_add(self.waiting) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_next_probe_knows_how_the_last_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, past) = Ledger::open(folder.path(), "boot-1", second(10)).unwrap();
        assert_eq!(past, None, "nobody was there before");
        first.note(7, second(20)).unwrap();
        drop(first);

        let (mut second_run, past) = Ledger::open(folder.path(), "boot-1", second(25)).unwrap();
        assert_eq!(past, Some(Past { until: second(20), end: End::Killed, lost: 7 }));
        second_run.note(1_000_000, second(26)).unwrap();
        second_run.note(5, second(30)).unwrap();
        drop(second_run);

        let (third, past) = Ledger::open(folder.path(), "boot-2", second(90)).unwrap();
        let rebooted = Past { until: second(30), end: End::Rebooted, lost: 12 };
        assert_eq!(past, Some(rebooted), "what was lost stays lost");
        third.end(0, second(95)).unwrap();

        let (_, past) = Ledger::open(folder.path(), "boot-2", second(96)).unwrap();
        assert_eq!(past, Some(Past { until: second(95), end: End::Stopped, lost: 12 }));
    }

    #[test]
    fn a_torn_file_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for torn in ["", "{", "{\"boot_id\":\"x\"}", "\0\0\0"] {
            std::fs::write(folder.path().join(NAME), torn).unwrap();
            let (_, past) = Ledger::open(folder.path(), "boot", second(1)).unwrap();
            assert_eq!(past, None, "{torn:?}");
        }
    }
}
