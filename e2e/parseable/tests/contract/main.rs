//! Replays the exchanges recorded with a real server and compares the answers.
//!
//! The recordings are not in the repository: they stand in `parseable-contract/` of the folder named by
//! `SECURITYWATCH_SHARED`, or of `../shared` beside the repository; without it the test says so and
//! passes. The files of one server run against one stand-in in the order they were recorded, because later
//! ones use what earlier ones made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod bodies;
mod client;
mod compare;
mod deliveries;
mod firing;
#[path = "../peers/mod.rs"]
mod peers;
mod recording;
mod session;
mod visibility;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use parseable_standin::{Config, Standin};

use recording::Exchange;
use session::Session;

const FILES: [&str; 13] = [
    "health-about",
    "auth-failures",
    "streams",
    "ingest",
    "ingest-flatten",
    "ingest-types",
    "query",
    "targets",
    "alerts",
    "dashboards",
    "rbac",
    "restart",
    "ingest-crash",
];

/// 2026-11-22T01:44:42Z
const RECORDING_STARTED: u64 = 1_795_311_882;

const NO_COUNTS: &str = "the route /counts is not part of the stand-in: nothing of ours calls it";

/// Exchanges that cannot be replayed, and why.
const NOT_REPLAYED: [(&str, &str, &str); 4] = [
    (
        "ingest",
        "body over 10 MiB with Expect: 100-continue",
        "the recorded server says 100 before its 413; this one says 413 at once, which a client must handle alike",
    ),
    (
        "ingest",
        "keep-alive",
        "an observation without an answer; see the test idle_connections_are_closed",
    ),
    ("query", "counts", NO_COUNTS),
    ("query", "counts with conditions", NO_COUNTS),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_exchange() {
    let Some(folder) = contract_folder() else {
        println!("skipped: no parseable-contract folder (set SECURITYWATCH_SHARED)");
        return;
    };
    let standin = Standin::start(Config::default()).await.unwrap();
    let mut session = Session::default();
    let recording_day = UNIX_EPOCH + Duration::from_secs(RECORDING_STARTED) + recording::ODD;
    let mut failed = Vec::new();
    for file in FILES {
        let exchanges = recording::read(&folder.join(format!("{file}.json")));
        let total = exchanges.len();
        // Rows of one file were recorded within minutes; here within one, at the time of the recording.
        standin.set_clock(recording::clock(&exchanges).unwrap_or(recording_day));
        let mut passed = 0;
        for exchange in &exchanges {
            if let Some((_, _, reason)) =
                NOT_REPLAYED.iter().find(|(f, name, _)| *f == file && *name == exchange.name)
            {
                println!("contract: {file}: not replayed: {}: {reason}", exchange.name);
                continue;
            }
            if file == "restart" && firing::is_about_firing(exchange) {
                println!("contract: {file}: recorded on the other server: {}", exchange.name);
                continue;
            }
            match replay(&standin, &mut session, exchange).await {
                Ok(()) => passed += 1,
                Err(difference) => failed.push(format!("{file}: {}: {difference}", exchange.name)),
            }
        }
        println!("contract: {file}: {passed} of {total} exchanges");
    }
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
}

/// The other server of the recordings, on which alerts fired; and its restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_delivery() {
    let Some(folder) = contract_folder() else {
        println!("skipped: no parseable-contract folder (set SECURITYWATCH_SHARED)");
        return;
    };
    let fired = recording::read(&folder.join("alert-fired.json"));
    let restart = recording::read(&folder.join("restart.json"));
    firing::replay(&fired, &restart).await;
}

async fn replay(
    standin: &Standin,
    session: &mut Session,
    exchange: &Exchange,
) -> Result<(), String> {
    if exchange.same_minute.is_some() {
        return visibility::replay(standin, exchange).await;
    }
    if exchange.request.is_none() {
        return observe(standin, exchange).await;
    }
    let recorded = exchange.request.as_ref().ok_or("has no request")?;
    let expected = exchange.response.as_ref().ok_or("has no response")?;
    let request = session.request(exchange, recorded);
    let body = bodies::body(&request);
    let body = match String::from_utf8(body) {
        Ok(text) => session.actual(&text).into_bytes(),
        Err(binary) => binary.into_bytes(),
    };
    let answer = client::send(&standin.url, &request, &body).await;
    let answer = answer.map(|answer| session.answer(recorded, &expected.body, answer));
    compare::compare(recorded, expected, answer)
}

/// What was done to the server between two requests.
async fn observe(standin: &Standin, exchange: &Exchange) -> Result<(), String> {
    match exchange.name.as_str() {
        // The port is closed at once.
        "SIGTERM" => {
            standin.stop_listening().await;
            let address = standin.url.strip_prefix("http://").unwrap();
            match tokio::net::TcpStream::connect(address).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
                other => Err(format!("expected a refused connection: {other:?}")),
            }
        }
        "restart" => {
            standin.restart().await;
            Ok(())
        }
        _ => Err("has no request".to_owned()),
    }
}

fn contract_folder() -> Option<PathBuf> {
    let shared = match std::env::var_os("SECURITYWATCH_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
            let root = manifest.ancestors().find(|dir| dir.join("Cargo.lock").exists())?;
            root.parent()?.join("shared")
        }
    };
    let folder = shared.join("parseable-contract");
    folder.is_dir().then_some(folder)
}
