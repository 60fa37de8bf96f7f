//! The operator's program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use securitywatch_api::crd;
use securitywatch_operator::cli::{Cli, Command};
use securitywatch_operator::run;

/// Why nothing was printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot write the definitions: {0}")]
    Yaml(#[from] serde_json::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::main(*args),
        Command::Crds => match print_definitions() {
            Ok(()) => ExitCode::SUCCESS,
            // A closed pipe is the reader's wish.
            Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("securitywatch-operator: {error}");
                ExitCode::FAILURE
            }
        },
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
