//! The two ring buffers, drained into one batch that is in time order.
//!
//! The telemetry ring is emptied first and the lifecycle ring after it, so that the exec of a process is
//! always there with its first policy event. What is younger than the moment before the drain waits for
//! the next one: an exit must not overtake a policy event of the same process in the other ring.

#![allow(unsafe_code, reason = "poll(2) wants borrowed descriptors; libbpf-rs has raw ones")]

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags, MapHandle, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use super::record::time_of;

/// Most records taken from one ring in one drain; bounds the memory of a batch.
const MAX_RECORDS: usize = 8192;
/// How long the reader rests between drains while events come.
const ACTIVE_REST: Duration = Duration::from_millis(10);
/// How long it sleeps when none came for [`IDLE_AFTER`]; a record ends the sleep, and if one slips between
/// the last look and the sleep, this does.
const IDLE_SLEEP: Duration = Duration::from_millis(100);
/// Quiet time after which the reader sleeps instead of resting.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Bytes of records with their times.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// time, offset, length
    index: Vec<(u64, usize, usize)>,
}

impl Batch {
    fn push(&mut self, record: &[u8]) {
        self.index.push((time_of(record), self.bytes.len(), record.len()));
        self.bytes.extend_from_slice(record);
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}

/// Reads both rings.
#[derive(Debug)]
pub struct Rings {
    telemetry: Ring,
    lifecycle: Ring,
    control: MapHandle,
    wake_bytes: u32,
    /// Records that were too young for the batch they came in.
    held: Batch,
    quiet_since: Option<std::time::Instant>,
}

struct Ring {
    buffer: RingBuffer<'static>,
    batch: Rc<RefCell<Batch>>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    fn new(map: &MapHandle) -> libbpf_rs::Result<Self> {
        let batch = Rc::new(RefCell::new(Batch::default()));
        let sink = Rc::clone(&batch);
        let mut builder = RingBufferBuilder::new();
        builder.add(map, move |record| {
            sink.borrow_mut().push(record);
            0
        })?;
        Ok(Self { buffer: builder.build()?, batch })
    }

    /// Whether the ring may hold more than what was taken.
    fn drain(&self) -> bool {
        let taken = self.buffer.consume_raw_n(MAX_RECORDS);
        usize::try_from(taken).is_ok_and(|n| n >= MAX_RECORDS)
    }
}

/// CLOCK_BOOTTIME in ns, the clock of the records.
#[must_use]
pub fn boot_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Rings {
    /// Opens both rings.
    ///
    /// # Errors
    /// The kernel refuses to map a ring.
    pub fn new(
        telemetry: &MapHandle,
        lifecycle: &MapHandle,
        control: MapHandle,
        telemetry_bytes: u32,
    ) -> libbpf_rs::Result<Self> {
        let rings = Self {
            telemetry: Ring::new(telemetry)?,
            lifecycle: Ring::new(lifecycle)?,
            control,
            wake_bytes: telemetry_bytes / 8,
            held: Batch::default(),
            quiet_since: None,
        };
        rings.announce(false)?;
        Ok(rings)
    }

    /// Tells the kernel side whether a record must wake us.
    fn announce(&self, asleep: bool) -> libbpf_rs::Result<()> {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&u32::from(asleep).to_ne_bytes());
        value[4..].copy_from_slice(&self.wake_bytes.to_ne_bytes());
        self.control.update(&0_u32.to_ne_bytes(), &value, MapFlags::ANY)
    }

    /// Rests until there may be records: a few milliseconds while they come, longer after a quiet second.
    pub fn wait(&mut self) {
        let quiet = self.quiet_since.is_some_and(|since| since.elapsed() >= IDLE_AFTER);
        if !quiet {
            self.poll(ACTIVE_REST);
            return;
        }
        // A failed store only costs the early wake-up.
        let _ = self.announce(true);
        self.poll(IDLE_SLEEP);
        let _ = self.announce(false);
    }

    fn poll(&self, rest: Duration) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(rest.subsec_nanos()) };
        // SAFETY: both epoll descriptors belong to ring buffers that live as long as `self`.
        let (a, b) = unsafe {
            (
                BorrowedFd::borrow_raw(self.telemetry.buffer.epoll_fd()),
                BorrowedFd::borrow_raw(self.lifecycle.buffer.epoll_fd()),
            )
        };
        let mut fds = [
            PollFd::from_borrowed_fd(a, PollFlags::IN),
            PollFd::from_borrowed_fd(b, PollFlags::IN),
        ];
        // Interrupted or not: the drain that follows looks for itself.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Calls `handle` with each record that is old enough to be in order, and says how many those were.
    /// `all`: the last drain before the end, nothing is held back.
    pub fn drain(&mut self, all: bool, mut handle: impl FnMut(&[u8])) -> usize {
        let mut cutoff = boot_now();
        if self.telemetry.drain() {
            // More is waiting there: what is younger than the last one taken could be overtaken by it.
            cutoff =
                self.telemetry.batch.borrow().index.last().map_or(cutoff, |(time, _, _)| *time);
        }
        self.lifecycle.drain();
        if all {
            cutoff = u64::MAX;
        }
        let (mut telemetry, mut lifecycle) =
            (self.telemetry.batch.borrow_mut(), self.lifecycle.batch.borrow_mut());
        let held = std::mem::take(&mut self.held);
        let sources = [&held, &*lifecycle, &*telemetry];
        let mut order: Vec<(u64, u8, usize, usize)> =
            Vec::with_capacity(sources.iter().map(|s| s.index.len()).sum());
        for (n, source) in sources.iter().enumerate() {
            order.extend(source.index.iter().map(|(time, at, len)| (*time, n as u8, *at, *len)));
        }
        // Nearly sorted already: the sort is a merge. Stable, so lifecycle comes first among equals.
        order.sort_by_key(|(time, ..)| *time);
        let mut handled = 0;
        for (time, source, at, len) in order {
            let Some(record) = sources[usize::from(source)].bytes.get(at..at + len) else {
                continue;
            };
            if time < cutoff {
                handle(record);
                handled += 1;
            } else {
                self.held.push(record);
            }
        }
        telemetry.clear();
        lifecycle.clear();
        if handled > 0 || !self.held.index.is_empty() {
            self.quiet_since = None;
        } else {
            self.quiet_since.get_or_insert_with(std::time::Instant::now);
        }
        handled
    }
}
