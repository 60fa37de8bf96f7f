//! Calls for which the kernel did not run a program, because it was running on that CPU already. The kernel counts them.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How `/proc/self/fdinfo` of a program begins the line; Linux 5.12 and newer.
const LINE: &str = "recursion_misses:";

/// Of all programs, those that are gone included. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Misses(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By hook.
    programs: HashMap<u32, Vec<OwnedFd>>,
    gone: u64,
}

impl Misses {
    /// The number that the programs of the process's life have in place of a hook's.
    pub const LIFECYCLE: u32 = 0;

    /// From now on these are counted.
    pub fn add(&self, hook: u32, programs: Vec<OwnedFd>) {
        self.lock().programs.entry(hook).or_default().extend(programs);
    }

    /// The programs of this hook are no longer attached.
    pub fn remove(&self, hook: u32) {
        let mut state = self.lock();
        let programs = state.programs.remove(&hook).unwrap_or_default();
        state.gone += programs.iter().map(count).sum::<u64>();
    }

    /// So far.
    #[must_use]
    pub fn total(&self) -> u64 {
        let state = self.lock();
        state.gone + state.programs.values().flatten().map(count).sum::<u64>()
    }

    // Each change is one step: a panic elsewhere leaves it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(program: &OwnedFd) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
    std::fs::read_to_string(path).ok().and_then(|info| parse(&info)).unwrap_or_default()
}

fn parse(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(LINE))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_found() {
        let info =
            "pos:\t0\nprog_type:\t26\nrun_cnt:\t12\nrecursion_misses:\t31\nverified_insns:\t9\n";
        assert_eq!(parse(info), Some(31));
        assert_eq!(parse("pos:\t0\nflags:\t02\n"), None, "kernels before 5.12 do not tell");
    }
}
