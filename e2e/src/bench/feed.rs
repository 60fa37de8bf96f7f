//! Recorded records through the probe's own path to a server, as fast as they are taken. For a process of its own,
//! bound to one CPU.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use securitywatch_api::document::load_all;
use securitywatch_probe::alert::NotifySettings;
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::output::{OutputConfig, Outputs, WatchOutput, origin};
use securitywatch_probe::process_cache::ProcessCache;
use securitywatch_probe::secrets::Secrets;
use securitywatch_probe::sensor::{Places, Translator, boot_now, boot_wall_ns};
use securitywatch_probe::ship::ShipSettings;
use serde::{Deserialize, Serialize};

use super::records::{Recording, hook_table};
use super::{BenchError, io, live, probe};

/// Records between two looks at the clock, as a drain of the rings takes at most.
const BATCH: usize = 8192;
/// The feeder rests when this many rows are under way: fewer than the bounded queue holds, so that what is lost is the
/// probe's doing.
const UNDER_WAY: u64 = 40_000;
const REST: Duration = Duration::from_millis(1);
const DRAIN: Duration = Duration::from_secs(30);

/// What the feeder saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fed {
    pub records: u64,
    pub record_bytes: f64,
    pub events: u64,
    pub rows: u64,
    pub delivered: u64,
    /// From the first record to the last acknowledgement.
    pub seconds: f64,
    /// Of all threads of the process, as the kernel accounts it.
    pub cpu_seconds: f64,
    pub alert_hits: u64,
    pub resident_bytes: u64,
    pub peak_bytes: u64,
}

/// Feeds for `feeding` and prints [`Fed`] as JSON.
///
/// # Errors
/// The recording, the samples or the outputs cannot be used.
pub fn feed(
    recording: &Path,
    server: &str,
    alerts: bool,
    feeding: Duration,
) -> Result<(), BenchError> {
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut recording = Recording::read(recording)?;
    let runtime = tokio::runtime::Runtime::new().map_err(io("start a runtime"))?;
    let secrets = secrets(server)?;
    let config = OutputConfig {
        origin: origin("bench".to_owned(), None),
        watches: watches(&Secrets::new(Some(secrets.path().to_owned())), server, alerts)?,
        ship: ShipSettings::default(),
        notify: NotifySettings::default(),
        on_alert: None,
        operator: None,
    };
    let mut outputs = Outputs::start(config, None, runtime.handle(), &Arc::new(Metrics::new()))
        .map_err(probe("outputs"))?;
    let mut translator = Translator::new(
        ProcessCache::new("bench", boot_wall_ns()),
        Places::default(),
        hook_table()?,
    );

    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (mut records, mut round_ns) = (0_u64, 20_000_000);
    while started.elapsed() < feeding {
        let (round, begun) = (boot_now(), Instant::now());
        let mut batch = 0;
        translator.start_batch();
        for bytes in recording.round(round, round_ns) {
            translator.record(bytes, &mut |event| outputs.event(&event));
            records += 1;
            batch += 1;
            if batch == BATCH {
                batch = 0;
                outputs.tick();
            }
        }
        translator.end_batch(boot_now());
        outputs.tick();
        while under_way(&outputs) > UNDER_WAY {
            thread::sleep(REST);
            outputs.tick();
        }
        // The next round's times pass as fast as this one did.
        round_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    }
    let resident_bytes = memory("VmRSS");
    let summary = outputs.finish(DRAIN);
    let seconds = started.elapsed().as_secs_f64();
    let fed = Fed {
        records,
        record_bytes: recording.mean_bytes(),
        events: summary.exec + summary.exit + summary.kprobe,
        rows: summary.streams.iter().map(|s| s.rows).sum(),
        delivered: summary.streams.iter().map(|s| s.delivered).sum(),
        seconds,
        cpu_seconds: cpu_seconds() - cpu,
        alert_hits: summary.alerts.hits.values().sum(),
        resident_bytes,
        peak_bytes: memory("VmHWM"),
    };
    println!("{}", serde_json::to_string(&fed).map_err(probe("figures"))?);
    Ok(())
}

fn under_way(outputs: &Outputs) -> u64 {
    let streams = outputs.shipping();
    streams.iter().map(|(_, s)| s.rows - s.delivered - s.dropped.values().sum::<u64>()).sum()
}

/// The samples' stream and rules; a policy's events belong to the sample that is about the same.
fn watches(secrets: &Secrets, server: &str, alerts: bool) -> Result<Vec<WatchOutput>, BenchError> {
    let folder = crate::guest::repository().join("config/samples");
    ["sensitive-files.yaml", "egress.yaml"]
        .iter()
        .map(|name| {
            let text = fs::read_to_string(folder.join(name)).map_err(io(*name))?;
            let documents = load_all([(*name, text.as_str())]).map_err(probe("sample"))?;
            let document = documents.first().ok_or(BenchError::NoFigures((*name).to_owned()))?;
            let mut watch =
                WatchOutput::from_document(document, secrets).map_err(probe("sample"))?;
            if let Some(target) = &mut watch.target {
                target.url = server.to_owned();
            }
            if !alerts {
                watch.alerts.clear();
            }
            Ok(watch)
        })
        .collect()
}

/// Secrets as the samples name them.
fn secrets(server: &str) -> Result<tempfile::TempDir, BenchError> {
    let folder = tempfile::tempdir().map_err(io("temporary folder"))?;
    for (name, text) in [
        ("oncall/url", format!("{server}/webhook")),
        ("parseable-env-secret/username", "admin".to_owned()),
        ("parseable-env-secret/password", "admin".to_owned()),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| fs::write(&path, text))
            .map_err(io(name))?;
    }
    Ok(folder)
}

fn memory(field: &str) -> u64 {
    live::status_bytes(&fs::read_to_string("/proc/self/status").unwrap_or_default(), field)
}

/// CPU time of this process, ended threads included.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field may hold spaces; user and system time are the 14th and 15th.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
