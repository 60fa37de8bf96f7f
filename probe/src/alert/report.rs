//! Reports hits to the operator: folded in the sensor's thread, sent by a task of the runtime.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{of_process, text};
use super::link::{Address, Failure, Link};
use super::outbox::{Batch, Outbox};
use crate::encode::flatten::Row;
use crate::event::WallTime;
use crate::metrics::Metrics;
use crate::ship::Backoff;
use crate::trouble::Troubles;
use futures::future::OptionFuture;
use reqwest::Url;
use securitywatch_api::alerting::wire::{HitReport, ReportedHit};
use securitywatch_api::alerting::{Due, Firings};
use securitywatch_api::rule::Template;
use securitywatch_api::watch;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

/// A message that keeps coming is reported so often, with the number of its events.
const FOLD: Duration = Duration::from_secs(1);
/// Reports under way at a time: one that waits for a slow receiver holds up no other.
const FLYING: usize = 4;
/// A trouble that lasts is logged so often.
const REPEAT_LOG: Duration = Duration::from_secs(60);
const NOT_KEPT: &str = "a restart of the probe would lose the alerts that wait for the operator";
/// Hits that wait for longer are kept in a file too.
const KEEP_AGE: Duration = Duration::from_secs(1);

/// Where hits are reported.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// `https://HOST:PORT`
    pub url: Url,
    /// The file with the token for the operator.
    pub token: PathBuf,
    /// The file with the operator's certificate.
    pub certificate: Option<PathBuf>,
    /// This node.
    pub node: String,
    /// The folder for hits that wait.
    pub folder: Option<PathBuf>,
    /// Told while that folder cannot be written.
    pub troubles: Troubles,
    pub backoff: Backoff,
}

/// The alerts of a watch whose hits are reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The watch's.
    pub uid: String,
    /// The spec's.
    pub generation: i64,
    pub alerts: Vec<watch::Alert>,
}

/// One alert's way to the operator, in the sensor's thread.
#[derive(Debug)]
pub(super) struct Reporting {
    pub watch: Arc<str>,
    pub generation: i64,
    pub alert: String,
    /// Columns of the message.
    shown: Vec<String>,
    firings: Firings<ReportedHit>,
}

impl Reporting {
    pub fn new(watch: Arc<str>, generation: i64, alert: String, message: &Template) -> Self {
        let shown = message.columns().into_iter().map(str::to_owned).collect();
        Self { watch, generation, alert, shown, firings: Firings::endless(FOLD) }
    }

    pub fn hit(
        &mut self,
        row: &Row<'_>,
        time: WallTime,
        now: Instant,
        message: &str,
        outbox: &Outbox,
    ) {
        let Self { watch, generation, alert, shown, firings } = self;
        let describe = || ReportedHit {
            watch: watch.to_string(),
            generation: *generation,
            alert: alert.clone(),
            event_id: text(row, "event_id").unwrap_or_default(),
            event_type: row.kind().to_owned(),
            time_ns: time.0,
            columns: ReportedHit::columns(row, shown.iter().map(String::as_str)),
            namespace: of_process(row, "pod_namespace"),
            pod: of_process(row, "pod_name"),
            binary: of_process(row, "binary"),
            events: 1,
        };
        if let Some(due) = firings.hit(now, message, 1, describe) {
            post(due, outbox);
        }
    }

    pub fn tick(&mut self, now: Instant, outbox: &Outbox) {
        self.firings.tick(now, |due| post(due, outbox));
    }

    /// Reports what was folded, for nothing more comes.
    pub fn flush(&mut self, now: Instant, outbox: &Outbox) {
        self.tick(now + FOLD, outbox);
    }
}

fn post(due: Due<ReportedHit>, outbox: &Outbox) {
    let mut hit = due.hit;
    hit.events = due.hits;
    let mut fold = DefaultHasher::new();
    (&hit.watch, &hit.alert, format!("{:?}", hit.columns)).hash(&mut fold);
    outbox.push(fold.finish(), hit);
}

/// Sends what is in the outbox.
#[derive(Debug)]
pub(super) struct Reporter {
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
    file: Option<PathBuf>,
}

impl Reporter {
    /// Starts, with what an earlier process left.
    pub fn start(settings: OperatorSettings, rt: &Handle, metrics: &Arc<Metrics>) -> Self {
        let outbox = Arc::new(Outbox::new(Arc::clone(metrics)));
        let OperatorSettings { url, token, certificate, node, folder, troubles, backoff } =
            settings;
        let file = folder.map(|folder| folder.join("hits.json"));
        match file.as_deref().map(restore) {
            Some(Ok(left)) if !left.is_empty() => {
                tracing::info!(hits = left.len(), "Hits that were not reported before");
                outbox.restore(left);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "Hits that were not reported before cannot be read: they are lost");
            }
            _ => {}
        }
        let link = Arc::new(Link::new(Address { url, token, certificate }));
        let sender =
            Sender { node, link, outbox: Arc::clone(&outbox), backoff, told: None, failures: 0 };
        let keeping = file.clone().map(|file| keep(Arc::clone(&outbox), file, troubles));
        let task = rt.spawn(async move {
            tokio::join!(sender.run(), OptionFuture::from(keeping));
        });
        Self { outbox, task, file }
    }

    pub const fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Waits until everything is reported, or `deadline`; what is left then is kept in the file. Says how many hits
    /// that were.
    pub async fn finish(self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        // The count says how it ended.
        let _ = tokio::time::timeout(left, self.outbox.emptied()).await;
        self.task.abort();
        let mut nothing_seen = u64::MAX;
        if let Some(file) = &self.file
            && let Some(hits) =
                self.outbox.newer_than(&mut nothing_seen, Duration::ZERO, Instant::now())
            && let Err(error) = save(file, &hits)
        {
            tracing::error!(%error, "Hits that wait cannot be kept");
        }
        self.outbox.len()
    }
}

