//! What an event costs: in instructions in a guest, in time on this machine, in bytes and memory.
//!
//! Figures only, each beside its aim; nothing here passes or fails. The methods are told in `docs/performance.md`.

mod feed;
mod figures;
mod latency;
mod live;
mod memory;
mod overhead;
mod records;
mod sink;
mod storm;
mod throughput;
mod work;

use std::path::PathBuf;

pub use feed::feed;
pub use latency::latency;
pub use memory::memory;
pub use overhead::overhead;
pub use records::record;
pub use sink::serve;
pub use storm::Programs;
pub use throughput::throughput;
pub use work::work;

/// Why a figure cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("cannot compile {program}: {output}")]
    Compile { program: &'static str, output: String },
    #[error("{what} ended with {status}: {output}")]
    Failed { what: String, status: String, output: String },
    #[error("the probe was not ready after {seconds} s; it said: {log}")]
    NotReady { seconds: u64, log: String },
    #[error("no figures in: {0}")]
    NoFigures(String),
    #[error(transparent)]
    Guest(#[from] crate::guest::GuestError),
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    /// A part of the probe that is driven directly.
    #[error("{what}: {message}")]
    Probe { what: &'static str, message: String },
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> BenchError {
    let what = what.into();
    move |source| BenchError::Io { what, source }
}

fn probe<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> BenchError {
    move |error| BenchError::Probe { what, message: error.to_string() }
}

/// The bench's own sources and policies.
fn folder() -> PathBuf {
    crate::guest::repository().join("e2e/bench")
}

/// Paths of the two policies, in the order in which they are loaded.
fn policies() -> [PathBuf; 2] {
    ["files.yaml", "egress.yaml"].map(|name| folder().join("policies").join(name))
}
