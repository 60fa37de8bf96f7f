//! The story for a newcomer, on a real node: `helm install`, both walk-throughs from their samples as they stand, and what
//! `kubectl describe` says before and after things go wrong.

use std::time::{Duration, Instant};

use kube::Api;
use securitywatch_api::v1alpha1::{ClusterSecurityWatch, SecurityWatch};
use serde_json::Value;

use crate::parseable::{PASSWORD, USER};
use crate::real::place::Place;
use crate::real::pods;
use crate::wait::until;
use crate::{Result, ensure};

const NAMESPACE: &str = "default";
const EGRESS: &str = "egress";
const FILES: &str = "sensitive-files";
/// A node under emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the story and says how many of its statements do not hold.
///
/// # Errors
/// A part does not start.
pub async fn run() -> Result<usize> {
    let started = Instant::now();
    say(
        "A cluster: etcd, API server, controller manager, scheduler, and a node that boots a Linux of its own",
    );
    let place = Place::start(1, |text| println!("{text}\n")).await?;
    let mut story = Story { place, passed: 0, failed: 0 };
    if let Err(error) = story.tell().await {
        story.check(&format!("the story goes on: {error}"), false);
    }
    println!("\n({:.0} s from the first part's start to here)", started.elapsed().as_secs_f64());
    println!("demo-cluster: {} passed, {} failed", story.passed, story.failed);
    story.place.cluster.stop().await?;
    Ok(story.failed)
}

struct Story {
    place: Place,
    passed: usize,
    failed: usize,
}

fn say(title: &str) {
    println!("\n== {title}");
}

