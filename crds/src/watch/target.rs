//! `spec.target.parseable`.

use url::Url;

use super::alert::check_secret;
use crate::field::{FieldError, FieldPath};
use crate::v1alpha1::{ParseableTarget, SecretRef, rules};

/// Longest retention, in days: a century.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// A stream of a Parseable server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parseable {
    /// The server: http or https, no user name, query or fragment; the path has no `/` at its end.
    pub url: Url,
    /// Lower-case letters, digits and `_`.
    pub stream: String,
    /// How long the stream keeps events; `None` leaves the stream as it is.
    pub retention_days: Option<u32>,
    /// Secret with keys `username` and `password`, or `apiKey`: for the stream's management.
    pub credentials: Option<SecretRef>,
    /// The same for ingest alone; without it `credentials` are used for ingest too.
    pub ingest_credentials: Option<SecretRef>,
}

impl Parseable {
    /// The Secret a node ships with.
    #[must_use]
    pub fn shipping_credentials(&self) -> Option<&SecretRef> {
        self.ingest_credentials.as_ref().or(self.credentials.as_ref())
    }
}

pub(super) fn check(
    path: &FieldPath,
    spec: &ParseableTarget,
    errors: &mut Vec<FieldError>,
) -> Option<Parseable> {
    let mut refuse =
        |field: &str, message: &str| errors.push(FieldError::new(&path.field(field), message));
    let url = server(&spec.url);
    if url.is_none() {
        refuse("url", rules::URL.message);
    }
    if !rules::STREAM.allows(&spec.stream) {
        refuse("stream", rules::STREAM.message);
    }
    let retention_days = match spec.retention.as_deref().map(retention_days) {
        None => None,
        Some(Ok(days)) => Some(days),
        Some(Err(message)) => {
            refuse("retention", message);
            None
        }
    };
    for (field, secret) in
        [("credentials", &spec.credentials), ("ingestCredentials", &spec.ingest_credentials)]
    {
        if let Some(secret) = secret {
            check_secret(&path.field(field), &secret.secret_name, errors);
        }
    }
    Some(Parseable {
        url: url?,
        stream: spec.stream.clone(),
        retention_days,
        credentials: spec.credentials.clone(),
        ingest_credentials: spec.ingest_credentials.clone(),
    })
}

fn server(text: &str) -> Option<Url> {
    if !rules::URL.allows(text) {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.has_host().then_some(url)
}

fn retention_days(text: &str) -> Result<u32, &'static str> {
    let days = text.strip_suffix('d').filter(|_| rules::RETENTION.allows(text));
    match days.and_then(|days| days.parse().ok()) {
        Some(days) if (1..=MAX_RETENTION_DAYS).contains(&days) => Ok(days),
        Some(_) => Err("retention is from 1d to 36500d"),
        None => Err(rules::RETENTION.message),
    }
}
