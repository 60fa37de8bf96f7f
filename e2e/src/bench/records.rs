//! Ring records as the kernel wrote them: recorded in a guest, played again as often as needed.
//!
//! What is recorded is `e2e/bench/workload.sh`: processes with arguments of their own, and as many file accesses and
//! connections that the policies name.

use std::collections::HashMap;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, RwLock};
use std::thread;

use libbpf_rs::MapHandle;
use securitywatch_api::document::{Document, load_all};
use securitywatch_probe::bpf::generic_fentry::types::{record_fork, record_return};
use securitywatch_probe::bpf::process::types::{record_exec, record_header};
use securitywatch_probe::capabilities::Capabilities;
use securitywatch_probe::event::Hook;
use securitywatch_probe::loader::{self, Sizes};
use securitywatch_probe::planner::{self, Preference};
use securitywatch_probe::policy::{HookTable, LoadedHook, PolicySet};
use securitywatch_probe::process_cache::ProcessCache;
use securitywatch_probe::sensor::{Places, Rings, boot_wall_ns, record, seed_processes};

use super::{BenchError, io, policies, probe};

const LENGTH_BYTES: usize = 4;
/// `e2e/bench/workload.sh`, in the guest.
pub(super) const WORKLOAD: &str = "/t/workload.sh";

/// Records the workload; for a guest, which has both policies in `/t`.
///
/// # Errors
/// The kernel takes a program or a policy back, or the workload fails.
pub fn record(into: &Path) -> Result<(), BenchError> {
    let sizes = Sizes {
        lifecycle_ring: 8 << 20,
        telemetry_ring: 8 << 20,
        processes: 32_768,
        cgroups: 4096,
    };
    let (lifecycle, maps) = loader::load_lifecycle(sizes, None).map_err(probe("lifecycle"))?;
    let mut cache = ProcessCache::new("bench", boot_wall_ns());
    let (in_pods, mut places) = (HashMap::new(), Places::default());
    seed_processes(Path::new("/proc"), &mut cache, &in_pods, &mut places, &maps.processes);
    let mut set = PolicySet::new(maps, Capabilities::detect(), Preference::Auto);
    for (watch, document) in
        documents(&["/t/files.yaml".into(), "/t/egress.yaml".into()])?.iter().enumerate()
    {
        if let Some(policy) = &document.policy {
            set.apply(&document.title(), policy, watch).map_err(probe("policy"))?;
        }
    }
    let handle = |map: &MapHandle| MapHandle::try_from(map).map_err(probe("map"));
    let (telemetry, life) = (handle(&set.maps().telemetry)?, handle(&set.maps().lifecycle)?);
    let mut rings =
        Rings::new(&telemetry, &life, handle(&set.maps().control)?, sizes.telemetry_ring)
            .map_err(probe("rings"))?;
    let workload = thread::spawn(workload);
    let mut out = Vec::new();
    while !workload.is_finished() {
        rings.wait();
        rings.drain(false, |bytes| write(&mut out, bytes));
    }
    drop((set, lifecycle));
    while rings.drain(true, |bytes| write(&mut out, bytes)) > 0 {}
    let workload = workload
        .join()
        .unwrap_or_else(|_| Err(BenchError::NoFigures("a thread that panicked".into())));
    workload?;
    fs::write(into, out).map_err(io(into.display().to_string()))
}

fn workload() -> Result<(), BenchError> {
    let status = Command::new(WORKLOAD)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(io(WORKLOAD))?;
    if status.success() {
        return Ok(());
    }
    Err(BenchError::Failed {
        what: "the workload".to_owned(),
        status: status.to_string(),
        output: String::new(),
    })
}

fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(bytes);
}

