//! Targets that come, change and go while events flow: each event where it belongs, none lost by an exchange.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Request, Server, Shared, Stream, parseable};
use securitywatch_api::secret::Secret;
use securitywatch_probe::alert::NotifySettings;
use securitywatch_probe::event::{Association, Body, Event, Hook, Kprobe, Pod, Process, WallTime};
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::output::{
    OutputConfig, OutputControl, Outputs, Scope, Summary, WatchOutput, origin,
};
use securitywatch_probe::ship::{
    Account, Backoff, BatchLimits, Credentials, Keeper, Obstacle, ShipSettings, Target,
};
use std::collections::HashMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// The sensor's thread: takes events and ticks.
struct Sensor {
    events: Sender<Event>,
    thread: JoinHandle<Summary>,
    seq: u64,
}

impl Sensor {
    fn start() -> (Self, OutputControl) {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = OutputConfig {
            origin: origin("n1".into(), Some("c1".into())),
            watches: Vec::new(),
            ship: ShipSettings {
                limits: BatchLimits { age: Duration::from_millis(10), ..BatchLimits::default() },
                backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(20)),
                ..ShipSettings::default()
            },
            notify: NotifySettings::default(),
            on_alert: None,
            operator: None,
        };
        let metrics = Arc::new(Metrics::new());
        let (mut outputs, control) =
            Outputs::start_exchangeable(config, None, &Handle::current(), &metrics).unwrap();
        let (events, incoming) = channel::<Event>();
        let thread = std::thread::spawn(move || {
            loop {
                match incoming.recv_timeout(Duration::from_millis(5)) {
                    Ok(event) => outputs.event(&event),
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => outputs.tick(),
                    Err(_) => return outputs.finish(Duration::from_secs(10)),
                }
            }
        });
        (Self { events, thread, seq: 0 }, control)
    }

    fn send(&mut self, binary: &str, namespace: Option<&str>, body: Body) {
        self.seq += 1;
        let pod = |namespace: &str| Pod { namespace: namespace.into(), ..Pod::default() };
        let association = namespace.map(|name| Arc::new(Association::of(pod(name))));
        let process = Process { binary: binary.into(), association, ..Process::default() };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = WallTime(i64::try_from(now.as_nanos()).unwrap());
        let process = Arc::new(process);
        let event = Event { seq: self.seq, time, process, parent: None, tid: 7, body };
        self.events.send(event).unwrap();
    }

    fn exec(&mut self, binary: &str, namespace: Option<&str>) {
        self.send(binary, namespace, Body::Exec);
    }

    fn call(&mut self, binary: &str, namespace: Option<&str>, watch: usize) {
        let hook = Arc::new(Hook { function: "f".into(), watch, ..Hook::default() });
        let kprobe = Kprobe {
            hook,
            args: vec![],
            ret: None,
            action: securitywatch_probe::event::Action::Post,
            return_action: securitywatch_probe::event::Action::Post,
        };
        self.send(binary, namespace, Body::Kprobe(kprobe));
    }

    async fn finish(self) -> Summary {
        drop(self.events);
        tokio::task::spawn_blocking(move || self.thread.join().unwrap()).await.unwrap()
    }
}

/// Streams by name.
type Streams = HashMap<&'static str, Shared>;

