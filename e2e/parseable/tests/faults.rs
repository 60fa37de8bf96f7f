//! What the stand-in does beyond the recordings: failures on demand, counts, the end of a connection.

#![allow(clippy::unwrap_used)]

mod peers;

use std::time::{Duration, Instant};

use parseable_standin::{Config, Counts, Credentials, Fault, Standin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use peers::send;

async fn start() -> Standin {
    let standin = Standin::start(Config::default()).await.unwrap();
    assert_eq!(send(&standin.url, "PUT", "/api/v1/logstream/s", "").await.unwrap().0, 200);
    standin
}

async fn ingest(standin: &Standin) -> std::io::Result<(u16, String)> {
    send(&standin.url, "POST", "/api/v1/logstream/s", r#"[{"a":1},{"a":2}]"#).await
}

#[tokio::test]
async fn faults_in_their_order() {
    let standin = start().await;
    let faults = standin.faults();
    faults.next_ingests(2, Fault::Status(503, "later".to_owned()));
    faults.next_ingests(1, Fault::Reset);
    faults.next_ingests(1, Fault::Close);
    faults.next_ingests(1, Fault::DropMidBody);
    faults.next_ingests(1, Fault::StoreThenClose);
    faults.next_ingests(1, Fault::Delay(Duration::from_millis(80)));
    assert_eq!(faults.remaining(), 7);
    for _ in 0..2 {
        assert_eq!(ingest(&standin).await.unwrap(), (503, "later".to_owned()));
    }
    let ended = |result: std::io::Result<_>| result.unwrap_err().kind();
    assert_eq!(ended(ingest(&standin).await), std::io::ErrorKind::ConnectionReset);
    assert_eq!(ended(ingest(&standin).await), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(ended(ingest(&standin).await), std::io::ErrorKind::ConnectionReset);
    assert!(standin.rows("s").is_empty());
    assert_eq!(ended(ingest(&standin).await), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(standin.rows("s").len(), 2, "stored, though the client cannot know");
    let started = Instant::now();
    assert_eq!(ingest(&standin).await.unwrap().0, 200);
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(faults.remaining(), 0);
    assert_eq!(standin.rows("s").len(), 4);
    let counts = standin.counts();
    assert_eq!((counts.ingests, counts.refused_ingests, counts.events, counts.rows), (2, 5, 4, 4));
}

#[tokio::test]
async fn faults_and_counts_over_http() {
    let standin = start().await;
    let fault = r#"{"ingests":1,"kind":"status","status":500,"text":"broken"}"#;
    assert_eq!(
        send(&standin.url, "POST", "/standin/faults", fault).await.unwrap().1,
        r#"{"ingests":1}"#
    );
    assert_eq!(ingest(&standin).await.unwrap(), (500, "broken".to_owned()));
    let delay = r#"{"ingests":9,"kind":"delay","ms":60000}"#;
    assert_eq!(send(&standin.url, "POST", "/standin/faults", delay).await.unwrap().0, 200);
    assert_eq!(send(&standin.url, "DELETE", "/standin/faults", "").await.unwrap().0, 204);
    assert_eq!(ingest(&standin).await.unwrap().0, 200);
    let route = r#"{"pattern":"GET /api/v1/alerts*","requests":1,"kind":"status","status":500}"#;
    assert_eq!(send(&standin.url, "POST", "/standin/faults", route).await.unwrap().0, 200);
    let get = async |path: &str| send(&standin.url, "GET", path, "").await.unwrap().0;
    assert_eq!(get("/api/v1/targets").await, 200);
    assert_eq!(get("/api/v1/alerts?tags=a").await, 500);
    assert_eq!(get("/api/v1/alerts?tags=a").await, 200);
    let unknown = r#"{"ingests":1,"kind":"explode"}"#;
    let (status, text) = send(&standin.url, "POST", "/standin/faults", unknown).await.unwrap();
    assert!(status == 400 && text.contains("unknown variant `explode`"), "{text}");
    let (_, counts) = send(&standin.url, "GET", "/standin/requests", "").await.unwrap();
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    assert_eq!((&counts["rows"], &counts["refused_ingests"]), (&2.into(), &1.into()));
    assert_eq!(send(&standin.url, "DELETE", "/standin/requests", "").await.unwrap().0, 204);
    assert_eq!(standin.counts().rows, 0);
}

#[tokio::test]
async fn the_port_closes_and_opens_again() {
    let standin = start().await;
    standin.stop_listening().await;
    let refused = ingest(&standin).await.unwrap_err().kind();
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
    standin.listen_again().await;
    assert_eq!(ingest(&standin).await.unwrap().0, 200);
    assert_eq!(standin.rows("s").len(), 2);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let keep_alive = Duration::from_millis(100);
    let standin = Standin::start(Config { keep_alive, ..Config::default() }).await.unwrap();
    let mut stream =
        TcpStream::connect(standin.url.strip_prefix("http://").unwrap()).await.unwrap();
    let request = b"GET /api/v1/liveness HTTP/1.1\r\nHost: standin\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let started = Instant::now();
    // Ends when the server closes.
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(started.elapsed() >= keep_alive);
}

#[tokio::test]
async fn the_sink_counts_and_keeps_nothing() {
    let standin = Standin::start(Config { sink: true, ..Config::default() }).await.unwrap();
    assert_eq!(send(&standin.url, "PUT", "/api/v1/logstream/s", "").await.unwrap().0, 200);
    standin.reset_counts();
    assert_eq!(ingest(&standin).await.unwrap().0, 200);
    let Counts { ingests, events, rows, inflated_bytes, wire_bytes, .. } = standin.counts();
    assert_eq!((ingests, events, rows, inflated_bytes), (1, 2, 2, 17));
    assert!(wire_bytes > inflated_bytes);
    assert!(standin.rows("s").is_empty());
}

#[tokio::test]
async fn other_credentials() {
    let credentials =
        Credentials { username: "u".into(), password: "p".into(), api_key: Some("k".into()) };
    assert_eq!(
        format!("{credentials:?}"),
        "Credentials { username: \"u\", .. }",
        "no secret is shown"
    );
    let standin = Standin::start(Config { credentials, ..Config::default() }).await.unwrap();
    assert_eq!(send(&standin.url, "GET", "/api/v1/about", "").await.unwrap().0, 403);
}
