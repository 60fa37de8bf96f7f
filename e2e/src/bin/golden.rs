//! Compares the probe's events with those recorded from Tetragon: `golden [CASES]`, as `make golden CASES=path`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use securitywatch_e2e::built;
use securitywatch_e2e::golden::cases::{self, Case};
use securitywatch_e2e::golden::conformance::{Conformance, Verdict};

/// Runs every case's policy and trigger in a guest and compares the events with the recorded ones.
///
/// One line per case: `ok`, `refused` with the probe's reason, or the first differing event and field.
/// Ends with a non-zero exit code when a case failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder of cases, or one case [default: golden/cases of the shared data]
    cases: Option<PathBuf>,
    /// Guests that run at the same time [default: one per CPU]
    #[arg(long)]
    guests: Option<usize>,
    /// The probe to test [default: this workspace's, built if need be]
    #[arg(long)]
    probe: Option<PathBuf>,
    /// Keep our events and the probe's log, DIR/CASE/events.jsonl
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(failed) => ExitCode::from(u8::from(failed)),
        Err(error) if is_closed_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("golden: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The reader's wish, as in `golden | head`.
fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let Some(folder) = arguments.cases.clone().or_else(cases::default_folder) else {
        writeln!(
            io::stdout(),
            "skipped: no recorded cases at hand; name a folder: make golden CASES=path"
        )?;
        writeln!(io::stdout(), "golden: 0 passed, 0 failed, 0 refused")?;
        return Ok(false);
    };
    let cases = cases::read(&folder)?;
    let trigger = cases::trigger(&folder)?;
    let probe = match &arguments.probe {
        Some(probe) => probe.clone(),
        None => built::program("securitywatch-probe")?,
    };
    let guests_at_once = arguments
        .guests
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));

    let started = Instant::now();
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let report = |case: &Case, verdict: &Verdict| {
        let text = match verdict {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Refused(reason) => format!("refused  {reason}"),
            Verdict::Failed(what) => format!("FAILED  {what}"),
        };
        // That nobody reads any more shows again at the end.
        let _ = writeln!(io::stdout(), "{:width$}  {text}", case.name);
    };
    let verdicts = Conformance {
        probe: &probe,
        trigger: &trigger,
        guests_at_once,
        keep: arguments.keep.as_deref(),
    }
    .run(&cases, &report);

    let count =
        |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let mut out = io::stdout().lock();
    writeln!(out, "({} cases in {:.0} s)", verdicts.len(), started.elapsed().as_secs_f64())?;
    writeln!(
        out,
        "golden: {} passed, {failed} failed, {} refused",
        count(|verdict| *verdict == Verdict::Ok),
        count(|verdict| matches!(verdict, Verdict::Refused(_)))
    )?;
    Ok(failed > 0)
}
