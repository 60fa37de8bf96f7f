//! Delivery of one batch: until the server has it, or it is known that the server never takes it.

use super::Backoff;
use super::batch::{Batch, Packer};
use super::client::{Answer, Client, Encoding, Keeper};
use super::stats::Stats;
use super::words::Words;
use crate::event::WallTime;
use crate::spool::{Load, Spool};
use reqwest::StatusCode;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Everything the delivery of one stream shares.
#[derive(Debug)]
pub(super) struct Link {
    pub client: Client,
    pub spool: Spool<Batch>,
    pub stats: Stats,
    pub backoff: Backoff,
    pub max_in_flight: usize,
    /// Requests at a time: falls to one at any failure, grows with each success.
    pub window: AtomicUsize,
    pub packer: Mutex<Packer>,
    pub encoding: EncodingChoice,
    /// Turns true when the process is about to end: waits are cut short.
    pub draining: watch::Receiver<bool>,
    /// Whether the stream has taken rows of ours, now or in an earlier run: one that has not may refuse them all, and
    /// then it is the stream that is wrong and not a row.
    pub proven: AtomicBool,
    /// The process is about to end, and the server refuses whatever it is sent.
    pub given_up: AtomicBool,
    pub keeper: Keeper,
    pub retention_days: Option<u32>,
    pub origin: crate::encode::flatten::Origin,
}

/// zstd until proven otherwise: what the server takes is known by its first answers.
#[derive(Debug, Default)]
pub(super) struct EncodingChoice(AtomicU8);

impl EncodingChoice {
    const ASSUMED_ZSTD: u8 = 0;
    const PROVEN_ZSTD: u8 = 1;
    const IDENTITY: u8 = 2;

    fn current(&self) -> Encoding {
        if self.0.load(Relaxed) == Self::IDENTITY { Encoding::Identity } else { Encoding::Zstd }
    }

    fn is_open(&self) -> bool {
        self.0.load(Relaxed) == Self::ASSUMED_ZSTD
    }

    fn proven(&self, encoding: Encoding) {
        let proof = match encoding {
            Encoding::Zstd => Self::PROVEN_ZSTD,
            Encoding::Identity => Self::IDENTITY,
        };
        let _ = self.0.compare_exchange(Self::ASSUMED_ZSTD, proof, Relaxed, Relaxed);
    }
}

/// How one batch ended.
enum Settled {
    Accepted {
        wire_bytes: usize,
    },
    /// Too large or with something bad inside: its halves may do better.
    Split {
        cause: &'static str,
        why: String,
    },
    /// Left undelivered at the end of the process.
    GivenUp,
}

/// A part that breaks the connection this often is tried in halves: a server that refuses a large body may
/// close before its answer is read.
const RESETS_BEFORE_SPLIT: u32 = 3;
/// The words of a stream that went over its number of columns; it refuses every row from then on.
const COLUMN_LIMIT: &str = "exceeds the permissible limit";

/// Prepares the stream, then delivers until the queue is closed and empty.
pub(super) async fn run(link: Arc<Link>) {
    link.prepare().await;
    let mut in_flight = JoinSet::new();
    loop {
        while in_flight.len() >= link.window.load(Relaxed) {
            in_flight.join_next().await;
        }
        if link.given_up.load(Relaxed) {
            break;
        }
        let Some(lease) = link.spool.next().await else { break };
        let link = link.clone();
        in_flight.spawn(async move {
            link.deliver(&lease.batch).await;
            link.spool.ack(lease);
            link.show_queue();
        });
    }
    while in_flight.join_next().await.is_some() {}
}

/// What one part went through.
#[derive(Debug, Default)]
struct Tries {
    failures: u32,
    resets: u32,
    creations: u32,
}

impl Tries {
    /// The first time at once, as most likely the server closed an idle connection just as we wrote; then after a
    /// wait; then in halves.
    fn reset(&mut self, part: &Batch, why: Words) -> ControlFlow<Settled, Option<Answer>> {
        self.resets += 1;
        match self.resets {
            1 => ControlFlow::Continue(None),
            n if n > RESETS_BEFORE_SPLIT && part.rows > 1 => {
                ControlFlow::Break(Settled::Split { cause: "too_large", why: why.to_string() })
            }
            _ => ControlFlow::Continue(Some(Answer::Reset(why))),
        }
    }
}

/// Answers that stay the same until somebody changes something.
pub(super) const fn is_held(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Unauthorized(_) | Answer::NoAccount(_) | Answer::Refused(_) | Answer::NotYet(_)
    )
}

impl Link {
    pub fn show_queue(&self) {
        let usage = self.spool.usage();
        self.stats.queue_bytes.set(i64::try_from(usage.bytes).unwrap_or(i64::MAX));
        self.stats.queue_rows.set(i64::try_from(usage.rows).unwrap_or(i64::MAX));
    }

    async fn deliver(&self, batch: &Batch) {
        let mut parts = vec![batch.clone()];
        while let Some(part) = parts.pop() {
            match self.settle(&part).await {
                Settled::Accepted { wire_bytes } => {
                    self.stats.delivered(
                        part.rows(),
                        part.raw_bytes,
                        wire_bytes,
                        since(part.oldest()),
                    );
                    self.widen();
                }
                Settled::Split { cause, why } => match self.halves(&part) {
                    Some([first, second]) => parts.extend([second, first]),
                    None => self.bury(&part, cause, &why),
                },
                Settled::GivenUp => {
                    self.given_up.store(true, Relaxed);
                    return;
                }
            }
        }
    }

