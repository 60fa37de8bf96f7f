//! `make e2e`: every scenario of the operator on a real control plane.

use std::process::ExitCode;

use clap::Parser;
use securitywatch_operator_e2e::scenario::{self, Context};
use securitywatch_operator_e2e::{Result, main_of, scenarios};

/// Starts a control plane, installs the chart, runs the operator and then scenario after scenario.
///
/// Needs what `e2e/cluster/build` makes. Ends with a non-zero exit code when a scenario failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only scenarios whose name contains one of these
    filters: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    main_of("e2e", run(&Arguments::parse())).await
}

async fn run(arguments: &Arguments) -> Result<usize> {
    let context = Context::start().await?;
    let (passed, failed) = scenario::run(&context, scenarios::ALL, &arguments.filters).await;
    if failed > 0 {
        let log = std::fs::read_to_string(context.pod.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.len().saturating_sub(60);
        eprintln!("the end of the operator's log:\n{}", lines[tail..].join("\n"));
    }
    context.stop().await?;
    println!("e2e: {passed} passed, {failed} failed");
    Ok(failed)
}
