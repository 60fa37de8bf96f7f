//! Hits of alerts on their way to an operator that answers, refuses, goes away and comes back: none lost within bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Request, Server};
use securitywatch_api::field::FieldPath;
use securitywatch_api::rule::{Template, parse};
use securitywatch_api::v1alpha1::Severity;
use securitywatch_api::watch::Alert;
use securitywatch_probe::alert::{NotifySettings, OperatorSettings, Reported};
use securitywatch_probe::event::{
    Action, Association, Body, Event, Hook, Kprobe, Pod, Process, WallTime,
};
use securitywatch_probe::metrics::{CauseLabel, Metrics};
use securitywatch_probe::output::{
    OutputConfig, OutputControl, Outputs, Scope, WatchOutput, origin,
};
use securitywatch_probe::ship::{Backoff, ShipSettings};
use securitywatch_probe::trouble::Troubles;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// What an operator was told: events by message and event id.
type Told = Arc<Mutex<BTreeMap<String, (String, u64)>>>;

fn hits(request: &Request) -> Vec<Value> {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/hits"));
    assert_eq!(request.header("authorization"), Some("Bearer the-token"));
    let report = request.json();
    assert_eq!(report["node"], "n1");
    report["hits"].as_array().unwrap().clone()
}

/// Takes everything at once.
fn operator(told: &Told) -> impl FnMut(&Request) -> Reply + Send + use<> {
    let told = told.clone();
    move |request| {
        let mut told = told.lock().unwrap();
        for hit in hits(request) {
            let id = hit["eventId"].as_str().unwrap().to_owned();
            let pod = hit["columns"]["process_exec_process_pod_name"].as_str().unwrap_or_default();
            told.insert(id, (pod.to_owned(), hit["events"].as_u64().unwrap()));
        }
        Reply::status(200, r#"{"pending":[]}"#)
    }
}

/// Pods with the number of their events.
fn by_pod(told: &Told) -> BTreeMap<String, u64> {
    let mut pods = BTreeMap::new();
    for (pod, events) in told.lock().unwrap().values() {
        *pods.entry(pod.clone()).or_default() += events;
    }
    pods
}

struct Node {
    outputs: Outputs,
    control: OutputControl,
    metrics: Arc<Metrics>,
    seq: u64,
    _token: tempfile::NamedTempFile,
}

impl Node {
    fn start(operator: SocketAddr, folder: Option<&Path>) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "the-token\n").unwrap();
        let config = OutputConfig {
            origin: origin("n1".into(), None),
            watches: Vec::new(),
            ship: ShipSettings::default(),
            notify: NotifySettings::default(),
            on_alert: None,
            operator: Some(OperatorSettings {
                url: format!("http://{operator}").parse().unwrap(),
                token: token.path().to_owned(),
                certificate: None,
                node: "n1".into(),
                folder: folder.map(Path::to_owned),
                troubles: Troubles::default(),
                backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(50)),
            }),
        };
        let metrics = Arc::new(Metrics::new());
        let (outputs, control) =
            Outputs::start_exchangeable(config, None, &Handle::current(), &metrics).unwrap();
        Self { outputs, control, metrics, seq: 0, _token: token }
    }

    /// Exchanges the watches while the sensor's thread ticks, as it does.
    fn set(mut self, watches: Vec<(usize, WatchOutput)>) -> Self {
        std::thread::scope(|scope| {
            let control = &mut self.control;
            let setting = scope.spawn(move || {
                assert!(control.set(&watches).is_empty());
            });
            while !setting.is_finished() {
                self.outputs.tick();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        self
    }

    fn event(&mut self, binary: &str, pod: Option<(&str, &str)>, body: Body) {
        self.seq += 1;
        let association = pod.map(|(namespace, name)| {
            let pod = Pod { namespace: namespace.into(), name: name.into(), ..Pod::default() };
            Arc::new(Association::of(pod))
        });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = WallTime(i64::try_from(now.as_nanos()).unwrap());
        let process =
            Arc::new(Process { binary: binary.into(), association, ..Process::default() });
        self.outputs.event(&Event { seq: self.seq, time, process, parent: None, tid: 7, body });
    }

    fn exec(&mut self, namespace: &str, pod: &str) {
        self.event("/usr/bin/wget", Some((namespace, pod)), Body::Exec);
    }

    fn lost(&self, cause: &'static str) -> u64 {
        self.metrics.lost.get(&CauseLabel { cause }).map_or(0, |counter| counter.get())
    }

    async fn finish(self, patience: Duration) -> Option<usize> {
        let outputs = self.outputs;
        let summary = tokio::task::spawn_blocking(move || outputs.finish(patience)).await.unwrap();
        summary.alerts.unreported
    }
}

fn watch(uid: &str, scope: Scope, rule: &str, message: &str) -> WatchOutput {
    let alert = Alert {
        path: FieldPath::root(),
        name: "a".into(),
        severity: Severity::High,
        message: Template::parse(message).unwrap(),
        rule: parse(rule).unwrap(),
        targets: Vec::new(),
    };
    let reported = Some(Reported { uid: uid.into(), generation: 3, alerts: vec![alert] });
    WatchOutput { scope, reported, ..WatchOutput::silent(format!("SecurityWatch/{uid}")) }
}

fn wget(scope: Scope) -> WatchOutput {
    let rule = r#"process_exec_process_binary =% "wget""#;
    watch("u1", scope, rule, "wget in {process_exec_process_pod_name}")
}

fn shop() -> Scope {
    Scope::Namespace("shop".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_has_what_the_operator_needs_and_only_the_watchs_own_pods_cause_one() {
    let told = Told::default();
    let server = Server::start(operator(&told)).await;
    let kprobe = watch("u2", shop(), r#"process_kprobe_function_name = "f""#, "f was called");
    let mut node = Node::start(server.addr, None).set(vec![(0, wget(shop())), (4, kprobe)]);
    node.exec("shop", "web-0");
    node.exec("bank", "vault-0");
    node.event("/usr/bin/wget", None, Body::Exec);
    for watch in [4, 0] {
        let hook = Arc::new(Hook { function: "f".into(), watch, ..Hook::default() });
        let (action, return_action) = (Action::Post, Action::Post);
        let call = Kprobe { hook, args: vec![], ret: None, action, return_action };
        node.event("/bin/x", Some(("shop", "web-1")), Body::Kprobe(call));
    }
    server.wait_for(|requests| requests.iter().flat_map(hits).count() == 2).await;
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    let all: Vec<Value> = server.requests().iter().flat_map(hits).collect();
    let one = |watch: &str| all.iter().find(|hit| hit["watch"] == watch).unwrap().clone();
    let hit = one("u1");
    assert_eq!(
        (&hit["alert"], &hit["generation"], &hit["events"], &hit["eventType"]),
        (&json!("a"), &json!(3), &json!(1), &json!("process_exec"))
    );
    assert_eq!(hit["columns"], json!({"process_exec_process_pod_name": "web-0"}));
    assert_eq!(
        (&hit["namespace"], &hit["pod"], &hit["binary"]),
        (&json!("shop"), &json!("web-0"), &json!("/usr/bin/wget"))
    );
    assert!(hit["eventId"].as_str().unwrap().ends_with("-1"), "{hit}");
    assert_eq!((&one("u2")["columns"], &one("u2")["pod"]), (&json!({}), &json!("web-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_told_with_its_number_and_nothing_of_it_is_lost() {
    let told = Told::default();
    let server = Server::start(operator(&told)).await;
    let mut node = Node::start(server.addr, None).set(vec![(0, wget(Scope::Everything))]);
    for n in 0..5000 {
        node.exec("shop", if n % 2 == 0 { "web-0" } else { "web-1" });
    }
    node.outputs.tick();
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    let wanted = BTreeMap::from([("web-0".to_owned(), 2500), ("web-1".to_owned(), 2500)]);
    assert_eq!(by_pod(&told), wanted);
    let reported = told.lock().unwrap().len();
    assert!(reported <= 20, "{reported} hits for two messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_away_for_a_while_misses_nothing() {
    let told = Told::default();
    let not_yet = |_: &Request| Reply::Status(503, &[("connection", "close")], String::new());
    let server = Server::start(not_yet).await;
    let addr = server.addr;
    let mut node = Node::start(addr, None).set(vec![(0, wget(Scope::Everything))]);
    node.exec("shop", "web-0");
    server.wait_for(|requests| requests.len() >= 3).await;
    drop(server);
    for n in 1..50 {
        node.exec("shop", &format!("web-{n}"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let server = Server::start_on(addr, operator(&told)).await;
    server.wait_for(|_| by_pod(&told).len() == 50).await;
    assert_eq!(node.lost("alert_queue_full") + node.lost("alert_refused"), 0);
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    assert!(by_pod(&told).values().all(|events| *events == 1), "{:?}", by_pod(&told));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_has_not_done_with_is_reported_again_and_only_that() {
    let mut times = 0;
    let server = Server::start(move |request: &Request| {
        times += 1;
        let pending: Vec<usize> = if times == 1 { vec![0] } else { vec![] };
        assert!(!hits(request).is_empty());
        Reply::status(200, &json!({"pending": pending}).to_string())
    })
    .await;
    let mut node = Node::start(server.addr, None).set(vec![(0, wget(Scope::Everything))]);
    node.exec("shop", "web-0");
    server.wait_for(|requests| requests.len() == 1).await;
    node.exec("shop", "web-1");
    server.wait_for(|requests| requests.len() == 3).await;
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    let ids: Vec<Value> =
        server.requests().iter().flat_map(hits).map(|hit| hit["eventId"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (3, &ids[2]), "the same hit, by its event");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_starts_anew_reports_what_the_last_one_could_not() {
    let folder = tempfile::tempdir().unwrap();
    let away = Server::start(|_: &Request| Reply::Reset).await;
    let addr = away.addr;
    let mut node = Node::start(addr, Some(folder.path())).set(vec![(0, wget(Scope::Everything))]);
    node.exec("shop", "web-0");
    node.exec("shop", "web-1");
    let file = folder.path().join("hits.json");
    // By itself, without a word at the end: as SIGKILL would find it.
    for _ in 0..200 {
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        if kept.contains("web-0") && kept.contains("web-1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::mem::forget(node);
    drop(away);
    // The forgotten one would come first.
    let told = Told::default();
    let server = Server::start(operator(&told)).await;
    let node = Node::start(server.addr, Some(folder.path()));
    server.wait_for(|_| by_pod(&told).len() == 2).await;
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    assert!(!file.exists(), "what was reported is no longer kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_will_never_take_is_counted() {
    let server = Server::start(|_: &Request| Reply::status(400, "no report of hits")).await;
    let mut node = Node::start(server.addr, None).set(vec![(0, wget(Scope::Everything))]);
    node.exec("shop", "web-0");
    server.wait_for(|requests| requests.len() == 1).await;
    for _ in 0..100 {
        if node.lost("alert_refused") == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.lost("alert_refused"), 1);
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_changes_or_goes_takes_no_hit_along() {
    let told = Told::default();
    let server = Server::start(operator(&told)).await;
    let mut node = Node::start(server.addr, None).set(vec![(0, wget(Scope::Everything))]);
    for _ in 0..10 {
        node.exec("shop", "web-0");
    }
    let mut node = node.set(vec![(0, wget(shop()))]);
    for _ in 0..10 {
        node.exec("shop", "web-0");
        node.exec("bank", "vault-0");
    }
    let mut node = node.set(Vec::new());
    node.exec("shop", "web-0");
    assert_eq!(node.finish(Duration::from_secs(5)).await, Some(0));
    assert_eq!(by_pod(&told), BTreeMap::from([("web-0".to_owned(), 20)]));
}