/// The documents of some files.
fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, BenchError> {
    let texts = paths
        .iter()
        .map(|path| fs::read_to_string(path).map_err(io(path.display().to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    load_all(
        paths.iter().map(|p| p.to_str().unwrap_or_default()).zip(texts.iter().map(String::as_str)),
    )
    .map_err(probe("policies"))
}

/// What the hook numbers of a recording mean: the policies' hooks, counted from 1 as they are loaded.
pub(super) fn hook_table() -> Result<HookTable, BenchError> {
    let mut table = HashMap::new();
    let label = |label: &Option<String>| Arc::<str>::from(label.as_deref().unwrap_or_default());
    for (watch, document) in documents(&policies())?.iter().enumerate() {
        let Some(policy) = &document.policy else { continue };
        for hook in &policy.hooks {
            let loaded = LoadedHook {
                hook: Arc::new(Hook {
                    function: planner::symbol(&hook.target, std::env::consts::ARCH),
                    policy: policy.name.clone(),
                    message: hook.message.clone().unwrap_or_default(),
                    tags: hook.tags.clone(),
                    watch,
                }),
                args: hook.args.iter().map(|a| (a.kind, label(&a.label))).collect(),
                ret: hook.returns.as_ref().map(|r| (r.kind, label(&r.label))),
            };
            table.insert(table.len() as u32 + 1, Arc::new(loaded));
        }
    }
    Ok(Arc::new(RwLock::new(table)))
}

/// A recording, played in rounds: each has processes of its own, with times of now.
#[derive(Debug)]
pub(super) struct Recording {
    bytes: Vec<u8>,
    /// Where each record begins and how long it is.
    index: Vec<(usize, usize)>,
    first: u64,
    /// Nanoseconds from the first record to the last.
    span: u64,
    round: Vec<u8>,
}

impl Recording {
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let bytes = fs::read(path).map_err(io(path.display().to_string()))?;
        let mut index = Vec::new();
        let mut at = 0;
        while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>())
        {
            let length = u32::from_ne_bytes(*length) as usize;
            index.push((at + LENGTH_BYTES, length));
            at += LENGTH_BYTES + length;
        }
        let torn = index.last().is_none_or(|(at, length)| at + length > bytes.len());
        if torn {
            return Err(BenchError::NoFigures(format!("a torn recording, {}", path.display())));
        }
        let times = || index.iter().map(|(at, length)| record::time_of(&bytes[*at..at + length]));
        let first = times().min().unwrap_or_default();
        let span = times().max().unwrap_or_default().saturating_sub(first).max(1);
        let round = bytes.clone();
        Ok(Self { bytes, index, first, span, round })
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Mean bytes of a record in the ring.
    pub fn mean_bytes(&self) -> f64 {
        self.index.iter().map(|(_, length)| *length).sum::<usize>() as f64
            / self.len().max(1) as f64
    }

    /// The next round's records, their times pressed into `within` ns from `start` (boot time, ns).
    pub fn round(&mut self, start: u64, within: u64) -> impl Iterator<Item = &[u8]> {
        self.round.copy_from_slice(&self.bytes);
        let (first, span) = (self.first, self.span);
        let moved = |time: u64| match time.checked_sub(first) {
            Some(since) => {
                start + (u128::from(since) * u128::from(within) / u128::from(span)) as u64
            }
            // Of a process that was there before.
            None => time,
        };
        for (at, length) in &self.index {
            let record = &mut self.round[*at..at + length];
            for field in times_of(record) {
                if let Some(bytes) = record.get_mut(field..field + 8)
                    && let Some(time) = bytes.first_chunk().map(|b| u64::from_ne_bytes(*b))
                {
                    bytes.copy_from_slice(&moved(time).to_ne_bytes());
                }
            }
        }
        self.index.iter().map(|(at, length)| &self.round[*at..at + length])
    }
}

/// Where a record holds times, among them those that identify processes.
fn times_of(bytes: &[u8]) -> Vec<usize> {
    let mut fields = vec![offset_of!(record_header, time), offset_of!(record_header, exec_time)];
    match record::decode(bytes).map(|record| record.body) {
        Ok(record::Body::Exec(_)) => fields.push(offset_of!(record_exec, parent_exec_time)),
        Ok(record::Body::Fork(_)) => fields.push(offset_of!(record_fork, parent_exec_time)),
        Ok(record::Body::Return(_)) => fields.push(offset_of!(record_return, call_time)),
        _ => {}
    }
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fork(time: u64, parent: u64) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<record_fork>()];
        let mut put =
            |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        put(offset_of!(record_header, time), time);
        put(offset_of!(record_header, exec_time), time);
        put(offset_of!(record_fork, parent_exec_time), parent);
        bytes[offset_of!(record_header, r#type)] = 2;
        bytes
    }

    #[test]
    fn times_move_together_and_old_processes_stay() {
        let mut out = Vec::new();
        write(&mut out, &fork(1000, 10));
        write(&mut out, &fork(2000, 1000));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), out).unwrap();
        let mut recording = Recording::read(file.path()).unwrap();
        let seen: Vec<(u64, u64)> = recording
            .round(5000, 100)
            .map(|bytes| {
                let record = record::decode(bytes).unwrap();
                let record::Body::Fork(fork) = record.body else { return (0, 0) };
                (record.header.image.exec_time, fork.parent.exec_time)
            })
            .collect();
        assert_eq!(seen, [(5000, 10), (5100, 5000)]);
    }

    #[test]
    fn a_torn_recording_is_refused() {
        let mut out = Vec::new();
        write(&mut out, &fork(1, 1));
        out.pop();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), out).unwrap();
        assert!(Recording::read(file.path()).is_err());
    }

    #[test]
    fn the_policies_of_the_bench_have_four_hooks() {
        let table = hook_table().unwrap();
        let table = table.read().unwrap();
        let names: Vec<&str> = (1..=4).map(|n| table[&n].hook.function.as_str()).collect();
        assert_eq!(
            names,
            [
                "security_file_permission",
                "security_mmap_file",
                "security_path_truncate",
                "tcp_connect"
            ]
        );
        assert_eq!((table.len(), table[&4].hook.watch), (4, 1));
    }
}
