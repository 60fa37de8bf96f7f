//! Shipping to a whole Parseable: what goes in comes out of its query, event by event and with the types the rules need.
//!
//! Runs against the stand-in, which answers as a real server was recorded to, and against a real server when PARSEABLE_URL, PARSEABLE_USERNAME and PARSEABLE_PASSWORD are set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parseable_standin::{Fault, Standin};
use securitywatch_probe::alert::NotifySettings;
use securitywatch_probe::encode::flatten::{ColumnType, SEED_EVENT_TYPE, columns};
use securitywatch_probe::event::{
    Action, Arg, Association, Body, Event, Exit, Hook, Kprobe, PathValue, Pod, Process, SockValue,
    Value, WallTime,
};
use securitywatch_probe::metrics::Metrics;
use securitywatch_probe::output::{OutputConfig, Outputs, Summary, WatchOutput, origin};
use securitywatch_probe::secrets::Secrets;
use securitywatch_probe::ship::{Credentials, Keeper, ShipSettings, Target};
use serde_json::{Value as Json, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// A server and the account to use it with.
struct Server {
    url: String,
    username: String,
    password: String,
    http: reqwest::Client,
}

impl Server {
    fn new(url: String, username: String, password: String) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { url: url.trim_end_matches('/').to_owned(), username, password, http }
    }

    fn real() -> Option<Self> {
        let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        let (url, username, password) =
            (var("PARSEABLE_URL"), var("PARSEABLE_USERNAME"), var("PARSEABLE_PASSWORD"));
        let (Some(url), Some(username), Some(password)) = (url, username, password) else {
            println!(
                "skipped: PARSEABLE_URL, PARSEABLE_USERNAME and PARSEABLE_PASSWORD are not all set"
            );
            return None;
        };
        Some(Self::new(url, username, password))
    }

    fn credentials(&self) -> Credentials {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("s")).unwrap();
        std::fs::write(dir.path().join("s/username"), &self.username).unwrap();
        std::fs::write(dir.path().join("s/password"), &self.password).unwrap();
        Credentials::from_secret(&Secrets::new(Some(dir.path().to_owned())), "s").unwrap()
    }

    async fn get(&self, path: &str) -> Json {
        let request = self.http.get(format!("{}{path}", self.url));
        let response =
            request.basic_auth(&self.username, Some(&self.password)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.unwrap()
    }

    async fn query(&self, sql: &str) -> Vec<Json> {
        let time = |offset: i64| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let mut text = Vec::new();
            let at = i64::try_from(now).unwrap() + offset;
            securitywatch_probe::encode::rfc3339::Rfc3339::default()
                .write(WallTime(at * 1_000_000_000), &mut text);
            String::from_utf8(text).unwrap()
        };
        let body = json!({"query": sql, "startTime": time(-3600), "endTime": time(120)});
        let request = self.http.post(format!("{}/api/v1/query", self.url)).json(&body);
        let response =
            request.basic_auth(&self.username, Some(&self.password)).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{sql}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn delete(&self, stream: &str) {
        let request = self.http.delete(format!("{}/api/v1/logstream/{stream}", self.url));
        request.basic_auth(&self.username, Some(&self.password)).send().await.unwrap();
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

fn process(pid: u32, binary: &str) -> Arc<Process> {
    let pod = Pod {
        namespace: "shop".into(),
        name: format!("web-{}", pid % 3),
        // Dots and slashes in a key: as columns they would differ from pod to pod.
        labels: vec![("app.kubernetes.io/name".into(), "web".into())],
        ..Pod::default()
    };
    Arc::new(Process {
        exec_id: format!("bjE6{pid}"),
        parent_exec_id: "bjE6MTox".into(),
        pid,
        binary: binary.into(),
        // Looks like a time, under a name that looks like one: the column is text for ever all the same.
        arguments: if pid.is_multiple_of(5) {
            "2026-01-02T03:04:05Z".into()
        } else {
            "-s \"a b\"\n\\".into()
        },
        start_time: WallTime(now()),
        auid: u32::MAX,
        association: Some(Arc::new(Association::of(pod))),
        ..Process::default()
    })
}

fn hooked(function: &str, value: Value) -> Body {
    let hook = Hook {
        function: function.into(),
        policy: "p".into(),
        tags: vec!["t1".into(), "t2".into()],
        ..Hook::default()
    };
    let arg = |value| Arg { label: "".into(), value };
    Body::Kprobe(Kprobe {
        hook: Arc::new(hook),
        args: vec![arg(Value::Int(4)), arg(value)],
        ret: Some(arg(Value::Int(0))),
        action: Action::Post,
        return_action: Action::Post,
    })
}

/// Exec, connect, read and exit of `processes` processes.
fn events(processes: u32) -> Vec<Event> {
    let mut events = Vec::new();
    for pid in 1..=processes {
        let process =
            process(pid, if pid.is_multiple_of(2) { "/usr/bin/curl" } else { "/usr/bin/wget" });
        let sock = SockValue {
            family: 2,
            kind: 1,
            protocol: 6,
            mark: 0,
            priority: 0,
            saddr: Some([10, 0, 0, 1].into()),
            daddr: Some([93, 184, 215, 14].into()),
            sport: 40_000,
            dport: 443,
            // Beyond what a 64-bit float holds.
            cookie: (1 << 53) + 1,
            state: 2,
        };
        let shadow = PathValue { path: "/etc/shadow".into(), unresolved: false, mode: 0o100_640 };
        for body in [
            Body::Exec,
            hooked("tcp_connect", Value::Sock(sock)),
            hooked("security_file_permission", Value::File(shadow)),
            Body::Exit(Exit { status: pid % 2, signal: 0, time: WallTime(now()) }),
        ] {
            events.push(Event {
                seq: events.len() as u64 + 1,
                time: WallTime(now()),
                process: process.clone(),
                parent: Some(process.clone()),
                tid: pid,
                body,
            });
        }
    }
    events
}

async fn ship(server: &Server, stream: &str, events: Vec<Event>) -> Summary {
    let target = Target {
        url: server.url.clone(),
        stream: stream.to_owned(),
        retention_days: Some(7),
        credentials: server.credentials(),
        management: None,
        keeper: Keeper::Probe,
    };
    let config = OutputConfig {
        origin: origin("n1".into(), None),
        watches: vec![WatchOutput { target: Some(target), ..WatchOutput::silent("w".into()) }],
        ship: ShipSettings::default(),
        notify: NotifySettings::default(),
        on_alert: None,
        operator: None,
    };
    let mut outputs =
        Outputs::start(config, None, &Handle::current(), &Arc::new(Metrics::new())).unwrap();
    let work = move || {
        for event in &events {
            outputs.event(event);
        }
        outputs.finish(Duration::from_secs(60))
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The whole proof on one stream.
async fn goes_in_and_comes_out(server: &Server, stream: &str) {
    let processes = 500u32;
    let summary = ship(server, stream, events(processes)).await;
    let total = u64::from(processes) * 4;
    assert_eq!(
        (summary.streams[0].delivered, &summary.streams[0].dropped),
        (total, &[].into()),
        "{summary}"
    );

    let of_events = format!("FROM \"{stream}\" WHERE \"event_type\" <> '{SEED_EVENT_TYPE}'");
    let count = server
        .query(&format!(
            "SELECT COUNT(*) AS \"rows\", COUNT(DISTINCT \"event_id\") AS \"ids\", MIN(\"seq\") AS \"first\", MAX(\"seq\") AS \"last\" {of_events}"
        ))
        .await;
    let figure = |name: &str| count[0][name].as_f64().unwrap();
    let total_f = f64::from(processes) * 4.0;
    assert_eq!(
        (figure("rows"), figure("ids"), figure("first"), figure("last")),
        (total_f, total_f, 1.0, total_f)
    );

    let one = server
        .query(&format!(
            "SELECT * {of_events} AND \"process_kprobe_function_name\" = 'tcp_connect' AND \"process_kprobe_process_pid\" = 5"
        ))
        .await;
    let [row] = one.as_slice() else { panic!("{one:?}") };
    for (column, value) in [
        ("process_kprobe_args_sock_arg_daddr", json!("93.184.215.14")),
        ("process_kprobe_args_sock_arg_cookie", json!("9007199254740993")),
        ("process_kprobe_process_arguments", json!("2026-01-02T03:04:05Z")),
        ("process_kprobe_process_pod_pod_labels", json!("{\"app.kubernetes.io/name\":\"web\"}")),
        ("process_kprobe_tags", json!("t1,t2")),
        ("process_kprobe_process_pod_name", json!("web-2")),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let alerting = server
        .query(&format!("SELECT COUNT(*) AS \"n\" {of_events} AND strpos(\"process_exit_process_binary\", '/usr/bin/wget') > 0"))
        .await;
    assert_eq!(alerting[0]["n"].as_f64(), Some(f64::from(processes) / 2.0));

    let schema = server.get(&format!("/api/v1/logstream/{stream}/schema")).await;
    let fields = schema["fields"].as_array().unwrap();
    let types: HashMap<&str, &Json> =
        fields.iter().map(|f| (f["name"].as_str().unwrap(), &f["data_type"])).collect();
    for column in columns() {
        let shown = types.get(column.name).unwrap_or_else(|| panic!("{} is missing", column.name));
        let right = match column.kind {
            ColumnType::Text => **shown == "Utf8",
            ColumnType::Number => **shown == "Float64",
            ColumnType::Bool => **shown == "Boolean",
            ColumnType::Time => shown.get("Timestamp").is_some(),
        };
        assert!(right, "{} is {shown}", column.name);
    }
    let ours = |name: &str| name.starts_with("p_") || columns().iter().any(|c| c.name == name);
    let strange: Vec<_> = types.keys().filter(|n| !ours(n)).collect();
    assert!(strange.is_empty(), "values were diverted to {strange:?}");
    let retention = server.get(&format!("/api/v1/logstream/{stream}/retention")).await;
    assert_eq!(retention[0]["duration"], "7d");

    // A second run adopts the stream: its rows are told apart by their run, and the stream stays as it is.
    let again = ship(server, stream, events(10)).await;
    assert_eq!(again.streams[0].delivered, 40, "{again}");
    let runs = server
        .query(&format!("SELECT \"run_id\", COUNT(*) AS \"n\", MAX(\"seq\") AS \"last\" {of_events} GROUP BY \"run_id\" ORDER BY \"n\""))
        .await;
    let figures: Vec<_> =
        runs.iter().map(|r| (r["n"].as_f64().unwrap(), r["last"].as_f64().unwrap())).collect();
    assert_eq!(figures, [(40.0, 40.0), (total_f, total_f)]);
    let seeds = server
        .query(&format!(
            "SELECT COUNT(*) AS \"n\" FROM \"{stream}\" WHERE \"event_type\" = '{SEED_EVENT_TYPE}'"
        ))
        .await;
    assert_eq!(seeds[0]["n"].as_f64(), Some(3.0), "seeded once");
}

async fn standin() -> (Standin, Server) {
    let config = parseable_standin::Config::default();
    let (username, password) =
        (config.credentials.username.clone(), config.credentials.password.clone());
    let standin = Standin::start(config).await.unwrap();
    let server = Server::new(standin.url.clone(), username, password);
    (standin, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_standin_keeps_every_event() {
    let (_standin, server) = standin().await;
    goes_in_and_comes_out(&server, "demo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_standin_lose_nothing() {
    let (standin, server) = standin().await;
    // The stream is there and seeded, so that every fault below meets events.
    ship(&server, "faults", events(1)).await;
    for fault in [
        Fault::Status(503, "over-utilized".into()),
        Fault::Reset,
        Fault::Close,
        Fault::DropMidBody,
        Fault::StoreThenClose,
    ] {
        let before = standin.rows("faults").len();
        standin.faults().next_ingests(2, fault.clone());
        let summary = ship(&server, "faults", events(50)).await;
        assert_eq!(
            (summary.streams[0].delivered, standin.faults().remaining()),
            (200, 0),
            "{fault:?}: {summary}"
        );
        let rows = standin.rows("faults").split_off(before);
        let ids: HashSet<_> = rows.iter().map(|r| r["event_id"].to_string()).collect();
        assert_eq!(ids.len(), 200, "{fault:?}");
        // What was stored and not acknowledged is stored again: at least once, told apart by event_id.
        assert!(
            rows.len() == 200 || matches!(fault, Fault::StoreThenClose),
            "{fault:?}: {}",
            rows.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_keeps_every_event() {
    let Some(server) = Server::real() else { return };
    let stream = format!("securitywatch_test_{}", now());
    goes_in_and_comes_out(&server, &stream).await;
    server.delete(&stream).await;
}
