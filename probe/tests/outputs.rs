//! From a document and events to rows and calls: the samples' rules, streams shared by watches, repeats, failing receivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Request, Server, Stream, parseable};
use securitywatch_api::document::load_all;
use securitywatch_probe::alert::{NotifySettings, Outcome};
use securitywatch_probe::encode::flatten::Origin;
use securitywatch_probe::event::{
    Action, Arg, Association, Body, Event, Exit, Hook, Kprobe, Pod, Process, Value, WallTime,
};
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::output::{OutputConfig, Outputs, Summary, WatchOutput};
use securitywatch_probe::secrets::Secrets;
use securitywatch_probe::ship::{Backoff, BatchLimits, ShipSettings};
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

fn sample(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/samples").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A directory of secrets as the samples name them.
fn secrets(hook: &str) -> (tempfile::TempDir, Secrets) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("oncall/url", hook),
        ("parseable-env-secret/username", "admin"),
        ("parseable-env-secret/password", "pass-word-1"),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
    let secrets = Secrets::new(Some(dir.path().to_owned()));
    (dir, secrets)
}

fn config(documents: &[(&str, &str)], secrets: &Secrets) -> OutputConfig {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let documents = load_all(documents.iter().copied()).unwrap();
    OutputConfig {
        origin: Origin {
            node_name: "n1".into(),
            cluster: None,
            boot_id: "b1".into(),
            run_id: "r1".into(),
        },
        watches: documents
            .iter()
            .map(|d| WatchOutput::from_document(d, secrets).unwrap())
            .collect(),
        ship: ShipSettings {
            limits: BatchLimits { age: Duration::from_millis(20), ..BatchLimits::default() },
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(40)),
            ..ShipSettings::default()
        },
        notify: NotifySettings {
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(20)),
            timeout: Duration::from_millis(500),
            ..NotifySettings::default()
        },
        on_alert: None,
        operator: None,
    }
}

fn start(config: OutputConfig) -> Outputs {
    Outputs::start(config, None, &Handle::current(), &Arc::new(Metrics::new())).unwrap()
}

/// As the sensor's thread ends: outside the runtime.
async fn finish(outputs: Outputs) -> Summary {
    tokio::task::spawn_blocking(move || outputs.finish(Duration::from_secs(10))).await.unwrap()
}

fn now() -> WallTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime(i64::try_from(now.as_nanos()).unwrap())
}

fn process(binary: &str, arguments: &str, pod: &str) -> Arc<Process> {
    let pod = Pod { namespace: "default".into(), name: pod.into(), ..Pod::default() };
    Arc::new(Process {
        exec_id: "bjE6MTox".into(),
        pid: 7,
        binary: binary.into(),
        arguments: arguments.into(),
        association: Some(Arc::new(Association::of(pod))),
        ..Process::default()
    })
}

fn event(seq: u64, process: &Arc<Process>, body: Body) -> Event {
    Event { seq, time: now(), process: process.clone(), parent: None, tid: 7, body }
}

fn exit() -> Body {
    Body::Exit(Exit { status: 0, signal: 0, time: now() })
}

fn read_of(path: &str, watch: usize) -> Body {
    let value = Value::String(path.into());
    Body::Kprobe(Kprobe {
        hook: Arc::new(Hook {
            function: "security_file_permission".into(),
            policy: "p".into(),
            watch,
            ..Hook::default()
        }),
        args: vec![Arg { label: "".into(), value }],
        ret: None,
        action: Action::Post,
        return_action: Action::Post,
    })
}

fn alerts_in(server: &Server) -> Vec<Json> {
    server.requests().iter().map(Request::json).collect()
}

