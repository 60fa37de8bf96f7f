//! What is told when credentials and receivers fail: who and where, never the secret. Alone in its process, for it takes
//! all of the process's log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Request, Server};
use securitywatch_api::document::load_all;
use securitywatch_probe::alert::NotifySettings;
use securitywatch_probe::event::{Body, Event, Process, WallTime};
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::output::{OutputConfig, Outputs, WatchOutput, origin};
use securitywatch_probe::secrets::Secrets;
use securitywatch_probe::ship::{Backoff, BatchLimits, ShipSettings};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const DOCUMENT: &str = r#"
apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata: {name: w}
spec:
  target: {parseable: {url: "URL", stream: s, credentials: {secretName: ingest}}}
  alerts:
  - name: any
    message: "seen"
    rule: (process_exec_process_pid > 0)
    targets:
    - {webhook: {urlFrom: {secretName: oncall, key: refusing}, headers: {}}}
    - {webhook: {urlFrom: {secretName: oncall, key: closed}, headers: {}}}
    - {alertmanager: {urlFrom: {secretName: oncall, key: refusing}, credentials: {secretName: ingest}}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_without_secrets() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let server = Server::start(|_: &Request| Reply::status(403, "You don't have permission")).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed_addr = closed.local_addr().unwrap();
    drop(closed);
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("ingest/username", "ingest".to_owned()),
        ("ingest/password", "s3cret-password".to_owned()),
        ("oncall/refusing", format!("{}/s3cret-path?token=s3cret-token", server.url())),
        ("oncall/closed", format!("http://{closed_addr}/s3cret-path")),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let secrets = Secrets::new(Some(dir.path().to_owned()));
    let text = DOCUMENT.replace("URL", &server.url());
    let documents = load_all([("w.yaml", text.as_str())]).unwrap();
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(5));
    let config = OutputConfig {
        origin: origin("n1".into(), None),
        watches: vec![WatchOutput::from_document(&documents[0], &secrets).unwrap()],
        ship: ShipSettings {
            backoff,
            limits: BatchLimits { rows: 1, ..BatchLimits::default() },
            ..ShipSettings::default()
        },
        notify: NotifySettings { backoff, ..NotifySettings::default() },
        on_alert: None,
        operator: None,
    };
    let debug = format!("{config:?}");
    let mut outputs =
        Outputs::start(config, None, &Handle::current(), &Arc::new(Metrics::new())).unwrap();
    let process = Arc::new(Process { pid: 1, ..Process::default() });
    outputs.event(&Event {
        seq: 1,
        time: WallTime(1),
        process,
        parent: None,
        tid: 1,
        body: Body::Exec,
    });
    server.wait_for(|r| r.iter().filter(|r| r.path.starts_with("/api/")).count() >= 3).await;
    let summary =
        tokio::task::spawn_blocking(move || outputs.finish(Duration::from_secs(10))).await.unwrap();
    assert_eq!((summary.alerts.failed, summary.streams[0].delivered), (3, 0), "{summary}");

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for wanted in [
        "answered 403 for user \"ingest\"; check keys username/password of secret ingest",
        "An alert was not delivered: webhook of secret oncall key refusing answered 403",
        "An alert was not delivered: webhook of secret oncall key closed is not reachable: Connection refused",
        "An alert was not delivered: alertmanager of secret oncall key refusing answered 403",
    ] {
        assert!(log.contains(wanted), "{wanted} not in\n{log}");
    }
    for shown in [log, debug, summary.to_string()] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
