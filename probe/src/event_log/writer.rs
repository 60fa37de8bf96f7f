//! A thread for the event log, so that a slow or hanging disk never holds up the reader of the ring buffers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::{EventLog, count_lines};

/// Lines on their way to the disk may take this much memory; what does not fit is lost and counted.
const MAX_PENDING_BYTES: usize = 8 << 20;
/// How long a stop waits for a disk that does not answer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The front of the event log's thread.
#[derive(Debug)]
pub struct EventLogWriter {
    full: Sender<Vec<u8>>,
    /// Written buffers come back, to be filled again.
    empty: Receiver<Vec<u8>>,
    done: Receiver<()>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    pending_bytes: AtomicUsize,
    lost: AtomicU64,
}

/// Counts the events that are missing from the log; for the metrics.
#[derive(Debug, Clone)]
pub struct LostCount(Arc<Shared>);

impl LostCount {
    /// Lines lost since the start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }
}

impl EventLogWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(log: EventLog) -> io::Result<Self> {
        let (full, to_write) = mpsc::channel();
        let (give_back, empty) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("event-log".into()).spawn(move || {
            write_until_closed(log, &to_write, &give_back, &of_thread);
            let _ = finished.send(());
        })?;
        Ok(Self { full, empty, done, shared })
    }

    /// Hands over the whole lines in `lines`, which is left empty. Never waits.
    pub fn submit(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let bytes = lines.len();
        let pending = self.shared.pending_bytes.load(Ordering::Relaxed);
        if pending > 0 && pending + bytes > MAX_PENDING_BYTES {
            self.lose(lines);
            return;
        }
        self.shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        let buffer = std::mem::replace(lines, self.empty.try_recv().unwrap_or_default());
        if let Err(mpsc::SendError(mut unsent)) = self.full.send(buffer) {
            self.lose(&mut unsent);
        }
    }

    fn lose(&self, lines: &mut Vec<u8>) {
        self.shared.lost.fetch_add(count_lines(lines), Ordering::Relaxed);
        lines.clear();
    }

    /// The counter of lost lines.
    #[must_use]
    pub fn lost(&self) -> LostCount {
        LostCount(Arc::clone(&self.shared))
    }

    /// Writes what was submitted, at most for some seconds. Returns whether all of it was tried.
    #[must_use]
    pub fn stop(self) -> bool {
        drop(self.full);
        self.done.recv_timeout(STOP_TIMEOUT).is_ok()
    }
}

fn write_until_closed(
    mut log: EventLog,
    to_write: &Receiver<Vec<u8>>,
    give_back: &Sender<Vec<u8>>,
    shared: &Shared,
) {
    while let Ok(mut lines) = to_write.recv() {
        let lost = log.append(&lines);
        shared.lost.fetch_add(lost, Ordering::Relaxed);
        shared.pending_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
        lines.clear();
        // The front may be gone: then nobody fills buffers any more.
        let _ = give_back.send(lines);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::event_log::EventLogOptions;

    #[test]
    fn everything_submitted_is_in_the_file_after_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let options = EventLogOptions { path: path.clone(), max_size_bytes: 1 << 20, max_files: 1 };
        let writer = EventLogWriter::start(EventLog::open(options).unwrap()).unwrap();
        let lost = writer.lost();
        let mut lines = Vec::new();
        let mut expected = String::new();
        for number in 0..1000 {
            let line = format!("{{\"n\":{number}}}\n");
            expected += &line;
            lines.extend_from_slice(line.as_bytes());
            writer.submit(&mut lines);
            assert!(lines.is_empty());
        }
        assert!(writer.stop());
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
        assert_eq!(lost.get(), 0);
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_and_the_caller_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("events.log");
        // A log whose disk hangs: nobody reads this pipe, so the thread's write never returns.
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let hanging = EventLog::over_file(
            std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap(),
            EventLogOptions { path: fifo, max_size_bytes: u64::MAX, max_files: 1 },
        );
        let writer = EventLogWriter::start(hanging).unwrap();
        let megabyte = [b"x".repeat(1023), b"\n".to_vec()].concat().repeat(1024);
        for _ in 0..12 {
            writer.submit(&mut megabyte.clone());
        }
        assert_eq!(writer.lost().get(), 4 * 1024);
    }
}