fn named<'a>(alerts: &'a [Json], name: &str) -> Vec<&'a Json> {
    alerts.iter().filter(|a| a["alert"] == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_egress_sample_ships_and_alerts_as_its_reader_expects() {
    let stream = Arc::new(Mutex::new(Stream::default()));
    let server = Server::start(parseable(&stream)).await;
    let hook = Server::start(|_: &Request| Reply::ok()).await;
    let (_dir, secrets) = secrets(&format!("{}/hook/s3cret", hook.url()));
    let text = sample("egress.yaml").replace("http://parseable.parseable.svc", &server.url());
    let mut outputs = start(config(&[("egress.yaml", &text)], &secrets));

    let curl = process("/usr/bin/curl", "https://example.org", "nginx-pod");
    let bash = process("/usr/bin/bash", "-i", "nginx-pod");
    for (seq, (process, body)) in
        [(&bash, Body::Exec), (&curl, Body::Exec), (&curl, exit()), (&bash, exit())]
            .into_iter()
            .enumerate()
    {
        outputs.event(&event(seq as u64 + 1, process, body));
    }
    hook.wait_for(|r| r.len() == 2).await;
    let summary = finish(outputs).await;

    let alerts = alerts_in(&hook);
    let of = named(&alerts, "curl_command");
    let [alert] = of.as_slice() else { panic!("{alerts:?}") };
    for (key, value) in [
        ("severity", json!("high")),
        ("watch", json!("egress")),
        ("stream", json!("tetrademo")),
        ("message", json!("curl command was executed from the pod : nginx-pod")),
        ("rule", json!("process_exit_process_binary =% \"/usr/bin/curl\"")),
        ("node", json!("n1")),
        ("event_id", json!("r1-3")),
        ("event_type", json!("process_exit")),
        ("namespace", json!("default")),
        ("pod", json!("nginx-pod")),
        ("call", json!(1)),
        ("hits", json!(1)),
    ] {
        assert_eq!(alert[key], value, "{key}");
    }
    let rows = stream.lock().unwrap().rows.clone();
    assert_eq!(rows.len(), 4);
    let row = rows.iter().find(|r| r["event_id"] == "r1-3").unwrap();
    assert_eq!(row["process_exit_process_binary"], "/usr/bin/curl");
    assert_eq!(row["process_exit_process_pod_name"], "nginx-pod");
    assert_eq!(row["event_time"], alert["time"]);
    assert_eq!(stream.lock().unwrap().retention[0]["duration"], "30d");
    let basic = server
        .requests()
        .iter()
        .all(|r| r.header("authorization").is_some_and(|h| h.starts_with("Basic ")));
    assert!(basic);

    assert_eq!((summary.exec, summary.exit, summary.kprobe), (2, 2, 0));
    assert_eq!((summary.alerts.sent, summary.alerts.failed, summary.alerts.dropped), (2, 0, 0));
    let text = summary.to_string();
    assert!(
        text.starts_with(
            "saw 4 events: 2 process_exec, 2 process_exit, 0 process_kprobe\nshipped 4 of 4 events"
        ),
        "{text}"
    );
    assert!(text.contains("\nalert egress/curl_command: 1 events"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_on_one_stream_share_it_and_hooks_stay_with_their_watch() {
    let stream = Arc::new(Mutex::new(Stream::default()));
    let server = Server::start(parseable(&stream)).await;
    let hook = Server::start(|_: &Request| Reply::ok()).await;
    let (_dir, secrets) = secrets(&hook.url());
    let watch = |name: &str| {
        format!(
            r#"
apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata: {{name: {name}}}
spec:
  target: {{parseable: {{url: "{}", stream: shared}}}}
  alerts:
  - name: read
    message: "{name}"
    rule: (process_kprobe_args_string_arg = "/etc/shadow")
    targets: [{{webhook: {{urlFrom: {{secretName: oncall, key: url}}}}}}]
"#,
            server.url()
        )
    };
    let v1 = r#"{"version": "v1", "alerts": [{"name": "everywhere", "message": "{process_kprobe_policy_name}",
        "rule": {"type": "composite", "config": "(process_kprobe_process_arguments =% \"shadow\")"},
        "targets": [{"type": "webhook", "endpoint": "HOOK", "repeat": {"interval": "10s", "times": 5}}]}]}"#
        .replace("HOOK", &hook.url());
    let documents = [("a.yaml", watch("a")), ("b.yaml", watch("b")), ("alerts.json", v1)];
    let documents: Vec<_> = documents.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let mut outputs = start(config(&documents, &secrets));
    let cat = process("/usr/bin/cat", "/etc/shadow", "nsenter");
    outputs.event(&event(1, &cat, Body::Exec));
    outputs.event(&event(2, &cat, read_of("/etc/shadow", 1)));
    hook.wait_for(|r| r.len() == 2).await;
    let summary = finish(outputs).await;
    assert_eq!(stream.lock().unwrap().rows.len(), 2, "an event is a row once for each stream");
    assert_eq!(summary.streams.len(), 1);
    let alerts = alerts_in(&hook);
    let [read] = named(&alerts, "read")[..] else { panic!("{alerts:?}") };
    assert_eq!(read["message"], "b", "a hook's events are judged by its own watch");
    let [everywhere] = named(&alerts, "everywhere")[..] else { panic!("{alerts:?}") };
    assert_eq!((&everywhere["message"], &everywhere["stream"]), (&json!("p"), &json!("shared")));
}

fn one_alert(target: &str) -> String {
    format!(
        r#"
apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata: {{name: w}}
spec:
  alerts:
  - name: curl
    severity: critical
    message: "curl in {{process_exec_process_pod_name}}"
    rule: (process_exec_process_binary = "/usr/bin/curl")
    targets: [{target}]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_called_again_and_then_given_up() {
    let mut answers = vec![500, 503, 200].into_iter();
    let hook = Server::start(move |_: &Request| match answers.next() {
        Some(code) => Reply::status(code, ""),
        None => Reply::status(500, ""),
    })
    .await;
    let (_dir, secrets) = secrets(&format!("{}/hook/s3cret", hook.url()));
    let document = one_alert("{webhook: {urlFrom: {secretName: oncall, key: url}}}");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let mut config = config(&[("w.yaml", &document)], &secrets);
    config.on_alert = Some(Arc::new({
        let reports = reports.clone();
        move |report| reports.lock().unwrap().push(report.clone())
    }));
    let mut outputs = start(config);
    outputs.event(&event(1, &process("/usr/bin/curl", "", "one"), Body::Exec));
    hook.wait_for(|r| r.len() == 3).await;
    outputs.event(&event(2, &process("/usr/bin/curl", "", "two"), Body::Exec));
    hook.wait_for(|r| r.len() == 8).await;
    let summary = finish(outputs).await;
    assert_eq!((summary.alerts.sent, summary.alerts.failed, summary.alerts.dropped), (1, 1, 0));
    let reports = reports.lock().unwrap();
    assert!(
        matches!(reports[0].outcome, Outcome::Sent { status: 200, latency } if latency < Duration::from_secs(10))
    );
    assert!(reports[0].to_string().starts_with("webhook 200 in "), "{}", reports[0]);
    assert_eq!(reports[1].to_string(), "webhook answered 500; gave up after 5 attempts");
    assert!(!format!("{reports:?}").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_error_is_not_repeated_and_a_mended_url_is_used() {
    let old = Server::start(|_: &Request| Reply::status(404, "no such hook")).await;
    let new = Server::start(|_: &Request| Reply::ok()).await;
    let (dir, secrets) = secrets(&old.url());
    let document = one_alert("{webhook: {urlFrom: {secretName: oncall, key: url}}}");
    let mut outputs = start(config(&[("w.yaml", &document)], &secrets));
    outputs.event(&event(1, &process("/usr/bin/curl", "", "one"), Body::Exec));
    old.wait_for(|r| r.len() == 1).await;
    let path = dir.path().join("oncall/url");
    std::fs::write(&path, new.url()).unwrap();
    let later = SystemTime::now() + Duration::from_secs(3);
    std::fs::File::open(&path).unwrap().set_modified(later).unwrap();
    outputs.event(&event(2, &process("/usr/bin/curl", "", "two"), Body::Exec));
    new.wait_for(|r| r.iter().any(|r| r.json()["message"] == "curl in two")).await;
    let summary = finish(outputs).await;
    // The first call may have ended before or after the URL was mended.
    assert_eq!(summary.alerts.sent + summary.alerts.failed, 2);
    assert!(summary.alerts.sent >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_folded_and_repeated() {
    let hook = Server::start(|_: &Request| Reply::ok()).await;
    let (_dir, secrets) = secrets(&hook.url());
    let document = one_alert(
        "{webhook: {urlFrom: {secretName: oncall, key: url}}, repeat: {interval: 1s, times: 1}}",
    );
    let mut outputs = start(config(&[("w.yaml", &document)], &secrets));
    let curl = process("/usr/bin/curl", "", "one");
    for seq in 1..=100 {
        outputs.event(&event(seq, &curl, Body::Exec));
    }
    // The sensor's loop: a tick every 10 ms, until the interval has passed.
    let called = Arc::new(AtomicBool::new(false));
    let ticking = tokio::task::spawn_blocking({
        let called = called.clone();
        move || {
            while !called.load(SeqCst) {
                outputs.tick();
                std::thread::sleep(Duration::from_millis(10));
            }
            outputs
        }
    });
    hook.wait_for(|r| r.len() == 2).await;
    called.store(true, SeqCst);
    let summary = finish(ticking.await.unwrap()).await;
    let calls: Vec<_> =
        alerts_in(&hook).iter().map(|a| (a["call"].clone(), a["hits"].clone())).collect();
    assert_eq!(calls, [(json!(1), json!(1)), (json!(2), json!(99))]);
    assert_eq!(summary.alerts.hits["w/curl"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_and_alertmanager_get_their_own_forms() {
    let hook = Server::start(|_: &Request| Reply::ok()).await;
    let (_dir, secrets) = secrets(&hook.url());
    let document = one_alert(
        "{slack: {urlFrom: {secretName: oncall, key: url}}}, \
         {alertmanager: {urlFrom: {secretName: oncall, key: url}, credentials: {secretName: parseable-env-secret}}}",
    );
    let mut outputs = start(config(&[("w.yaml", &document)], &secrets));
    outputs.event(&event(1, &process("/usr/bin/curl", "", "web-0"), Body::Exec));
    hook.wait_for(|r| r.len() == 2).await;
    finish(outputs).await;
    let requests = hook.requests();
    let slack = requests.iter().find(|r| r.path == "/").unwrap();
    assert!(
        slack.json()["text"].as_str().unwrap().starts_with("*curl* (critical)\ncurl in web-0\n")
    );
    let manager = requests.iter().find(|r| r.path == "/api/v2/alerts").unwrap();
    assert!(manager.header("authorization").is_some());
    let body = manager.json();
    assert_eq!(body[0]["labels"]["alertname"], "curl");
    assert_eq!(body[0]["labels"]["pod"], "web-0");
    assert_eq!(body[0]["annotations"]["message"], "curl in web-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_receiver_delays_no_other_and_no_event() {
    let dead = Server::start(|_: &Request| Reply::Hang).await;
    let alive = Server::start(|_: &Request| Reply::ok()).await;
    let (dir, secrets) = secrets(&dead.url());
    std::fs::write(dir.path().join("oncall/other"), alive.url()).unwrap();
    let document = one_alert(
        "{webhook: {urlFrom: {secretName: oncall, key: url}}}, {webhook: {urlFrom: {secretName: oncall, key: other}}}",
    );
    let mut outputs = start(config(&[("w.yaml", &document)], &secrets));
    for seq in 0..1000 {
        outputs.event(&event(
            seq,
            &process("/usr/bin/curl", "", &format!("pod-{}", seq % 200)),
            Body::Exec,
        ));
    }
    alive.wait_for(|r| r.len() == 200).await;
    let summary = tokio::task::spawn_blocking(move || outputs.finish(Duration::from_millis(100)))
        .await
        .unwrap();
    assert_eq!(summary.alerts.sent, 200);
    assert_eq!(summary.alerts.failed + summary.alerts.dropped, 200, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_needs_and_does_not_find_is_named() {
    let (dir, secrets) = secrets("https://example.test/hook");
    let text = sample("egress.yaml");
    let documents = load_all([("egress.yaml", text.as_str())]).unwrap();
    assert!(WatchOutput::from_document(&documents[0], &secrets).is_ok());
    let message = |secrets: &Secrets| {
        WatchOutput::from_document(&documents[0], secrets).unwrap_err().to_string()
    };
    let path = dir.path().display();

    std::fs::write(dir.path().join("oncall/url"), "webhook.site/s3cret").unwrap();
    let said = message(&secrets);
    assert!(said.contains("spec.alerts[0].targets[0]") && said.contains("secret oncall"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");

    std::fs::remove_file(dir.path().join("oncall/url")).unwrap();
    let said = message(&secrets);
    assert_eq!(
        said,
        format!(
            "SecurityWatch/default/egress: spec.alerts[0].targets[0]: secret \"oncall\" has no key \"url\": create {path}/oncall/url"
        )
    );

    std::fs::remove_file(dir.path().join("parseable-env-secret/password")).unwrap();
    let said = message(&secrets);
    assert!(
        said.contains("spec.target.parseable.credentials")
            && said.contains("parseable-env-secret/password"),
        "{said}"
    );
    assert!(message(&Secrets::default()).contains("--secrets DIR"));
}
