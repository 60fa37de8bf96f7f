//! What a privilege allows, and what each route asks for.

use axum::http::Method;
use serde::{Deserialize, Serialize};

/// An entry of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "privilege", rename_all = "lowercase")]
pub enum Privilege {
    SuperAdmin,
    Admin,
    /// Everything but users, roles, API keys and the outbound policy.
    Editor,
    /// Everything on the streams that are there.
    Writer {
        resource: Option<Resource>,
    },
    /// Ingest and nothing else.
    Ingestor {
        resource: Option<Resource>,
    },
    Reader {
        resource: Option<Resource>,
    },
}

/// What a privilege is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// A name, or `*`.
    Stream(String),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Users, roles, API keys, the outbound policy.
    Administer,
    Metrics,
    /// Streams made and deleted, samples looked at.
    ManageStreams,
    About,
    Query,
    ListStreams,
    /// Info, schema, stats, retention.
    ReadStream,
    PutRetention,
    ReadAlerts,
    WriteAlerts,
    Dashboards,
    Ingest,
    /// One's own roles, for anybody.
    OwnRoles,
}

impl Privilege {
    /// # Examples
    /// `Privilege::ingestor("tetragon")` may ingest into that stream and do nothing else.
    #[must_use]
    pub fn ingestor(stream: &str) -> Self {
        Self::Ingestor { resource: Some(Resource::Stream(stream.to_owned())) }
    }

    pub(crate) fn allows(&self, action: Action) -> bool {
        if action == Action::OwnRoles {
            return true;
        }
        match self {
            Self::SuperAdmin | Self::Admin => true,
            Self::Editor => action != Action::Administer,
            Self::Writer { .. } => {
                !matches!(action, Action::Administer | Action::Metrics | Action::ManageStreams)
            }
            Self::Reader { .. } => matches!(
                action,
                Action::About
                    | Action::Query
                    | Action::ListStreams
                    | Action::ReadStream
                    | Action::ReadAlerts
                    | Action::Dashboards
            ),
            Self::Ingestor { .. } => action == Action::Ingest,
        }
    }

    /// A privilege without a resource is one for all streams.
    pub(crate) fn covers(&self, stream: &str) -> bool {
        match self {
            Self::Writer { resource } | Self::Ingestor { resource } | Self::Reader { resource } => {
                match resource {
                    Some(Resource::Stream(name)) => name == "*" || name == stream,
                    Some(Resource::All) | None => true,
                }
            }
            Self::SuperAdmin | Self::Admin | Self::Editor => true,
        }
    }

    pub(crate) fn covers_all(&self) -> bool {
        // No stream can be called so.
        self.covers("")
    }
}

/// What a route asks for, and of which stream.
pub(crate) fn asked<'a>(method: &Method, route: &str, path: &'a str) -> (Action, Option<&'a str>) {
    let Some(rest) = route.strip_prefix("/api/v1/") else {
        return (Action::Administer, None);
    };
    let reads = method == Method::GET || method == Method::HEAD;
    let stream = path.split('/').nth(4);
    match rest {
        "about" => (Action::About, None),
        "metrics" => (Action::Metrics, None),
        "query" => (Action::Query, None),
        "counts" => (Action::Query, None),
        "user/{name}/role" if reads => (Action::OwnRoles, None),
        "logstream" => (Action::ListStreams, None),
        "logstream/schema/detect" => (Action::ManageStreams, None),
        "logstream/{stream}" => (Action::ManageStreams, stream),
        "logstream/{stream}/retention" if !reads => (Action::PutRetention, stream),
        "logstream/{stream}/alert" if !reads => (Action::WriteAlerts, stream),
        "logstream/{stream}/alert" => (Action::ReadAlerts, stream),
        _ if rest.starts_with("logstream/") => (Action::ReadStream, stream),
        _ if rest.starts_with("alerts") || rest.starts_with("targets") => {
            (if reads { Action::ReadAlerts } else { Action::WriteAlerts }, None)
        }
        _ if rest.starts_with("dashboards") => (Action::Dashboards, None),
        _ => (Action::Administer, None),
    }
}
