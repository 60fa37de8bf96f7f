//! A cluster with real nodes, the chart installed from images of this checkout, and what it talks to.

use std::time::Duration;

use kube::Api;
use securitywatch_api::v1alpha1::{SecurityWatchNode, Watch};
use securitywatch_e2e::built;
use serde_json::{Value, json};

use super::pods;
use super::webhook::Webhook;
use crate::control_plane::{ControlPlane, HOST, Nodes};
use crate::install::{NAMESPACE, install};
use crate::parseable::{PASSWORD, Parseable, USER};
use crate::real::until;
use crate::scenario::Ground;
use crate::scenarios::watches::find;
use crate::tools::Kubectl;
use crate::{Result, ensure};

/// The chart's own names of its images, so that it is installed as it stands.
const OPERATOR_IMAGE: &str = "docker.io/library/securitywatch-operator:0.1.0";
const PROBE_IMAGE: &str = "docker.io/library/securitywatch-probe:0.1.0";

/// What the chart is installed with.
pub const VALUES: &[&str] = &["clusterName=e2e", "targets.manageOutboundPolicy=true"];

/// The first node.
pub const NODE: &str = "node-1";

/// From a change to what it causes on an emulated node.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// See the module.
#[allow(missing_debug_implementations, reason = "a client has none")]
pub struct Place {
    pub cluster: ControlPlane,
    pub parseable: Parseable,
    pub webhook: Webhook,
    /// With the administrator's rights.
    pub client: kube::Client,
}

