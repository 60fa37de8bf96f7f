//! What a watch wants of its Parseable server: values only, secrets already resolved.

use std::collections::BTreeMap;

use securitywatch_api::rule::{Expr, Template};
use securitywatch_api::secret::{Secret, SecretUrl};
use securitywatch_api::v1alpha1::Severity;
use securitywatch_api::watch::Repeat;

/// Whose something is. Everything that is made on a server carries it, so that two clusters and two watches
/// can share a server without touching what belongs to the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Identifies the cluster: the uid of its namespace kube-system.
    pub cluster_id: String,
    /// The watch's uid.
    pub uid: String,
    /// For people: `SecurityWatch/shop/egress` or `ClusterSecurityWatch/egress`.
    pub title: String,
    /// The watch's creationTimestamp, in milliseconds since 1970. Of two watches that want different things of
    /// one stream the older one gets its way.
    pub created_ms: u64,
}

/// What one watch wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The watch.
    pub owner: Owner,
    /// Created when it is not there; never deleted.
    pub stream: String,
    /// `None` leaves the stream's retention as it is.
    pub retention_days: Option<u32>,
    /// All alerts of the watch; others that carry its identity are removed.
    pub alerts: Vec<DesiredAlert>,
}

/// An alert as the spec has it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredAlert {
    /// Unique in the watch.
    pub name: String,
    /// Passed on as it is.
    pub severity: Severity,
    /// Part of the title; its columns become the groups of the query, so that the notification shows their values.
    pub message: Template,
    /// When it fires.
    pub rule: Expr,
    /// Whom Parseable calls. May be empty: the alert is then seen in Parseable only.
    pub targets: Vec<DesiredTarget>,
}

/// A receiver, with its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTarget {
    /// Unique in the watch and stable, for example `wget_command/0`; two alerts that give the same key share the
    /// target, and then the whole of it must be the same.
    pub key: String,
    /// Whom to call and how.
    pub destination: Destination,
    /// Honoured by the old generation only; today's servers can repeat by whole minutes at best, so there the probe's own
    /// notifications do it.
    pub repeat: Option<Repeat>,
}

/// Whom to call and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Any HTTP endpoint.
    Webhook {
        /// Where.
        url: SecretUrl,
        /// Sent with each call.
        headers: BTreeMap<String, Secret>,
        /// Accept any certificate.
        skip_tls_check: bool,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Where.
        url: SecretUrl,
    },
    /// A Prometheus Alertmanager.
    Alertmanager {
        /// Where.
        url: SecretUrl,
        /// For a server that asks for them.
        login: Option<Login>,
        /// Accept any certificate.
        skip_tls_check: bool,
    },
}

/// A user of an Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

/// An alert's id as the watch's status remembers it. A help, not a need: it finds an alert whose tags somebody
/// removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAlert {
    /// The alert's name in the spec.
    pub name: String,
    /// The id the server gave it.
    pub id: String,
}
