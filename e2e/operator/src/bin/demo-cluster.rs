//! `make demo-cluster`: the operator's story on a real control plane.

use std::process::ExitCode;

use securitywatch_operator_e2e::{demo, main_of};

#[tokio::main]
async fn main() -> ExitCode {
    main_of("demo-cluster", demo::run()).await
}
