//! An HTTP server that answers as a real Parseable was recorded to, for tests.
//!
//! It covers health, accounts, streams, ingest with the real flattening and typing of columns, queries in
//! the engine Parseable runs, targets with the outbound policy, alerts that are evaluated and delivered, and
//! dashboards. What was never recorded is answered 501 with a text that says so, rather than guessed.
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
//!
//! # In a test of a client
//!
//! * **What is stored**: [`Standin::streams`], [`Standin::rows`], [`Standin::targets`] (with their secrets),
//!   [`Standin::alerts`] (with what the API hides: whether one is still evaluated), [`Standin::policy`],
//!   [`Standin::dashboards`], [`Standin::deliveries`].
//! * **What was asked**: [`Standin::requests`], [`Standin::request_counts`] by route, and
//!   [`Standin::writes`], which is empty after [`Standin::reset_counts`] when a client that has nothing to
//!   change changes nothing.
//! * **What happens to servers**: [`Standin::restart`] (all alerts dead, policy at its default, another start
//!   time in `/metrics`), [`Standin::empty`] (nothing there, another `deploymentId`),
//!   [`Standin::lose_alert`], [`Standin::stop_listening`], [`Standin::set_password`] (403 from then on).
//! * **Failures**: [`Faults::next_requests`] and [`Faults::all_requests`], for example
//!   `faults().all_requests("* /api/v1/alerts*", Fault::Status(500, "broken".into()))` or
//!   `Fault::Delay(..)` for a slow server; [`Faults::next_ingests`]; [`Faults::clear`].
//! * **Accounts**: [`Standin::add_account`] with a [`Privilege`]: an editor may do all but set the policy.
//! * **Time**: [`Config::alert_minute`] makes alerts quick; [`Config::clock`] and [`Standin::set_clock`] move
//!   everything by hand.
//! * **The old generation** (up to v1.7.3): [`Config::generation`].
//!
//! All of it is on HTTP too, under `/standin/`: see `parseable-standin --help`.

mod accounts;
mod alerts;
mod answer;
mod body;
mod clock;
mod columns;
mod control;
mod counts;
mod dashboards;
mod documents;
mod faults;
mod flatten;
mod health;
mod ingest;
mod query;
mod requests;
mod retention;
mod routes;
mod rule_text;
mod shared;
mod sink;
mod store;
mod stream;
mod streams;
mod strict_json;
mod targets;
mod views;
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

pub use accounts::privilege::{Privilege, Resource};
pub use counts::Counts;
pub use faults::{Fault, Faults};
pub use requests::Logged;
pub use targets::deliver::{Delivery, Outcome};
pub use targets::policy::Policy;
pub use views::{AlertView, StreamView, TargetView};

use counts::Counters;
use shared::Shared;
use wire::Wire;

/// How a stand-in is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// A second port for `/standin/` alone, which stays open when the first is closed.
    pub control: Option<SocketAddr>,
    pub generation: Generation,
    /// The root user.
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
    /// How long a minute of an alert's frequency, window and interval is: short makes tests quick. Queries
    /// and streams keep minutes of 60 s.
    pub alert_minute: Duration,
    /// Names that targets may use, with their addresses. Beside these only `localhost` and addresses resolve.
    pub hosts: Vec<(String, IpAddr)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            control: None,
            generation: Generation::Current,
            credentials: Credentials::default(),
            keep_alive: Duration::from_secs(5),
            max_body_bytes: 10 * 1024 * 1024,
            max_columns: 1000,
            sink: false,
            clock: None,
            alert_minute: Duration::from_secs(60),
            hosts: Vec::new(),
        }
    }
}

/// Which API the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generation {
    /// v2.9.5: alerts, targets, outbound policy.
    #[default]
    Current,
    /// v1.7.3: a document of alerts for each stream. Not recorded; no alert fires.
    V1,
}

/// The root user, and a key for it where given.
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
    /// The same of [`Config::control`].
    pub control_url: Option<String>,
    shared: Arc<Shared>,
    _listeners: Vec<Wire>,
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.shared.store().alerts.tasks.clear();
    }
}

