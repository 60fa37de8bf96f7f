//! Exchanges what the watches ask of the outputs while events flow.

use super::OutputError;
use super::streams::{Group, Running, assign, group, is_one_place};
use super::watch::{Scope, WatchOutput};
use crate::alert::ArmedWatch;
use crate::encode::flatten::Origin;
use crate::metrics::Metrics;
use crate::ship::{
    Credentials, HttpClient, ShipSettings, Shipper, Standing, StreamView, TargetError,
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Most streams a node ships to.
pub const MAX_STREAMS: usize = 256;
/// The least that a stream's queue may hold.
const MIN_SPOOL_BYTES: usize = 256 << 10;
/// The sensor's thread looks for changes many times a second; beyond this it has ended.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(5);

/// What waits in all streams together, for any thread.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Vec<StreamView>>>);

impl Waiting {
    /// Events that are neither delivered nor counted as lost.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.streams().iter().map(StreamView::waiting).sum()
    }

    /// Those that ended and have nothing left are forgotten.
    fn set(&self, running: impl Iterator<Item = StreamView>) {
        let mut streams = self.streams();
        let ended = std::mem::take(&mut *streams).into_iter().filter(|view| view.waiting() > 0);
        let mut all: Vec<StreamView> = running.collect();
        for view in ended {
            if !all.iter().any(|known| known.is_same(&view)) {
                all.push(view);
            }
        }
        *streams = all;
    }

    fn streams(&self) -> MutexGuard<'_, Vec<StreamView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Identifies a running stream.
pub(super) type StreamId = u32;

/// The complete new state, for the sensor's thread.
#[derive(Debug)]
pub(super) struct Exchange {
    pub streams: Vec<Placed>,
    /// By watch number.
    pub by_watch: Vec<Option<Route>>,
    /// Those whose hits are reported; `None` leaves all alerts as they are.
    pub alerts: Option<Vec<ArmedWatch>>,
    /// Dropped once it is in effect.
    pub done: Option<SyncSender<()>>,
}

/// A stream of the new state.
#[derive(Debug)]
pub(super) struct Placed {
    pub id: StreamId,
    /// Present for one that was not there before.
    pub new: Option<Shipper>,
    pub scopes: Vec<Scope>,
}

/// Where the events of one watch's hooks go.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub stream: StreamId,
    pub scope: Scope,
}

/// The other end of [`super::Outputs`], for one thread that is not the sensor's.
#[derive(Debug)]
pub struct OutputControl {
    to_sensor: SyncSender<Exchange>,
    streams: Vec<Stream>,
    next: StreamId,
    ship: ShipSettings,
    /// What may wait in all queues together.
    spool_total: Option<usize>,
    waiting: Waiting,
    origin: Origin,
    rt: Handle,
    metrics: Arc<Metrics>,
    /// From the first stream on.
    http: Option<HttpClient>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    running: Running,
    view: StreamView,
}

impl OutputControl {
    pub(super) fn new(
        ship: ShipSettings,
        origin: Origin,
        rt: Handle,
        metrics: Arc<Metrics>,
    ) -> (Self, Receiver<Exchange>) {
        let (to_sensor, from_control) = sync_channel(1);
        let control = Self {
            to_sensor,
            streams: Vec::new(),
            next: 0,
            ship,
            spool_total: None,
            waiting: Waiting::default(),
            origin,
            rt,
            metrics,
            http: None,
        };
        (control, from_control)
    }

    /// From now on all queues together hold at most about `bytes`.
    pub const fn share_spool(&mut self, bytes: usize) {
        self.spool_total = Some(bytes);
    }

    /// What waits in the streams, those of later exchanges too.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Exchanges everything for what these watches ask for, by [`crate::event::Hook::watch`]. Of their
    /// alerts those are looked at whose hits are reported. Returns when it is in effect, with the watches whose events cannot be shipped.
    pub fn set(&mut self, watches: &[(usize, WatchOutput)]) -> Vec<(usize, OutputError)> {
        let (mut exchange, errors) = self.prepare(watches);
        exchange.alerts = Some(self.arm(watches));
        let (done, in_effect) = sync_channel(1);
        exchange.done = Some(done);
        // Either fails only when the sensor's thread has ended, and then nothing flows any more.
        if self.to_sensor.send(exchange).is_ok() {
            let _ = in_effect.recv_timeout(EXCHANGE_PATIENCE);
        }
        errors
    }

