//! A thread that writes lines, so that a slow disk or a stopped terminal never holds up the reader of the
//! ring buffers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// Lines on their way may take this much memory; what does not fit is lost and counted.
const MAX_PENDING_BYTES: usize = 8 << 20;

/// Where lines end up.
pub trait LineSink: Send + 'static {
    /// Writes whole lines and returns how many of them were lost.
    fn append(&mut self, lines: &[u8]) -> u64;

    /// Whether nothing more can ever be written: the other end of a pipe has gone.
    fn is_closed(&self) -> bool {
        false
    }
}

/// Standard output. Without a reader it is closed, and not an error.
#[derive(Debug, Default)]
pub struct StandardOutput {
    closed: bool,
}

impl LineSink for StandardOutput {
    fn append(&mut self, lines: &[u8]) -> u64 {
        use std::io::Write as _;
        if self.closed {
            return 0;
        }
        let mut out = io::stdout().lock();
        match out.write_all(lines).and_then(|()| out.flush()) {
            Ok(()) => 0,
            Err(error) => {
                self.closed = true;
                if error.kind() == io::ErrorKind::BrokenPipe {
                    return 0;
                }
                tracing::error!(%error, "Cannot write to standard output");
                count_lines(lines)
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

/// The front of the thread. Clones share it.
#[derive(Debug, Clone)]
pub struct LineSender {
    full: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

/// The thread.
#[derive(Debug)]
pub struct LineWriter {
    sender: LineSender,
    /// Written buffers come back, to be filled again.
    empty: Receiver<Vec<u8>>,
    done: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    pending_bytes: AtomicUsize,
    lost: AtomicU64,
    closed: AtomicBool,
}

impl LineSender {
    /// Hands over whole lines. Never waits.
    pub fn send(&self, lines: Vec<u8>) {
        let bytes = lines.len();
        let pending = self.shared.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        if pending > 0 && pending + bytes > MAX_PENDING_BYTES {
            self.take_back(&lines);
        } else if let Err(mpsc::SendError(unsent)) = self.full.send(lines) {
            self.take_back(&unsent);
        }
    }

    fn take_back(&self, lines: &[u8]) {
        self.shared.pending_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
        self.shared.lost.fetch_add(count_lines(lines), Ordering::Relaxed);
    }

    /// Lines lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Whether nothing more can ever be written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl LineWriter {
    /// Starts the thread; `name` is seen in the process's thread list.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(name: &str, mut sink: impl LineSink) -> io::Result<Self> {
        let (full, to_write) = mpsc::channel::<Vec<u8>>();
        let (give_back, empty) = mpsc::channel();
        let (finished, done) = mpsc::channel();
        let sender = LineSender { full, shared: Arc::default() };
        let shared = Arc::clone(&sender.shared);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // An empty buffer is the end: senders may be anywhere, and one more must not keep the thread.
            while let Some(mut lines) = to_write.recv().ok().filter(|lines| !lines.is_empty()) {
                shared.lost.fetch_add(sink.append(&lines), Ordering::Relaxed);
                shared.closed.store(sink.is_closed(), Ordering::Relaxed);
                shared.pending_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
                lines.clear();
                // The front may be gone: then nobody fills buffers any more.
                let _ = give_back.send(lines);
            }
            let _ = finished.send(());
        })?;
        Ok(Self { sender, empty, done })
    }

    /// Hands over the whole lines in `lines`, which is left empty. Never waits.
    pub fn submit(&self, lines: &mut Vec<u8>) {
        if !lines.is_empty() {
            self.sender.send(std::mem::replace(lines, self.empty.try_recv().unwrap_or_default()));
        }
    }

    /// Lines lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sender.lost()
    }

    /// Another way to hand over lines, and the figures.
    #[must_use]
    pub fn sender(&self) -> LineSender {
        self.sender.clone()
    }

    /// Writes what was submitted, at most for `timeout`. Returns whether all of it was tried.
    #[must_use]
    pub fn stop(self, timeout: Duration) -> bool {
        let _ = self.sender.full.send(Vec::new());
        self.done.recv_timeout(timeout).is_ok()
    }
}

/// A last line without its newline counts as well.
#[must_use]
pub fn count_lines(lines: &[u8]) -> u64 {
    lines.split_inclusive(|byte| *byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::SyncSender;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Passes on what it gets; a bounded channel makes it hang.
    struct Hanging(SyncSender<Vec<u8>>);

    impl LineSink for Hanging {
        fn append(&mut self, lines: &[u8]) -> u64 {
            self.0.send(lines.to_vec()).map_or_else(|_| count_lines(lines), |()| 0)
        }
    }

    #[test]
    fn everything_submitted_is_written_before_stop_returns() {
        let (sink, written) = mpsc::sync_channel(2000);
        let writer = LineWriter::start("test", Hanging(sink)).unwrap();
        let sender = writer.sender();
        let mut lines = Vec::new();
        let mut expected = Vec::new();
        for number in 0..1000 {
            let line = format!("{{\"n\":{number}}}\n").into_bytes();
            expected.extend_from_slice(&line);
            lines.extend_from_slice(&line);
            writer.submit(&mut lines);
            assert!(lines.is_empty());
        }
        sender.send(b"last\n".to_vec());
        expected.extend_from_slice(b"last\n");
        assert!(writer.stop(TIMEOUT));
        assert_eq!(written.iter().flatten().collect::<Vec<u8>>(), expected);
        assert_eq!(sender.lost(), 0);
        sender.send(b"too late\n".to_vec());
        assert_eq!(sender.lost(), 1);
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_and_the_caller_goes_on() {
        let (sink, written) = mpsc::sync_channel(0);
        let writer = LineWriter::start("test", Hanging(sink)).unwrap();
        let sender = writer.sender();
        let megabyte = [b"x".repeat(1023), b"\n".to_vec()].concat().repeat(1024);
        for _ in 0..12 {
            writer.submit(&mut megabyte.clone());
        }
        assert_eq!(sender.lost(), 4 * 1024);
        assert!(!writer.stop(Duration::from_millis(1)), "it hangs");
        // The disk answers again.
        assert_eq!(written.iter().map(|lines| count_lines(&lines)).sum::<u64>(), 8 * 1024);
    }

    #[test]
    fn a_sink_that_loses_lines_is_added_up() {
        let (sink, gone) = mpsc::sync_channel(0);
        drop(gone);
        let writer = LineWriter::start("test", Hanging(sink)).unwrap();
        let sender = writer.sender();
        writer.submit(&mut b"one\ntwo\n".to_vec());
        writer.submit(&mut b"three\n".to_vec());
        assert!(writer.stop(TIMEOUT));
        assert_eq!(sender.lost(), 3);
    }
}
