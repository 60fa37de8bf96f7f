//! The recordings of alerts that fire: the same alerts, the same events, the clock moved by hand; then the
//! deliveries compared, and the restart of that server.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parseable_standin::{AlertView, Config, Standin};
use serde_json::{Value, json};

use crate::peers::Receiver;
use crate::recording::Exchange;
use crate::session::Session;
use crate::{bodies, client, compare, deliveries, recording};

/// 2026-11-22T01:43:14Z: the alerts are made.
const CREATED: u64 = 1_795_311_794;
/// 2026-11-22T01:55:56Z: those called "x ..." are.
const EXTRA_CREATED: u64 = 1_795_312_556;
/// The receiver of the recording.
const RECEIVER: &str = "127.0.0.1:18090";
const SERVER: &str = "http://127.0.0.1:18000";
const DEPLOYMENT: &str = "01M80EM7JP9QZ8DSNNM5QYMZWK";

const PATIENCE: Duration = Duration::from_secs(60);

/// Observations that are no exchange; what they say is asserted where it can be.
const NOTES: [&str; 2] = ["extra alerts", "latency figures"];

/// Deliveries by path as the recording's notes count them, the "resolved" one included.
const COUNTED: [(&str, usize); 13] = [
    ("/lat0", 5),
    ("/group", 5),
    ("/odd", 5),
    ("/am/api/v2/alerts", 5),
    ("/repeat", 7),
    ("/doomed", 1),
    ("/x-noalias", 4),
    ("/x-subq", 4),
    ("/x-sumf", 4),
    ("/x-nullgrp", 4),
    ("/x-maxts", 0),
    ("/x-maxstr", 0),
    ("/x-muted", 0),
];

/// Of the file "restart": what was recorded on this server.
pub fn is_about_firing(exchange: &Exchange) -> bool {
    exchange.name.starts_with("delivery: ") || exchange.name.starts_with("revive: ")
}

struct Firing {
    standin: Standin,
    receiver: Receiver,
    session: Session,
    passed: usize,
    failed: Vec<String>,
}

pub async fn replay(fired: &[Exchange], restart: &[Exchange]) {
    let clock = Some(at(CREATED));
    let standin = Standin::start(Config { clock, ..Config::default() }).await.unwrap();
    let receiver = Receiver::start().await;
    let mut session = Session::default();
    session.pair(RECEIVER, &receiver.address);
    session.pair(SERVER, &standin.url);
    session.pair(DEPLOYMENT, &deployment(&standin).await);
    let mut firing = Firing { standin, receiver, session, passed: 0, failed: Vec::new() };
    firing.first_hour(fired).await;
    firing.extra_alerts(fired).await;
    firing.dead_alert(fired).await;
    firing.deliveries(fired);
    let notes = fired.iter().filter(|exchange| NOTES.contains(&exchange.name.as_str())).count();
    println!("contract: alert-fired: {} of {} exchanges", firing.passed + notes, fired.len());
    assert_eq!(firing.passed + notes + firing.failed.len(), fired.len(), "each was looked at");
    firing.passed = 0;
    firing.restart(restart).await;
    println!("contract: restart: {} exchanges of this server", firing.passed);
    let failed = firing.failed;
    assert!(failed.is_empty(), "{} differ:\n{}", failed.len(), failed.join("\n"));
}

