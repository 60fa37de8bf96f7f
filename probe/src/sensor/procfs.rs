//! Processes that were there before the hooks, read from /proc.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What /proc tells of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub pid: u32,
    pub parent: u32,
    /// CLOCK_BOOTTIME ns, at the resolution of a clock tick.
    pub start_time: u64,
    pub uid: u32,
    pub auid: u32,
    /// The executable, resolved; empty for one that is gone.
    pub executable: Vec<u8>,
    pub cwd: Vec<u8>,
    /// As in memory: NUL-terminated strings, `argv[0]` first.
    pub argv: Vec<u8>,
    /// The last component of its cgroup path.
    pub cgroup: Vec<u8>,
    /// Pid in its own pid namespace; 0 where that is ours.
    pub namespace_pid: u32,
}

/// Clock ticks in a second, as /proc counts them (USER_HZ is 100 on every architecture we build for).
const TICK_NS: u64 = 1_000_000_000 / 100;
/// PF_KTHREAD
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Every user process under `proc`, the oldest first, so parents come before their children. What ends
/// or cannot be read meanwhile is left out.
#[must_use]
pub fn scan(proc: &Path) -> Vec<Found> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Found> = pids.filter_map(|pid| read(proc, pid)).collect();
    found.sort_by_key(|process| (process.start_time, process.pid));
    found
}

/// One process; `None` for kernel threads and processes that are gone.
#[must_use]
pub fn read(proc: &Path, pid: u32) -> Option<Found> {
    let dir = proc.join(pid.to_string());
    let stat = fs::read(dir.join("stat")).ok()?;
    // The name may hold spaces and brackets; the last bracket ends it.
    let after = stat.iter().rposition(|b| *b == b')')?;
    let fields: Vec<&str> =
        std::str::from_utf8(stat.get(after + 2..)?).ok()?.split_ascii_whitespace().collect();
    let number = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
    // Fields are numbered from the state, which is the third of the file.
    if number(6)? & KERNEL_THREAD != 0 {
        return None;
    }
    let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
    Some(Found {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        start_time: number(19)? * TICK_NS,
        uid: status_field(&status, "Uid:", 1)
            .or_else(|| fs::metadata(&dir).ok().map(|m| m.uid()))
            .unwrap_or(0),
        auid: fs::read_to_string(dir.join("loginuid"))
            .ok()
            .and_then(|s| s.trim().parse().ok())
            .unwrap_or(u32::MAX),
        executable: link(dir.join("exe")),
        cwd: link(dir.join("cwd")),
        argv: fs::read(dir.join("cmdline")).unwrap_or_default(),
        cgroup: cgroup(&fs::read(dir.join("cgroup")).unwrap_or_default()),
        namespace_pid: namespace_pid(&status),
    })
}

fn link(path: PathBuf) -> Vec<u8> {
    fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec()).unwrap_or_default()
}

/// Number `n` (from 0) of a line such as `Uid: 0 0 0 0`; Uid's second is the effective one.
fn status_field(status: &str, name: &str, n: usize) -> Option<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_ascii_whitespace()
        .nth(n)?
        .parse()
        .ok()
}

/// `NSpid: 4711 1`: the last number is the pid in the innermost namespace.
fn namespace_pid(status: &str) -> u32 {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let inner = pids.split_ascii_whitespace().skip(1).last();
    inner.and_then(|pid| pid.parse().ok()).unwrap_or_default()
}

/// The last component of the unified hierarchy's path (`0::/…`), else of the first.
fn cgroup(text: &[u8]) -> Vec<u8> {
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let line = lines
        .clone()
        .find(|line| line.starts_with(b"0::"))
        .or_else(|| lines.next())
        .unwrap_or_default();
    line.rsplit(|b| *b == b'/').next().unwrap_or_default().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_very_process() {
        let me = read(Path::new("/proc"), std::process::id()).expect("own process");
        assert_eq!(me.pid, std::process::id());
        assert_eq!(
            me.executable,
            std::env::current_exe().expect("own path").as_os_str().as_bytes()
        );
        assert!(!me.argv.is_empty() && me.start_time > 0);
        assert!(scan(Path::new("/proc")).contains(&me));
    }

    #[test]
    fn a_container_init_is_known_by_its_inner_pid() {
        assert_eq!(namespace_pid("Name:\tx\nNSpid:\t4711\t1\n"), 1);
        assert_eq!(namespace_pid("NSpid:\t1\n"), 0, "pid 1 of the host is no container's");
        assert_eq!(namespace_pid("NSpid:\t4711\t40\t12\n"), 12);
    }

    #[test]
    fn the_unified_hierarchy_names_the_container() {
        assert_eq!(cgroup(b"5:memory:/a/b\n0::/kubepods/pod1/abc\n"), b"abc");
        assert_eq!(cgroup(b"5:memory:/a/b\n"), b"b");
        assert_eq!(cgroup(b""), b"");
    }
}
