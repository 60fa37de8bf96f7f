//! A server that takes rows and calls, and only counts: what it costs must not be what is measured.
//!
//! It answers as a Parseable whose stream does not exist yet, so that the probe creates and seeds it.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header::CONTENT_ENCODING};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

use super::{BenchError, io};

/// More than the largest batch.
const MAX_BODY_BYTES: usize = 64 << 20;
/// What a marker's argument begins with; digits follow.
pub const MARKER: &str = "latency-marker-";
/// A row's number is its last column.
const SEQ: &[u8] = b"\"seq\":";
const SEQ_TAIL_BYTES: usize = 40;

/// What came in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows of events; those that only type the columns are not counted.
    pub rows: u64,
    /// Sum of the rows' numbers. With `rows` and `highest` it proves that each of 1 to n came once.
    pub sum: u64,
    pub highest: u64,
    pub batches: u64,
    /// Bodies of batches with events, as sent and as JSON.
    pub wire_bytes: u64,
    pub json_bytes: u64,
    /// Bodies that could not be read.
    pub unreadable: u64,
    pub calls: u64,
}

impl Counts {
    /// Whether the rows 1 to `expected` all came, none of them twice.
    #[must_use]
    pub fn is_complete(&self, expected: u64) -> bool {
        self.rows == expected
            && self.highest == expected
            && self.sum == expected * (expected + 1) / 2
            && self.unreadable == 0
    }
}

/// When each marker was first seen, by its number.
pub type Arrivals = HashMap<u32, SystemTime>;

#[derive(Debug, Default)]
struct Seen {
    counts: Counts,
    in_stream: Arrivals,
    at_webhook: Arrivals,
}

/// A server in a thread of this process.
#[derive(Debug, Clone)]
pub struct Sink {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// Serves until standard input ends; prints its address first and its counts last. For a process of its own.
///
/// # Errors
/// No port can be had.
pub fn serve() -> Result<(), BenchError> {
    let sink = Sink::start(false)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", sink.addr).map_err(io("standard output"))?;
    out.flush().map_err(io("standard output"))?;
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(io("standard input"))?;
    let counts = serde_json::to_string(&sink.counts()).map_err(super::probe("counts"))?;
    writeln!(out, "{counts}").map_err(io("standard output"))
}

impl Sink {
    /// Listens on a free port. `markers`: also look for markers, which costs time.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(markers: bool) -> Result<Self, BenchError> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(io("listen"))?;
        listener.set_nonblocking(true).map_err(io("listen"))?;
        let addr = listener.local_addr().map_err(io("listen"))?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io("start a runtime"))?;
        let app = Router::new()
            .route("/webhook", post(called))
            .route("/api/v1/logstream/{stream}", post(ingested).put(created))
            .route("/api/v1/logstream/{stream}/schema", get(no_stream))
            .route("/api/v1/logstream/{stream}/retention", get(no_retention).put(created))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Shared { seen: Arc::clone(&seen), markers });
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, app).await
            })
        });
        Ok(Self { addr, seen })
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        hold(&self.seen).counts
    }

    /// When the markers came: in the stream, at the webhook.
    #[must_use]
    pub fn arrivals(&self) -> [Arrivals; 2] {
        let seen = hold(&self.seen);
        [seen.in_stream.clone(), seen.at_webhook.clone()]
    }
}

#[derive(Debug, Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    markers: bool,
}

fn hold(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn created() -> &'static str {
    "done"
}

async fn no_stream() -> Response {
    (StatusCode::NOT_FOUND, "the stream does not exist").into_response()
}

async fn no_retention() -> &'static str {
    "[]"
}

async fn called(State(shared): State<Shared>, body: Bytes) -> &'static str {
    let now = SystemTime::now();
    let mut seen = hold(&shared.seen);
    seen.counts.calls += 1;
    note(&mut seen.at_webhook, &body, now);
    "done"
}

async fn ingested(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let now = SystemTime::now();
    let json = match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding == "zstd" => zstd::stream::decode_all(&body[..]),
        _ => Ok(body.to_vec()),
    };
    let Ok(json) = json else {
        hold(&shared.seen).counts.unreadable += 1;
        return (StatusCode::BAD_REQUEST, "not zstd").into_response();
    };
    let numbers: Vec<u64> = json.split(|b| *b == b'\n').filter_map(number_of).collect();
    let mut seen = hold(&shared.seen);
    if !numbers.is_empty() {
        let counts = &mut seen.counts;
        counts.rows += numbers.len() as u64;
        counts.sum += numbers.iter().sum::<u64>();
        counts.highest = counts.highest.max(numbers.iter().copied().max().unwrap_or_default());
        counts.batches += 1;
        counts.wire_bytes += body.len() as u64;
        counts.json_bytes += json.len() as u64;
    }
    if shared.markers {
        note(&mut seen.in_stream, &json, now);
    }
    "done".into_response()
}

/// The number of a row of an event; a row that types the columns has none but 0.
fn number_of(row: &[u8]) -> Option<u64> {
    let tail = &row[row.len().saturating_sub(SEQ_TAIL_BYTES)..];
    let at = memchr::memmem::rfind(tail, SEQ)? + SEQ.len();
    number(&tail[at..]).filter(|number| *number > 0)
}

fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

/// Notes the markers in `body` that are new.
fn note(arrivals: &mut Arrivals, body: &[u8], now: SystemTime) {
    for at in memchr::memmem::find_iter(body, MARKER) {
        let marker = number(&body[at + MARKER.len()..]).and_then(|n| u32::try_from(n).ok());
        if let Some(marker) = marker {
            arrivals.entry(marker).or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_numbers_and_seeds_have_none() {
        assert_eq!(number_of(br#"{"a":"x","seq":17},"#), Some(17));
        assert_eq!(number_of(br#"{"a":"x","seq":8}]"#), Some(8));
        assert_eq!(number_of(br#"[{"a":"x","seq":0},"#), None);
        assert_eq!(number_of(b"]"), None);
    }

    #[test]
    fn a_doubled_row_does_not_make_up_for_a_lost_one() {
        let counts = |numbers: &[u64]| Counts {
            rows: numbers.len() as u64,
            sum: numbers.iter().sum(),
            highest: numbers.iter().copied().max().unwrap_or_default(),
            ..Counts::default()
        };
        assert!(counts(&[1, 3, 2]).is_complete(3));
        assert!(!counts(&[1, 3, 3]).is_complete(3));
        assert!(!counts(&[1, 2]).is_complete(3));
    }

    #[test]
    fn a_marker_keeps_its_first_arrival() {
        let mut arrivals = Arrivals::new();
        let first = SystemTime::UNIX_EPOCH;
        note(&mut arrivals, b"..latency-marker-7\",\"latency-marker-12..", first);
        note(&mut arrivals, b"latency-marker-7", SystemTime::now());
        assert_eq!(arrivals, HashMap::from([(7, first), (12, first)]));
    }
}