impl Firing {
    /// Alerts made, events, and ten minutes of evaluations.
    async fn first_hour(&mut self, fired: &[Exchange]) {
        let (made, ingest) = fired[..12].split_at(11);
        for exchange in made {
            if exchange.name.starts_with("create alert ") {
                self.targets_not_recorded(exchange, fired).await;
            }
            self.exchange(exchange).await;
        }
        self.alert_of(fired, "webhook whose receiver answers 500", None).await;
        let doomed = "dead alert revived by evaluate_alert";
        self.put("/api/v1/logstream/doomed", Value::Null).await;
        self.post("/api/v1/logstream/doomed", json!({"a": "x"})).await;
        let id = find(fired, "revive the dead alert").response.as_ref().unwrap().body["id"].clone();
        self.alert_of(fired, doomed, id.as_str()).await;
        self.settled(CREATED).await;
        self.send("DELETE", "/api/v1/logstream/doomed", Value::Null).await;
        self.standin.set_clock(at(CREATED + 56));
        self.exchange(&ingest[0]).await;
        let m0 =
            json!([{"event_id": "m0", "process_exit": {"process": {"binary": "/usr/bin/m0"}}}]);
        self.post("/api/v1/logstream/tetragon", m0).await;
        for minute in 1..=10 {
            self.minute(CREATED + 60 * minute).await;
        }
    }

    /// What notes tell of: odd queries, a muted alert, a window of one minute.
    async fn extra_alerts(&mut self, fired: &[Exchange]) {
        self.standin.set_clock(at(EXTRA_CREATED));
        for name in [
            "aggregate without an alias",
            "window 1m with frequency 1",
            "subquery",
            "SUM of a float column",
            "null group value",
        ] {
            self.alert_of(fired, name, None).await;
        }
        let muted = find(fired, "the muted alert").response.as_ref().unwrap().body.clone();
        let of_z = "FROM \"tetragon\" WHERE \"process_exit_process_binary\" = '/usr/bin/z'";
        let maxts = format!("SELECT MAX(\"first_seen_time\") AS \"v\" {of_z}");
        let maxstr = format!("SELECT MAX(\"event_id\") AS \"v\" {of_z}");
        let muted_query = muted["query"].as_str().unwrap();
        for (path, title, query, id, target) in [
            ("/x-maxts", "x maxts", maxts.as_str(), None, None),
            ("/x-maxstr", "x maxstr", &maxstr, None, None),
            (
                "/x-muted",
                "x muted",
                muted_query,
                muted["id"].as_str(),
                muted["targets"][0].as_str(),
            ),
        ] {
            let target = self.target(path, target, false).await;
            let alert = json!({
                "title": title, "severity": "high", "query": query,
                "thresholdConfig": {"operator": ">", "value": 0},
                "evalConfig": {"rollingWindow": {"evalStart": "3m", "evalEnd": "now", "evalFrequency": 1}},
                "notificationConfig": {"interval": 1}, "targets": [target], "tags": muted["tags"],
            });
            self.alert(&alert, id).await;
        }
        let id = self.session.actual(muted["id"].as_str().unwrap());
        let path = format!("/api/v1/alerts/{id}/update_notification_state");
        self.send("PATCH", &path, json!({"state": "indefinite"})).await;
        self.settled(EXTRA_CREATED).await;
        self.standin.set_clock(at(EXTRA_CREATED + 2));
        let event = |id: &str, pod: Value| {
            let process = json!({"binary": "/usr/bin/z", "pod": pod});
            json!({"event_id": id, "score": 2.5, "first_seen_time": "2026-11-22T01:55:58Z",
                "process_exit": {"process": process}})
        };
        let events = json!([event("z1", json!({"name": "p"})), event("z2", json!({}))]);
        self.post("/api/v1/logstream/tetragon", events).await;
        for minute in 1..=5 {
            self.minute(EXTRA_CREATED + 60 * minute).await;
            if minute == 2 {
                self.exchange(find(fired, "the muted alert")).await;
            }
        }
    }

