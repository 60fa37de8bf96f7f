//! Alerts at once: probes report hits, and the operator calls the receivers.
//!
//! ```text
//! listener (TLS) -> receive -> gatekeeper (who is it?) -> take (what is it?) -> lines (is a call due?) -> deliver
//! ```
//!
//! A probe keeps each hit until it is told that the hit is done with, which is when the calls that it caused have come to
//! an end. So the death of this process loses none: what was not answered is reported again, to the next replica.
//! Firings outlive it in the notification log: after a restart, what keeps coming is repeated as if nothing had been.

mod certificate;
mod deliver;
mod gatekeeper;
mod lines;
mod listener;
mod notification_log;
mod pager;
mod receive;
mod seen;
mod take;

pub use certificate::Identity;
pub use gatekeeper::Gatekeeper;
pub use pager::{Fired, Pager};
pub use receive::{Door, ServeError, serve};
