//! The thread that reads the rings: records in, events out to everything that takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libbpf_rs::MapHandle;
use tokio::sync::oneshot;

use super::{RunError, system};
use crate::loader::{SharedMaps, Sizes};
use crate::local_output::LocalOutput;
use crate::policy::HookTable;
use crate::process_cache::ProcessCache;
use crate::sensor::{Rings, Sensor, SensorStats};

/// How long a stop waits for a disk or a terminal.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The running thread.
pub(super) struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<SensorStats>,
}

impl Reader {
    /// Starts to read. The receiver hears when the thread ends by itself.
    pub(super) fn start(
        maps: &SharedMaps,
        sizes: Sizes,
        cache: ProcessCache,
        table: HookTable,
        mut local: LocalOutput,
    ) -> Result<(Self, oneshot::Receiver<()>), RunError> {
        let handle = |map: &MapHandle| MapHandle::try_from(map).map_err(RunError::Rings);
        let (telemetry, lifecycle) = (handle(&maps.telemetry)?, handle(&maps.lifecycle)?);
        let (control, losses) = (handle(&maps.control)?, handle(&maps.losses)?);
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
                        return SensorStats::default();
                    }
                };
                let _ = opened.send(Ok(()));
                let mut sensor = Sensor::new(rings, cache, table, losses);
                while !stopped.load(Ordering::Relaxed) && !local.is_unread() {
                    sensor.step(&mut |event| local.event(&event));
                    local.flush();
                }
                sensor.finish(&mut |event| local.event(&event));
                local.stop(STOP_TIMEOUT);
                let _ = ended.send(());
                sensor.stats()
            })
            .map_err(system("start the reader"))?;
        match open_result.recv() {
            Ok(Err(error)) => Err(RunError::Rings(error)),
            Ok(Ok(())) | Err(_) => Ok((Self { stop, thread }, until_ended)),
        }
    }

    /// Reads what is left and ends.
    pub(super) fn stop(self) -> SensorStats {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
