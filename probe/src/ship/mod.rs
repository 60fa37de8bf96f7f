//! Rows to a Parseable stream: batched, compressed, queued in bounded memory, delivered until acknowledged.
//!
//! ```text
//! sensor thread          packing thread       spool                delivery
//! append -> batch -----> zstd -------------> bounded queue ------> POST /api/v1/logstream/{stream}
//! ```
//!
//! The sensor's side never waits: when packing is behind, the sensor's thread packs its batch itself, and when the queue is
//! full the oldest telemetry is dropped and counted. Delivery is at least once: a batch leaves the queue with a 2xx.
//!
//! | answer | what happens |
//! |---|---|
//! | 2xx | acknowledged |
//! | 408, 429, 5xx, no connection, no answer | again after a random wait (up to 0.5 s, doubling to 30 s; `Retry-After` honoured) |
//! | connection reset | once more at once, then as above; after three times in halves |
//! | 413 | in halves; a single row is dropped as `too_large` |
//! | 400, 415, 422 | once without zstd if zstd is not proven yet; then in halves, until the row that is refused is alone and dropped as `refused` |
//! | 400 for too many columns, or to each row of a stream that never took one | held: another stream is needed |
//! | 401, 403 | held; the secret's files are read again when they change |
//! | 404 | the stream is created and seeded; in a cluster, awaited: the operator does that |
//! | other, or a web page | held: this is not a Parseable server |
//!
//! Held means kept, said once at error level, and tried again.

mod batch;
mod client;
mod credentials;
mod link;
mod prepare;
mod stats;
mod wait;
mod words;

use crate::encode::flatten::{Origin, close};
use crate::event::WallTime;
use crate::metrics::Metrics;
use crate::spool::{Class, Spool};
pub use batch::{Batch, BatchLimits};
use batch::{BatchBuilder, Packer, RawBatch};
use client::Client;
pub(crate) use client::root_cause;
pub use client::{HttpClient, Keeper, Target, TargetError, Timeouts};
pub use credentials::{Account, Credentials};
use link::{EncodingChoice, Link};
pub use securitywatch_api::backoff::Backoff;
pub use stats::{Obstacle, ShipState, ShipSummary, Standing};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How to ship; the defaults suit a node.
#[derive(Debug, Clone, Copy)]
pub struct ShipSettings {
    pub limits: BatchLimits,
    /// What may wait for acknowledgement, compressed, in bytes.
    pub spool_bytes: usize,
    /// Requests at a time, 1 to 4.
    pub in_flight: usize,
    pub backoff: Backoff,
    pub timeouts: Timeouts,
    pub zstd_level: i32,
}

impl Default for ShipSettings {
    fn default() -> Self {
        Self {
            limits: BatchLimits::default(),
            spool_bytes: 8 << 20,
            in_flight: 2,
            backoff: Backoff::default(),
            timeouts: Timeouts::default(),
            zstd_level: 1,
        }
    }
}

/// Batches that may wait for the packing thread; the sensor's thread helps out beyond.
const PACK_AHEAD: usize = 4;
/// Telemetry of a quiet moment travels with lifecycle rows, in one request, up to this part of a batch. More would
/// let telemetry pass for lifecycle in the spool.
const SHARED_PART: usize = 16;

/// The sensor's end of one stream.
#[derive(Debug)]
pub struct Shipper {
    limits: BatchLimits,
    lifecycle: BatchBuilder,
    telemetry: BatchBuilder,
    seq: u64,
    to_pack: mpsc::Sender<RawBatch>,
    own_packer: Packer,
    link: Arc<Link>,
    packing: JoinHandle<()>,
    delivery: JoinHandle<()>,
    drain: watch::Sender<bool>,
}

