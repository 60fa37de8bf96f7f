//! The kernel side up and read: what `run` and `agent` have in common.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::reader::{Reader, ReaderError, Sources};
use crate::capabilities::Capabilities;
use crate::cgroups::{self, Layout, ScopeMaps, ScopeMapsError, Seeded};
use crate::loader::{self, Lifecycle, LoadError, Sizes};
use crate::metrics::Metrics;
use crate::misses::Misses;
use crate::output::{Outputs, Summary};
use crate::planner::Preference;
use crate::pods::hold::Hold;
use crate::pods::{Associations, Pods};
use crate::policy::PolicySet;
use crate::process_cache::ProcessCache;
use crate::sensor::{self, Loss, Places, SensorStats, seed_processes};

/// Why nothing is seen.
#[derive(Debug, thiserror::Error)]
pub enum SensingError {
    /// The trial worked and the real program did not.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// See [`ReaderError`].
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// See [`ScopeMapsError`].
    #[error(transparent)]
    Scopes(#[from] ScopeMapsError),
}

/// Exec and exit are seen and read; policies can be loaded.
pub(super) struct Sensing {
    pub policies: PolicySet,
    lifecycle: Lifecycle,
    reader: Reader,
    /// Hears when the reader ends by itself.
    pub ended: oneshot::Receiver<()>,
    /// Processes that were there already.
    pub processes: usize,
    /// Whether the pod of a process can be told, or why not.
    pub pods: Result<(), String>,
}

impl Sensing {
    /// Loads the lifecycle programs and starts to read. From then on somebody reads the rings, so a long load of
    /// many hooks loses nothing. With `known` pods, events carry theirs, and policies may select some.
    pub(super) fn start(
        node: &str,
        cgroup_root: &Path,
        capabilities: Capabilities,
        prefer: Preference,
        outputs: Outputs,
        known: Option<&Pods>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SensingError> {
        let sizes = Sizes::for_memory(memory_bytes());
        let layout = Layout::detect(cgroup_root);
        let (mut lifecycle, maps) = loader::load_lifecycle(sizes, layout.as_ref().ok())?;
        let mut cache = ProcessCache::new(node, sensor::boot_wall_ns());
        let pods = match (&layout, &lifecycle.pods) {
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
            (Ok(layout), Ok(())) => Ok(cgroups::seed(&layout.root, &maps.cgroups)),
        };
        let (seeded, pods) = match pods {
            Ok(seeded) => (seeded, Ok(())),
            Err(reason) => (Seeded::default(), Err(reason)),
        };
        if seeded.without_room > 0 {
            let cgroups = seeded.without_room;
            tracing::warn!(cgroups, "Too many cgroups of pods: these count as the host's");
        }
        if let Some(known) = known {
            known.write_scopes(Box::new(ScopeMaps::new(&maps)?));
        }
        let Seeded { table, processes: in_pods, .. } = seeded;
        let associations = known.map(|known| Associations::new(known.clone()));
        let mut places = Places::new(table, associations);
        let proc = Path::new("/proc");
        let processes = seed_processes(proc, &mut cache, &in_pods, &mut places, &maps.processes);
        let mut policies = PolicySet::new(maps, capabilities, prefer);
        policies.misses().add(Misses::LIFECYCLE, std::mem::take(&mut lifecycle.programs));
        if let Some(known) = known {
            policies.keep_scopes(Arc::new(known.clone()));
        }
        if let Err(reason) = &pods {
            policies.cannot_tell_pods(reason);
        }
        let (reader, ended) = Reader::start(
            policies.maps(),
            sizes,
            Sources { cache, places, table: policies.table(), misses: policies.misses() },
            outputs,
            Hold::new(known.cloned().unwrap_or_default()),
            Arc::clone(metrics),
        )?;
        Ok(Self { policies, lifecycle, reader, ended, processes, pods })
    }

    /// Detaches everything, sends what was read, and says what became of it. Not to be called from a thread of
    /// the runtime.
    pub(super) fn stop(self) -> String {
        // Detached first: what is in the rings then is all there will be.
        drop((self.policies, self.lifecycle));
        let (stats, summary) = self.reader.stop();
        closing_words(&stats, summary)
    }
}

/// What became of everything, and one line for each cause of loss before the outputs.
fn closing_words(stats: &SensorStats, summary: Option<Summary>) -> String {
    let mut text = summary.map_or_else(String::new, |summary| format!("{summary}\n"));
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("dropped {count} events before the outputs: {what}\n"));
        }
    };
    for (cause, count) in Loss::ALL.iter().zip(stats.lost) {
        line(count, cause.as_str());
    }
    line(stats.undecodable, "undecodable");
    text
}

fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the field is 32 bits wide on some machines")]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}
