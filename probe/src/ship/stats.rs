//! What one stream's shipping counts and how it stands.

use super::words::Words;
use crate::metrics::{Metrics, StreamCause, StreamLabel};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How shipping to a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipState {
    /// The stream is being looked at, created or seeded; nothing was refused so far.
    Preparing,
    Delivering,
    /// The server or the way to it is in trouble; goes on by itself.
    Retrying(String),
    /// Nothing is accepted until somebody mends what the text says; goes on by itself after that.
    Held(String),
}

/// What stands between a stream and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// No answer, or one that says "later".
    Unreachable,
    /// No account, or one that is refused.
    Unauthorized,
    /// The stream is missing or takes nothing.
    Rejected,
}

/// How shipping to a stream stands, in words that hold nothing the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `None`: nothing is in the way.
    pub obstacle: Option<(Obstacle, String)>,
    /// Held: it will not pass by itself.
    pub held: bool,
    /// For how long it has been so.
    pub since: Instant,
    /// When the server last took rows.
    pub last_shipped: Option<SystemTime>,
    /// Rows handed in that will never arrive.
    pub dropped: u64,
    /// Of these, rows that found no room to wait.
    pub no_room: u64,
}

/// What became of the rows of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipSummary {
    pub url: String,
    pub stream: String,
    /// Rows handed in.
    pub rows: u64,
    /// Rows acknowledged.
    pub delivered: u64,
    /// Rows lost, by cause. With `delivered` it adds up to `rows`.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Requests acknowledged.
    pub batches: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// JSON bytes acknowledged.
    pub raw_bytes: u64,
    /// Body bytes acknowledged.
    pub wire_bytes: u64,
    /// The first reason the server gave for rows it will never take.
    pub refusal: Option<String>,
}

impl std::fmt::Display for ShipSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stream, url, rows, delivered, batches, retries, wire_bytes, .. } = self;
        write!(
            f,
            "shipped {delivered} of {rows} events to stream {stream} of {url}: {batches} batches, "
        )?;
        match wire_bytes.checked_div(*delivered) {
            Some(each) => write!(f, "{each} bytes an event on the wire")?,
            None => write!(f, "nothing on the wire")?,
        }
        if *retries > 0 {
            write!(f, ", {retries} retries")?;
        }
        for (cause, rows) in &self.dropped {
            write!(f, "\ndropped {rows} events of stream {stream}: {cause}")?;
        }
        if let Some(refusal) = &self.refusal {
            write!(f, "\nrefused by the server: {refusal}")?;
        }
        Ok(())
    }
}

pub(super) struct Stats {
    metrics: Arc<Metrics>,
    label: StreamLabel,
    shipped: Counter,
    batches: Counter,
    raw_bytes: Counter,
    wire_bytes: Counter,
    latency: Histogram,
    pub queue_bytes: Gauge,
    pub queue_rows: Gauge,
    held: Gauge,
    pub rows: AtomicU64,
    tally: Mutex<ShipSummary>,
    state: Mutex<Told>,
}

/// The state, and what was logged of it.
struct Told {
    state: ShipState,
    obstacle: Option<(Obstacle, String)>,
    since: Instant,
    last_shipped: Option<SystemTime>,
    logged: Option<Instant>,
}

/// A changing text of one trouble is not told more often than this.
const REPEAT_LOG: Duration = Duration::from_secs(30);

impl Stats {
    pub fn new(metrics: &Arc<Metrics>, url: &str, stream: &str) -> Self {
        let label = StreamLabel { stream: stream.to_owned() };
        let m = metrics;
        Self {
            shipped: m.shipped.get_or_create_owned(&label),
            batches: m.batches.get_or_create_owned(&label),
            raw_bytes: m.raw_bytes.get_or_create_owned(&label),
            wire_bytes: m.wire_bytes.get_or_create_owned(&label),
            latency: m.ship_latency.get_or_create_owned(&label),
            held: m.held.get_or_create_owned(&label),
            queue_bytes: m.queue_bytes.get_or_create_owned(&label),
            queue_rows: m.queue_rows.get_or_create_owned(&label),
            rows: AtomicU64::new(0),
            tally: Mutex::new(ShipSummary {
                url: url.to_owned(),
                stream: stream.to_owned(),
                ..ShipSummary::default()
            }),
            state: Mutex::new(Told {
                state: ShipState::Preparing,
                obstacle: None,
                since: Instant::now(),
                last_shipped: None,
                logged: None,
            }),
            metrics: metrics.clone(),
            label,
        }
    }

