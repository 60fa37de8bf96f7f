//! The operator on a real control plane: etcd, API server, controller manager and scheduler of one
//! Kubernetes release, the chart installed by helm, the operator's program with the rights of its own
//! ServiceAccount, and a Parseable stand-in.
//!
//! Nodes are fake: they say that a pod runs and run nothing. So the operator's program runs beside the
//! cluster, and what a node's probe would report is written by the scenarios, with the rights of a probe.

pub mod bench;
pub mod control_plane;
pub mod demo;
pub mod install;
pub mod installation;
pub mod operator;
pub mod parseable;
pub mod real;
pub mod scenario;
pub mod scenarios;
pub mod sink;
pub mod tools;
pub mod wait;

/// What a scenario, or the making of its parts, fails with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// See [`Error`].
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A program's `main`: its exit code is bad when `run` counts failures, and an error is said in the program's name.
pub async fn main_of(
    name: &str,
    run: impl Future<Output = Result<usize>>,
) -> std::process::ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run.await {
        Ok(0) => std::process::ExitCode::SUCCESS,
        Ok(_) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Fails the scenario with a sentence unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}
