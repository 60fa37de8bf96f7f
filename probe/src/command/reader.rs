//! The thread that reads the rings: records in, events out to everything that takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libbpf_rs::MapHandle;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::oneshot;

use crate::event::{Event, Grade};
use crate::loader::{SharedMaps, Sizes};
use crate::metrics::{Metrics, MissingLabel};
use crate::misses::Misses;
use crate::output::{Outputs, Summary};
use crate::pods::Pods;
use crate::pods::associate::missing;
use crate::pods::hold::Hold;
use crate::policy::HookTable;
use crate::process_cache::ProcessCache;
use crate::sensor::{Loss, Losses, Places, Rings, Sensor, SensorStats};

/// How long a stop waits for a disk, a terminal, a stream or a webhook.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often the losses of the kernel side are read.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The kernel refuses to map a ring.
    #[error("cannot open the ring buffers: {0}")]
    Rings(#[source] libbpf_rs::Error),
    /// No thread.
    #[error("start the reader: {0}")]
    Thread(#[source] std::io::Error),
}

/// What the meaning of a record is looked up in.
pub(super) struct Sources {
    pub cache: ProcessCache,
    pub places: Places,
    pub table: HookTable,
    pub misses: Misses,
}

/// The running thread.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(SensorStats, Option<Summary>)>,
}

impl Reader {
    /// Starts to read. The receiver hears when the thread ends by itself.
    pub(super) fn start(
        maps: &SharedMaps,
        sizes: Sizes,
        sources: Sources,
        outputs: Outputs,
        mut hold: Hold<Pods>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, oneshot::Receiver<()>), ReaderError> {
        let handle = |map: &MapHandle| MapHandle::try_from(map).map_err(ReaderError::Rings);
        let (telemetry, lifecycle) = (handle(&maps.telemetry)?, handle(&maps.lifecycle)?);
        let control = handle(&maps.control)?;
        let Sources { cache, places, table, misses } = sources;
        let losses = Losses::new(handle(&maps.losses)?, misses);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (opened, open_result) = std::sync::mpsc::channel();
        let (ended, until_ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("reader".into())
            .spawn(move || {
                // A ring belongs to the thread that opens it.
                let rings = Rings::new(&telemetry, &lifecycle, control, sizes.telemetry_ring);
                let rings = match rings {
                    Ok(rings) => rings,
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        return (SensorStats::default(), None);
                    }
                };
                let _ = opened.send(Ok(()));
                let mut sensor = Sensor::new(rings, cache, places, table, losses);
                let incomplete = metrics.events_incomplete.clone();
                let mut counted = CountedOutputs { outputs, incomplete };
                let mut watched = LossWatch::new(metrics);
                while !stopped.load(Ordering::Relaxed) && !counted.outputs.is_unread() {
                    sensor.step(&mut |event| hold.take(event, &mut |held| counted.event(&held)));
                    hold.look(Instant::now(), &mut |held| counted.event(&held));
                    counted.outputs.tick();
                    watched.look(&sensor);
                }
                sensor.finish(&mut |event| hold.take(event, &mut |held| counted.event(&held)));
                hold.flush(&mut |held| counted.event(&held));
                let summary = counted.outputs.finish(STOP_PATIENCE);
                let _ = ended.send(());
                (sensor.stats(), Some(summary))
            })
            .map_err(ReaderError::Thread)?;
        match open_result.recv() {
            Ok(Err(error)) => Err(ReaderError::Rings(error)),
            Ok(Ok(())) | Err(_) => Ok((Self { stop, thread }, until_ended)),
        }
    }

    /// Reads what is left, sends what was read, and ends. Not to be called from a thread of the runtime.
    pub(super) fn stop(self) -> (SensorStats, Option<Summary>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// The outputs, with a count of the events that go out although their pod is not known as it should be.
struct CountedOutputs {
    outputs: Outputs,
    incomplete: Family<MissingLabel, Counter>,
}

impl CountedOutputs {
    fn event(&mut self, event: &Event) {
        if let Some(association) = &event.process.association
            && association.grade() == Some(Grade::Partial)
            && let Some(pod) = association.pod()
        {
            self.incomplete.get_or_create(&MissingLabel { missing: missing(pod) }).inc();
        }
        self.outputs.event(event);
    }
}

/// Brings the kernel side's losses into the metrics, and says once that there are some.
struct LossWatch {
    metrics: Arc<Metrics>,
    seen: SensorStats,
    looked: Instant,
}

impl LossWatch {
    fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, seen: SensorStats::default(), looked: Instant::now() }
    }

    fn look(&mut self, sensor: &Sensor) {
        if self.looked.elapsed() < LOSS_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        let now = sensor.stats();
        for (cause, (count, before)) in Loss::ALL.iter().zip(now.lost.iter().zip(self.seen.lost)) {
            let lost = count.saturating_sub(before);
            if lost > 0 {
                self.metrics.lost(cause.as_str(), lost);
                if before == 0 {
                    tracing::warn!(cause = cause.as_str(), lost, "Events are being lost");
                }
            }
        }
        let undecodable = now.undecodable.saturating_sub(self.seen.undecodable);
        if undecodable > 0 {
            self.metrics.lost("undecodable", undecodable);
        }
        self.seen = now;
    }
}
