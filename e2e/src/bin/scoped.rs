//! The probe's kernel side under commands on standard input, for `tests/scope.rs`:
//! `scoped CGROUP_ROOT EVENTS auto|fentry|kprobe`.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use securitywatch_e2e::scoped::{Failure, run};
use securitywatch_probe::planner::Preference;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scoped: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, events, backend] = &arguments[..] else {
        return Err("usage: scoped CGROUP_ROOT EVENTS auto|fentry|kprobe".into());
    };
    let preference = match backend.as_str() {
        "fentry" => Preference::Fentry,
        "kprobe" => Preference::Kprobe,
        "kprobe-multi" => Preference::KprobeMulti,
        _ => Preference::Auto,
    };
    run(Path::new(root), File::create(events)?, preference)
}
