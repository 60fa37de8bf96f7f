//! `make bench`: what the operator costs, on a real control plane.

use std::process::ExitCode;

use securitywatch_operator_e2e::{bench, main_of};

#[tokio::main]
async fn main() -> ExitCode {
    main_of("bench-operator", async { bench::run().await.map(|()| 0) }).await
}