impl Place {
    /// Starts everything; `told` hears what has come up.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(nodes: usize, told: impl Fn(&str)) -> Result<Self> {
        let parseable = Parseable::start(&[]).await?;
        let webhook = Webhook::start().await?;
        let programs =
            [built::program("securitywatch-operator")?, built::program("securitywatch-probe")?];
        let images = [(OPERATOR_IMAGE, &*programs[0]), (PROBE_IMAGE, &*programs[1])];
        let cluster = ControlPlane::start(Nodes::Real { count: nodes, images: &images }).await?;
        told("the cluster is up");
        let client = cluster.client().await?;
        let place = Self { cluster, parseable, webhook, client };
        place.publish_parseable().await?;
        for namespace in ["default", NAMESPACE] {
            place.secrets(namespace).await?;
        }
        let notes = install(&place.cluster, VALUES).await?;
        told(&format!("helm install securitywatch charts/securitywatch: {}", notes.trim()));
        place.operator_is_ready().await?;
        told("the operator's pod is ready");
        place.probes_are_ready(nodes).await?;
        told("the probes' pods are ready");
        Ok(place)
    }

    #[must_use]
    pub const fn kubectl(&self) -> &Kubectl {
        &self.cluster.kubectl
    }

    /// `parseable.parseable.svc`, as the samples name it: a Service in front of the stand-in on this machine.
    async fn publish_parseable(&self) -> Result {
        let port: u16 = self.parseable.url.rsplit(':').next().unwrap_or_default().parse()?;
        self.kubectl().run(&["create", "namespace", "parseable"]).await?;
        self.cluster.publish("parseable", "parseable", port).await
    }

    /// The Secrets that the samples name.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn secrets(&self, namespace: &str) -> Result {
        let space =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let secret = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace}, "stringData": data
            })
        };
        let account =
            secret("parseable-env-secret", json!({"username": USER, "password": PASSWORD}));
        let oncall = secret("oncall", json!({"url": self.webhook.url()}));
        if namespace == "default" {
            return pods::create(self.kubectl(), &[account, oncall]).await;
        }
        pods::create(self.kubectl(), &[space, account, oncall]).await
    }

    async fn operator_is_ready(&self) -> Result {
        let wait = [
            "wait",
            "--for=condition=Available",
            "deployment/securitywatch-operator",
            "--namespace",
            NAMESPACE,
            "--timeout=180s",
        ];
        self.kubectl().run(&wait).await?;
        Ok(())
    }

    /// Waits until so many nodes have a probe that says that it is ready.
    ///
    /// # Errors
    /// Not in time.
    pub async fn probes_are_ready(&self, nodes: usize) -> Result {
        let get = [
            "get",
            "daemonset",
            "--namespace",
            NAMESPACE,
            "--output",
            "jsonpath={.items[0].status.numberReady}",
        ];
        until("the probes are ready", PATIENCE, async || {
            let ready = self.kubectl().run(&get).await?;
            ensure!(ready == nodes.to_string(), "{ready:?} of {nodes}");
            Ok(())
        })
        .await
    }

    /// The same after a node was reset, which it takes the cluster a while to notice.
    ///
    /// # Errors
    /// Not in time.
    pub async fn probes_are_gone_and_back(&self, nodes: usize) -> Result {
        let boot = "jsonpath={.items[0].status.nodeInfo.bootID}";
        let get = ["get", "nodes", "--output", boot];
        let before = self.kubectl().run(&get).await?;
        until("the node is back", PATIENCE, async || {
            let now = self.kubectl().run(&get).await?;
            ensure!(now != before, "boot {now}");
            Ok(())
        })
        .await?;
        self.probes_are_ready(nodes).await
    }

    /// What operator and probe logged, to find out why something failed.
    pub async fn tell_logs(&self) {
        for component in ["operator", "probe"] {
            let selector = format!("app.kubernetes.io/component={component}");
            let logs = ["logs", "--namespace", NAMESPACE, "--selector", &selector, "--tail=60"];
            let text = self.kubectl().run(&logs).await.unwrap_or_else(|error| error.to_string());
            eprintln!("the end of the {component}'s log:\n{text}\n");
        }
    }

    /// The pods of the chart's parts: `operator` or `probe`.
    ///
    /// # Errors
    /// There are none.
    pub async fn pod_of(&self, component: &str) -> Result<String> {
        let selector = format!("app.kubernetes.io/component={component}");
        let get = [
            "get",
            "pods",
            "--namespace",
            NAMESPACE,
            "--selector",
            &selector,
            "--field-selector",
            "status.phase=Running",
            "--output",
            "jsonpath={.items[0].metadata.name}",
        ];
        self.kubectl().run(&get).await
    }

    /// A condition of a watch becomes this, for the spec as it is now.
    ///
    /// # Errors
    /// Not in time; the error is what it is instead.
    pub async fn condition<W>(&self, api: &Api<W>, name: &str, of: &str, status: &str) -> Result
    where
        W: Watch + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        until(&format!("{name}: {of}={status}"), PATIENCE, async || {
            let watch = api.get(name).await?;
            let found = find(watch.watch_status(), of)?;
            ensure!(
                found.status == status && found.observed_generation == watch.meta().generation,
                "{} {}: {}",
                found.status,
                found.reason,
                found.message
            );
            Ok(())
        })
        .await
    }

    /// What a node's probe reports.
    ///
    /// # Errors
    /// There is no report.
    pub async fn report(&self, node: &str) -> Result<SecurityWatchNode> {
        Ok(Api::all(self.client.clone()).get(node).await?)
    }

    /// What a node's probe reports as lost by this cause, down to its first digit.
    ///
    /// # Errors
    /// There is no report.
    pub async fn lost(&self, node: &str, cause: &str) -> Result<u64> {
        let lost = self.report(node).await?.status.and_then(|status| status.lost);
        let of_cause = lost.iter().flatten().filter(|loss| loss.cause == cause);
        Ok(of_cause.map(|loss| loss.events.unsigned_abs()).sum())
    }

    /// The rows that SQL selects from Parseable.
    ///
    /// # Errors
    /// The query is refused.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let query = json!({"query": sql, "startTime": "2h", "endTime": "now"});
        match self.parseable.call(reqwest::Method::POST, "/api/v1/query", Some(&query)).await? {
            (200, Value::Array(rows)) => Ok(rows),
            (status, answer) => Err(format!("{status} {answer}: {sql}").into()),
        }
    }

    /// The number that SQL selects as `n`.
    ///
    /// # Errors
    /// The query is refused, or selects something else.
    pub async fn number(&self, sql: &str) -> Result<u64> {
        let rows = self.rows(sql).await?;
        let number = rows.first().and_then(|row| row["n"].as_u64());
        number.ok_or_else(|| format!("{rows:?}: {sql}").into())
    }

    /// Waits until SQL selects at least so many.
    ///
    /// # Errors
    /// Not in time.
    pub async fn at_least(&self, number: u64, sql: &str) -> Result<u64> {
        until(&format!("at least {number}: {sql}"), PATIENCE, async || {
            let seen = self.number(sql).await?;
            ensure!(seen >= number, "{seen}");
            Ok(seen)
        })
        .await
    }

    /// How far ahead the clock of the node under this pod is, in seconds.
    ///
    /// # Errors
    /// The pod cannot ask.
    pub async fn clock_offset(&self, namespace: &str, pod: &str) -> Result<f64> {
        // The connection first: what is between the clock's reading and its arrival should be short.
        let script = format!(
            "for i in 1 2 3 4 5; do exec 3<>/dev/tcp/{HOST}/{}; \
             printf 'GET /clock/%s HTTP/1.0\\r\\n\\r\\n' \"${{EPOCHREALTIME/,/.}}\" >&3; read -r line <&3; exec 3<&-; done",
            self.webhook.page_port()
        );
        pods::exec(self.kubectl(), namespace, pod, &["/bin/bash", "-c", &script])
            .await?
            .succeeded()?;
        self.webhook.clock_offset().ok_or_else(|| "the node did not tell its time".into())
    }

    /// Prints a command and what it prints.
    ///
    /// # Errors
    /// It fails.
    pub async fn show(&self, arguments: &[&str]) -> Result<String> {
        let text = self.kubectl().run(arguments).await?;
        println!("\n$ kubectl {}\n{}\n", arguments.join(" "), text.trim_end());
        Ok(text)
    }
}

impl Ground for Place {
    /// What an emulated node needs for the longest of the scenarios.
    const LIMIT: Duration = Duration::from_secs(480);

    async fn mend(&self) -> Result {
        Ok(())
    }
}
