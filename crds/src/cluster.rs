//! What operator and probe agree on inside a cluster: names, keys and the hash of a policy.

use sha2::{Digest as _, Sha256};

use crate::tracing_policy::TracingPolicySpec;

/// Keeps a deleted watch until what it made in Parseable is removed.
pub const FINALIZER: &str = "securitywatch.io/parseable";

/// Field manager of what the operator applies, status of watches excepted.
pub const OPERATOR_MANAGER: &str = "securitywatch-operator";
/// Field manager of the status of watches.
pub const STATUS_MANAGER: &str = "securitywatch-operator-status";
/// Field manager of `SecurityWatchNode` objects.
pub const PROBE_MANAGER: &str = "securitywatch-probe";

/// The Secret, in the operator's namespace, that holds what nodes ship with; written by the operator,
/// mounted into the probe's pods. Its keys are those of [`ingest_key`].
pub const INGEST_SECRET: &str = "securitywatch-ingest";

/// The key of [`INGEST_SECRET`] that holds the certificate, in PEM, that the operator shows to probes.
pub const ALERTS_CERTIFICATE: &str = "alerts.crt";

/// The Secret, in the operator's namespace, that holds the key of that certificate. No pod mounts it.
pub const ALERTS_SECRET: &str = "securitywatch-alerts";

/// The Secret, in the operator's namespace, that holds the operator's notification log. No pod mounts it.
pub const FIRINGS_SECRET: &str = "securitywatch-firings";

/// A part of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountPart {
    /// Of a user.
    Username,
    /// Of a user.
    Password,
    /// Instead of both.
    ApiKey,
}

impl AccountPart {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Username, Self::Password, Self::ApiKey];

    /// The key it has in a user's Secret.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::ApiKey => "apiKey",
        }
    }
}

/// The key of [`INGEST_SECRET`], and so the name of the mounted file, that holds one part of the account
/// that the watch with this uid ships with: `UID.username`.
#[must_use]
pub fn ingest_key(watch_uid: &str, part: AccountPart) -> String {
    format!("{watch_uid}.{}", part.key())
}

/// Identifies the content of a policy: 16 hex digits. Operator and probe compute it from the same
/// object; a policy that is referred to can change while the watch's generation stays.
#[must_use]
pub fn policy_hash(spec: &TracingPolicySpec) -> String {
    // Its maps are ordered, so its JSON has one form. What cannot be written as JSON cannot be read
    // from it either.
    let text = serde_json::to_vec(spec).unwrap_or_default();
    Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hash_tells_policies_apart() {
        let policy = |call: &str| -> TracingPolicySpec {
            serde_json::from_value(serde_json::json!({"kprobes": [{"call": call}]})).unwrap()
        };
        let hash = policy_hash(&policy("tcp_connect"));
        assert_eq!((hash.len(), &hash), (16, &policy_hash(&policy("tcp_connect"))));
        assert_ne!(hash, policy_hash(&policy("tcp_close")));
    }

    #[test]
    fn keys_are_valid_in_a_secret() {
        let uid = "0b5e1c6e-6f0c-4a43-9b59-6a3a3a1e7a10";
        for part in AccountPart::ALL {
            assert!(crate::v1alpha1::rules::SECRET_KEY.allows(&ingest_key(uid, part)));
        }
    }
}
