//! Shipping against a server that fails in every way the error table knows: nothing lost, nothing doubled beyond what
//! at-least-once allows, every drop counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Server, Shared, Stream, parseable};
use securitywatch_probe::encode::flatten::Origin;
use securitywatch_probe::event::WallTime;
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::secrets::Secrets;
use securitywatch_probe::ship::{
    Backoff, BatchLimits, Credentials, Keeper, ShipSettings, ShipState, ShipSummary, Shipper,
    Target, Timeouts,
};
use securitywatch_probe::spool::Class;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

fn install_tls() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn settings() -> ShipSettings {
    ShipSettings {
        limits: BatchLimits { bytes: 64 << 10, rows: 50, age: Duration::from_millis(20) },
        backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(40)),
        timeouts: Timeouts { connect: Duration::from_secs(2), request: Duration::from_millis(400) },
        ..ShipSettings::default()
    }
}

fn target(url: &str) -> Target {
    Target {
        url: url.to_owned(),
        stream: "demo".into(),
        retention_days: None,
        credentials: Credentials::None,
        management: None,
        keeper: Keeper::Probe,
    }
}

fn start(target: &Target, settings: ShipSettings) -> Shipper {
    install_tls();
    let origin =
        Origin { node_name: "n1".into(), cluster: None, boot_id: "b1".into(), run_id: "r1".into() };
    Shipper::start(target, settings, &origin, &Handle::current(), &Arc::new(Metrics::new()))
        .unwrap()
}

fn shared() -> Shared {
    Arc::new(Mutex::new(Stream::default()))
}

