//! What the lifecycle programs (BTF tracepoints) add to an exec on this machine, probe on and off in turn.

use std::path::Path;

use super::BenchError;
use super::figures::Samples;
use super::live::{self, BpfTiming, Live};
use super::storm::Programs;

const PAIRS: usize = 10;
const EXECS: u32 = 500;
const AIM_PERCENT: f64 = 3.0;

/// Measures and prints the pairs' median and spread, and the time the programs themselves ran.
///
/// # Errors
/// The probe or the storm fails.
pub fn overhead(probe: &Path, programs: &Programs) -> Result<(), BenchError> {
    println!(
        "== exec overhead on this machine, BTF tracepoints, no policy: posix_spawn+wait, {PAIRS} pairs, on and off in turn"
    );
    if !live::may_run() {
        println!("skipped: needs root\n");
        return Ok(());
    }
    let nop = programs.nop.to_string_lossy().into_owned();
    // The median exec of a storm: other work of the machine makes some of them late, not most.
    let storm = || programs.run("exec", EXECS, &nop).map(|s| s.median_us);
    storm()?;
    let (mut off, mut on, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let loaded = || {
            let live = Live::start(probe, &[])?;
            let us = storm()?;
            live.stop()?;
            Ok::<_, BenchError>(us)
        };
        // Turned around each time, so that a drift of the machine falls on both alike.
        let (without, with) = if pair % 2 == 0 {
            let without = storm()?;
            (without, loaded()?)
        } else {
            let with = loaded()?;
            (storm()?, with)
        };
        off.push(without);
        on.push(with);
        more.push((with / without - 1.0) * 100.0);
    }
    let [off, on, more] = [off, on, more].map(Samples::new);
    for (name, samples) in [("off", &off), ("on", &on)] {
        let (median, min, max) = (samples.median(), samples.min(), samples.max());
        println!("{name:<4} median {median:.0} us ({min:.0} to {max:.0})");
    }
    let (low, high) = (more.quantile(0.25), more.quantile(0.75));
    println!(
        "overhead: median of pairs {:+.1} %, middle half {low:+.1} to {high:+.1} %, all {:+.1} to {:+.1} %; {}",
        more.median(),
        more.min(),
        more.max(),
        verdict(low, high)
    );
    print_programs(probe, programs, &nop, off.median())?;
    println!();
    Ok(())
}

/// Whether the aim is met, if the spread lets one say so.
fn verdict(low: f64, high: f64) -> String {
    let word = if high <= AIM_PERCENT {
        "met"
    } else if low > AIM_PERCENT {
        "MISSED"
    } else {
        "cannot be told, this machine's other work spreads the pairs too far"
    };
    format!("aim: +{AIM_PERCENT} %: {word}")
}

/// The same without the clock of a busy machine: how long the kernel says that the programs ran.
fn print_programs(
    probe: &Path,
    programs: &Programs,
    nop: &str,
    exec_us: f64,
) -> Result<(), BenchError> {
    let Some(_timing) = BpfTiming::on() else {
        println!("(this kernel does not time BPF programs)");
        return Ok(());
    };
    let live = Live::start(probe, &[])?;
    let before = live.bpf_seconds();
    programs.run("exec", EXECS, nop)?;
    let us = (live.bpf_seconds() - before) / f64::from(EXECS) * 1e6;
    live.stop()?;
    println!(
        "the programs for fork, exec and exit ran {us:.1} us an exec in all, {:.1} % of it (kernel.bpf_stats_enabled, \
         whose two clock reads a run are in it, and so are other processes of this machine)",
        us / exec_us * 100.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_spread_proves_nothing() {
        assert!(verdict(-1.0, 2.9).ends_with(": met"));
        assert!(verdict(3.1, 9.0).ends_with(": MISSED"));
        assert!(verdict(-20.0, 50.0).contains("cannot be told"));
    }
}