/// Keeps in a file what waits for long, until dropped.
async fn keep(outbox: Arc<Outbox>, file: PathBuf, troubles: Troubles) {
    let (mut kept, mut told) = (0, None::<Instant>);
    loop {
        tokio::time::sleep(KEEP_AGE).await;
        let mut seen = kept;
        let Some(hits) = outbox.newer_than(&mut seen, KEEP_AGE, Instant::now()) else { continue };
        let path = file.clone();
        match tokio::task::spawn_blocking(move || save(&path, &hits)).await {
            Ok(Ok(())) => {
                kept = seen;
                troubles.clear(NOT_KEPT);
            }
            Ok(Err(error)) => {
                troubles.set(NOT_KEPT, &error);
                if told.is_none_or(|at| at.elapsed() >= REPEAT_LOG) {
                    told = Some(Instant::now());
                    tracing::error!(%error, file = %file.display(), "Hits that wait cannot be kept: a restart now would lose them");
                }
            }
            // The runtime ends.
            Err(_) => {}
        }
    }
}

fn restore(file: &Path) -> io::Result<Vec<ReportedHit>> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// As a whole or not at all; without hits there is no file.
fn save(file: &Path, hits: &[ReportedHit]) -> io::Result<()> {
    if hits.is_empty() {
        return match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(hits).map_err(io::Error::other)?)?;
    std::fs::rename(&new, file)
}

struct Sender {
    node: String,
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    backoff: Backoff,
    told: Option<Instant>,
    failures: u32,
}

type Sent = (Batch, Result<Vec<usize>, Failure>);

impl Sender {
    /// Never ends.
    async fn run(mut self) {
        let mut flying: JoinSet<Sent> = JoinSet::new();
        let mut resume = Instant::now();
        loop {
            let now = Instant::now();
            let most = if self.failures > 0 { 1 } else { FLYING };
            if flying.len() < most && now >= resume {
                let batch = self.outbox.take(now, self.failures > 0);
                if !batch.ids.is_empty() {
                    flying.spawn(send(Arc::clone(&self.link), self.node.clone(), batch));
                    continue;
                }
            }
            let is_free = flying.len() < most && now >= resume;
            // What is to be reported again is due at some time, too.
            let pause = if now < resume { resume - now } else { Duration::from_millis(200) };
            tokio::select! {
                Some(ended) = flying.join_next() => {
                    if let Ok((batch, result)) = ended {
                        resume = self.settle(&batch, result);
                    }
                }
                () = self.outbox.changed(), if is_free => {}
                () = tokio::time::sleep(pause), if self.outbox.len() > 0 || now < resume => {}
            }
        }
    }

    /// Takes what came of a report; the next may be sent then.
    fn settle(&mut self, batch: &Batch, result: Result<Vec<usize>, Failure>) -> Instant {
        let now = Instant::now();
        let (why, unseen) = match result {
            Ok(pending) => {
                self.outbox.answered(batch, &pending, now);
                self.failures = 0;
                if self.told.take().is_some() {
                    tracing::info!("Hits of alerts are reported again");
                }
                return now;
            }
            Err(Failure::Refused(why)) => {
                tracing::error!(hits = batch.hits.len(), "Hits of alerts are lost: {why}");
                self.outbox.refused(batch);
                return now;
            }
            Err(Failure::Unseen(why)) => (why, true),
            Err(Failure::Later(why)) => (why, false),
        };
        self.outbox.unanswered(batch, unseen, now);
        self.failures = self.failures.saturating_add(1);
        // The first refusals may be by replicas that wait for their turn.
        if self.failures > 3 && self.told.is_none_or(|at| at.elapsed() >= REPEAT_LOG) {
            self.told = Some(now);
            tracing::warn!(waiting = self.outbox.len(), "Hits of alerts wait: {why}");
        }
        now + self.backoff.delay(self.failures, None)
    }
}

async fn send(link: Arc<Link>, node: String, batch: Batch) -> Sent {
    let report = HitReport { node, hits: batch.hits.clone() };
    let result = link.report(&report).await;
    (batch, result.map(|answer| answer.pending))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_waits_is_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hits.json");
        assert_eq!(restore(&file).unwrap(), []);
        let hit: ReportedHit = serde_json::from_value(serde_json::json!({
            "watch": "u", "generation": 1, "alert": "a", "eventId": "r-1", "eventType": "process_exec", "timeNs": 7,
            "columns": {"process_exec_process_binary": "/bin/x"}, "events": 3
        }))
        .unwrap();
        save(&file, std::slice::from_ref(&hit)).unwrap();
        assert_eq!(restore(&file).unwrap(), [hit]);
        save(&file, &[]).unwrap();
        assert!(!file.exists());
        save(&file, &[]).unwrap();
        std::fs::write(&file, "[{").unwrap();
        assert!(restore(&file).is_err());
    }
}
