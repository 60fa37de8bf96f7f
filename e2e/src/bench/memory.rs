//! What the real probe takes on this machine, at rest and in an exec storm that it ships and holds against a rule.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::figures::{against, megabytes};
use super::live::{self, Live};
use super::sink::Sink;
use super::storm::Programs;
use super::{BenchError, io};

/// The reader polls less often after a quiet second.
const SETTLE: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_secs(5);
const EXECS: u32 = 8000;
const IDLE_AIM_MB: f64 = 60.0;
const LOAD_AIM_MB: f64 = 150.0;
const IDLE_CPU_AIM_PERCENT: f64 = 0.2;

/// Measures and prints.
///
/// # Errors
/// The probe or the storm fails.
pub fn memory(probe: &Path, programs: &Programs) -> Result<(), BenchError> {
    println!(
        "== memory and CPU of the probe on this machine, shipping, one alert rule, event log on"
    );
    if !live::may_run() {
        println!("skipped: needs root\n");
        return Ok(());
    }
    let sink = Sink::start(false)?;
    let folder = tempfile::tempdir().map_err(io("temporary folder"))?;
    let live = Live::start(probe, &super::latency::watch(folder.path(), &sink)?)?;
    thread::sleep(SETTLE);
    let (idle, cpu) = (live.memory("VmRSS"), live.cpu_seconds());
    thread::sleep(REST);
    let percent = (live.cpu_seconds() - cpu) / REST.as_secs_f64() * 100.0;
    println!(
        "at rest: {:.1} MB; {}",
        megabytes(idle),
        against("60 MB", megabytes(idle) <= IDLE_AIM_MB)
    );
    println!(
        "  of it {:.1} MB of its own; the rest is program text, and the rings' pages, which are mapped twice",
        megabytes(live.memory("RssAnon"))
    );
    println!(
        "at rest: {percent:.2} % of a CPU (other processes of this machine are seen, too); {}",
        against("0.2 %", percent <= IDLE_CPU_AIM_PERCENT)
    );
    let cpu = live.cpu_seconds();
    let storm = programs.run("exec", EXECS, &programs.nop.to_string_lossy())?;
    let cpu = live.cpu_seconds() - cpu;
    let [load, own, peak] = ["VmRSS", "RssAnon", "VmHWM"].map(|field| live.memory(field));
    let log = live.stop()?;
    println!(
        "in a storm of {EXECS} execs at {:.0} a second: {:.1} MB ({:.1} its own), peak {:.1} MB; {}",
        1e6 / storm.loop_us,
        megabytes(load),
        megabytes(own),
        megabytes(peak),
        against("150 MB", megabytes(peak) <= LOAD_AIM_MB)
    );
    println!("CPU of the probe in it: {:.0} us an exec and exit", cpu / f64::from(EXECS) * 1e6);
    for line in
        log.lines().filter(|l| ["saw ", "shipped ", "dropped "].iter().any(|w| l.starts_with(w)))
    {
        println!("  {line}");
    }
    println!();
    Ok(())
}
