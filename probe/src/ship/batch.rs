//! Rows become batches: a JSON array, compressed, bounded by bytes, count and age.

use crate::event::WallTime;
use crate::spool::{Class, Load};
use bytes::Bytes;
use std::io;
use std::time::{Duration, Instant};

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// JSON bytes before compression. The server's own limit, 10 MiB unless configured, is on these too.
    pub bytes: usize,
    pub rows: u32,
    /// From its first row.
    pub age: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, rows: 1000, age: Duration::from_secs(1) }
    }
}

/// Between rows. A JSON string cannot hold a bare line break, so this stands nowhere else.
const SEPARATOR: &[u8] = b",\n";

/// Rows being collected.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    class: Class,
    body: Vec<u8>,
    rows: u32,
    oldest: WallTime,
    opened: Option<Instant>,
}

/// A full batch before compression: a JSON array that is never empty.
#[derive(Debug)]
pub(super) struct RawBatch {
    pub class: Class,
    pub body: Vec<u8>,
    pub rows: u32,
    pub oldest: WallTime,
}

impl BatchBuilder {
    pub const fn new(class: Class) -> Self {
        Self { class, body: Vec::new(), rows: 0, oldest: WallTime(i64::MAX), opened: None }
    }

    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub const fn rows(&self) -> u32 {
        self.rows
    }

    pub const fn bytes(&self) -> usize {
        self.body.len()
    }

    pub fn is_due(&self, limits: &BatchLimits, now: Instant) -> bool {
        self.opened.is_some_and(|opened| now.saturating_duration_since(opened) >= limits.age)
    }

    /// Whether a row of `bytes` would carry a batch that has rows over its limit.
    pub const fn overflows(&self, limits: &BatchLimits, bytes: usize) -> bool {
        !self.is_empty() && (self.rows >= limits.rows || self.body.len() + bytes > limits.bytes)
    }

    /// `write` appends one JSON object.
    pub fn append(&mut self, time: WallTime, now: Instant, write: impl FnOnce(&mut Vec<u8>)) {
        self.body.extend_from_slice(if self.rows == 0 { b"[" } else { SEPARATOR });
        write(&mut self.body);
        self.rows += 1;
        self.oldest = self.oldest.min(time);
        self.opened.get_or_insert(now);
    }

    /// Moves the other's rows to the end of this one.
    pub fn absorb(&mut self, other: &mut Self, now: Instant) {
        if let Some(batch) = other.seal() {
            let rows = &batch.body[1..batch.body.len() - 1];
            self.append(batch.oldest, now, |out| out.extend_from_slice(rows));
            self.rows += batch.rows - 1;
        }
    }

    /// The batch, if there is one; the builder starts anew.
    pub fn seal(&mut self) -> Option<RawBatch> {
        if self.is_empty() {
            return None;
        }
        let mut body = std::mem::take(&mut self.body);
        // The next one will be about as long: growing to it by doubling would copy it twice.
        self.body.reserve(body.len().min(1 << 20));
        body.push(b']');
        let batch = RawBatch { class: self.class, body, rows: self.rows, oldest: self.oldest };
        self.rows = 0;
        self.oldest = WallTime(i64::MAX);
        self.opened = None;
        Some(batch)
    }
}

impl Load for RawBatch {
    fn bytes(&self) -> usize {
        self.body.capacity()
    }

    fn rows(&self) -> u64 {
        self.rows.into()
    }

    fn class(&self) -> Class {
        self.class
    }

    fn oldest(&self) -> WallTime {
        self.oldest
    }
}

/// A batch as it waits and as it is sent: zstd.
#[derive(Debug, Clone)]
pub struct Batch {
    class: Class,
    /// zstd of a JSON array
    pub(super) body: Bytes,
    pub(super) raw_bytes: usize,
    pub(super) rows: u32,
    oldest: WallTime,
}

impl Load for Batch {
    fn bytes(&self) -> usize {
        self.body.len()
    }

    fn rows(&self) -> u64 {
        self.rows.into()
    }

    fn class(&self) -> Class {
        self.class
    }

    fn oldest(&self) -> WallTime {
        self.oldest
    }
}

/// Compresses batches; keeps its context and its buffer, which are as large as several batches.
pub(super) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    /// `level` as zstd counts: 1 is fast, 3 usual.
    pub fn new(level: i32) -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(level)?, buffer: Vec::new() })
    }

    pub fn pack(&mut self, raw: &RawBatch) -> io::Result<Batch> {
        self.buffer.clear();
        self.buffer.reserve(zstd::zstd_safe::compress_bound(raw.body.len()));
        self.zstd.compress_to_buffer(&raw.body, &mut self.buffer)?;
        Ok(Batch {
            class: raw.class,
            body: Bytes::copy_from_slice(&self.buffer),
            raw_bytes: raw.body.len(),
            rows: raw.rows,
            oldest: raw.oldest,
        })
    }
}