fn open_row(id: usize, pad: usize) -> Vec<u8> {
    format!(r#"{{"event_type":"process_exec","event_id":"r1-{id}","pad":"{}""#, "x".repeat(pad))
        .into_bytes()
}

fn append(shipper: &mut Shipper, ids: std::ops::Range<usize>, class: Class) {
    let now = Instant::now();
    for id in ids {
        shipper.append(&open_row(id, 20), class, WallTime(1_795_314_912_000_000_000), now);
    }
    shipper.tick(now + Duration::from_secs(1));
}

async fn finish(shipper: Shipper) -> ShipSummary {
    shipper.finish(Instant::now() + Duration::from_secs(10)).await
}

/// How often each event arrived.
fn arrivals(stream: &Shared) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for row in &stream.lock().unwrap().rows {
        *counts.entry(row["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn assert_each_once(stream: &Shared, ids: std::ops::Range<usize>) {
    let arrivals = arrivals(stream);
    for id in ids.clone() {
        assert_eq!(arrivals.get(&format!("r1-{id}")), Some(&1), "event {id}");
    }
    assert_eq!(arrivals.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_is_created_kept_and_seeded_before_events_come() {
    let stream = shared();
    let server = Server::start(parseable(&stream)).await;
    let mut shipper =
        start(&Target { retention_days: Some(30), ..target(&server.url()) }, settings());
    append(&mut shipper, 0..120, Class::Lifecycle);
    let summary = finish(shipper).await;
    assert_eq!((summary.rows, summary.delivered, summary.batches), (120, 120, 3));
    assert_each_once(&stream, 0..120);
    let shape: Vec<_> =
        server.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
    assert_eq!(
        shape[..5],
        [
            "GET /api/v1/logstream/demo/schema",
            "PUT /api/v1/logstream/demo",
            "GET /api/v1/logstream/demo/retention",
            "PUT /api/v1/logstream/demo/retention",
            "POST /api/v1/logstream/demo"
        ]
    );
    let stream = stream.lock().unwrap();
    assert_eq!((stream.seeded, stream.retention[0]["duration"].as_str()), (1, Some("30d")));
    let mut seqs: Vec<_> = stream.rows.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=120).collect::<Vec<_>>(), "rows of a stream are counted without holes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_ready_is_left_alone() {
    let stream = shared();
    *stream.lock().unwrap() = Stream {
        exists: true,
        seeded: 1,
        retention: json!([{"description": "d", "action": "delete", "duration": "7d"}]),
        ..Stream::default()
    };
    let server = Server::start(parseable(&stream)).await;
    let mut shipper =
        start(&Target { retention_days: Some(7), ..target(&server.url()) }, settings());
    append(&mut shipper, 0..1, Class::Telemetry);
    finish(shipper).await;
    assert_each_once(&stream, 0..1);
    assert_eq!(stream.lock().unwrap().seeded, 1, "not seeded again");
    assert!(server.requests().iter().all(|r| r.method != "PUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_server_and_of_the_way_lose_and_double_nothing() {
    let stream = shared();
    stream.lock().unwrap().faults = [
        Reply::status(500, "no space"),
        Reply::status(503, ""),
        Reply::Reset,
        Reply::status(408, ""),
        Reply::Hang,
        Reply::Reset,
        Reply::status(429, ""),
    ]
    .into();
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..500, Class::Telemetry);
    let summary = finish(shipper).await;
    assert_each_once(&stream, 0..500);
    assert_eq!((summary.delivered, summary.retries), (500, 7));
    assert!(summary.dropped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let stream = shared();
    let server = Server::start(parseable(&stream)).await;
    stream.lock().unwrap().faults =
        [Reply::Status(429, &[("retry-after", "1")], String::new())].into();
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..10, Class::Telemetry);
    server.wait_for(|r| r.iter().filter(|r| r.is_events()).count() == 2).await;
    let at: Vec<_> =
        server.requests().into_iter().filter(|r| r.is_events()).map(|r| r.at).collect();
    assert!(at[1] - at[0] >= Duration::from_secs(1), "{:?}", at[1] - at[0]);
    finish(shipper).await;
    assert_each_once(&stream, 0..10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_tried_again_at_once() {
    let stream = shared();
    let server = Server::start(parseable(&stream)).await;
    stream.lock().unwrap().faults = [Reply::Reset].into();
    let slow = Backoff::new(Duration::from_secs(60), Duration::from_secs(60));
    let mut shipper = start(&target(&server.url()), ShipSettings { backoff: slow, ..settings() });
    append(&mut shipper, 0..10, Class::Telemetry);
    server.wait_for(|r| r.iter().filter(|r| r.is_events()).count() == 2).await;
    finish(shipper).await;
    assert_each_once(&stream, 0..10);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_goes_in_halves_and_a_single_row_is_counted() {
    let stream = shared();
    stream.lock().unwrap().judge = Some(Box::new(|request, _| {
        let bytes = request.json().to_string().len();
        (bytes > 4000).then(|| Reply::status(413, "JSON payload has exceeded limit (4000 bytes)."))
    }));
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..200, Class::Telemetry);
    shipper.append(&open_row(200, 5000), Class::Telemetry, WallTime(1), Instant::now());
    append(&mut shipper, 201..250, Class::Telemetry);
    let summary = finish(shipper).await;
    let arrivals = arrivals(&stream);
    assert_eq!(arrivals.len(), 249);
    assert!(arrivals.values().all(|n| *n == 1) && !arrivals.contains_key("r1-200"));
    assert_eq!(summary.dropped, [("too_large", 1)].into());
    assert!(
        summary.refusal.as_ref().is_some_and(|r| r.contains("413") && r.contains("r1-200")),
        "{summary:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_that_only_breaks_connections_goes_in_halves() {
    let stream = shared();
    stream.lock().unwrap().judge =
        Some(Box::new(|_, rows| (rows.len() > 20).then_some(Reply::Reset)));
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..50, Class::Telemetry);
    finish(shipper).await;
    assert_each_once(&stream, 0..50);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_rows_are_found_and_all_others_arrive() {
    let stream = shared();
    let poison =
        |row: &Value| ["r1-0", "r1-17", "r1-99"].contains(&row["event_id"].as_str().unwrap());
    stream.lock().unwrap().judge = Some(Box::new(move |_, rows| {
        rows.iter()
            .any(poison)
            .then(|| Reply::status(400, "Json deserialize error: duplicate key in JSON"))
    }));
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..100, Class::Telemetry);
    let summary = finish(shipper).await;
    let arrivals = arrivals(&stream);
    assert_eq!(arrivals.len(), 97);
    assert!(arrivals.values().all(|n| *n == 1));
    assert_eq!(summary.dropped, [("refused", 3)].into());
    assert!(summary.refusal.unwrap().contains("duplicate key in JSON"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_holds_names_the_keys_and_mends_itself() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("ingest")).unwrap();
    let password = dir.path().join("ingest/password");
    std::fs::write(dir.path().join("ingest/username"), "ingest\n").unwrap();
    std::fs::write(&password, "hunter2\n").unwrap();
    let credentials =
        Credentials::from_secret(&Secrets::new(Some(dir.path().to_owned())), "ingest").unwrap();

    let stream = shared();
    let mut inner = parseable(&stream);
    let server = Server::start(move |request| {
        // base64 of ingest:right
        if request.header("authorization") == Some("Basic aW5nZXN0OnJpZ2h0") {
            return inner(request);
        }
        Reply::status(403, "You don't have permission to access this resource.")
    })
    .await;
    let mut shipper = start(&Target { credentials, ..target(&server.url()) }, settings());
    append(&mut shipper, 0..100, Class::Lifecycle);
    server.wait_for(|r| r.iter().filter(|r| r.is_ingest()).count() >= 2).await;
    let held = format!(
        "{} answered 403 for user \"ingest\"; check keys username/password of secret ingest",
        server.url()
    );
    assert_eq!(shipper.state(), ShipState::Held(held));
    assert_eq!(shipper.summary().delivered, 0);

    std::fs::write(&password, "right\n").unwrap();
    let newer = std::time::SystemTime::now() + Duration::from_secs(3);
    std::fs::File::open(&password).unwrap().set_modified(newer).unwrap();
    server.wait_for(|r| r.iter().filter(|r| r.method == "PUT").count() == 1).await;
    let summary = finish(shipper).await;
    assert_each_once(&stream, 0..100);
    assert!(summary.dropped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_sent_as_such() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("k")).unwrap();
    std::fs::write(dir.path().join("k/apiKey"), "0000-key\n").unwrap();
    let credentials =
        Credentials::from_secret(&Secrets::new(Some(dir.path().to_owned())), "k").unwrap();
    let stream = shared();
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&Target { credentials, ..target(&server.url()) }, settings());
    append(&mut shipper, 0..1, Class::Lifecycle);
    finish(shipper).await;
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|r| r.header("x-api-key") == Some("0000-key")
                && r.header("authorization").is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_late_gets_everything() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let mut shipper = start(&target(&format!("http://{addr}")), settings());
    append(&mut shipper, 0..300, Class::Telemetry);
    let unreachable = async {
        while !matches!(shipper.state(), ShipState::Retrying(why) if why.contains("is not reachable"))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), unreachable).await.unwrap();
    let stream = shared();
    let _server = Server::start_on(addr, parseable(&stream)).await;
    let summary = finish(shipper).await;
    assert_each_once(&stream, 0..300);
    assert!(summary.dropped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tiny_memory_drops_oldest_telemetry_first_and_counts_exactly() {
    let stream = shared();
    // Until opened, the server hangs: one batch is on the wire, the rest waits.
    let open = Arc::new(std::sync::atomic::AtomicBool::new(false));
    stream.lock().unwrap().judge = Some(Box::new({
        let open = open.clone();
        move |_, _| (!open.load(std::sync::atomic::Ordering::SeqCst)).then_some(Reply::Hang)
    }));
    let server = Server::start(parseable(&stream)).await;
    let tiny = ShipSettings { spool_bytes: 3000, zstd_level: 1, ..settings() };
    let mut shipper = start(&target(&server.url()), tiny);
    append(&mut shipper, 0..10, Class::Telemetry);
    server.wait_for(|r| r.iter().any(scripted::Request::is_events)).await;
    // Far more telemetry than fits, then a little that matters, then telemetry again.
    for batch in 1..40 {
        append(&mut shipper, batch * 50..batch * 50 + 50, Class::Telemetry);
    }
    append(&mut shipper, 5000..5020, Class::Lifecycle);
    for batch in 120..140 {
        append(&mut shipper, batch * 50..batch * 50 + 50, Class::Telemetry);
    }
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let summary = finish(shipper).await;
    let rows = 10 + 39 * 50 + 20 + 20 * 50;
    let lost = summary.dropped["spool_full"];
    assert_eq!(summary.dropped.len(), 1, "{summary:?}");
    assert_eq!((summary.rows, summary.delivered + lost), (rows, rows));
    let arrivals = arrivals(&stream);
    assert_eq!(arrivals.len() as u64, summary.delivered, "what is not counted as lost is there");
    assert!(lost > 2000, "{lost}");
    assert!(
        (5000..5020).all(|id| arrivals.contains_key(&format!("r1-{id}"))),
        "lifecycle rows stay"
    );
    assert!(
        (6950..7000).all(|id| arrivals.contains_key(&format!("r1-{id}"))),
        "the newest telemetry stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_comes_back_with_its_seed() {
    let stream = shared();
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..10, Class::Telemetry);
    server.wait_for(|r| r.iter().any(scripted::Request::is_events)).await;
    {
        let mut stream = stream.lock().unwrap();
        stream.exists = false;
        stream.seeded = 0;
    }
    append(&mut shipper, 10..20, Class::Telemetry);
    finish(shipper).await;
    assert_each_once(&stream, 0..20);
    assert_eq!(stream.lock().unwrap().seeded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_zstd_gets_plain_json() {
    let stream = shared();
    let mut inner = parseable(&stream);
    let server = Server::start(move |request| match request.header("content-encoding") {
        Some(_) => Reply::status(400, "Json deserialize error: expected value at line 1 column 1"),
        None => inner(request),
    })
    .await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..100, Class::Telemetry);
    let summary = finish(shipper).await;
    assert_each_once(&stream, 0..100);
    assert!(summary.dropped.is_empty());
    let refused =
        server.requests().iter().filter(|r| r.header("content-encoding").is_some()).count();
    assert_eq!(refused, 1, "tried once, then known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_is_not_taken_for_an_acknowledgement() {
    let page = |_: &scripted::Request| {
        Reply::Status(200, &[("content-type", "text/html; charset=utf-8")], "<html>".into())
    };
    let server = Server::start(page).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..5, Class::Telemetry);
    server.wait_for(|r| r.len() >= 2).await;
    assert!(
        matches!(shipper.state(), ShipState::Held(why) if why.contains("check target.parseable.url"))
    );
    let summary = shipper.finish(Instant::now() + Duration::from_millis(200)).await;
    assert_eq!(summary.delivered, 0);
    assert_eq!(summary.dropped, [("shutdown", 5)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_its_columns_is_held_not_emptied() {
    let stream = shared();
    stream.lock().unwrap().judge = Some(Box::new(|_, _| {
        let text = "Failed to ingest events in dataset demo. Total number of fields 1103 exceeds the permissible limit of 1000.";
        Some(Reply::status(400, text))
    }));
    let server = Server::start(parseable(&stream)).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..50, Class::Telemetry);
    server.wait_for(|r| r.iter().filter(|r| r.is_events()).count() >= 3).await;
    assert!(matches!(shipper.state(), ShipState::Held(why) if why.contains("name another stream")));
    stream.lock().unwrap().judge = None;
    let summary = finish(shipper).await;
    assert_each_once(&stream, 0..50);
    assert!(summary.dropped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_never_took_a_row_is_blamed_not_the_rows() {
    let stream = shared();
    let mut inner = parseable(&stream);
    let server = Server::start(move |request| {
        if request.is_ingest() {
            Reply::status(400, "Ingestion with time partition is not supported in Parseable OSS")
        } else {
            inner(request)
        }
    })
    .await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..20, Class::Telemetry);
    server
        .wait_for(|r| {
            let single =
                |r: &&scripted::Request| r.is_events() && r.json().as_array().unwrap().len() == 1;
            r.iter().filter(single).count() >= 3
        })
        .await;
    let ShipState::Held(why) = shipper.state() else { panic!("{:?}", shipper.state()) };
    assert!(why.contains("answered 400 to every event for stream \"demo\""), "{why}");
    assert_eq!(shipper.summary().dropped, [].into());
    let asked = Instant::now();
    let summary = finish(shipper).await;
    assert_eq!(summary.dropped, [("shutdown", 20)].into());
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "what is held for good does not use up the deadline"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_costs_no_more_than_the_deadline() {
    let server = Server::start(|_: &scripted::Request| Reply::Hang).await;
    let mut shipper = start(&target(&server.url()), settings());
    append(&mut shipper, 0..130, Class::Telemetry);
    let asked = Instant::now();
    let summary = shipper.finish(asked + Duration::from_millis(300)).await;
    assert!(asked.elapsed() < Duration::from_secs(3));
    assert_eq!(summary.dropped, [("shutdown", 130)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_only_credentials_ship_to_a_stream_made_by_others() {
    let stream = shared();
    stream.lock().unwrap().exists = true;
    let mut inner = parseable(&stream);
    let server = Server::start(move |request| {
        if request.is_ingest() {
            inner(request)
        } else {
            Reply::status(403, "You don't have permission")
        }
    })
    .await;
    let mut shipper =
        start(&Target { retention_days: Some(3), ..target(&server.url()) }, settings());
    append(&mut shipper, 0..10, Class::Telemetry);
    finish(shipper).await;
    assert_each_once(&stream, 0..10);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_cannot_work_are_refused_with_the_field() {
    install_tls();
    let origin =
        Origin { node_name: "n".into(), cluster: None, boot_id: "b".into(), run_id: "r".into() };
    let metrics = Arc::new(Metrics::new());
    let good = target("http://127.0.0.1:1");
    for (bad, says) in [
        (Target { url: "parseable:8000".into(), ..good.clone() }, "target.parseable.url"),
        (Target { url: "ftp://x".into(), ..good.clone() }, "not an http or https URL"),
        (Target { url: "http://user:pw@x".into(), ..good.clone() }, "credentials secret"),
        (Target { stream: "a/b".into(), ..good.clone() }, "target.parseable.stream"),
        (Target { retention_days: Some(0), ..good.clone() }, "target.parseable.retention"),
    ] {
        let error = Shipper::start(&bad, settings(), &origin, &Handle::current(), &metrics)
            .unwrap_err()
            .to_string();
        assert!(error.contains(says) && !error.contains("pw"), "{error}");
    }
}
