//! Wires the command line to the commands.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use securitywatch_probe::cli::{Cli, Command};
use securitywatch_probe::command;
use securitywatch_probe::command::run::RunError;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(filter())
        .init();
    securitywatch_probe::loader::log_libbpf();
    // Fails only if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Run(args) => match command::run::run(*args) {
            Ok(summary) => say(std::io::stderr(), &summary, ExitCode::SUCCESS),
            Err(RunError::Refused(report)) => {
                say(std::io::stderr(), &report.to_string(), ExitCode::FAILURE)
            }
            Err(error) => fail(&error),
        },
        Command::Agent(args) => match command::agent::agent(*args) {
            Ok(summary) => say(std::io::stderr(), &summary, ExitCode::SUCCESS),
            Err(error) => fail(&error),
        },
        Command::Check(args) => match command::check::check(&args) {
            Ok(report) => {
                let code = if report.is_refused() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
                say(std::io::stdout(), &report.to_string(), code)
            }
            Err(error) => fail(&error),
        },
        Command::Capabilities(args) => match command::capabilities::capabilities(&args) {
            Ok(text) => say(std::io::stdout(), &text, ExitCode::SUCCESS),
            Err(error) => fail(&error),
        },
    }
}

/// `RUST_LOG`, or `info`. The client of the API server logs each failed attempt as an error, without a cause; whoever
/// asks it says what is wrong.
fn filter() -> EnvFilter {
    const QUIET: &str = "kube_client=off,kube_runtime=off";
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { wanted.as_str() };
    let filter = |text| EnvFilter::try_new(format!("{QUIET},{text}"));
    filter(wanted).or_else(|_| filter("info")).unwrap_or_default()
}

/// A closed pipe is the reader's wish, not an error.
fn say(mut to: impl std::io::Write, text: &str, code: ExitCode) -> ExitCode {
    let _ = to.write_all(text.as_bytes());
    code
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    say(std::io::stderr(), &format!("securitywatch-probe: {error}\n"), ExitCode::FAILURE)
}
