//! What the request handlers share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

use crate::alerts::text::Deployment;
use crate::clock::Clock;
use crate::counts::Counters;
use crate::query::Engine;
use crate::requests::Requests;
use crate::store::Store;
use crate::targets::deliver::{self, Delivery};
use crate::wire::Port;
use crate::{Config, Faults, StartError, alerts, stream};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Mutex<Store>,
    pub(crate) engine: Engine,
    pub(crate) faults: Faults,
    pub(crate) counts: Arc<Counters>,
    pub(crate) requests: Requests,
    pub(crate) clock: Arc<Clock>,
    deliveries: Mutex<VecDeque<Delivery>>,
    /// Calls to targets that are still under way.
    pub(crate) under_way: AtomicUsize,
    /// Seconds since the epoch.
    started: AtomicU64,
    /// `http://127.0.0.1:PORT` and the port itself, known when it listens.
    listener: OnceLock<(String, Port)>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
        Ok(Self {
            store: Mutex::new(Store::new(config.credentials.clone())),
            engine: Engine::start().map_err(StartError::Engine)?,
            faults: Faults::default(),
            counts: Arc::default(),
            requests: Requests::default(),
            clock: Arc::new(Clock::new(config.clock)),
            deliveries: Mutex::default(),
            under_way: AtomicUsize::new(0),
            started: AtomicU64::new(now_seconds()),
            listener: OnceLock::new(),
            config,
        })
    }

    pub(crate) fn listens_on(&self, url: String, port: Port) {
        // Called once.
        let _ = self.listener.set((url, port));
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn started_seconds(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A minute of alerts.
    pub(crate) fn alert_minute(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.config.alert_minute).unwrap_or(stream::MINUTE)
    }

    pub(crate) fn alert_minutes(&self, count: u64) -> chrono::Duration {
        // More than a year is never due.
        self.alert_minute() * i32::try_from(count).unwrap_or(i32::MAX).min(525_600)
    }

    pub(crate) fn deployment(&self) -> Deployment {
        Deployment {
            instance: self.listener.get().map(|(url, _)| url.clone()).unwrap_or_default(),
            id: self.store().deployment_id.to_string(),
        }
    }

    pub(crate) fn deliveries(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn delivered(&self, delivery: Delivery) {
        let mut deliveries = self.deliveries();
        if deliveries.len() == deliver::KEPT {
            deliveries.pop_front();
        }
        deliveries.push_back(delivery);
        drop(deliveries);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) async fn set_listening(&self, listening: bool) {
        if let Some((_, port)) = self.listener.get() {
            port.set_listening(listening).await;
        }
    }

    /// An alert is gone, as when somebody deletes it in the console.
    pub(crate) fn lose_alert(&self, id: &str) -> bool {
        let Ok(id) = ulid::Ulid::from_string(id) else {
            return false;
        };
        self.store().alerts.remove(id)
    }

    /// The server ends and starts again on the same data: the outbound policy is back at its default, and no
    /// alert that was there is ever evaluated again.
    pub(crate) async fn restart(self: &Arc<Self>, down: Duration) {
        self.set_listening(false).await;
        {
            let mut store = self.store();
            store.start_again();
            store.targets.policy = Default::default();
        }
        tokio::time::sleep(down).await;
        self.start_later();
        alerts::load_from_storage(self);
        self.set_listening(true).await;
    }

    /// The server ends and starts again on an empty data directory.
    pub(crate) async fn empty(&self, down: Duration) {
        self.set_listening(false).await;
        {
            let mut store = self.store();
            let root = store.accounts.root.clone();
            *store = Store::new(root);
        }
        tokio::time::sleep(down).await;
        self.start_later();
        self.set_listening(true).await;
    }

    /// A start in the same second as the one before could not be told from it.
    fn start_later(&self) {
        let earliest = self.started_seconds() + 1;
        self.started.store(now_seconds().max(earliest), Ordering::Relaxed);
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
