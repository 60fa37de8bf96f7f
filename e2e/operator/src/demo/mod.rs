//! The operator's story for a newcomer: `helm install`, `kubectl apply` of a sample as it stands, and what
//! `kubectl describe` says before and after things go wrong.
//!
//! The control plane runs on this machine. Its one node is a guest with a Debian kernel, where the two
//! programs of the chart run as their pods would: the operator, and the probe as agent, each with a token of
//! its ServiceAccount. What the guest has not is a kubelet: the node says that its pods run.

mod node;

use std::time::{Duration, Instant};

use securitywatch_api::v1alpha1::SecurityWatch;

use crate::control_plane::{ControlPlane, Nodes};
use crate::install::install;
use crate::parseable::{PASSWORD, Parseable, USER};
use crate::scenarios::watches::find;
use crate::wait::until;
use crate::{Result, ensure};
use node::Node;

const SAMPLE: &str = "config/samples/egress.yaml";
/// Where the sample stands.
const NAMESPACE: &str = "default";
const NAME: &str = "egress";
/// A guest under emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs the story and says how many of its statements hold.
///
/// # Errors
/// A part does not start.
pub async fn run() -> Result<usize> {
    let mut story = Story::start().await?;
    let told = story.tell().await;
    if let Err(error) = &told {
        story.check(&format!("the story goes on: {error}"), false);
    }
    println!(
        "\n({:.0} s from the first part's start to here)",
        story.started.elapsed().as_secs_f64()
    );
    println!("demo-cluster: {} passed, {} failed", story.passed, story.failed);
    story.node.stop().await;
    story.cluster.stop().await?;
    Ok(story.failed)
}

struct Story {
    started: Instant,
    cluster: ControlPlane,
    parseable: Parseable,
    node: Node,
    client: kube::Client,
    passed: usize,
    failed: usize,
}

fn say(title: &str) {
    println!("\n== {title}");
}

impl Story {
    async fn start() -> Result<Self> {
        let started = Instant::now();
        say("A control plane: etcd, API server, controller manager, scheduler");
        let cluster = ControlPlane::start(Nodes::Fake(1)).await?;
        println!("{}", cluster.kubectl.run(&["version"]).await?.trim());
        // A short minute: its alerts are evaluated every few seconds instead.
        let parseable = Parseable::start(&[]).await?;
        println!("Parseable stand-in: {}", parseable.url);
        say("helm install securitywatch charts/securitywatch --namespace securitywatch-system");
        println!("{}", install(&cluster, &["clusterName=demo"]).await?.trim());
        say("The node boots: Linux 6.12 under emulation; operator and probe start in it");
        let node = Node::start(&cluster, &parseable).await?;
        let client = cluster.client().await?;
        Ok(Self { started, cluster, parseable, node, client, passed: 0, failed: 0 })
    }

    fn check(&mut self, what: &str, holds: bool) {
        println!("{} {what}", if holds { "ok    " } else { "FAILED" });
        if holds { self.passed += 1 } else { self.failed += 1 }
    }

    /// A statement, and what was seen when it does not hold.
    fn told(&mut self, what: &str, found: Result) {
        match found {
            Ok(()) => self.check(what, true),
            Err(error) => self.check(&format!("{what}\n       {error}"), false),
        }
    }

    async fn tell(&mut self) -> Result {
        self.apply().await?;
        self.lose_alert().await?;
        self.lose_secret().await?;
        self.farewell().await
    }

    async fn apply(&mut self) -> Result {
        say("The Secrets that the sample names, then: kubectl apply -f config/samples/egress.yaml");
        let kubectl = self.cluster.kubectl.clone();
        let account = [
            &format!("--from-literal=username={USER}"),
            &format!("--from-literal=password={PASSWORD}"),
        ];
        kubectl
            .run(&["create", "secret", "generic", "parseable-env-secret", account[0], account[1]])
            .await?;
        let url = "--from-literal=url=http://127.0.0.1:9/a-token-that-nobody-should-see";
        kubectl.run(&["create", "secret", "generic", "oncall", url]).await?;
        print!("{}", kubectl.run(&["apply", "-f", SAMPLE]).await?);
        let ready = self.condition("Ready", "True", PATIENCE).await;
        self.told("Ready becomes True", ready);
        print!("{}", kubectl.run(&["get", "securitywatch", "--all-namespaces"]).await?);
        self.describe().await?;
        print!("{}", kubectl.run(&["get", "securitywatchnodes"]).await?);
        let (status, retention) =
            self.parseable.get("/api/v1/logstream/tetrademo/retention").await?;
        self.check(
            &format!("the stream tetrademo keeps events for 30 days: {status} {retention}"),
            status == 200 && retention[0]["duration"] == "30d",
        );
        let alerts = self.parseable.alerts().await?;
        for alert in &alerts {
            println!("       alert {} {}", alert["id"], alert["title"]);
        }
        self.check("Parseable holds the sample's four alerts", alerts.len() == 4);
        let wait = ["wait", "--for=condition=Ready", "securitywatch/egress", "--timeout=5s"];
        let waited = kubectl.run(&wait).await;
        self.told("kubectl wait --for=condition=Ready agrees", waited.map(|_| ()));
        let again = kubectl.run(&["apply", "-f", SAMPLE]).await?;
        self.check("applied again: unchanged", again.contains("unchanged"));
        Ok(())
    }

