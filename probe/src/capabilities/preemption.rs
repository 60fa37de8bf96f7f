//! Whether the kernel preempts a task inside a trampoline's program.
//!
//! While such a program runs, the kernel leaves it out for every other call on the same CPU. A task that is preempted there
//! so hides the calls of all others until it runs again, which somebody who wants to be overlooked can arrange.
//! The programs of kprobes are never preempted. Which model a kernel has is often decided when it boots, and not
//! to be read in a container: only a trial tells.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io, thread};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use rustix::thread::{CpuSet, gettid, sched_getcpu, sched_setaffinity};

use crate::bpf::trial::TrialSkelBuilder;

/// Holds up a call of this process in a program, for at most 40 ms, while another thread wants its CPU. `false` as well
/// where it cannot be tried.
pub(super) fn is_preempted() -> bool {
    // In threads of their own, for they are bound to one CPU.
    let tried = thread::scope(|scope| scope.spawn(attempt).join());
    match tried {
        Ok(Ok(preempted)) => preempted,
        Ok(Err(error)) => {
            tracing::debug!("Whether programs are preempted could not be tried: {error}");
            false
        }
        Err(_) => false,
    }
}

fn attempt() -> io::Result<bool> {
    let mut cpu = CpuSet::new();
    cpu.set(sched_getcpu());
    sched_setaffinity(None, &cpu)?;

    let mut storage = MaybeUninit::uninit();
    let mut open = TrialSkelBuilder::default().open(&mut storage).map_err(io::Error::other)?;
    super::choose_only(&mut open, |trial| &mut trial.progs.trial_preemption);
    if let Some(constants) = open.maps.rodata_spin_data.as_deref_mut() {
        constants.spin_tid = gettid().as_raw_nonzero().get().cast_unsigned();
    }
    let skel = open.load().map_err(io::Error::other)?;
    let _link = skel.progs.trial_preemption.attach().map_err(io::Error::other)?;

    let is_over = AtomicBool::new(false);
    let is_there = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // On the same CPU, which threads inherit.
            is_there.store(true, Ordering::Relaxed);
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        while !is_there.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let read = fs::read("/proc/self/comm");
        is_over.store(true, Ordering::Relaxed);
        read
    })?;
    let result = skel.maps.bss_data.as_deref();
    match result.filter(|result| result.spun != 0) {
        Some(result) => Ok(result.preempted != 0),
        None => Err(io::Error::other("the program did not run")),
    }
}