impl Story {
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
        self.place.show(&["get", "nodes,pods", "--all-namespaces", "--output", "wide"]).await?;
        self.egress().await?;
        self.files().await?;
        self.lose_alert().await?;
        self.lose_secret().await?;
        self.farewell().await
    }

    fn namespaced(&self) -> Api<SecurityWatch> {
        Api::namespaced(self.place.client.clone(), NAMESPACE)
    }

    async fn egress(&mut self) -> Result {
        say("Who fetches what from a pod that should fetch nothing?");
        self.place.show(&["apply", "-f", "config/samples/egress.yaml"]).await?;
        pods::run(self.place.kubectl(), &[pods::idle(NAMESPACE, "nginx-pod")]).await?;
        let ready = self.place.condition(&self.namespaced(), EGRESS, "Ready", "True").await;
        self.told("Ready becomes True", ready);
        self.place.show(&["get", "securitywatches", "--all-namespaces"]).await?;
        self.describe("securitywatch", EGRESS).await?;

        let page = self.place.webhook.page();
        self.run_in("nginx-pod", &["wget", "-q", "-O-", &page]).await?;
        self.run_in("nginx-pod", &["curl", "-s", &page]).await?;
        for alert in
            ["wget_command", "curl_command", "wget_command_started", "curl_command_started"]
        {
            self.called(alert, "nginx-pod").await;
        }
        self.row(
            "SELECT \"process_kprobe_process_binary\", \"process_kprobe_process_pod_name\", \"process_kprobe_args_sock_arg_daddr\" \
             FROM tetrademo WHERE \"process_kprobe_function_name\" = 'tcp_connect' \
             AND \"process_kprobe_process_binary\" = '/usr/bin/curl'",
        )
        .await?;
        let wait = ["wait", "--for=condition=Ready", "securitywatch/egress", "--timeout=5s"];
        let waited = self.place.kubectl().run(&wait).await;
        self.told("kubectl wait --for=condition=Ready agrees", waited.map(|_| ()));
        let again = self.place.show(&["apply", "-f", "config/samples/egress.yaml"]).await?;
        self.check("applied again: unchanged", again.contains("unchanged"));
        Ok(())
    }

    async fn files(&mut self) -> Result {
        say("Who reads /etc/shadow of the host from a privileged pod?");
        self.place.show(&["apply", "-f", "config/samples/sensitive-files.yaml"]).await?;
        pods::run(self.place.kubectl(), &[pods::nsenter(NAMESPACE, "nsenter")]).await?;
        let watches: Api<ClusterSecurityWatch> = Api::all(self.place.client.clone());
        let ready = self.place.condition(&watches, FILES, "Ready", "True").await;
        self.told("Ready becomes True", ready);
        for file in ["/etc/passwd", "/etc/shadow"] {
            let enter = ["nsenter", "--all", "--target=1", "--", "cat", file];
            self.run_in("nsenter", &enter).await?;
        }
        for alert in ["Unauthorised access", "Unauthorised access started"] {
            self.called(alert, "nsenter").await;
        }
        self.row(
            "SELECT \"process_kprobe_process_arguments\", \"process_kprobe_process_pod_name\", \"process_kprobe_args_file_arg_path\" \
             FROM tetrademo WHERE \"process_kprobe_function_name\" = 'security_file_permission' \
             AND \"process_kprobe_args_file_arg_path\" = '/etc/shadow' AND \"process_kprobe_process_binary\" = '/usr/bin/cat'",
        )
        .await?;
        self.describe("clustersecuritywatch", FILES).await?;
        self.place.show(&["get", "securitywatchnodes"]).await?;
        Ok(())
    }

    /// Runs a command in a pod and shows the beginning of what it prints.
    async fn run_in(&mut self, pod: &str, command: &[&str]) -> Result {
        let text = pods::exec(self.place.kubectl(), NAMESPACE, pod, command).await?.succeeded()?;
        let first = text.lines().next().unwrap_or_default();
        println!("$ kubectl exec {pod} -- {}\n{first}", command.join(" "));
        Ok(())
    }

    /// An alert has called the webhook about a pod.
    async fn called(&mut self, alert: &str, pod: &str) {
        let fits = |body: &Value| body["alert"] == alert && body["pod"] == pod;
        match self.place.webhook.call(PATIENCE, alert, fits).await {
            Ok(call) => {
                let message = call.body["message"].as_str().unwrap_or_default();
                self.check(&format!("the webhook was called: {message}"), true);
            }
            Err(error) => {
                self.check(&format!("the webhook is called by {alert}\n       {error}"), false)
            }
        }
    }

    /// Parseable has a row; it is shown.
    async fn row(&mut self, sql: &str) -> Result {
        let found = until(sql, PATIENCE, async || {
            let rows = self.place.rows(sql).await?;
            rows.into_iter().next().ok_or_else(|| "no row".into())
        })
        .await;
        match found {
            Ok(row) => {
                self.check(&format!("Parseable has the event\n       {sql}\n       {row}"), true)
            }
            Err(error) => self.check(&format!("Parseable has the event\n       {error}"), false),
        }
        Ok(())
    }

    async fn lose_alert(&mut self) -> Result {
        say("Somebody deletes an alert in Parseable's console, and Parseable restarts");
        let before = self.place.parseable.alerts().await?;
        let id = before[0]["id"].as_str().unwrap_or_default().to_owned();
        let path = format!("/api/v1/alerts/{id}");
        self.place.parseable.call(reqwest::Method::DELETE, &path, None).await?;
        self.place.parseable.call(reqwest::Method::POST, "/standin/restart", None).await?;
        let all = before.len();
        let repaired = until("new alerts", PATIENCE, async || {
            let now = self.place.parseable.alerts().await?;
            let old =
                now.iter().filter(|alert| before.iter().any(|b| b["id"] == alert["id"])).count();
            ensure!(now.len() == all && old == 0, "{} alerts, {old} of them dead", now.len());
            Ok(())
        })
        .await;
        self.told("the operator found the restart and made all alerts again", repaired);
        let synced = self.place.condition(&self.namespaced(), EGRESS, "AlertsSynced", "True").await;
        self.told("AlertsSynced is True", synced);
        self.describe("securitywatch", EGRESS).await
    }

    async fn lose_secret(&mut self) -> Result {
        say("kubectl delete secret parseable-env-secret");
        let kubectl = self.place.kubectl().clone();
        kubectl.run(&["delete", "secret", "parseable-env-secret"]).await?;
        let missing =
            self.place.condition(&self.namespaced(), EGRESS, "ResolvedRefs", "False").await;
        self.told("ResolvedRefs becomes False", missing);
        self.describe("securitywatch", EGRESS).await?;
        let account = [
            format!("--from-literal=username={USER}"),
            format!("--from-literal=password={PASSWORD}"),
        ];
        let create =
            ["create", "secret", "generic", "parseable-env-secret", &account[0], &account[1]];
        kubectl.run(&create).await?;
        let back = self.place.condition(&self.namespaced(), EGRESS, "Ready", "True").await;
        self.told("the Secret is back, and Ready is True by itself", back);
        Ok(())
    }

    async fn farewell(&mut self) -> Result {
        say("The end: the watches are deleted");
        let sample = |name: &str| format!("config/samples/{name}.yaml");
        for name in [EGRESS, FILES] {
            self.place.show(&["delete", "-f", &sample(name), "--timeout=90s"]).await?;
        }
        let left = self.place.parseable.alerts().await?.len();
        self.check("no alert is left in Parseable", left == 0);
        let (status, _) = self.place.parseable.get("/api/v1/logstream/tetrademo/info").await?;
        self.check("the stream, which holds the events, stays", status == 200);
        Ok(())
    }

    async fn describe(&self, kind: &str, name: &str) -> Result {
        println!("\n$ kubectl describe {kind} {name}");
        let text = self.place.kubectl().run(&["describe", kind, name]).await?;
        // The spec is the sample.
        let status = text.find("\nStatus:").map_or(text.as_str(), |at| &text[at + 1..]);
        println!("{}\n", status.trim_end());
        Ok(())
    }
}
