//! All streams.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use ulid::Ulid;

use crate::Credentials;
use crate::accounts::Accounts;
use crate::alerts::Alerts;
use crate::answer::Answer;
use crate::dashboards::Dashboards;
use crate::stream::Stream;
use crate::targets::Targets;

/// Words a stream may not be called.
const SQL_WORDS: [&str; 11] =
    ["select", "from", "where", "group", "by", "order", "limit", "offset", "join", "and", "sql"];

/// The server's data.
#[derive(Debug)]
pub(crate) struct Store {
    streams: BTreeMap<String, Stream>,
    pub(crate) targets: Targets,
    pub(crate) alerts: Alerts,
    pub(crate) dashboards: Dashboards,
    pub(crate) accounts: Accounts,
    /// Made once per data directory.
    pub(crate) deployment_id: Ulid,
    last_id: Ulid,
}

impl Store {
    /// An empty one, as on a new data directory.
    pub(crate) fn new(root: Credentials) -> Self {
        Self {
            streams: BTreeMap::new(),
            targets: Targets::default(),
            alerts: Alerts::default(),
            dashboards: Dashboards::new(),
            accounts: Accounts::new(root),
            deployment_id: Ulid::new(),
            last_id: Ulid::nil(),
        }
    }

    /// Later ones are greater, those of the same millisecond too.
    pub(crate) fn new_id(&mut self) -> Ulid {
        let new = Ulid::new();
        self.last_id = match self.last_id.increment() {
            Some(next) if next > new => next,
            _ => new,
        };
        self.last_id
    }

    pub(crate) fn get(&mut self, name: &str) -> Result<&mut Stream, Answer> {
        self.streams.get_mut(name).ok_or_else(|| Answer::no_stream(name))
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.streams.contains_key(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = (&String, &mut Stream)> {
        self.streams.iter_mut()
    }

    pub(crate) fn insert(&mut self, name: &str, stream: Stream) {
        self.streams.insert(name.to_owned(), stream);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Answer> {
        match self.streams.remove(name) {
            Some(_) => Ok(()),
            None => Err(Answer::no_stream(name)),
        }
    }

    /// What a start of the server does to the data: columns seen in rows show in the schema.
    pub(crate) fn start_again(&mut self) {
        for stream in self.streams.values_mut() {
            stream.commit();
        }
    }

    pub(crate) fn rows(&self, name: &str) -> Vec<Map<String, Value>> {
        self.streams.get(name).map(Stream::rows).unwrap_or_default()
    }
}

/// Whether a stream may be called so.
pub(crate) fn check_name(name: &str) -> Result<(), Answer> {
    let refuse =
        |why: String| Err(Answer::bad_request(format!("Stream name validation failed: {why}")));
    if name.is_empty() {
        return refuse("Stream name cannot be empty".to_owned());
    }
    for c in name.chars() {
        if c.is_whitespace() {
            return refuse("Stream name cannot contain whitespace".to_owned());
        }
        if !(c.is_alphanumeric() || c == '-' || c == '_') {
            return refuse(format!("Stream name cannot contain special character: {c}"));
        }
    }
    if SQL_WORDS.contains(&name.to_lowercase().as_str()) {
        return refuse("SQL keyword cannot be used as stream name".to_owned());
    }
    Ok(())
}