async fn server(names: &[&'static str]) -> (Server, Streams) {
    let streams: Streams = names.iter().map(|name| (*name, Shared::default())).collect();
    let mut handlers: HashMap<_, _> =
        streams.iter().map(|(name, stream)| (*name, parseable(stream))).collect();
    let server = Server::start(move |request: &Request| {
        let name = request.path.split('/').nth(4).unwrap_or_default();
        handlers.get_mut(name).map_or_else(|| Reply::status(404, ""), |handle| handle(request))
    })
    .await;
    for stream in streams.values() {
        stream.lock().unwrap().exists = true;
    }
    (server, streams)
}

fn watch(server: &Server, stream: &str, scope: Scope, credentials: Credentials) -> WatchOutput {
    let target = Target {
        url: server.url(),
        stream: stream.into(),
        retention_days: None,
        credentials,
        management: None,
        keeper: Keeper::Operator,
    };
    WatchOutput { target: Some(target), scope, ..WatchOutput::silent("w".into()) }
}

fn everything(server: &Server, stream: &str) -> WatchOutput {
    watch(server, stream, Scope::Everything, Credentials::None)
}

fn user(name: &str) -> Credentials {
    let account = Account::User { username: name.into(), password: Secret::new("pw".into()) };
    Credentials::Given { account, secret: format!("shop/{name}") }
}

/// The binaries of a stream's rows, in order.
fn binaries(stream: &Shared) -> Vec<String> {
    let of = |row: &serde_json::Value| {
        let columns = ["process_exec_process_binary", "process_kprobe_process_binary"];
        columns.iter().find_map(|column| row[column].as_str()).unwrap().to_owned()
    };
    stream.lock().unwrap().rows.iter().map(of).collect()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(),
        "not seen: {what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_come_change_their_stream_and_go() {
    let (server, streams) = server(&["a", "b"]).await;
    let (mut sensor, mut control) = Sensor::start();
    sensor.exec("before", None);
    assert!(control.set(&[(0, everything(&server, "a"))]).is_empty());
    sensor.exec("first", None);
    sensor.call("hooked", None, 0);
    sensor.call("strangers", None, 1);
    until("rows in a", || streams["a"].lock().unwrap().rows.len() == 2).await;
    control.set(&[(0, everything(&server, "b")), (3, WatchOutput::silent("local".into()))]);
    sensor.exec("second", None);
    sensor.call("hooked", None, 0);
    until("rows in b", || streams["b"].lock().unwrap().rows.len() == 2).await;
    control.set(&[]);
    sensor.exec("after", None);
    let summary = sensor.finish().await;
    assert_eq!(binaries(&streams["a"]), ["first", "hooked"]);
    assert_eq!(binaries(&streams["b"]), ["second", "hooked"]);
    assert_eq!((summary.exec, summary.kprobe, summary.streams.len()), (4, 3, 0));
    let kept = server.requests().iter().all(Request::is_events);
    assert!(kept, "a node only sends: the stream is the operator's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_stream_that_goes_is_still_sent() {
    let (server, streams) = server(&["a"]).await;
    let faults = (0..3).map(|_| Reply::status(503, "")).collect();
    streams["a"].lock().unwrap().faults = faults;
    let (mut sensor, mut control) = Sensor::start();
    control.set(&[(0, everything(&server, "a"))]);
    for _ in 0..10 {
        sensor.exec("kept", None);
    }
    control.set(&[]);
    sensor.finish().await;
    assert_eq!(binaries(&streams["a"]).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaces_watch_gets_events_of_its_own_pods_only() {
    let (server, streams) = server(&["shop", "shared"]).await;
    let (mut sensor, mut control) = Sensor::start();
    let of = |namespace: &str| Scope::Namespace(namespace.into());
    control.set(&[
        (0, watch(&server, "shop", of("shop"), Credentials::None)),
        (1, watch(&server, "shared", of("shop"), Credentials::None)),
        (2, watch(&server, "shared", of("bank"), Credentials::None)),
    ]);
    sensor.exec("host", None);
    sensor.exec("shops", Some("shop"));
    sensor.exec("banks", Some("bank"));
    sensor.exec("others", Some("other"));
    sensor.call("host", None, 0);
    sensor.call("shops", Some("shop"), 0);
    sensor.call("banks", Some("bank"), 0);
    sensor.call("banks", Some("bank"), 2);
    sensor.call("banks", Some("bank"), 1);
    sensor.finish().await;
    assert_eq!(binaries(&streams["shop"]), ["shops", "shops"]);
    assert_eq!(binaries(&streams["shared"]), ["shops", "banks", "banks"], "once for each stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_the_account_and_for_the_stream() {
    let (server, streams) = server(&["a"]).await;
    streams["a"].lock().unwrap().exists = false;
    let (mut sensor, mut control) = Sensor::start();
    let wait = Credentials::Awaited("look at secret shop/x".into());
    control.set(&[(0, watch(&server, "a", Scope::Everything, wait))]);
    sensor.exec("early", None);
    let obstacle = |control: &OutputControl| control.standing(0).unwrap().obstacle;
    let missing = Some((Obstacle::Unauthorized, "look at secret shop/x".to_owned()));
    until("the account is missed", || obstacle(&control) == missing).await;
    assert!(server.requests().is_empty(), "nothing leaves without an account");

    control.set(&[(0, watch(&server, "a", Scope::Everything, user("ada")))]);
    let no_stream = |control: &OutputControl| {
        obstacle(control).is_some_and(|(obstacle, why)| {
            obstacle == Obstacle::Rejected && why.contains("has no stream \"a\" yet")
        })
    };
    until("the stream is missed", || no_stream(&control)).await;
    streams["a"].lock().unwrap().exists = true;
    until("the row", || binaries(&streams["a"]) == ["early"]).await;
    assert!(server.requests().iter().all(|r| r.method == "POST"), "a node creates nothing");
    until("nothing is in the way", || obstacle(&control).is_none()).await;
    assert!(control.standing(0).unwrap().last_shipped.is_some());
    sensor.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_mended_and_nothing_is_lost() {
    let (server, streams) = server(&["a"]).await;
    let right = "Basic YWRhMjpwdw==";
    streams["a"].lock().unwrap().judge = Some(Box::new(move |request, _| {
        let ok = request.header("authorization") == Some(right);
        (!ok).then(|| Reply::status(403, "root:x:0:0 is what another server might say"))
    }));
    let (mut sensor, mut control) = Sensor::start();
    control.set(&[(0, watch(&server, "a", Scope::Everything, user("ada")))]);
    sensor.exec("one", None);
    until("it is held", || control.standing(0).unwrap().held).await;
    let (obstacle, why) = control.standing(0).unwrap().obstacle.unwrap();
    assert_eq!(obstacle, Obstacle::Unauthorized);
    let told = format!(
        "{} answered 403 for user \"ada\"; check keys username/password of secret shop/ada",
        server.url()
    );
    assert_eq!(why, told, "and nothing of what the server said");
    control.set(&[(0, watch(&server, "a", Scope::Everything, user("ada2")))]);
    sensor.exec("two", None);
    until("both rows", || binaries(&streams["a"]) == ["one", "two"]).await;
    sensor.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_answers_is_not_for_everybody() {
    let streams = Arc::new(Mutex::new(Stream::default()));
    let server =
        Server::start(|_: &Request| Reply::status(503, "secret words of an inner server")).await;
    drop(streams);
    let (mut sensor, mut control) = Sensor::start();
    control.set(&[(0, everything(&server, "a"))]);
    sensor.exec("one", None);
    until("trouble", || control.standing(0).unwrap().obstacle.is_some()).await;
    let (_, why) = control.standing(0).unwrap().obstacle.unwrap();
    assert_eq!(why, format!("{} answered 503", server.url()));
    control.set(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_be_is_told_and_harms_no_other() {
    let (server, streams) = server(&["a"]).await;
    let (mut sensor, mut control) = Sensor::start();
    let errors =
        control.set(&[(0, everything(&server, "not a name")), (1, everything(&server, "a"))]);
    let told: Vec<_> = errors.iter().map(|(n, error)| (*n, error.to_string())).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].0 == 0 && told[0].1.contains("target.parseable.stream"), "{told:?}");
    assert!(control.standing(0).is_none());
    sensor.exec("one", None);
    sensor.finish().await;
    assert_eq!(binaries(&streams["a"]), ["one"]);
}
