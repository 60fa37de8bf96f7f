//! What was lost before it reached the probe, by cause, and the proof: holes in the sequence numbers.

use std::collections::HashMap;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::record;
use crate::misses::Misses;

/// Why a record or an action was lost; `enum loss` in `records.h` and, last, what the numbers prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Loss {
    /// fork, exec or exit: the ring was full
    LifecycleRingFull = 0,
    /// policy event: the ring was full
    TelemetryRingFull = 1,
    /// a CPU's working memory was all in use
    ScratchBusy = 2,
    /// the return of a call could not be awaited; the event has no return value
    PendingFull = 3,
    /// too many processes; events of the rest carry the bare pid
    ProcessTableFull = 4,
    /// the kernel refused to send the signal
    SignalFailed = 5,
    /// too many cgroups of pods; the rest count as the host's
    CgroupTableFull = 6,
    /// the kernel did not run a program, for it was running on that CPU already; calls, whether wanted or not
    RecursionMiss = 7,
    /// records missing between two that came: the sum of what the rings lost, counted independently
    SequenceGap = 8,
}

impl Loss {
    /// How many causes there are.
    pub const COUNT: usize = 9;
    /// All of them, in the order of [`super::SensorStats::lost`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::LifecycleRingFull,
        Self::TelemetryRingFull,
        Self::ScratchBusy,
        Self::PendingFull,
        Self::ProcessTableFull,
        Self::SignalFailed,
        Self::CgroupTableFull,
        Self::RecursionMiss,
        Self::SequenceGap,
    ];

    /// The word in metrics and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LifecycleRingFull => "lifecycle_ring_full",
            Self::TelemetryRingFull => "telemetry_ring_full",
            Self::ScratchBusy => "scratch_busy",
            Self::PendingFull => "pending_full",
            Self::ProcessTableFull => "process_table_full",
            Self::SignalFailed => "signal_failed",
            Self::CgroupTableFull => "cgroup_table_full",
            Self::RecursionMiss => "recursion_miss",
            Self::SequenceGap => "sequence_gap",
        }
    }
}

/// Reads the kernel side's counters and keeps the sequence numbers.
#[derive(Debug)]
pub struct Losses {
    map: MapHandle,
    misses: Misses,
    /// Last number by CPU and ring.
    last: HashMap<(u16, bool), u64>,
    gaps: u64,
}

impl Losses {
    /// Over map `losses`, and what the kernel counts itself.
    #[must_use]
    pub fn new(map: MapHandle, misses: Misses) -> Self {
        Self { map, misses, last: HashMap::new(), gaps: 0 }
    }

    /// A record came.
    pub fn note(&mut self, bytes: &[u8]) {
        let Some((cpu, seq, telemetry)) = record::place_of(bytes) else { return };
        let last = self.last.entry((cpu, telemetry)).or_default();
        // Numbers of one CPU come in order but for nested calls, which take theirs in the middle of another.
        if seq > *last {
            self.gaps += seq - *last - 1;
            *last = seq;
        } else {
            self.gaps = self.gaps.saturating_sub(1);
        }
    }

    /// By cause, in the order of [`Loss::ALL`].
    #[must_use]
    pub fn read(&self) -> [u64; Loss::COUNT] {
        let mut out = [0; Loss::COUNT];
        for (cause, total) in out.iter_mut().enumerate() {
            let key = u32::try_from(cause).unwrap_or(u32::MAX).to_ne_bytes();
            if let Ok(Some(per_cpu)) = self.map.lookup_percpu(&key, MapFlags::ANY) {
                *total = per_cpu
                    .iter()
                    .filter_map(|v| v.first_chunk().map(|b| u64::from_ne_bytes(*b)))
                    .fold(0, u64::wrapping_add);
            }
        }
        out[Loss::RecursionMiss as usize] = self.misses.total();
        out[Loss::SequenceGap as usize] = self.gaps;
        out
    }
}
