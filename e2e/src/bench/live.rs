//! The real probe on this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{BenchError, io};

const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const BYTES_PER_KIB: u64 = 1024;
const NANOSECONDS: f64 = 1e9;

/// Whether this machine lets the probe run; without the rights the parts on it are skipped.
#[must_use]
pub fn may_run() -> bool {
    rustix::process::geteuid().is_root()
}

/// A running probe; it ends with this value.
#[derive(Debug)]
pub struct Live {
    child: Child,
    folder: tempfile::TempDir,
}

impl Live {
    /// Starts `run` with `arguments`, an event log of its own and nothing on standard output; returns when every
    /// hook is attached.
    ///
    /// # Errors
    /// It ends, or takes too long.
    pub fn start(probe: &Path, arguments: &[String]) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(io("temporary folder"))?;
        let log = File::create(folder.path().join("log")).map_err(io("log of the probe"))?;
        let child = Command::new(probe)
            .arg("run")
            .args(arguments)
            .args([
                "--output",
                "none",
                "--event-log-max-size-mb",
                "50",
                "--event-log-max-files",
                "1",
            ])
            .arg("--event-log")
            .arg(folder.path().join("events"))
            .arg("--ready-file")
            .arg(folder.path().join("ready"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io(probe.display().to_string()))?;
        let mut live = Self { child, folder };
        let started = Instant::now();
        while !live.path("ready").exists() {
            let ended = live.child.try_wait().map_err(io("wait for the probe"))?.is_some();
            if ended || started.elapsed() > READY {
                return Err(BenchError::NotReady { seconds: READY.as_secs(), log: live.log() });
            }
            thread::sleep(POLL);
        }
        Ok(live)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `VmRSS` or `VmHWM`, in bytes.
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        status_bytes(&fs::read_to_string(path).unwrap_or_default(), field)
    }

    /// CPU time of all its threads so far, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds: u64 = tasks
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum();
        nanoseconds as f64 / NANOSECONDS
    }

    /// Time that its BPF programs ran so far, in seconds; counted while `kernel.bpf_stats_enabled` is 1.
    #[must_use]
    pub fn bpf_seconds(&self) -> f64 {
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()));
        let programs: Vec<u32> = descriptors
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|info| fs::read_to_string(info.path()).ok())
            .filter_map(|text| {
                text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
            })
            .collect();
        let nanoseconds: u64 = libbpf_rs::query::ProgInfoIter::default()
            .filter(|program| programs.contains(&program.id))
            .map(|program| program.run_time_ns)
            .sum();
        nanoseconds as f64 / NANOSECONDS
    }

    /// Stops it and returns what it said.
    ///
    /// # Errors
    /// It does not end well.
    pub fn stop(mut self) -> Result<String, BenchError> {
        self.terminate();
        let status = self.child.wait().map_err(io("wait for the probe"))?;
        let log = self.log();
        if status.success() {
            return Ok(log);
        }
        Err(BenchError::Failed {
            what: "the probe".to_owned(),
            status: status.to_string(),
            output: log,
        })
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Fails only if it has ended, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            let _ = self.child.wait();
        }
    }
}

/// Lets the kernel time BPF programs; as before with this value's end.
#[derive(Debug)]
pub struct BpfTiming {
    before: String,
}

const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfTiming {
    /// `None` where the kernel does not let us.
    #[must_use]
    pub fn on() -> Option<Self> {
        let before = fs::read_to_string(BPF_STATS).ok()?;
        fs::write(BPF_STATS, "1").ok()?;
        Some(Self { before })
    }
}

impl Drop for BpfTiming {
    fn drop(&mut self) {
        // It could be written a moment ago.
        let _ = fs::write(BPF_STATS, self.before.trim());
    }
}

/// A field of a /proc status file that is in kB.
#[must_use]
pub fn status_bytes(status: &str, field: &str) -> u64 {
    status
        .lines()
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .find_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * BYTES_PER_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields_are_bytes() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS"), 1024 * 1024);
        assert_eq!(status_bytes(status, "VmHWM"), 2048 * 1024);
        assert_eq!(status_bytes(status, "VmPeak"), 0);
    }
}
