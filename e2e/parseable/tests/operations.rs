//! What happens to a server that has alerts: restarts, losses, other accounts, the old generation; and what a
//! test can see of it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod peers;

use std::time::Duration;

use parseable_standin::{
    AlertView, Config, Fault, Generation, Outcome, Policy, Privilege, Standin,
};
use serde_json::{Value, json};

use peers::{Receiver, send, send_as};

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(config: Config) -> Standin {
    let standin = Standin::start(config).await.unwrap();
    assert_eq!(ask(&standin, "PUT", "/api/v1/logstream/s", Value::Null).await.0, 200);
    assert_eq!(ask(&standin, "POST", "/api/v1/logstream/s", json!({"a": "x"})).await.0, 200);
    standin
}

fn quick() -> Config {
    Config { alert_minute: Duration::from_millis(40), ..Config::default() }
}

async fn ask(standin: &Standin, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, text) = send(&standin.url, method, path, &body).await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn alert(value: &str, targets: &[&str]) -> Value {
    json!({
        "title": value,
        "query": format!("SELECT COUNT(*) AS \"n\" FROM \"s\" WHERE \"a\" = '{value}'"),
        "thresholdConfig": {"operator": ">", "value": 0},
        "evalConfig": {"rollingWindow": {"evalStart": "5m", "evalEnd": "now", "evalFrequency": 1}},
        "targets": targets,
    })
}

