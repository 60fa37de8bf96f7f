//! The writer of a node's report against an API server that refuses, forgets and changes its mind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use scripted::{Reply, Request, Server};
use securitywatch_api::v1alpha1::SecurityWatchNodeStatus;
use securitywatch_probe::agent::write::{Wanted, Writer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const REPORT: &str = "/apis/securitywatch.io/v1alpha1/securitywatchnodes/worker-1";

/// What the API server holds, and what it answers instead.
#[derive(Default)]
struct Cluster {
    node_uid: Option<&'static str>,
    report: Option<Value>,
    /// For the next requests that write, one each.
    refusals: Vec<u16>,
}

type Shared = Arc<Mutex<Cluster>>;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn failure(code: u16) -> Reply {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        _ => "Conflict",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "no", "reason": reason, "code": code
    });
    Reply::Status(code, JSON, body.to_string())
}

fn found(object: Option<&Value>) -> Reply {
    object.map_or_else(|| failure(404), |object| Reply::Status(200, JSON, object.to_string()))
}

fn answer(cluster: &mut Cluster, request: &Request) -> Reply {
    let path = request.path.split('?').next().unwrap();
    if request.method == "GET" && path == "/api/v1/nodes/worker-1" {
        let node = cluster.node_uid.map(|uid| {
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1", "uid": uid}})
        });
        return found(node.as_ref());
    }
    if request.method == "GET" && path == REPORT {
        return found(cluster.report.as_ref());
    }
    assert_eq!(request.method, "PATCH", "{path}");
    assert!(request.path.contains("fieldManager=securitywatch-probe"), "{}", request.path);
    if !cluster.refusals.is_empty() {
        return failure(cluster.refusals.remove(0));
    }
    let body = request.json();
    match path.strip_prefix(REPORT).unwrap() {
        "" => {
            let mut report = body;
            report["metadata"]["uid"] = json!("r");
            report["status"] = cluster.report.take().map_or(json!({}), |old| old["status"].clone());
            cluster.report = Some(report);
        }
        "/status" => match &mut cluster.report {
            Some(report) => report["status"] = body["status"].clone(),
            None => return failure(404),
        },
        other => panic!("{other}"),
    }
    found(cluster.report.as_ref())
}

struct Fixture {
    server: Server,
    cluster: Shared,
    wanted: watch::Sender<Wanted>,
    writing: JoinHandle<()>,
}

async fn start(cluster: Cluster) -> Fixture {
    let cluster = Arc::new(Mutex::new(cluster));
    let held = cluster.clone();
    let server =
        Server::start(move |request: &Request| answer(&mut held.lock().unwrap(), request)).await;
    let client = server.kubernetes();
    let (wanted, receiver) = watch::channel(Wanted::default());
    let writer = Writer::new(&client, "worker-1".into());
    let writing = tokio::spawn(writer.run(receiver, Duration::ZERO));
    Fixture { server, cluster, wanted, writing }
}

impl Fixture {
    fn want(&self, version: &str) {
        self.wanted.send_replace(Wanted { status: Some(status(version)), last: false });
    }

    /// Writes of the status that were asked for.
    fn writes(&self) -> usize {
        let is_write = |r: &&Request| r.method == "PATCH" && r.path.contains("/status?");
        self.server.requests().iter().filter(is_write).count()
    }

    async fn until_written(&self, version: &str) {
        let says = || {
            let cluster = self.cluster.lock().unwrap();
            cluster.report.as_ref().is_some_and(|r| r["status"]["probeVersion"] == version)
        };
        let wait = async {
            while !says() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "{version} not written: {:?}", self.cluster.lock().unwrap().report);
    }
}

fn status(version: &str) -> SecurityWatchNodeStatus {
    SecurityWatchNodeStatus { probe_version: Some(version.into()), ..Default::default() }
}

fn report(owner: &str, version: &str) -> Value {
    json!({
        "apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatchNode",
        "metadata": {
            "name": "worker-1", "uid": "r",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "worker-1", "uid": owner}]
        },
        "status": {"probeVersion": version}
    })
}

#[tokio::test]
async fn a_report_is_made_once_owned_by_its_node_and_changed_only_when_it_changes() {
    let fixture = start(Cluster { node_uid: Some("n1"), ..Cluster::default() }).await;
    fixture.want("1");
    fixture.until_written("1").await;
    fixture.want("1");
    fixture.want("2");
    fixture.until_written("2").await;
    assert_eq!(fixture.writes(), 2);
    let made = fixture.cluster.lock().unwrap().report.clone().unwrap();
    let owner = &made["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Node"), &json!("n1")));
}

#[tokio::test]
async fn a_probe_that_starts_again_writes_nothing_new() {
    let report = Some(report("n1", "1"));
    let fixture = start(Cluster { node_uid: Some("n1"), report, ..Cluster::default() }).await;
    fixture.want("1");
    fixture.server.wait_for(|requests| requests.len() == 2).await;
    fixture.want("2");
    fixture.until_written("2").await;
    let writes = fixture.server.requests().iter().filter(|r| r.method == "PATCH").count();
    assert_eq!(writes, 1, "what is there already is not written again");
}

#[tokio::test]
async fn a_node_that_was_made_anew_owns_the_report() {
    let report = Some(report("old", "1"));
    let fixture = start(Cluster { node_uid: Some("new"), report, ..Cluster::default() }).await;
    fixture.want("2");
    fixture.until_written("2").await;
    let made = fixture.cluster.lock().unwrap().report.clone().unwrap();
    let owners = made["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!((owners.len(), &owners[0]["uid"]), (1, &json!("new")));
}

#[tokio::test]
async fn a_refused_write_is_tried_again() {
    let refusals = vec![403, 409];
    let fixture = start(Cluster { node_uid: Some("n1"), refusals, ..Cluster::default() }).await;
    fixture.want("1");
    fixture.until_written("1").await;
    // Somebody deletes it by hand: the next report makes it anew.
    fixture.cluster.lock().unwrap().report = None;
    fixture.want("2");
    fixture.until_written("2").await;
}

#[tokio::test]
async fn without_a_node_there_is_no_report_that_nobody_would_remove() {
    let fixture = start(Cluster::default()).await;
    fixture.want("1");
    fixture.server.wait_for(|requests| requests.len() >= 2).await;
    assert!(fixture.server.requests().iter().all(|r| r.method == "GET"));
    fixture.cluster.lock().unwrap().node_uid = Some("n1");
    fixture.until_written("1").await;
}

#[tokio::test]
async fn the_last_report_is_written_at_once_and_nothing_after_it() {
    let fixture = start(Cluster { node_uid: Some("n1"), ..Cluster::default() }).await;
    fixture.want("1");
    fixture.until_written("1").await;
    // Within the pause after a write.
    fixture.wanted.send_replace(Wanted { status: Some(status("last")), last: true });
    tokio::time::timeout(Duration::from_secs(2), fixture.writing).await.unwrap().unwrap();
    let report = fixture.cluster.lock().unwrap().report.clone().unwrap();
    assert_eq!(report["status"]["probeVersion"], "last");
}
