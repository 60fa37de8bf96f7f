//! `make demo-cluster`: the operator's story on a real control plane.

use std::process::ExitCode;

use securitywatch_operator_e2e::demo;

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match demo::run().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo-cluster: {error}");
            ExitCode::FAILURE
        }
    }
}