impl Shipper {
    /// Starts delivery on `rt`; the server is contacted there, so being unreachable is no error here.
    ///
    /// # Errors
    /// A target that cannot work as it is written.
    pub fn start(
        target: &Target,
        settings: ShipSettings,
        origin: &Origin,
        rt: &Handle,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TargetError> {
        let http = HttpClient::new(settings.timeouts)?;
        Self::start_with(http, target, settings, origin, rt, metrics)
    }

    /// The same over connections of `http`.
    ///
    /// # Errors
    /// A target that cannot work as it is written.
    pub fn start_with(
        http: HttpClient,
        target: &Target,
        settings: ShipSettings,
        origin: &Origin,
        rt: &Handle,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TargetError> {
        let (drain, draining) = watch::channel(false);
        let packer = || Packer::new(settings.zstd_level).map_err(TargetError::Zstd);
        let link = Arc::new(Link {
            client: Client::new(target, http)?,
            spool: Spool::new(settings.spool_bytes),
            stats: stats::Stats::new(metrics, &target.url, &target.stream),
            backoff: settings.backoff,
            max_in_flight: settings.in_flight.clamp(1, 4),
            window: AtomicUsize::new(1),
            packer: Mutex::new(packer()?),
            encoding: EncodingChoice::default(),
            proven: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            draining,
            keeper: target.keeper,
            retention_days: target.retention_days,
            origin: origin.clone(),
        });
        let (to_pack, from_sensor) = mpsc::channel(PACK_AHEAD);
        let packing = rt.spawn_blocking({
            let (link, packer) = (link.clone(), packer()?);
            move || pack_all(&link, packer, from_sensor)
        });
        let delivery = rt.spawn(link::run(link.clone()));
        Ok(Self {
            limits: settings.limits,
            lifecycle: BatchBuilder::new(Class::Lifecycle),
            telemetry: BatchBuilder::new(Class::Telemetry),
            seq: 0,
            to_pack,
            own_packer: packer()?,
            link,
            packing,
            delivery,
            drain,
        })
    }

    /// Takes one row, as [`crate::encode::flatten::Row::write_open`] wrote it.
    pub fn append(&mut self, open_row: &[u8], class: Class, time: WallTime, now: Instant) {
        self.seq += 1;
        self.link.stats.rows.store(self.seq, Relaxed);
        let seq = self.seq;
        let limits = self.limits;
        let builder = match class {
            Class::Lifecycle => &mut self.lifecycle,
            Class::Telemetry => &mut self.telemetry,
        };
        let full = builder.overflows(&limits, open_row.len()).then(|| builder.seal()).flatten();
        builder.append(time, now, |out| {
            out.extend_from_slice(open_row);
            close(out, seq);
        });
        if let Some(batch) = full {
            self.hand_over(batch);
        }
    }

    /// Hands over what is old enough.
    pub fn tick(&mut self, now: Instant) {
        if self.lifecycle.is_due(&self.limits, now) || self.telemetry.is_due(&self.limits, now) {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: Instant) {
        let small = self.telemetry.bytes() <= self.limits.bytes / SHARED_PART;
        let fits = self.telemetry.rows() + self.lifecycle.rows() <= self.limits.rows;
        if small && fits && !self.lifecycle.is_empty() {
            self.lifecycle.absorb(&mut self.telemetry, now);
        }
        let batches = [self.lifecycle.seal(), self.telemetry.seal()];
        for batch in batches.into_iter().flatten() {
            self.hand_over(batch);
        }
    }

    fn hand_over(&mut self, batch: RawBatch) {
        match self.to_pack.try_send(batch) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch),
            ) => {
                pack_one(&self.link, &mut self.own_packer, &batch);
            }
        }
    }

    /// The stream as others than the sensor's thread see it.
    #[must_use]
    pub fn view(&self) -> StreamView {
        StreamView { link: self.link.clone() }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> ShipState {
        self.link.stats.state()
    }

    /// The counts so far; rows under way are in neither `delivered` nor `dropped`.
    #[must_use]
    pub fn summary(&self) -> ShipSummary {
        self.link.stats.summary()
    }

    /// Sends what is left until `deadline`; the rest counts as dropped by `shutdown`.
    pub async fn finish(mut self, deadline: Instant) -> ShipSummary {
        self.flush(Instant::now());
        let _ = self.drain.send(true);
        drop(self.to_pack);
        let work = async {
            // Neither task panics on input; if one did, the rows it had are among those not delivered.
            let _ = self.packing.await;
            self.link.spool.close();
            let _ = (&mut self.delivery).await;
        };
        let in_time =
            tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), work).await;
        if in_time.is_err() {
            self.delivery.abort();
            let _ = self.delivery.await;
        }
        let summary = self.link.stats.summary();
        let settled = summary.delivered + summary.dropped.values().sum::<u64>();
        self.link.stats.dropped("shutdown", summary.rows.saturating_sub(settled));
        self.link.stats.clear_gauges();
        self.link.stats.summary()
    }
}

/// One stream as others than the sensor's thread see it; stays valid beyond its end.
#[derive(Debug, Clone)]
pub struct StreamView {
    link: Arc<Link>,
}

impl StreamView {
    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.link.stats.standing()
    }

    /// Whether both are of one stream's run.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }

    /// Events that are neither delivered nor counted as lost.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let ShipSummary { rows, delivered, dropped, .. } = self.link.stats.summary();
        rows.saturating_sub(delivered).saturating_sub(dropped.values().sum())
    }

    /// Sends with these from now on; what waits is kept.
    pub fn set_credentials(&self, credentials: Credentials) {
        self.link.client.set_credentials(credentials);
    }

    /// What may wait for acknowledgement from now on; what waits already is kept until the next batch.
    pub fn set_spool_bytes(&self, bytes: usize) {
        self.link.spool.set_budget(bytes);
    }
}

fn pack_all(link: &Link, mut packer: Packer, mut from_sensor: mpsc::Receiver<RawBatch>) {
    while let Some(batch) = from_sensor.blocking_recv() {
        pack_one(link, &mut packer, &batch);
    }
}

fn pack_one(link: &Link, packer: &mut Packer, raw: &RawBatch) {
    match packer.pack(raw) {
        Ok(batch) => {
            let dropped = link.spool.push(batch);
            link.stats.dropped("spool_full", dropped);
        }
        Err(error) => {
            tracing::error!(%error, "A batch could not be compressed");
            link.stats.dropped("not_compressed", raw.rows.into());
        }
    }
    link.show_queue();
}

/// The time a stop may take before what is left counts as lost.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(5);