impl Standin {
    /// Starts serving on the current Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(config)?);
        let Config { listen, control, keep_alive, .. } = shared.config;
        let router = routes::router(Arc::clone(&shared));
        let wire = Wire::start(listen, router, Arc::clone(&shared.counts), keep_alive).await?;
        let url = format!("http://{}", wire.address());
        shared.listens_on(url.clone(), wire.port().clone());
        let mut listeners = vec![wire];
        let mut control_url = None;
        if let Some(address) = control {
            let router = routes::control_router(Arc::clone(&shared));
            // Not counted: it is not the server's.
            let wire = Wire::start(address, router, Arc::<Counters>::default(), keep_alive).await?;
            control_url = Some(format!("http://{}", wire.address()));
            listeners.push(wire);
        }
        Ok(Self { url, control_url, shared, _listeners: listeners })
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

    /// The requests since then, oldest first; the last 10,000.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.requests.last()
    }

    /// All of them by route: `{"GET /api/v1/alerts/{id}": 2}`.
    #[must_use]
    pub fn request_counts(&self) -> BTreeMap<String, u64> {
        self.shared.requests.by_route()
    }

    /// Those that may have changed something, taken or refused.
    #[must_use]
    pub fn writes(&self) -> BTreeMap<String, u64> {
        self.shared.requests.writes()
    }

    /// All counts to zero, no request remembered.
    pub fn reset_counts(&self) {
        self.shared.counts.reset();
        self.shared.requests.clear();
    }

    /// The rows of a stream in the order they arrived, nulls left out; empty when there is no such stream.
    #[must_use]
    pub fn rows(&self, stream: &str) -> Vec<Map<String, Value>> {
        self.shared.store().rows(stream)
    }

    /// All streams, by name.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamView> {
        self.shared.stream_views()
    }

    /// All targets, by id.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        self.shared.target_views()
    }

    /// All alerts, by id, which is the order they were made in to the millisecond.
    #[must_use]
    pub fn alerts(&self) -> Vec<AlertView> {
        self.shared.alert_views()
    }

    /// All dashboards as the API shows them.
    #[must_use]
    pub fn dashboards(&self) -> Vec<Value> {
        self.shared.dashboard_views()
    }

    /// The outbound policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.shared.store().targets.policy.clone()
    }

    /// Another outbound policy, as when an administrator puts it.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.store().targets.policy = policy;
    }

    /// Calls to targets, oldest first; the last 10,000.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries().iter().cloned().collect()
    }

    /// Calls to targets that have not ended yet, and are not among [`Standin::deliveries`].
    #[must_use]
    pub fn deliveries_under_way(&self) -> usize {
        self.shared.under_way.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// A user with one privilege.
    pub fn add_account(&self, username: &str, password: &str, privilege: Privilege) {
        self.shared.store().accounts.add(username, password, privilege);
    }

    /// The root user's password is another one from here on.
    pub fn set_password(&self, password: &str) {
        self.shared.store().accounts.root.password = password.to_owned();
    }

    /// The server's clock stands at `time` from here on.
    pub fn set_clock(&self, time: SystemTime) {
        self.shared.clock.set(time);
    }

    /// An alert is gone, as when somebody deletes it in the console. False: there was none.
    pub fn lose_alert(&self, id: &str) -> bool {
        self.shared.lose_alert(id)
    }

    /// The server ends and starts again on the same data, as recorded: the outbound policy is back at its
    /// default, no alert that was there is ever evaluated again, `process_start_time_seconds` is later.
    pub async fn restart(&self) {
        self.shared.restart(Duration::ZERO).await;
    }

    /// The server ends and starts again on an empty data directory: nothing is there but the root user.
    pub async fn empty(&self) {
        self.shared.empty(Duration::ZERO).await;
    }

    /// Closes the port and every connection: the next connection is refused.
    pub async fn stop_listening(&self) {
        self.shared.set_listening(false).await;
    }

    /// Opens the same port again.
    pub async fn listen_again(&self) {
        self.shared.set_listening(true).await;
    }
}