impl Batch {
    /// The JSON array.
    pub(super) fn unpack(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.body, self.raw_bytes)
    }

    /// Two batches of about half the rows' bytes each, in order; `None` for a single row.
    pub(super) fn halves(&self, packer: &mut Packer) -> io::Result<Option<[Self; 2]>> {
        if self.rows < 2 {
            return Ok(None);
        }
        let body = self.unpack()?;
        let Some(cut) = boundary(&body) else {
            return Ok(None);
        };
        let mut first = body[..cut].to_vec();
        first.push(b']');
        let mut second = vec![b'['];
        second.extend_from_slice(&body[cut + SEPARATOR.len()..]);
        let rows = 1 + count_separators(&first);
        let mut pack = |body, rows| {
            packer.pack(&RawBatch { class: self.class, body, rows, oldest: self.oldest })
        };
        Ok(Some([pack(first, rows)?, pack(second, self.rows - rows)?]))
    }
}

/// The separator nearest to the middle.
fn boundary(body: &[u8]) -> Option<usize> {
    let middle = body.len() / 2;
    let at = |from: usize, window: &[u8]| (window == SEPARATOR).then_some(from);
    let after = body[middle..].windows(2).enumerate().find_map(|(i, w)| at(middle + i, w));
    // One byte more, for the separator that the middle itself parts.
    let before =
        body[..body.len().min(middle + 1)].windows(2).enumerate().rev().find_map(|(i, w)| at(i, w));
    match (before, after) {
        (Some(before), Some(after)) if middle - before < after - middle => Some(before),
        (before, after) => after.or(before),
    }
}

fn count_separators(body: &[u8]) -> u32 {
    u32::try_from(body.windows(2).filter(|w| *w == SEPARATOR).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    fn batch_of(rows: &[&str]) -> RawBatch {
        let mut builder = BatchBuilder::new(Class::Telemetry);
        let now = Instant::now();
        for (at, row) in rows.iter().enumerate() {
            builder.append(WallTime(at as i64), now, |out| {
                out.extend_from_slice(serde_json::json!({ "v": row }).to_string().as_bytes());
            });
        }
        builder.seal().unwrap()
    }

    fn rows_in(batch: &Batch) -> Vec<String> {
        let rows: Vec<Value> = serde_json::from_slice(&batch.unpack().unwrap()).unwrap();
        assert_eq!(rows.len(), batch.rows as usize);
        rows.iter().map(|r| r["v"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_empty_builder_has_no_batch() {
        let mut builder = BatchBuilder::new(Class::Lifecycle);
        assert!(builder.seal().is_none());
        assert!(!builder.is_due(&BatchLimits::default(), Instant::now() + Duration::from_secs(9)));
        builder.append(WallTime(1), Instant::now(), |out| out.extend_from_slice(b"{}"));
        assert!(builder.seal().is_some());
        assert!(builder.seal().is_none());
    }

    #[test]
    fn age_counts_from_the_first_row() {
        let limits = BatchLimits::default();
        let mut builder = BatchBuilder::new(Class::Lifecycle);
        let start = Instant::now();
        builder.append(WallTime(1), start, |out| out.extend_from_slice(b"{}"));
        let later = start + limits.age;
        builder.append(WallTime(1), later, |out| out.extend_from_slice(b"{}"));
        assert!(!builder.is_due(&limits, later - Duration::from_millis(1)));
        assert!(builder.is_due(&limits, later));
    }

    #[test]
    fn halving_to_single_rows_keeps_all_in_order() {
        let long = "x".repeat(5000);
        let rows = ["a", "line\nbreak", ",\n", &long, "e", "]", "g"];
        let mut packer = Packer::new(1).unwrap();
        let mut todo = vec![packer.pack(&batch_of(&rows)).unwrap()];
        let mut singles = Vec::new();
        while let Some(batch) = todo.pop() {
            match batch.halves(&mut packer).unwrap() {
                Some([first, second]) => {
                    assert_eq!(first.rows + second.rows, batch.rows);
                    todo.extend([second, first]);
                }
                None => singles.extend(rows_in(&batch)),
            }
        }
        assert_eq!(singles, rows);
    }

    #[test]
    fn two_rows_part_wherever_the_middle_falls() {
        let mut packer = Packer::new(1).unwrap();
        for (left, right) in (1..30).flat_map(|l| (1..30).map(move |r| (l, r))) {
            let rows = ["l".repeat(left), "r".repeat(right)];
            let batch = packer.pack(&batch_of(&[&rows[0], &rows[1]])).unwrap();
            let halves = batch.halves(&mut packer).unwrap().unwrap();
            assert_eq!(
                [rows_in(&halves[0]), rows_in(&halves[1])],
                [[rows[0].clone()], [rows[1].clone()]]
            );
        }
    }

    #[test]
    fn absorbing_keeps_rows_and_the_older_time() {
        let now = Instant::now();
        let (mut a, mut b) =
            (BatchBuilder::new(Class::Lifecycle), BatchBuilder::new(Class::Telemetry));
        a.append(WallTime(5), now, |out| out.extend_from_slice(b"{\"v\":\"1\"}"));
        b.append(WallTime(3), now, |out| out.extend_from_slice(b"{\"v\":\"2\"}"));
        b.append(WallTime(4), now, |out| out.extend_from_slice(b"{\"v\":\"3\"}"));
        a.absorb(&mut b, now);
        a.absorb(&mut b, now);
        assert!(b.is_empty());
        let batch = a.seal().unwrap();
        assert_eq!((batch.rows, batch.oldest), (3, WallTime(3)));
        let mut packer = Packer::new(1).unwrap();
        assert_eq!(rows_in(&packer.pack(&batch).unwrap()), ["1", "2", "3"]);
    }
}