    async fn dead_alert(&mut self, fired: &[Exchange]) {
        let name = "alert whose stream was deleted 12 minutes earlier: still listed as healthy";
        self.exchange(find(fired, name)).await;
        let doomed =
            |alerts: Vec<AlertView>| alerts.into_iter().find(|a| a.title == "doomed stream");
        let dead = doomed(self.standin.alerts()).unwrap();
        assert!(!dead.is_evaluated && dead.failures_in_a_row == 4, "{dead:?}");
        self.put("/api/v1/logstream/doomed", Value::Null).await;
        self.post("/api/v1/logstream/doomed", json!([{"a": "hit"}, {"a": "hit"}])).await;
        self.exchange(find(fired, "revive the dead alert")).await;
        self.wait("the revived alert's delivery", |firing| {
            firing.receiver.on("/doomed").len() == 1
        })
        .await;
        assert!(doomed(self.standin.alerts()).unwrap().is_evaluated);
    }

    /// Every recorded delivery came, with the recorded bytes.
    fn deliveries(&mut self, fired: &[Exchange]) {
        let received = self.receiver.received();
        for exchange in fired {
            let Some(expected) = &exchange.delivery else {
                continue;
            };
            let differences: Vec<String> = received
                .iter()
                .filter(|received| received.path == expected.path)
                .map(|received| deliveries::difference(&self.session, received, expected))
                .collect();
            if differences.iter().any(String::is_empty) {
                self.passed += 1;
            } else {
                self.failed.push(format!("{}: {}", exchange.name, differences.join("\n  ")));
            }
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for received in &received {
            *counts.entry(&received.path).or_default() += 1;
        }
        for (path, count) in COUNTED {
            assert_eq!(counts.get(path).copied().unwrap_or(0), count, "deliveries on {path}");
        }
    }

    async fn restart(&mut self, restart: &[Exchange]) {
        let before = self.receiver.received().len();
        self.standin.restart().await;
        // Every alert is evaluated once at the start, in vain.
        let enabled = self.standin.alerts().len();
        self.wait("failed evaluations", |firing| {
            let failed = |alert: &&AlertView| alert.last_error.is_some();
            firing.standin.alerts().iter().filter(failed).count() == enabled
        })
        .await;
        for exchange in restart.iter().filter(|exchange| is_about_firing(exchange)) {
            let evaluated = self.evaluations();
            self.exchange(exchange).await;
            if exchange.name.ends_with("evaluate the alert")
                || exchange.name.ends_with("evaluate_alert")
            {
                self.wait("an evaluation", |firing| firing.evaluations() > evaluated).await;
            }
            if exchange.name == "revive: create a new alert with the same body" {
                self.wait("one delivery", |firing| firing.receiver.received().len() > before).await;
            }
            let new = usize::from(self.receiver.received().len() > before);
            assert_eq!(self.receiver.received().len(), before + new, "{}", exchange.name);
            assert!(new == 0 || evaluated > 0);
        }
    }

    fn evaluations(&self) -> u64 {
        self.standin.alerts().iter().map(|alert| alert.evaluations).sum()
    }

    async fn exchange(&mut self, exchange: &Exchange) {
        let recorded = exchange.request.as_ref().unwrap();
        let expected = exchange.response.as_ref().unwrap();
        let request = self.session.request(exchange, recorded);
        let body = self.session.actual(&String::from_utf8(bodies::body(&request)).unwrap());
        let answer = client::send(&self.standin.url, &request, body.as_bytes()).await;
        let answer = answer.map(|answer| self.session.answer(recorded, &expected.body, answer));
        match compare::compare(recorded, expected, answer) {
            Ok(()) => self.passed += 1,
            Err(difference) => self.failed.push(format!("{}: {difference}", exchange.name)),
        }
    }

    /// Targets of a recorded alert whose creation is not in the file, with their recorded ids.
    async fn targets_not_recorded(&mut self, exchange: &Exchange, fired: &[Exchange]) {
        let alert: Value =
            serde_json::from_str(exchange.request.as_ref().unwrap().body.get()).unwrap();
        let title = format!("Alert Name:         {}\n", alert["title"].as_str().unwrap());
        for id in alert["targets"].as_array().unwrap() {
            let id = id.as_str().unwrap();
            let known = self.session.actual(id) != id;
            let delivery = fired.iter().filter_map(|exchange| exchange.delivery.as_ref());
            let mut delivery = delivery.filter(|delivery| delivery.body.starts_with(&title));
            if let (false, Some(delivery)) = (known, delivery.next()) {
                let with_header = delivery.headers.contains_key("x-example");
                self.target(&delivery.path, Some(id), with_header).await;
            }
        }
    }

    /// The alert a delivery tells of, and its target.
    async fn alert_of(&mut self, fired: &[Exchange], name: &str, id: Option<&str>) {
        let delivery = find(fired, name).delivery.as_ref().unwrap();
        let field = |name: &str| {
            let line = delivery.body.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let text_id = field("Alert ID:");
        let (operator, value) = field("Threshold:")
            .split_once(' ')
            .map(|(o, v)| (o.to_owned(), v.parse::<f64>().unwrap()))
            .unwrap();
        let (_, query) = delivery.body.split_once("\nQuery:\n").unwrap();
        let with_header = delivery.headers.contains_key("x-example");
        let shown = id.and_then(|id| {
            let get = fired.iter().filter_map(|exchange| exchange.response.as_ref());
            get.map(|response| &response.body).find(|body| body["id"] == id)
        });
        let target = shown.and_then(|shown| shown["targets"][0].as_str());
        let target = self.target(&delivery.path, target, with_header).await;
        let frequency: u64 = field("Frequency:").parse().unwrap();
        let alert = json!({
            "title": field("Alert Name:"), "severity": field("Severity:").to_lowercase(), "query": query,
            "thresholdConfig": {"operator": operator, "value": value},
            "evalConfig": {"rollingWindow": {
                "evalStart": field("Evaluation Window:"), "evalEnd": "now", "evalFrequency": frequency,
            }},
            "notificationConfig": {"interval": 1}, "targets": [target],
            "tags": shown.map(|shown| shown["tags"].clone()),
        });
        self.alert(&alert, Some(&text_id)).await;
    }

    async fn target(&mut self, path: &str, id: Option<&str>, with_header: bool) -> String {
        let headers = if with_header { json!({"X-Example": "example-value"}) } else { json!({}) };
        let mut target = json!({
            "name": path, "type": "webhook", "headers": headers,
            "endpoint": format!("http://{}{path}", self.receiver.address),
        });
        if let Some(id) = id {
            target["id"] = json!(id);
        }
        let made = self.post("/api/v1/targets", target).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn alert(&mut self, alert: &Value, recorded_id: Option<&str>) {
        let made = self.post("/api/v1/alerts", alert.clone()).await;
        if let Some(recorded) = recorded_id {
            self.session.pair(recorded, made["id"].as_str().unwrap());
        }
    }

    /// The clock shows `seconds`, and all is done that is due by then.
    async fn minute(&self, seconds: u64) {
        self.standin.set_clock(at(seconds));
        self.settled(seconds).await;
    }

    async fn settled(&self, seconds: u64) {
        self.wait("evaluations and deliveries", |firing| {
            let alerts = firing.standin.alerts();
            let waits = |alert: &AlertView| alert.next.is_some_and(|next| next > at(seconds));
            alerts.iter().all(|alert| !alert.is_evaluated || waits(alert))
                && firing.standin.deliveries_under_way() == 0
        })
        .await;
    }

    async fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited
            .unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", self.standin.alerts()));
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        self.send("PUT", path, body).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send("POST", path, body).await
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Value {
        client::ask(&self.standin.url, method, path, &body).await
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds) + recording::ODD
}

fn find<'a>(fired: &'a [Exchange], name: &str) -> &'a Exchange {
    fired.iter().find(|exchange| exchange.name == name).unwrap_or_else(|| panic!("no {name:?}"))
}

async fn deployment(standin: &Standin) -> String {
    let about = client::ask(&standin.url, "GET", "/api/v1/about", &Value::Null).await;
    about["deploymentId"].as_str().unwrap().to_owned()
}