async fn make(standin: &Standin, alert: Value) -> String {
    let (status, made) = ask(standin, "POST", "/api/v1/alerts", alert).await;
    assert_eq!(status, 200, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

async fn make_target(standin: &Standin, receiver: &Receiver) -> String {
    standin.set_policy(allow_loopback());
    let endpoint = format!("http://{}/hook", receiver.address);
    let target =
        json!({"name": "t", "type": "webhook", "endpoint": endpoint, "headers": {"X-A": "b"}});
    let (status, made) = ask(standin, "POST", "/api/v1/targets", target).await;
    assert_eq!(status, 200, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn allow_loopback() -> Policy {
    Policy {
        allow_private: true,
        allowed_cidrs: vec!["127.0.0.0/8".to_owned()],
        ..Policy::default()
    }
}

async fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

fn the(alerts: Vec<AlertView>, id: &str) -> AlertView {
    alerts.into_iter().find(|alert| alert.id == id).unwrap()
}

#[tokio::test]
async fn an_alert_fires_and_resolves() {
    let (standin, receiver) = (start(quick()).await, Receiver::start().await);
    let target = make_target(&standin, &receiver).await;
    let id = make(&standin, alert("hit", &[&target])).await;
    ask(&standin, "POST", "/api/v1/logstream/s", json!({"a": "hit"})).await;
    wait("the resolution", || standin.deliveries().iter().any(|delivery| delivery.is_resolved))
        .await;
    let deliveries = standin.deliveries();
    assert!(deliveries.len() >= 2, "{deliveries:?}");
    assert!(deliveries.iter().all(|d| d.alert_id == id && d.outcome == Outcome::Answered(200)));
    assert_eq!(receiver.on("/hook").last().unwrap().body, "hit is now `not-triggered` ");
    assert_eq!(the(standin.alerts(), &id).state, "not-triggered");
}

#[tokio::test]
async fn a_restart_kills_alerts_and_forgets_the_policy() {
    let (standin, receiver) = (start(quick()).await, Receiver::start().await);
    let target = make_target(&standin, &receiver).await;
    let id = make(&standin, alert("x", &[&target])).await;
    // The windows are short here: events have to come while somebody looks.
    let hit = async || ask(&standin, "POST", "/api/v1/logstream/s", json!({"a": "x"})).await;
    hit().await;
    wait("a delivery", || !receiver.received().is_empty()).await;
    let started = start_time(&standin).await;
    standin.restart().await;
    assert!(start_time(&standin).await > started);
    assert_eq!(standin.policy(), Policy::default());
    wait("its death", || the(standin.alerts(), &id).failures_in_a_row == 4).await;
    let text = "table 'datafusion.DEFAULT_TENANT.s' not found";
    let dead = the(standin.alerts(), &id);
    assert!(!dead.is_evaluated && dead.last_error.unwrap().contains(text));
    let path = format!("/api/v1/alerts/{id}");
    let (status, answer) = ask(&standin, "PUT", &path, alert("x", &[&target])).await;
    assert!(status == 400 && answer.as_str().unwrap().contains(text), "{answer}");
    let (status, answer) = ask(&standin, "GET", &path, Value::Null).await;
    assert_eq!((status, &answer["title"]), (200, &json!("x")), "nothing shows it");
    // A new one works, with the old target, when the policy is back.
    standin.set_policy(allow_loopback());
    let before = receiver.received().len();
    let new = make(&standin, alert("x", &[&target])).await;
    hit().await;
    wait("a delivery", || receiver.received().len() > before).await;
    assert!(the(standin.alerts(), &new).is_evaluated);
}

async fn start_time(standin: &Standin) -> u64 {
    let (_, metrics) = ask(standin, "GET", "/api/v1/metrics", Value::Null).await;
    let lines = metrics.as_str().unwrap().lines();
    let value = lines.filter_map(|line| line.strip_prefix("process_start_time_seconds ")).next();
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_emptied_server() {
    let standin = start(quick()).await;
    make(&standin, alert("x", &[])).await;
    let about =
        async || ask(&standin, "GET", "/api/v1/about", Value::Null).await.1["deploymentId"].clone();
    let deployment = about().await;
    standin.empty().await;
    assert!(standin.alerts().is_empty() && standin.streams().is_empty());
    assert_ne!(about().await, deployment);
}

#[tokio::test]
async fn a_lost_alert_and_blocked_targets() {
    let (standin, receiver) = (start(quick()).await, Receiver::start().await);
    let target = make_target(&standin, &receiver).await;
    standin.set_policy(Policy::default());
    let id = make(&standin, alert("x", &[&target])).await;
    ask(&standin, "POST", "/api/v1/logstream/s", json!({"a": "x"})).await;
    wait("a blocked call", || !standin.deliveries().is_empty()).await;
    let Outcome::Blocked(why) = &standin.deliveries()[0].outcome else {
        panic!("{:?}", standin.deliveries());
    };
    assert!(why.contains("127.0.0.1"), "{why}");
    assert!(standin.targets()[0].refusal.is_some());
    assert!(standin.lose_alert(&id) && !standin.lose_alert(&id));
    let (status, text) = ask(&standin, "GET", &format!("/api/v1/alerts/{id}"), Value::Null).await;
    assert_eq!(status, 400);
    assert!(text.as_str().unwrap().starts_with("Error: No alert found for the given ID-"));
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn writes_are_told_from_reads() {
    let standin = start(Config::default()).await;
    standin.reset_counts();
    let id = make(&standin, alert("x", &[])).await;
    ask(&standin, "GET", &format!("/api/v1/alerts/{id}"), Value::Null).await;
    let query = json!({"query": "SELECT 1 FROM \"s\"", "startTime": "1m", "endTime": "now"});
    ask(&standin, "POST", "/api/v1/query", query).await;
    assert_eq!(standin.writes(), [("POST /api/v1/alerts".to_owned(), 1)].into());
    assert_eq!(standin.request_counts()["GET /api/v1/alerts/{id}"], 1);
    let requests = standin.requests();
    let last = requests.last().unwrap();
    assert_eq!((last.user.as_deref(), last.status), (Some("admin"), 200));
    standin.reset_counts();
    assert!(standin.writes().is_empty() && standin.requests().is_empty());
}

#[tokio::test]
async fn accounts_and_a_new_password() {
    let standin = start(Config::default()).await;
    standin.add_account("ed", "pw", Privilege::Editor);
    standin.add_account("in", "pw", Privilege::ingestor("s"));
    let as_user = async |user: &str, method: &str, path: &str, body: &str| {
        send_as(&format!("{user}:pw"), &standin.url, method, path, body).await.unwrap().0
    };
    assert_eq!(as_user("ed", "GET", "/api/v1/alerts", "").await, 200);
    assert_eq!(as_user("ed", "GET", "/api/v1/alert-target-policy", "").await, 403);
    assert_eq!(as_user("in", "POST", "/api/v1/logstream/s", r#"{"a":"y"}"#).await, 200);
    assert_eq!(as_user("in", "GET", "/api/v1/about", "").await, 403);
    standin.set_password("other");
    assert_eq!(ask(&standin, "GET", "/api/v1/about", Value::Null).await.0, 403);
    standin.set_password("admin");
    standin.faults().all_requests("* /api/v1/alerts*", Fault::Status(500, "broken".to_owned()));
    assert_eq!(ask(&standin, "GET", "/api/v1/alerts", Value::Null).await, (500, json!("broken")));
    assert_eq!(ask(&standin, "GET", "/api/v1/targets", Value::Null).await.0, 200);
    standin.faults().clear();
    assert_eq!(ask(&standin, "GET", "/api/v1/alerts", Value::Null).await.0, 200);
}

#[tokio::test]
async fn control_over_http() {
    let control = Some(([127, 0, 0, 1], 0).into());
    let standin = start(Config { control, ..quick() }).await;
    let control = standin.control_url.clone().unwrap();
    let id = make(&standin, alert("y", &[])).await;
    let (_, state) = ask(&standin, "GET", "/standin/state", Value::Null).await;
    assert_eq!(state["alerts"][0]["id"], json!(id));
    let restart = ask(&standin, "POST", "/standin/restart", Value::Null).await;
    assert_eq!(restart.0, 202, "who asks is answered though the port closes");
    wait("the restart", || !the(standin.alerts(), &id).is_evaluated).await;
    assert_eq!(send(&control, "POST", "/standin/unreachable", "").await.unwrap().0, 202);
    let address = standin.url.strip_prefix("http://").unwrap();
    wait("a closed port", || std::net::TcpStream::connect(address).is_err()).await;
    assert_eq!(send(&control, "POST", "/standin/reachable", "").await.unwrap().0, 204);
    assert_eq!(ask(&standin, "GET", "/api/v1/about", Value::Null).await.0, 200);
    assert_eq!(send(&control, "GET", "/api/v1/about", "").await.unwrap().0, 404);
}

#[tokio::test]
async fn the_old_generation() {
    let standin = start(Config { generation: Generation::V1, ..Config::default() }).await;
    let (_, about) = ask(&standin, "GET", "/api/v1/about", Value::Null).await;
    assert_eq!(about["version"], "v1.7.3");
    for path in ["/api/v1/alerts", "/api/v1/targets", "/api/v1/alert-target-policy"] {
        assert_eq!(ask(&standin, "GET", path, Value::Null).await.0, 404);
    }
    let path = "/api/v1/logstream/s/alert";
    let document = |name: &str, message: &str, rule: Value| {
        json!({"version": "v1", "alerts": [{
            "id": "mine", "name": name, "message": message, "rule": rule,
            "targets": [{"type": "webhook", "endpoint": "http://127.0.0.1:1/", "headers": {},
                "repeat": {"interval": "10s", "times": 5}}],
        }]})
    };
    let text = |text: &str| json!({"type": "composite", "config": text});
    assert_eq!(ask(&standin, "GET", path, Value::Null).await.0, 404, "none yet");
    let good = document("n", "saw {a}", text(r#"(a =% "x" and a != "y")"#));
    assert_eq!(ask(&standin, "PUT", path, good).await.0, 200);
    let (_, shown) = ask(&standin, "GET", path, Value::Null).await;
    let shown = &shown["alerts"][0];
    assert_eq!(shown["rule"]["config"], r#"(a =% "x" and a != "y")"#);
    assert_eq!(shown["targets"][0]["repeat"], json!({"interval": "10s", "times": 5}));
    assert_eq!(shown.get("id"), None);
    for (bad, what) in [
        (document("n", "saw {b}", text(r#"a = "x""#)), "an unknown column in the message"),
        (document("n", "saw {a}", text(r#"b = "x""#)), "an unknown column in the rule"),
        (document("n", "saw {a}", text("a = 5")), "a number from a text column"),
        (document("", "saw", text(r#"a = "x""#)), "no name"),
        (document("n", "", text(r#"a = "x""#)), "no message"),
        (document("n", "saw", text(r#"a =~ "x""#)), "a rule that does not parse"),
    ] {
        assert_eq!(ask(&standin, "PUT", path, bad).await.0, 400, "{what}");
    }
    let unlooked = document("n", "no column", text(r#"b = "x""#));
    assert_eq!(ask(&standin, "PUT", path, unlooked).await.0, 200, "as the real one, by mistake");
    assert_eq!(ask(&standin, "PUT", path, json!({"version": "v1", "alerts": []})).await.0, 200);
    assert_eq!(ask(&standin, "GET", path, Value::Null).await.0, 404);
    ask(&standin, "PUT", "/api/v1/logstream/new", Value::Null).await;
    let empty = json!({"version": "v1", "alerts": []});
    assert_eq!(ask(&standin, "PUT", "/api/v1/logstream/new/alert", empty.clone()).await.0, 405);
    assert_eq!(ask(&standin, "PUT", "/api/v1/logstream/none/alert", empty).await.0, 404);
}
