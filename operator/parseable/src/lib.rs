//! Keeps streams, retention, targets and alerts of a Parseable server as watches want them.
//!
//! One call does one pass for one watch, `observe -> plan -> apply`: [`Server::sync`] looks at what the
//! server has, decides what is to change (pure functions, in `plan`), changes it, and reports. It is level-triggered and
//! keeps nothing that a restart of the operator could lose: whatever was changed, deleted or doubled by hand,
//! by a crash or by another version is right after the next pass. Nothing is retried inside: every call has a
//! deadline, and whoever calls decides when to come again.
//!
//! ```no_run
//! # async fn example(config: securitywatch_parseable::ServerConfig, desired: securitywatch_parseable::Desired)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use securitywatch_parseable::{GuardPolicy, Servers, TargetGuard};
//!
//! // Once in the process; a TLS provider must have been installed before.
//! let servers = Servers::new(TargetGuard::new(GuardPolicy::default())?);
//! // In each reconcile of a watch with a target: the same server for the same address and account.
//! let server = servers.get(&config)?;
//! let report = server.sync(&desired, &[]).await;
//! for change in &report.changes {
//!     println!("{} {}", change.reason(), change.message);
//! }
//! # Ok(()) }
//! ```
//!
//! Three things a real server does decide the shape: alerts stop for good when the server restarts and the
//! API hides it, so that they are made again when they are older than the server's process; secrets come back
//! masked, so that what was written last is remembered by its hash; names are not unique, so that everything
//! made here carries the cluster's and the watch's identity (see [`Owner`]).

mod desired;
mod failure;
mod guard;
mod http;
mod identity;
mod outbound;
mod plan;
mod report;
mod server;
mod sync;
mod wire;

pub use desired::{Desired, DesiredAlert, DesiredTarget, Destination, KnownAlert, Login, Owner};
pub use failure::{Failure, FailureClass};
pub use guard::{GuardConfigError, GuardPolicy, TargetDenied, TargetGuard};
pub use outbound::{denial, guarded_client, root_cause};
pub use report::{AlertOutcome, Change, ChangeKind, Generation, Restart, Swept, SyncReport};
pub use server::{Credentials, Server, ServerConfig, Servers, Timeouts};
