//! One server, seen by all watches that ship to it.

mod claims;
mod facts;
mod site;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use securitywatch_api::secret::Secret;
use url::Url;

use crate::desired::{Desired, KnownAlert, Owner};
use crate::failure::Failure;
use crate::guard::TargetGuard;
use crate::http::{Http, denied};
use crate::report::{Restart, Swept, SyncReport};
use crate::sync;
use claims::Claims;
pub(crate) use facts::{Facts, FactsCache};
pub(crate) use site::Site;

/// A server that nobody asked for is forgotten after this.
const KEPT_UNUSED: Duration = Duration::from_secs(2 * 60 * 60);

/// Where a server is and how to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The checked URL of the spec.
    pub url: Url,
    /// The account that manages streams and alerts.
    pub credentials: Credentials,
    /// Let the server's outbound policy allow the private receivers of alerts. Needs an admin account.
    pub manage_outbound_policy: bool,
}

/// How to come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing is sent.
    None,
    /// HTTP Basic.
    Basic {
        /// Shown in messages.
        username: String,
        /// Not shown.
        password: Secret,
    },
    /// `X-API-KEY`.
    ApiKey(Secret),
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection.
    pub connect: Duration,
    /// From the start to the answer's last byte, a second attempt included.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(15) }
    }
}

/// All servers of one operator. Keeps what watches of one server share, so there must be one of it in the process.
#[derive(Debug, Clone)]
pub struct Servers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    guard: Arc<TargetGuard>,
    timeouts: Timeouts,
    claims: Arc<Claims>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    servers: Vec<(ServerConfig, Server, Instant)>,
    /// By URL: two accounts of one server see the same things.
    sites: HashMap<Url, Arc<Site>>,
}

impl Servers {
    /// No connection is made yet.
    #[must_use]
    pub fn new(guard: TargetGuard) -> Self {
        Self::with_timeouts(guard, Timeouts::default())
    }

    /// With other deadlines than the operator's.
    #[must_use]
    pub fn with_timeouts(guard: TargetGuard, timeouts: Timeouts) -> Self {
        let (guard, claims, open) = (Arc::new(guard), Arc::default(), Mutex::default());
        Self { shared: Arc::new(Shared { guard, timeouts, claims, open }) }
    }

    /// The server of this address and account; the same one for the same configuration.
    ///
    /// # Errors
    /// The address may not be called, or TLS cannot be set up.
    pub fn get(&self, config: &ServerConfig) -> Result<Server, Failure> {
        let shared = &self.shared;
        shared.guard.check_url(&config.url).map_err(denied)?;
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((_, server, used)) = open.servers.iter_mut().find(|(of, ..)| of == config) {
            *used = now;
            return Ok(server.clone());
        }
        open.forget_unused(now);
        let guard = Arc::clone(&shared.guard);
        let http = Http::new(guard, &config.url, &config.credentials, shared.timeouts)?;
        let server = Server {
            inner: Arc::new(Inner {
                http,
                site: Arc::clone(open.sites.entry(config.url.clone()).or_default()),
                claims: Arc::clone(&shared.claims),
                facts: FactsCache::default(),
                manage_outbound_policy: config.manage_outbound_policy,
            }),
        };
        open.servers.push((config.clone(), server.clone(), now));
        Ok(server)
    }

    /// The watch is gone or has no target any more: it claims no stream's retention from here on.
    pub fn forget(&self, uid: &str) {
        self.shared.claims.drop_of(uid);
    }
}

impl Open {
    fn forget_unused(&mut self, now: Instant) {
        self.servers.retain(|(_, server, used)| {
            now.duration_since(*used) < KEPT_UNUSED || Arc::strong_count(&server.inner) > 1
        });
        let sites = &mut self.sites;
        sites.retain(|_, site| Arc::strong_count(site) > 1);
    }
}

/// One server and one account; cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) http: Http,
    pub(crate) site: Arc<Site>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) facts: FactsCache,
    pub(crate) manage_outbound_policy: bool,
}

impl Server {
    /// One pass for one watch. Never fails as a whole: what could not be done is in the report. The same watch must not
    /// be synced twice at the same time.
    ///
    /// Takes about eight requests and two for each alert when nothing is to do; the first answer that does not
    /// come in time ends the pass. The future may be dropped at any point: the next pass finds what is half done.
    pub async fn sync(&self, desired: &Desired, known: &[KnownAlert]) -> SyncReport {
        sync::sync(&self.inner, desired, known).await
    }

    /// Removes the watch's alerts and targets; the stream and its data stay. `stream` is needed by the old generation
    /// only, which keeps alerts there.
    ///
    /// # Errors
    /// What could not be removed, and why. Calling it again is fine.
    pub async fn remove(&self, owner: &Owner, stream: &str) -> Result<Swept, Failure> {
        sync::remove::remove(&self.inner, owner, stream).await
    }

    /// Removes alerts and targets of this cluster whose watch is not among `live`: the uids of all watches that
    /// have this server as their target. Only for an operator that sees all watches of the cluster.
    ///
    /// # Errors
    /// What could not be removed, and why. Calling it again is fine.
    pub async fn sweep(&self, cluster_id: &str, live: &HashSet<String>) -> Result<Swept, Failure> {
        sync::remove::sweep(&self.inner, cluster_id, live).await
    }

    /// Two requests that tell whether the server was restarted or replaced since the last call, or since the first
    /// sync. Worth asking every half a minute: until a sync after a restart no alert of the server fires.
    ///
    /// # Errors
    /// The server does not answer, or refuses the account.
    pub async fn check_restart(&self) -> Result<Restart, Failure> {
        let facts = self.inner.facts.renew(&self.inner.http, &self.inner.site).await?;
        Ok(self.inner.site.compare(&facts))
    }
}