    fn halves(&self, part: &Batch) -> Option<[Batch; 2]> {
        let mut packer = self.packer.lock().unwrap_or_else(PoisonError::into_inner);
        part.halves(&mut packer).unwrap_or_else(|error| {
            tracing::error!(%error, "A batch cannot be split");
            None
        })
    }

    /// A row the server will never take: counted, and the first one told, by its id and never by its content.
    fn bury(&self, part: &Batch, cause: &'static str, why: &str) {
        self.stats.dropped(cause, part.rows());
        let row = part.unpack().unwrap_or_default();
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&row).unwrap_or_default();
        let told =
            |column: &str| rows.first().and_then(|r| r[column].as_str()).unwrap_or("?").to_owned();
        let (event_type, event_id) = (told("event_type"), told("event_id"));
        let reason = format!("{why} ({event_type} {event_id}, {} bytes)", row.len());
        if self.stats.refused(&reason) {
            let stream = self.client.stream();
            tracing::error!(
                stream,
                "The server refused an event for good: {reason}; more are only counted"
            );
        }
    }

    /// Sends one part until it is clear what becomes of it.
    async fn settle(&self, part: &Batch) -> Settled {
        let mut tries = Tries::default();
        loop {
            // Looked at before the request, so that each part gets one more try at the end.
            let last = *self.draining.borrow();
            let (answer, wire_bytes) = self.send(part).await;
            let answer = match answer {
                Answer::Accepted => return Settled::Accepted { wire_bytes },
                Answer::TooLarge(text) => {
                    let why = format!("answered 413: {text}");
                    return Settled::Split { cause: "too_large", why };
                }
                Answer::Rejected { status, text } => match self.blame(part, status, &text) {
                    Some(answer) => answer,
                    None => {
                        let why = format!("answered {}: {text}", status.as_u16());
                        return Settled::Split { cause: "refused", why };
                    }
                },
                Answer::Reset(why) => match tries.reset(part, why) {
                    ControlFlow::Break(settled) => return settled,
                    ControlFlow::Continue(None) => {
                        self.stats.retried("reset");
                        continue;
                    }
                    ControlFlow::Continue(Some(answer)) => answer,
                },
                Answer::NoStream if self.keeper == Keeper::Operator => self.not_yet(),
                Answer::NoStream if tries.creations == 0 => {
                    tries.creations += 1;
                    match self.create_and_seed().await {
                        Ok(()) => continue,
                        Err(answer) => answer,
                    }
                }
                answer => answer,
            };
            if last && is_held(&answer) {
                return Settled::GivenUp;
            }
            tries.failures += 1;
            self.wait_out(answer, tries.failures).await;
        }
    }

    /// What to wait for when the stream, and not the part, is what a rejection is about.
    fn blame(&self, part: &Batch, status: StatusCode, text: &str) -> Option<Answer> {
        let stream = self.client.stream();
        if text.contains(COLUMN_LIMIT) {
            let told = format!(
                "stream \"{stream}\" has more columns than the server allows; name another stream in \
                 target.parseable.stream"
            );
            return Some(Answer::Refused(Words::with(told, text)));
        }
        (part.rows == 1 && !self.proven.load(Relaxed)).then(|| {
            let told = format!(
                "answered {} to every event for stream \"{stream}\"; name another stream in target.parseable.stream",
                status.as_u16()
            );
            Answer::Refused(Words::with(told, text))
        })
    }

    /// One request; where the server has not shown yet that it reads zstd, a rejection is tried again without.
    async fn send(&self, part: &Batch) -> (Answer, usize) {
        let encoding = self.encoding.current();
        let (answer, wire_bytes) = self.send_as(part, encoding).await;
        let Answer::Rejected { status, text } = answer else {
            if matches!(answer, Answer::Accepted) {
                self.encoding.proven(encoding);
                self.proven.store(true, Relaxed);
            }
            return (answer, wire_bytes);
        };
        if encoding == Encoding::Zstd && self.encoding.is_open() {
            let (plain, wire_bytes) = self.send_as(part, Encoding::Identity).await;
            if matches!(plain, Answer::Accepted) {
                self.encoding.proven(Encoding::Identity);
                self.proven.store(true, Relaxed);
                let stream = self.client.stream();
                tracing::warn!(
                    stream,
                    "The server does not read zstd; sending without compression"
                );
                return (plain, wire_bytes);
            }
        }
        (Answer::Rejected { status, text }, wire_bytes)
    }

    async fn send_as(&self, part: &Batch, encoding: Encoding) -> (Answer, usize) {
        let body = match encoding {
            Encoding::Zstd => part.body.clone(),
            Encoding::Identity => match part.unpack() {
                Ok(body) => body.into(),
                Err(error) => {
                    let status = StatusCode::BAD_REQUEST;
                    return (
                        Answer::Rejected { status, text: format!("damaged in memory: {error}") },
                        0,
                    );
                }
            },
        };
        let wire_bytes = body.len();
        (self.client.ingest(body, encoding).await, wire_bytes)
    }

    pub(super) async fn post(&self, part: &Batch) -> Answer {
        self.send(part).await.0
    }

    fn widen(&self) {
        let grow = |window: usize| (window < self.max_in_flight).then_some(window + 1);
        let _ = self.window.fetch_update(Relaxed, Relaxed, grow);
    }
}

fn since(time: WallTime) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_nanos(u64::try_from(time.0).unwrap_or(0));
    now.saturating_sub(then)
}
