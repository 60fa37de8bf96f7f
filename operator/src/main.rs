//! The operator's program. Reconciling clusters is not part of it yet; what it can do is hand out the API.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use securitywatch_api::crd;

/// SecurityWatch in a cluster.
///
/// This version prints the custom resource definitions and nothing more: it does not reconcile watches, so applying
/// one to a cluster has no effect yet. `securitywatch-probe` runs the same documents on one machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML, for `kubectl apply --server-side -f -`
    Crds,
}

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot write the definitions: {0}")]
    Yaml(#[from] serde_json::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let Cli { command: Command::Crds } = Cli::parse();
    match print_definitions() {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe is the reader's wish.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("securitywatch-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_definitions() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    for definition in crd::definitions() {
        writeln!(
            out,
            "---\n{}",
            crd::to_yaml(&definition)?.trim_start_matches("---\n").trim_end()
        )?;
    }
    Ok(())
}
