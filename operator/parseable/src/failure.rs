//! What went wrong, sorted by who has to do something about it.

use std::fmt;

use securitywatch_api::v1alpha1::conditions::reasons::{alerts_synced, shipping};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Who has to do something about it.
    pub class: FailureClass,
    /// One sentence: who answered what, and what to mend. Holds neither an answer's body nor a secret.
    pub message: String,
}

/// Sorts failures by their cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Nobody answers, or not in time. Comes right by itself or by mending the URL or the network.
    Unreachable,
    /// The server answers that it is in trouble (5xx, 429), or something that is no Parseable answers.
    ServerError,
    /// The server refuses the credentials, or the account may not do what is asked.
    Unauthorized,
    /// The operator's own rules forbid to call this address; the spec or the operator's settings must change.
    TargetDenied,
    /// The server refuses the stream or its retention.
    StreamRejected,
    /// The server refuses the alert or its target; the spec must change.
    AlertRejected,
    /// The stream lacks a column of the rule. Comes right with the first event that has it.
    ColumnPending,
    /// The server's outbound policy forbids the receiver; an admin of the server must change it.
    OutboundPolicy,
    /// The server's version has an alert API that is not supported. Shipping and retention still work.
    Unsupported,
    /// Somebody else claims the same thing and was there first.
    Conflict,
}

impl FailureClass {
    /// May come right by itself: come again soon, with a growing delay. The others are cured by a change of
    /// the watch, a Secret or the server, so a slow repetition does.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::ServerError | Self::ColumnPending)
    }

    /// The reason of the condition `AlertsSynced`.
    #[must_use]
    pub const fn alerts_reason(self) -> &'static str {
        match self {
            Self::Unreachable | Self::ServerError | Self::TargetDenied => {
                alerts_synced::TARGET_UNREACHABLE
            }
            Self::Unauthorized => alerts_synced::UNAUTHORIZED,
            Self::StreamRejected
            | Self::AlertRejected
            | Self::OutboundPolicy
            | Self::Unsupported => alerts_synced::ALERT_REJECTED,
            Self::ColumnPending => alerts_synced::PENDING,
            Self::Conflict => alerts_synced::CONFLICT,
        }
    }

    /// The reason of the condition `Shipping`, for a failure of the stream.
    #[must_use]
    pub const fn shipping_reason(self) -> &'static str {
        match self {
            Self::Unreachable | Self::ServerError | Self::TargetDenied => {
                shipping::TARGET_UNREACHABLE
            }
            Self::Unauthorized => shipping::UNAUTHORIZED,
            _ => shipping::STREAM_REJECTED,
        }
    }
}

impl Failure {
    pub(crate) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
