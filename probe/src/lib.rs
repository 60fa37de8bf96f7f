//! The node probe: kernel hooks to Tetragon JSON, Parseable rows and alerts.
//!
//! Data goes one way: `sensor` -> `process_cache` -> `pods` -> `encode` -> `ship` and `alert`. Policies go the
//! other way, from the document into the kernel: `policy` -> `planner` -> `loader` -> `bpf`. In a cluster, `agent`
//! brings the documents from the API server and the report back to it.

pub mod agent;
pub mod alert;
pub mod bpf;
pub mod capabilities;
pub mod cgroups;
pub mod check;
pub mod cli;
pub mod command;
pub mod encode;
pub mod event;
pub mod event_log;
pub mod http;
pub mod kernel;
pub mod line_writer;
pub mod loader;
pub mod local_output;
pub mod metrics;
pub mod misses;
pub mod output;
pub mod planner;
pub mod pods;
pub mod policy;
pub mod privileges;
pub mod process_cache;
pub mod secrets;
pub mod sensor;
pub mod ship;
pub mod spool;
pub mod trouble;
