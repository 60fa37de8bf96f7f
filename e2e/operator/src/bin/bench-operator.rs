//! `make bench`: what the operator costs, on a real control plane.

use std::process::ExitCode;

use securitywatch_operator_e2e::bench;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match bench::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-operator: {error}");
            ExitCode::FAILURE
        }
    }
}
