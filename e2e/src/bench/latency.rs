//! From the start of a process to its row in the stream and to the call of a webhook, with the real probe.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::figures::{Samples, against};
use super::live::{self, Live};
use super::sink::{Arrivals, MARKER, Sink};
use super::{BenchError, io};

const MARKERS: u32 = 200;
/// No multiple or part of a second, so that the markers fall everywhere between two batches.
const PAUSE: Duration = Duration::from_millis(61);
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const STREAM_AIM_MS: f64 = 1500.0;
const WEBHOOK_AIM_MS: f64 = 300.0;

/// Measures and prints both latencies.
///
/// # Errors
/// The probe fails.
pub fn latency(probe: &Path) -> Result<(), BenchError> {
    println!(
        "== latency of {MARKERS} marked execs, from just before the spawn to the arrival at a server here"
    );
    if !live::may_run() {
        println!("skipped: needs root\n");
        return Ok(());
    }
    let sink = Sink::start(true)?;
    let folder = tempfile::tempdir().map_err(io("temporary folder"))?;
    let arguments = watch(folder.path(), &sink)?;
    let live = Live::start(probe, &arguments)?;
    let mut started = Vec::new();
    for marker in 0..MARKERS {
        started.push((marker, SystemTime::now()));
        Command::new("/bin/true")
            .arg(format!("{MARKER}{marker}"))
            .status()
            .map_err(io("/bin/true"))?;
        thread::sleep(PAUSE);
    }
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && sink.arrivals().iter().any(|seen| seen.len() < started.len())
    {
        thread::sleep(POLL);
    }
    live.stop()?;
    let [in_stream, at_webhook] = sink.arrivals();
    print("event to stream, batches of 1 s", &started, &in_stream, STREAM_AIM_MS);
    print("event to webhook", &started, &at_webhook, WEBHOOK_AIM_MS);
    println!();
    Ok(())
}

/// A watch that ships to the sink and calls it for each marker; what `run` is to be given.
pub(super) fn watch(folder: &Path, sink: &Sink) -> Result<Vec<String>, BenchError> {
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&path, text))
            .map_err(io(path.display().to_string()))
    };
    let url = format!("http://{}", sink.addr);
    write("secrets/oncall/url", format!("{url}/webhook"))?;
    write(
        "watch.yaml",
        format!(
            r#"apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata:
  name: bench
spec:
  target:
    parseable:
      url: {url}
      stream: bench
  alerts:
  - name: marker
    severity: low
    message: "{{process_exec_process_arguments}}"
    rule: (process_exec_process_arguments =% "{MARKER}")
    targets:
    - webhook:
        urlFrom:
          secretName: oncall
          key: url
"#
        ),
    )?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    Ok(["-f".to_owned(), path("watch.yaml"), "--secrets".to_owned(), path("secrets")].into())
}

fn print(what: &str, started: &[(u32, SystemTime)], arrived: &Arrivals, aim_ms: f64) {
    let samples = Samples::new(
        started
            .iter()
            .filter_map(|(marker, at)| arrived.get(marker)?.duration_since(*at).ok())
            .map(|latency| latency.as_secs_f64() * 1e3)
            .collect(),
    );
    println!(
        "{what}: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; {} of {} arrived; {}",
        samples.median(),
        samples.quantile(0.99),
        samples.max(),
        samples.len(),
        started.len(),
        against(
            &format!("p99 {aim_ms} ms"),
            samples.len() == started.len() && samples.quantile(0.99) <= aim_ms
        )
    );
}