    fn arm(&self, watches: &[(usize, WatchOutput)]) -> Vec<ArmedWatch> {
        let arm = |(number, watch): &(usize, WatchOutput)| {
            let (reported, scope) = (watch.reported.as_ref()?, watch.scope.clone());
            let armed = ArmedWatch::reported(*number, &watch.name, scope, reported, &self.metrics);
            // Every rule was compiled when the watch was judged.
            armed
                .inspect_err(
                    |error| tracing::error!(watch = watch.name, %error, "Alerts cannot be judged"),
                )
                .ok()
        };
        watches.iter().filter_map(arm).collect()
    }

    /// How shipping of a watch stands; `None` where it has no target.
    #[must_use]
    pub fn standing(&self, watch: usize) -> Option<Standing> {
        let stream = self.streams.iter().find(|s| s.running.watches.contains(&watch))?;
        Some(stream.view.standing())
    }

    pub(super) fn prepare(
        &mut self,
        watches: &[(usize, WatchOutput)],
    ) -> (Exchange, Vec<(usize, OutputError)>) {
        let groups = group(watches.iter().map(|(number, watch)| (*number, watch)));
        let running: Vec<Running> = self.streams.iter().map(|s| s.running.clone()).collect();
        let served = assign(&groups, &running);
        let mut before: Vec<Option<Stream>> = self.streams.drain(..).map(Some).collect();
        let (mut placed, mut errors) = (Vec::with_capacity(groups.len()), Vec::new());
        for (group, served) in groups.iter().zip(served) {
            let (stream, new) = match served.and_then(|place| before[place].take()) {
                Some(stream) => (go_on(stream, group), None),
                None => match self.start(group) {
                    Ok((stream, shipper)) => (stream, Some(shipper)),
                    Err(error) => {
                        let error = Arc::new(error);
                        let name = |n: &usize| watches.iter().find(|(number, _)| number == n);
                        errors.extend(group.watches.iter().filter_map(name).map(|(n, watch)| {
                            (
                                *n,
                                OutputError::Target {
                                    watch: watch.name.clone(),
                                    source: error.clone(),
                                },
                            )
                        }));
                        continue;
                    }
                },
            };
            placed.push(Placed { id: stream.id, new, scopes: group.scopes.clone() });
            self.streams.push(stream);
        }
        for stream in before.into_iter().flatten() {
            let heir = groups.iter().find(|group| inherits(group, &stream.running));
            if let Some(heir) = heir {
                stream.view.set_credentials(heir.target.credentials.clone());
            }
        }
        self.divide_spool();
        self.waiting.set(self.streams.iter().map(|stream| stream.view.clone()));
        (
            Exchange { streams: placed, by_watch: self.routes(watches), alerts: None, done: None },
            errors,
        )
    }

    fn start(&mut self, group: &Group) -> Result<(Stream, Shipper), TargetError> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(TargetError::TooManyStreams(MAX_STREAMS));
        }
        let http = match &self.http {
            Some(http) => http.clone(),
            None => self.http.insert(HttpClient::new(self.ship.timeouts)?).clone(),
        };
        let (origin, metrics) = (&self.origin, &self.metrics);
        let shipper =
            Shipper::start_with(http, &group.target, self.ship, origin, &self.rt, metrics)?;
        self.next += 1;
        let running = Running { target: group.target.clone(), watches: group.watches.clone() };
        Ok((Stream { id: self.next, running, view: shipper.view() }, shipper))
    }

    fn routes(&self, watches: &[(usize, WatchOutput)]) -> Vec<Option<Route>> {
        let len = watches.iter().map(|(number, _)| number + 1).max().unwrap_or_default();
        let mut routes = vec![None; len];
        for (number, watch) in watches {
            let stream = self.streams.iter().find(|s| s.running.watches.contains(number));
            routes[*number] = stream.map(|s| Route { stream: s.id, scope: watch.scope.clone() });
        }
        routes
    }

    fn divide_spool(&self) {
        let Some(total) = self.spool_total else { return };
        let share = total / self.streams.len().max(1);
        for stream in &self.streams {
            stream.view.set_spool_bytes(share.clamp(MIN_SPOOL_BYTES, self.ship.spool_bytes));
        }
    }
}

/// The stream with the group's account and watches.
fn go_on(mut stream: Stream, group: &Group) -> Stream {
    let (now, before) = (&group.target.credentials, &stream.running.target.credentials);
    if !now.is_same_account(before) {
        stream.view.set_credentials(now.clone());
    }
    stream.running = Running { target: group.target.clone(), watches: group.watches.clone() };
    stream
}

/// Whether what waits in a stream that ends may go out in the group's name: it is the same watch's, and until now
/// it had no account at all.
fn inherits(group: &Group, ended: &Running) -> bool {
    matches!(ended.target.credentials, Credentials::Awaited(_))
        && is_one_place(&group.target, &ended.target)
        && group.watches.iter().any(|watch| ended.watches.contains(watch))
}