    async fn lose_alert(&mut self) -> Result {
        say("Somebody deletes an alert in Parseable's console, and Parseable restarts");
        let before = self.parseable.alerts().await?;
        let id = before[0]["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/api/v1/alerts/{id}");
        self.parseable.call(reqwest::Method::DELETE, &path, None).await?;
        self.parseable.call(reqwest::Method::POST, "/standin/restart", None).await?;
        // Any change of the object is looked at; without one it is at the next resync.
        let note = ["annotate", "securitywatch", NAME, "looked-at=now", "--overwrite"];
        self.cluster.kubectl.run(&note).await?;
        let repaired = until("four new alerts", PATIENCE, async || {
            let now = self.parseable.alerts().await?;
            let old =
                now.iter().filter(|alert| before.iter().any(|b| b["id"] == alert["id"])).count();
            ensure!(now.len() == 4 && old == 0, "{} alerts, {old} of them dead", now.len());
            Ok(())
        })
        .await;
        self.told("the operator found the restart and made all four again", repaired);
        let synced = self.condition("AlertsSynced", "True", PATIENCE).await;
        self.told("AlertsSynced is True", synced);
        self.describe().await
    }

    async fn lose_secret(&mut self) -> Result {
        say("kubectl delete secret parseable-env-secret");
        let kubectl = self.cluster.kubectl.clone();
        kubectl.run(&["delete", "secret", "parseable-env-secret"]).await?;
        kubectl.run(&["annotate", "securitywatch", NAME, "looked-at=later", "--overwrite"]).await?;
        let missing = self.condition("ResolvedRefs", "False", PATIENCE).await;
        self.told("ResolvedRefs becomes False", missing);
        self.describe().await?;
        let account = [
            format!("--from-literal=username={USER}"),
            format!("--from-literal=password={PASSWORD}"),
        ];
        let create =
            ["create", "secret", "generic", "parseable-env-secret", &account[0], &account[1]];
        kubectl.run(&create).await?;
        let back = self.condition("Ready", "True", PATIENCE).await;
        self.told("the Secret is back, and Ready is True by itself", back);
        Ok(())
    }

    async fn farewell(&mut self) -> Result {
        say("kubectl delete -f config/samples/egress.yaml");
        let kubectl = self.cluster.kubectl.clone();
        print!("{}", kubectl.run(&["delete", "-f", SAMPLE, "--timeout=60s"]).await?);
        let left = self.parseable.alerts().await?.len();
        self.check("no alert is left in Parseable", left == 0);
        let (status, _) = self.parseable.get("/api/v1/logstream/tetrademo/info").await?;
        self.check("the stream, which holds the events, stays", status == 200);
        Ok(())
    }

    async fn describe(&self) -> Result {
        println!("\n$ kubectl describe securitywatch {NAME}");
        let text = self.cluster.kubectl.run(&["describe", "securitywatch", NAME]).await?;
        // The spec is the sample.
        let status = text.find("\nStatus:").map_or(text.as_str(), |at| &text[at + 1..]);
        println!("{}\n", status.trim_end());
        Ok(())
    }

    async fn condition(&self, type_: &str, status: &str, within: Duration) -> Result {
        let api: kube::Api<SecurityWatch> = kube::Api::namespaced(self.client.clone(), NAMESPACE);
        until(&format!("{type_}={status}"), within, async || {
            let watch = api.get(NAME).await?;
            let found = find(watch.status.as_ref(), type_)?;
            ensure!(
                found.status == status && found.observed_generation == watch.metadata.generation,
                "{} {}: {}",
                found.status,
                found.reason,
                found.message
            );
            Ok(())
        })
        .await
    }
}
