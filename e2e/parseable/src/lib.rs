//! An HTTP server that answers as a real Parseable was recorded to, for tests.
//!
//! It covers what the probe needs: health, authentication, streams, ingest with the real flattening and
//! typing of columns, and queries in the engine Parseable runs. What was never recorded is answered 501
//! with a text that says so, rather than guessed. Beyond the recordings it can be told to fail
//! ([`Faults`]) and counts what it got ([`Counts`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), parseable_standin::StartError> {
//! use parseable_standin::{Config, Fault, Standin};
//!
//! let standin = Standin::start(Config::default()).await?;
//! standin.faults().next_ingests(2, Fault::Status(503, "Server is shutting down".into()));
//! // ... point a client at standin.url, then:
//! let rows = standin.rows("tetragon");
//! # Ok(()) }
//! ```

mod answer;
mod auth;
mod body;
mod columns;
mod counts;
mod faults;
mod flatten;
mod health;
mod ingest;
mod query;
mod retention;
mod routes;
mod sink;
mod store;
mod stream;
mod streams;
mod strict_json;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

pub use counts::Counts;
pub use faults::{Fault, Faults};

use query::Engine;
use store::Store;
use wire::Wire;

/// How a stand-in is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub credentials: Credentials,
    /// An idle connection is closed after this; the real server's default is 5 s.
    pub keep_alive: Duration,
    /// Limit of a body, inflated.
    pub max_body_bytes: usize,
    /// A stream with more columns refuses every ingest.
    pub max_columns: usize,
    /// Only count what is ingested: no parsing beyond the rows' borders, no schema, nothing to query.
    /// For measuring a client, not for testing it.
    pub sink: bool,
    /// None is the machine's clock. A clock that stands still decides which minute rows belong to without
    /// waiting for one; [`Standin::set_clock`] moves it.
    pub clock: Option<SystemTime>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            credentials: Credentials::default(),
            keep_alive: Duration::from_secs(5),
            max_body_bytes: 10 * 1024 * 1024,
            max_columns: 1000,
            sink: false,
            clock: None,
        }
    }
}

/// Who may come in: one user, and one API key where given.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    pub api_key: Option<String>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { username: "admin".to_owned(), password: "admin".to_owned(), api_key: None }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a stand-in does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {source}; choose another address or port 0")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot start the threads of the query engine: {0}")]
    Engine(#[source] std::io::Error),
}

/// A running stand-in; it ends when dropped.
#[derive(Debug)]
pub struct Standin {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    shared: Arc<Shared>,
    wire: Wire,
}

/// What the request handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Mutex<Store>,
    pub(crate) engine: Engine,
    pub(crate) faults: Faults,
    pub(crate) counts: counts::Counters,
    /// Stands still when set.
    clock: Mutex<Option<SystemTime>>,
    pub(crate) started: SystemTime,
}

impl Shared {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.unwrap_or_else(SystemTime::now).into()
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standin {
    /// Starts serving on the current Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::default()),
            engine: Engine::start().map_err(StartError::Engine)?,
            faults: Faults::default(),
            counts: counts::Counters::default(),
            started: SystemTime::now(),
            clock: Mutex::new(config.clock),
            config,
        });
        let wire = Wire::start(Arc::clone(&shared)).await?;
        Ok(Self { url: format!("http://{}", wire.address()), shared, wire })
    }

    /// What goes wrong next.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What came in since the start or the last [`Standin::reset_counts`].
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.read()
    }

    /// All counts to zero.
    pub fn reset_counts(&self) {
        self.shared.counts.reset();
    }

    /// The rows of a stream in the order they arrived, nulls left out; empty when there is no such stream.
    #[must_use]
    pub fn rows(&self, stream: &str) -> Vec<Map<String, Value>> {
        self.shared.store().rows(stream)
    }

    /// The server's clock stands at `time` from here on.
    pub fn set_clock(&self, time: SystemTime) {
        let mut clock = self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner);
        *clock = Some(time);
    }

    /// Closes the port and every connection: the next connection is refused.
    pub async fn stop_listening(&self) {
        self.wire.set_listening(false).await;
    }

    /// Opens the same port again.
    pub async fn listen_again(&self) {
        self.wire.set_listening(true).await;
    }
}
