//! The scan at the start, into the kernel side's table and ours.

use std::collections::HashMap;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::scan::{Sink, scan};
use super::scope::pod_key;
use super::table::{CgroupFacts, Table};

/// What the scan found.
#[derive(Debug, Default)]
pub struct Seeded {
    pub table: Table,
    /// The processes in pods, with the ids of their cgroups.
    pub processes: HashMap<u32, u64>,
    /// Cgroups that the kernel side's table has no room for.
    pub without_room: usize,
}

/// Seeds both from the hierarchy at `root`. The kernel side already watches.
pub fn seed(root: &Path, kernel: &MapHandle) -> Seeded {
    let mut both = Both { kernel, seeded: Seeded::default() };
    let processes = scan(root, &mut both);
    let mut seeded = both.seeded;
    seeded.processes = processes.into_iter().map(|(pid, facts)| (pid, facts.id)).collect();
    seeded
}

struct Both<'map> {
    kernel: &'map MapHandle,
    seeded: Seeded,
}

impl Sink for Both<'_> {
    fn add(&mut self, facts: &CgroupFacts) {
        self.seeded.table.insert(facts.clone());
        let Ok(pod) = pod_key(&facts.pod_uid) else { return };
        // `struct pod_cgroup` in memory order.
        let value = [&pod[..], &facts.container_cgroup.to_ne_bytes()].concat();
        if let Err(error) = self.kernel.update(&facts.id.to_ne_bytes(), &value, MapFlags::NO_EXIST)
            && error.kind() != libbpf_rs::ErrorKind::AlreadyExists
        {
            self.seeded.without_room += 1;
        }
    }

    fn forget(&mut self, facts: &CgroupFacts) {
        // Not there: the kernel side saw it go.
        let _ = self.kernel.delete(&facts.id.to_ne_bytes());
        // Its processes ended before anything is read from the rings, but the records of that are in them.
        self.seeded.table.remove(facts.id, crate::sensor::boot_now());
    }
}
