//! The pods of a node, from an API server that lists, refuses and forgets, to the events of their processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scripted;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scripted::{Reply, Request, Server};
use securitywatch_api::policy::PodScope;
use securitywatch_probe::cgroups::{CgroupFacts, ScopeBits, ScopeMapsError};
use securitywatch_probe::event::{Body, Event, Process, WallTime};
use securitywatch_probe::pods::follow::follow;
use securitywatch_probe::pods::hold::Hold;
use securitywatch_probe::pods::scope::ScopeSink;
use securitywatch_probe::pods::{Associations, Pods};
use securitywatch_probe::policy::ScopeKeeper as _;
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// What the API server holds.
#[derive(Default)]
struct Cluster {
    pods: Vec<Value>,
    /// Sent to the next watch, one line each; a watch without any hangs.
    changes: Vec<Value>,
    /// Answered to lists instead.
    refusal: Option<u16>,
}

type Shared = Arc<Mutex<Cluster>>;

fn answer(cluster: &mut Cluster, request: &Request) -> Reply {
    assert!(request.path.starts_with("/api/v1/pods?"), "{}", request.path);
    let own = "fieldSelector=spec.nodeName%3Dworker-1";
    assert!(request.path.contains(own), "only this node's: {}", request.path);
    if let Some(code) = cluster.refusal {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "pods is forbidden", "reason": "Forbidden", "code": code
        });
        return Reply::Status(code, JSON, body.to_string());
    }
    if !request.path.contains("watch=true") {
        let list = json!({
            "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
            "items": cluster.pods
        });
        return Reply::Status(200, JSON, list.to_string());
    }
    if cluster.changes.is_empty() {
        return Reply::Hang;
    }
    let lines: Vec<_> = cluster.changes.drain(..).map(|change| format!("{change}\n")).collect();
    Reply::Status(200, JSON, lines.concat())
}

fn pod(uid: &str, namespace: &str, started: bool) -> Value {
    let status = json!({"containerStatuses": [{
        "name": "web", "image": "docker.io/library/nginx:1", "imageID": "sha256:1", "ready": true,
        "restartCount": 0, "containerID": format!("containerd://{ID}"),
        "state": {"running": {"startedAt": "2026-11-22T01:00:00Z"}}
    }]});
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "web-7d9f-x2x", "generateName": "web-7d9f-", "namespace": namespace, "uid": uid,
            "resourceVersion": "7", "labels": {"app": "web", "pod-template-hash": "7d9f"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9f", "uid": "r",
                "controller": true
            }]
        },
        "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
        "status": if started { status } else { json!({}) }
    })
}

async fn start(cluster: Cluster) -> (Server, Shared, Pods) {
    let cluster = Arc::new(Mutex::new(cluster));
    let held = cluster.clone();
    let server =
        Server::start(move |request: &Request| answer(&mut held.lock().unwrap(), request)).await;
    let client = server.kubernetes();
    let pods = Pods::default();
    tokio::spawn(follow(client, "worker-1".into(), pods.clone()));
    (server, cluster, pods)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "{what}");
}

fn process(associations: &mut Associations, uid: &str) -> Arc<Process> {
    let facts = CgroupFacts {
        id: 7,
        pod_uid: uid.into(),
        container_cgroup: 7,
        container_id: Some(ID.into()),
        name: format!("cri-containerd-{ID}.scope").into(),
    };
    associations.made(&facts);
    let association = Some(associations.of(&facts));
    Arc::new(Process { namespace_pid: 1, association, ..Process::default() })
}

fn exec(process: &Arc<Process>) -> Event {
    let process = process.clone();
    Event { seq: 1, time: WallTime(0), process, parent: None, tid: 1, body: Body::Exec }
}

#[derive(Debug, Clone, Default)]
struct Selected(Arc<Mutex<Vec<String>>>);

impl ScopeSink for Selected {
    fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        if bits.has(5) {
            self.0.lock().unwrap().push(uid.to_owned());
        }
        Ok(())
    }

    fn remove_pod(&self, _: &str) -> Result<(), ScopeMapsError> {
        Ok(())
    }

    fn set_container(&self, _: u64, _: &ScopeBits) -> Result<(), ScopeMapsError> {
        Ok(())
    }

    fn remove_container(&self, _: u64) -> Result<(), ScopeMapsError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_event_waits_for_its_pod_and_carries_all_of_it() {
    let changes = vec![json!({"type": "ADDED", "object": pod("u", "shop", true)})];
    let (server, cluster, pods) = start(Cluster::default()).await;
    server.wait_for(|requests| requests.iter().any(|r| r.path.contains("watch=true"))).await;
    let process = process(&mut Associations::new(pods.clone()), "u");
    let mut hold = Hold::new(pods.clone());
    let mut out = Vec::new();
    hold.take(exec(&process), &mut |event| out.push(event));
    assert!(out.is_empty(), "nobody knows its pod");
    // The first watch hangs; a server that goes away ends it, and the list that follows has the pod.
    cluster.lock().unwrap().pods = vec![pod("u", "shop", false)];
    cluster.lock().unwrap().changes = changes;
    until("the pod is known", || {
        server.hang_up();
        hold.look(Instant::now(), &mut |event| out.push(event));
        !out.is_empty()
    })
    .await;
    let shown = out[0].process.pod().unwrap();
    assert_eq!((shown.namespace.as_str(), shown.name.as_str()), ("shop", "web-7d9f-x2x"));
    assert_eq!((shown.workload.as_str(), shown.workload_kind.as_str()), ("web", "Deployment"));
    let container = &shown.container;
    assert_eq!((container.name.as_str(), container.image_id.as_str()), ("web", "sha256:1"));
    assert_eq!(container.id, format!("containerd://{ID}"));
}

#[tokio::test]
async fn a_pod_is_in_scope_as_soon_as_it_is_listed() {
    let selected = Selected::default();
    let all = vec![pod("u", "shop", false), pod("v", "bank", false)];
    let (_server, _, pods) = start(Cluster { pods: all, ..Cluster::default() }).await;
    pods.write_scopes(Box::new(selected.clone()));
    pods.begin(5, &PodScope { namespace: Some("shop".into()), ..PodScope::default() }).unwrap();
    until("the pod is in scope", || !selected.0.lock().unwrap().is_empty()).await;
    assert_eq!(*selected.0.lock().unwrap(), ["u"]);
}

#[tokio::test]
async fn a_refusal_is_told_until_it_is_cured() {
    let (server, cluster, pods) = start(Cluster { refusal: Some(403), ..Cluster::default() }).await;
    server.wait_for(|requests| requests.len() >= 2).await;
    let later = Instant::now() + Duration::from_secs(11);
    let gap = pods.gap(false, later).unwrap();
    assert!(gap.starts_with("pods of this node cannot be listed: "), "{gap}");
    assert!(gap.contains("pods is forbidden"), "{gap}");
    cluster.lock().unwrap().refusal = None;
    until("the gap is closed", || pods.gap(false, later).is_none()).await;
}
