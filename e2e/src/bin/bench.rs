//! Measures what an event costs: `bench [PART...]`, as `make bench ARGS='PART...'`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use securitywatch_e2e::bench::{self, BenchError, Programs};
use securitywatch_e2e::built;

/// Prints figures with their aims beside them; docs/performance.md tells how each is measured.
///
/// Nothing passes or fails here. On a machine that does other work as well, only the figures counted in
/// instructions or in CPU time mean something.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Arguments {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Work per operation in a guest that counts instructions, beside Tetragon's
    Work,
    /// What an exec costs more on this machine
    Overhead,
    /// From ring records to HTTP on one CPU
    Throughput,
    /// Memory and idle CPU on this machine
    Memory,
    /// From an exec to the stream and to the webhook
    Latency,
}

/// Other processes of the bench.
#[derive(Debug, Subcommand)]
enum Helper {
    /// Take rows until standard input ends, then print how many
    #[command(hide = true)]
    Sink,
    /// Feed a recording to a server
    #[command(hide = true)]
    Feed {
        #[arg(long)]
        recording: PathBuf,
        #[arg(long)]
        server: String,
        #[arg(long)]
        alerts: bool,
        #[arg(long)]
        seconds: u64,
    },
    /// Record the rings, in a guest
    #[command(hide = true)]
    Record { into: PathBuf },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    match arguments.helper {
        Some(Helper::Sink) => Ok(bench::serve()?),
        Some(Helper::Feed { recording, server, alerts, seconds }) => {
            Ok(bench::feed(&recording, &server, alerts, Duration::from_secs(seconds))?)
        }
        Some(Helper::Record { into }) => Ok(bench::record(&into)?),
        None => measure(&arguments.parts),
    }
}

fn measure(parts: &[Part]) -> Result<(), Box<dyn std::error::Error>> {
    let probe = built::program("securitywatch-probe")?;
    let programs = Programs::compile()?;
    if cfg!(debug_assertions) {
        println!("(not optimised: the figures are those of a debug build)");
    }
    for part in Part::value_variants() {
        if !parts.is_empty() && !parts.contains(part) {
            continue;
        }
        let done: Result<(), BenchError> = match part {
            Part::Work => bench::work(&probe, &programs),
            Part::Overhead => bench::overhead(&probe, &programs),
            Part::Throughput => bench::throughput(),
            Part::Memory => bench::memory(&probe, &programs),
            Part::Latency => bench::latency(&probe),
        };
        done?;
    }
    Ok(())
}