    pub fn delivered(&self, rows: u64, raw_bytes: usize, wire_bytes: usize, latency: Duration) {
        let (raw_bytes, wire_bytes) = (raw_bytes as u64, wire_bytes as u64);
        self.shipped.inc_by(rows);
        self.batches.inc();
        self.raw_bytes.inc_by(raw_bytes);
        self.wire_bytes.inc_by(wire_bytes);
        self.latency.observe(latency.as_secs_f64());
        self.tally(|t| {
            t.delivered += rows;
            t.batches += 1;
            t.raw_bytes += raw_bytes;
            t.wire_bytes += wire_bytes;
        });
        self.lock().last_shipped = Some(SystemTime::now());
        self.enter(ShipState::Delivering, None);
    }

    /// The server or the way to it is in trouble.
    pub fn retrying(&self, obstacle: Obstacle, why: &Words) {
        let told = (obstacle, why.told().to_owned());
        self.enter(ShipState::Retrying(why.to_string()), Some(told));
    }

    /// Somebody must mend something.
    pub fn held(&self, obstacle: Obstacle, why: &Words) {
        let told = (obstacle, why.told().to_owned());
        self.enter(ShipState::Held(why.to_string()), Some(told));
    }

    pub fn dropped(&self, cause: &'static str, rows: u64) {
        if rows > 0 {
            self.metrics.dropped.get_or_create(&self.label_for(cause)).inc_by(rows);
            self.tally(|t| *t.dropped.entry(cause).or_default() += rows);
        }
    }

    /// `true` the first time: that one is to be logged.
    pub fn refused(&self, reason: &str) -> bool {
        self.tally(|t| {
            let first = t.refusal.is_none();
            t.refusal.get_or_insert_with(|| reason.to_owned());
            first
        })
    }

    pub fn retried(&self, cause: &'static str) {
        self.metrics.retries.get_or_create(&self.label_for(cause)).inc();
        self.tally(|t| t.retries += 1);
    }

    /// Takes the new state and tells of the change, once.
    fn enter(&self, next: ShipState, obstacle: Option<(Obstacle, String)>) {
        let mut standing = self.lock();
        if standing.state == next {
            return;
        }
        let now = Instant::now();
        let kind_changed = std::mem::discriminant(&standing.state) != std::mem::discriminant(&next);
        let silent = standing.logged.is_some_and(|at| now - at < REPEAT_LOG);
        let lasted = now - standing.since;
        let stream = &self.label.stream;
        match &next {
            ShipState::Preparing => {}
            ShipState::Delivering if standing.state == ShipState::Preparing => {
                tracing::debug!(stream, "Delivering");
            }
            ShipState::Delivering => {
                tracing::info!(stream, after_seconds = lasted.as_secs(), "Delivering again");
            }
            ShipState::Retrying(why) if kind_changed || !silent => {
                tracing::warn!(stream, "{why}; events are kept and sent again");
            }
            ShipState::Held(why) if kind_changed || !silent => {
                tracing::error!(stream, "{why}; events are kept until then");
            }
            ShipState::Retrying(_) | ShipState::Held(_) => {}
        }
        if kind_changed {
            standing.since = now;
        }
        if kind_changed || !silent {
            standing.logged = Some(now);
        }
        self.held.set(i64::from(matches!(next, ShipState::Held(_))));
        standing.state = next;
        standing.obstacle = obstacle;
    }

    pub fn state(&self) -> ShipState {
        self.lock().state.clone()
    }

    pub fn standing(&self) -> Standing {
        let (dropped, no_room) = self.tally(|t| {
            (t.dropped.values().sum(), t.dropped.get("spool_full").copied().unwrap_or_default())
        });
        let told = self.lock();
        Standing {
            obstacle: told.obstacle.clone(),
            held: matches!(told.state, ShipState::Held(_)),
            since: told.since,
            last_shipped: told.last_shipped,
            dropped,
            no_room,
        }
    }

    /// The stream's end: what is shown of the present would stay for ever.
    pub fn clear_gauges(&self) {
        for gauge in [&self.queue_bytes, &self.queue_rows, &self.held] {
            gauge.set(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tally so far; what is neither delivered nor dropped is under way.
    pub fn summary(&self) -> ShipSummary {
        let rows = self.rows.load(Relaxed);
        self.tally(|t| ShipSummary { rows, ..t.clone() })
    }

    fn label_for(&self, cause: &'static str) -> StreamCause {
        StreamCause { stream: self.label.stream.clone(), cause }
    }

    fn tally<T>(&self, f: impl FnOnce(&mut ShipSummary) -> T) -> T {
        f(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").field("stream", &self.label.stream).finish_non_exhaustive()
    }
}
