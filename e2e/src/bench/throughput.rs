//! From ring records to an HTTP server, on one CPU: recorded in a guest, played by `bench feed`, taken by `bench sink`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::feed::Fed;
use super::figures::{against, megabytes};
use super::sink::Counts;
use super::{BenchError, folder, io, probe, records};
use crate::guest::{Clock, Guest, Kernel, Rootfs};

const FEED_SECONDS: u64 = 15;
const PROBE_CPU: &str = "0";
const SINK_CPU: &str = "1";
const AIM_PER_SECOND: f64 = 100_000.0;
const WIRE_AIM_BYTES: u64 = 120;

/// Measures and prints, without alert rules and with those of the samples.
///
/// # Errors
/// A guest, the feeder or the sink fails.
pub fn throughput() -> Result<(), BenchError> {
    println!(
        "== sensor to HTTP: recorded ring records, the probe's side on one CPU ({FEED_SECONDS} s each)"
    );
    let own = std::env::current_exe().map_err(io("own path"))?;
    let folder = tempfile::tempdir().map_err(io("temporary folder"))?;
    let recording = recorded(&own, folder.path())?;
    for alerts in [false, true] {
        let mut sink = SinkProcess::start(&own)?;
        let fed = run_feed(&own, &recording, &sink.url, alerts)?;
        print(&fed, &sink.stop()?, alerts);
    }
    println!();
    Ok(())
}

/// The records of both policies' and all lifecycle events, from a guest.
fn recorded(own: &Path, into: &Path) -> Result<PathBuf, BenchError> {
    let read = |path: PathBuf| std::fs::read(&path).map_err(io(path.display().to_string()));
    let policy = |name: &str| read(folder().join("policies").join(name));
    let outcome = Guest::new(Kernel::V6_1, Rootfs::Golden, "/opt/bench record /out/records")
        .clock(Clock::Real { cpus: 1 })
        .timeout(Duration::from_secs(300))
        .program(own, "/opt/bench")
        .file(records::WORKLOAD, read(folder().join("workload.sh"))?, 0o755)
        .file("/t/files.yaml", policy("files.yaml")?, 0o644)
        .file("/t/egress.yaml", policy("egress.yaml")?, 0o644)
        .run()?;
    let path = into.join("records");
    match outcome.files.get("records").filter(|_| outcome.exit_code == 0) {
        Some(records) => std::fs::write(&path, records).map_err(io("records"))?,
        None => {
            return Err(BenchError::Failed {
                what: "recording in a guest".to_owned(),
                status: outcome.exit_code.to_string(),
                output: outcome.console,
            });
        }
    }
    Ok(path)
}

/// This program as another process on one CPU.
fn on_cpu(cpu: &str, own: &Path) -> Command {
    // With a single CPU both share it, which only makes the figures smaller.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("taskset");
    command.args(["-c", if cpus > 1 { cpu } else { PROBE_CPU }]).arg(own);
    command
}

fn run_feed(own: &Path, recording: &Path, url: &str, alerts: bool) -> Result<Fed, BenchError> {
    let mut command = on_cpu(PROBE_CPU, own);
    command.arg("feed").arg("--recording").arg(recording).args(["--server", url]);
    command.args(["--seconds", &FEED_SECONDS.to_string()]);
    if alerts {
        command.arg("--alerts");
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(io("taskset"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(BenchError::Failed {
            what: "feed".to_owned(),
            status: output.status.to_string(),
            output: text,
        });
    }
    serde_json::from_str(&text).map_err(probe("figures of feed"))
}

/// `bench sink` while it runs.
struct SinkProcess {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    url: String,
}

impl SinkProcess {
    fn start(own: &Path) -> Result<Self, BenchError> {
        let mut child = on_cpu(SINK_CPU, own)
            .arg("sink")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(io("taskset"))?;
        let output = child.stdout.take().ok_or(BenchError::NoFigures("the sink".to_owned()))?;
        let mut output = BufReader::new(output);
        let mut addr = String::new();
        output.read_line(&mut addr).map_err(io("the sink's address"))?;
        Ok(Self { child, output, url: format!("http://{}", addr.trim()) })
    }

    /// Ends it by the end of its input.
    fn stop(&mut self) -> Result<Counts, BenchError> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).map_err(io("the sink's counts"))?;
        self.child.wait().map_err(io("the sink"))?;
        serde_json::from_str(&text).map_err(probe("counts of the sink"))
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        // Its input ends with this process's end of the pipe, and so does it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn print(fed: &Fed, counts: &Counts, alerts: bool) {
    let per_second = fed.events as f64 / fed.seconds;
    let rules = if alerts { "alert rules of both samples" } else { "no alert rules" };
    println!(
        "{rules}: {per_second:.0} events/s of wall time; {}",
        against("100,000", per_second >= AIM_PER_SECOND)
    );
    println!(
        "  {:.0} events/s of CPU time ({:.1} us an event; the probe had {:.0} % of its CPU)",
        fed.events as f64 / fed.cpu_seconds,
        fed.cpu_seconds / fed.events.max(1) as f64 * 1e6,
        fed.cpu_seconds / fed.seconds * 100.0
    );
    println!(
        "  {} records of {:.0} bytes made {} events; {} lost: the server took {} rows in {} batches, {}",
        fed.records,
        fed.record_bytes,
        fed.events,
        fed.events.saturating_sub(counts.rows),
        counts.rows,
        counts.batches,
        if counts.is_complete(fed.events) { "each number once" } else { "NOT each number once" }
    );
    let each = |bytes: u64| bytes.checked_div(counts.rows).unwrap_or_default();
    println!(
        "  a row is {} bytes of JSON, {} bytes on the wire; {}",
        each(counts.json_bytes),
        each(counts.wire_bytes),
        against("120 on the wire", each(counts.wire_bytes) <= WIRE_AIM_BYTES)
    );
    println!(
        "  memory {:.1} MB, peak {:.1} MB (with the recording); {} hits of rules, {} calls",
        megabytes(fed.resident_bytes),
        megabytes(fed.peak_bytes),
        fed.alert_hits,
        counts.calls
    );
}
