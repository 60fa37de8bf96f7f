//! Keeps the ledger while the probe runs, and goes on without one where it cannot be written.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::sync::oneshot;

use crate::agent::ledger::{Ledger, Past};
use crate::output::Waiting;
use crate::trouble::Troubles;

/// What a killed probe took with it is known to this.
const NOTE: Duration = Duration::from_millis(100);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NOT_COUNTED: &str = "what the probe would lose if it were killed is not counted";

/// The ledger, or the wish for one.
pub(super) struct Book {
    folder: PathBuf,
    boot: String,
    ledger: Option<Ledger>,
    waiting: Waiting,
    troubles: Troubles,
    failing: bool,
}

impl Book {
    /// Opens it, and says what it tells of the probe before.
    pub(super) fn open(
        folder: PathBuf,
        waiting: Waiting,
        troubles: Troubles,
    ) -> (Self, Option<Past>) {
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        let mut book = Self { folder, boot, ledger: None, waiting, troubles, failing: false };
        let past = match Ledger::open(&book.folder, &book.boot, Timestamp::now()) {
            Ok((ledger, past)) => {
                book.ledger = Some(ledger);
                past
            }
            Err(error) => {
                book.say(&Err(error));
                None
            }
        };
        if let Some(past) = &past {
            tracing::warn!(until = %past.until, how = ?past.end, lost = past.lost, "A probe was here before");
        }
        (book, past)
    }

    /// Notes what waits until the other end of `stop` is dropped.
    pub(super) async fn keep(mut self, mut stop: oneshot::Receiver<()>) {
        let mut tick = tokio::time::interval(NOTE);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = &mut stop => break,
            }
            let noted = self.note(Timestamp::now());
            self.say(&noted);
        }
        let ended = self.ledger.map(|ledger| ledger.end(self.waiting.events(), Timestamp::now()));
        if let Some(Err(error)) = ended {
            tracing::warn!("{error}; the next probe will take this one for killed");
        }
    }

    fn note(&mut self, now: Timestamp) -> io::Result<()> {
        let ledger = match &mut self.ledger {
            Some(ledger) => ledger,
            None => {
                let (ledger, _) = Ledger::open(&self.folder, &self.boot, now)?;
                self.ledger.insert(ledger)
            }
        };
        ledger.note(self.waiting.events(), now)
    }

    fn say(&mut self, noted: &io::Result<()>) {
        match noted {
            Ok(()) if !self.failing => return,
            Ok(()) => self.troubles.clear(NOT_COUNTED),
            Err(error) => {
                if !self.failing {
                    tracing::warn!(folder = %self.folder.display(), "{NOT_COUNTED}: {error}");
                }
                self.troubles.set(NOT_COUNTED, error);
            }
        }
        self.failing = noted.is_err();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_folder_that_comes_later_is_used_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let troubles = Troubles::default();
        let (mut book, past) = Book::open(folder.clone(), Waiting::default(), troubles.clone());
        assert_eq!(past, None);
        let missing = format!("{NOT_COUNTED}: No such file or directory (os error 2)");
        assert_eq!(troubles.sentences(), [missing]);
        std::fs::create_dir(&folder).unwrap();
        let noted = book.note(Timestamp::now());
        book.say(&noted);
        assert!(troubles.sentences().is_empty());
        let (_, past) = Book::open(folder, Waiting::default(), troubles);
        assert!(past.is_some(), "the ledger was written");
    }
}
