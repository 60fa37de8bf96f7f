//! The cluster mode: watches come from the API server, and what became of them goes back to it.
//!
//! ```text
//! watch -> store -> judge -> state -> (policies, outputs) -> report -> write
//! ```
//!
//! `watch` follows the objects and `store` holds them as they are; `judge` says what one watch asks of this
//! node, `state` compares that with what runs and says the next step; `report` puts what became of it into the
//! words of a `SecurityWatchNode`, and `write` brings that to the API server. All but the first and the last are
//! pure. What is loaded stays loaded while the API server is away.

pub mod accounts;
pub mod health;
pub mod judge;
pub mod ledger;
pub mod node;
pub mod outputs;
pub mod pace;
pub mod report;
pub mod shipping;
pub mod state;
pub mod store;
pub mod watch;
pub mod write;

use std::borrow::Cow;

/// Why something is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// One word for programs.
    pub word: Cow<'static, str>,
    /// What is wrong, with the field's path, and what to do.
    pub message: String,
}

impl Reason {
    /// A reason with a known word.
    pub fn new(word: &'static str, message: impl Into<String>) -> Self {
        Self { word: Cow::Borrowed(word), message: message.into() }
    }
}
