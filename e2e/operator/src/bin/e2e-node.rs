//! `make e2e-node`: the product as a whole on a real node.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use securitywatch_operator_e2e::real::place::Place;
use securitywatch_operator_e2e::real::scenarios;
use securitywatch_operator_e2e::scenario;
use securitywatch_operator_e2e::{Result, main_of};

/// Starts a cluster with a real node, installs the chart and runs scenario after scenario.
///
/// Needs what `e2e/setup node` makes. Ends with a non-zero exit code when a scenario failed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only scenarios whose name contains one of these; most use the pods of the first two
    filters: Vec<String>,

    /// Also the scenarios that take many minutes
    #[arg(long)]
    long: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    main_of("e2e-node", run(&Arguments::parse())).await
}

async fn run(arguments: &Arguments) -> Result<usize> {
    let started = Instant::now();
    let told = |text: &str| {
        let line = text.lines().next().unwrap_or_default();
        eprintln!("e2e-node: {line} ({:.0} s)", started.elapsed().as_secs_f64());
    };
    let place = Place::start(1, told).await?;
    let mut chosen = scenarios::REGULAR.to_vec();
    if arguments.long {
        chosen.extend(scenarios::LONG);
    }
    let (passed, failed) = scenario::run(&place, &chosen, &arguments.filters).await;
    if failed > 0 {
        place.tell_logs().await;
    }
    place.cluster.stop().await?;
    println!("e2e-node: {passed} passed, {failed} failed");
    Ok(failed)
}
