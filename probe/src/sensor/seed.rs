//! The processes that were there before the hooks: into the cache and into the kernel side's table.
//!
//! The hooks are attached first and /proc is read after, so a process is seen by one of the two, or by
//! both: then what the hook saw stands.

use std::collections::HashMap;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::Places;
use super::procfs::{self, Found};
use crate::bpf::process::types::process;
use crate::process_cache::ProcessCache;

/// `enum process_flag` in `records.h`.
const PROCESS_IN_INIT_TREE: u32 = 1 << 1;

/// Seeds both. `cgroups`: those of the processes that are in pods. Returns how many processes /proc showed.
pub fn seed_processes(
    proc: &Path,
    cache: &mut ProcessCache,
    cgroups: &HashMap<u32, u64>,
    places: &mut Places,
    table: &MapHandle,
) -> usize {
    let found = procfs::scan(proc);
    for one in &found {
        let cgroup = cgroups.get(&one.pid).copied().unwrap_or_default();
        cache.insert_found(one, places.place(cgroup));
        let in_init_tree = cache
            .get(super::record::ImageKey { tgid: one.pid, exec_time: one.start_time })
            .is_some_and(|image| image.process.in_init_tree);
        let parent_time = found.iter().find(|p| p.pid == one.parent).map_or(0, |p| p.start_time);
        // Fails when the hooks were faster, which is right, or when the table is full, which it counts itself.
        let _ = table.update(
            &one.pid.to_ne_bytes(),
            &entry(one, parent_time, in_init_tree),
            MapFlags::NO_EXIST,
        );
    }
    found.len()
}

/// `struct process` in memory order.
fn entry(found: &Found, parent_time: u64, in_init_tree: bool) -> Vec<u8> {
    let template = process::default();
    let (path_size, tail_size) = (template.path.len(), template.tail.len());
    let path = &found.executable;
    let mut out = Vec::with_capacity(size_of::<process>());
    out.extend_from_slice(&found.start_time.to_ne_bytes());
    out.extend_from_slice(&parent_time.to_ne_bytes());
    out.extend_from_slice(&found.parent.to_ne_bytes());
    out.extend_from_slice(&(if in_init_tree { PROCESS_IN_INIT_TREE } else { 0 }).to_ne_bytes());
    out.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_ne_bytes());
    out.extend_from_slice(&0_u32.to_ne_bytes());
    out.extend(path.iter().copied().chain(std::iter::repeat(0)).take(path_size - 1).chain([0]));
    let tail = if path.len() >= path_size { &path[path.len() - tail_size..] } else { &[] };
    out.extend(tail.iter().copied().chain(std::iter::repeat(0)).take(tail_size));
    out
}
