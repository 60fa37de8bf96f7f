//! Alerts at once: hits reported as a probe does, with its token, and the webhook behind the operator.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use securitywatch_api::cluster::{ALERTS_CERTIFICATE, FIRINGS_SECRET, INGEST_SECRET};
use serde_json::{Value, json};

use super::nodes::names;
use super::watches::{Handle, SOON, apply, uid};
use crate::install::NAMESPACE;
use crate::scenario::{Context, Scenario};
use crate::sink::Sink;
use crate::wait::until;
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "a hit calls the webhook once, however often and by how many nodes it is reported" => once,
    "with Parseable away an alert fires all the same" => without_parseable,
    "only the probe of a node reports its hits" => strangers,
    "a message that keeps coming is repeated as the watch says, and no more" => repeats,
    "a webhook that refuses shows in the status, and its cure too" => refusing,
    "an operator that dies between hit and call makes the call when it is back" => death,
    "the next operator goes on with what the last one knew of a firing" => handed_over,
];

const AUDIENCE: &str = "securitywatch-operator";
/// As the chart tells probes.
const HOST: &str = "securitywatch-operator.securitywatch-system.svc";

/// A watch with one alert, its webhook, and the way to the operator.
struct Scene {
    handle: Handle,
    uid: String,
    generation: i64,
    sink: Sink,
    namespace: &'static str,
    nodes: Vec<String>,
}

impl Scene {
    async fn new(
        context: &Context,
        namespace: &'static str,
        target: Option<Value>,
        repeat: Option<Value>,
    ) -> Result<Self> {
        context.namespace(namespace).await?;
        let sink = Sink::start().await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "oncall", "namespace": namespace},
            "stringData": {"url": sink.url}
        });
        context.cluster.kubectl.run_with(&["apply", "-f", "-"], &secret.to_string()).await?;
        let mut alert = super::watches::alert(
            "wget_command",
            r#"(process_exec_process_binary =% "/usr/bin/wget")"#,
        );
        alert["message"] = json!("wget in {process_exec_process_pod_name}");
        if let Some(repeat) = repeat {
            alert["targets"][0]["repeat"] = repeat;
        }
        let mut watch = super::watches::bare(namespace, "egress");
        watch["spec"]["alerts"] = json!([alert]);
        if let Some(target) = target {
            watch["spec"]["target"] = target;
        }
        let applied = apply(context, &watch).await?;
        let handle = Handle::new(context, namespace, "egress");
        handle.condition("ResolvedRefs", "True", "Resolved", SOON).await?;
        let (uid, generation) = (uid(&applied), applied.metadata.generation.unwrap_or_default());
        Ok(Self { handle, uid, generation, sink, namespace, nodes: names(context).await? })
    }

    fn hit(&self, event: &str, pod: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "watch": self.uid, "generation": self.generation, "alert": "wget_command", "eventId": event,
            "eventType": "process_exec", "timeNs": u64::try_from(now.as_nanos()).unwrap_or(0),
            "columns": {"process_exec_process_pod_name": pod},
            "namespace": self.namespace, "pod": pod, "binary": "/usr/bin/wget", "events": 1
        })
    }

    async fn end(self) -> Result {
        self.handle.delete().await?;
        self.handle.gone(SOON).await
    }

    async fn last_fired(&self) -> Result<String> {
        let status = self.handle.get().await?.status.unwrap_or_default();
        let alert = status.alerts.into_iter().flatten().next().ok_or("no alert in the status")?;
        Ok(alert.last_fired.ok_or("no lastFired")?.0.to_string())
    }
}

/// A token of a ServiceAccount of the chart.
async fn token(context: &Context, account: &str, more: &[&str]) -> Result<String> {
    let arguments = ["create", "token", account, "--namespace", NAMESPACE];
    let token = context.cluster.kubectl.run(&[&arguments, more].concat()).await?;
    Ok(token.trim().to_owned())
}

/// As the kubelet gives it to the probe of a node.
async fn probe_token(context: &Context, node: &str) -> Result<String> {
    let bound =
        ["--audience", AUDIENCE, "--bound-object-kind", "Node", "--bound-object-name", node];
    token(context, "securitywatch-probe", &bound).await
}

/// What a key of a Secret of the operator's holds.
async fn secret(context: &Context, name: &str, key: &str) -> Result<Vec<u8>> {
    let path = format!(r"jsonpath={{.data.{}}}", key.replace('.', r"\."));
    let arguments = ["get", "secret", name, "--namespace", NAMESPACE, "--output", &path];
    let encoded = context.cluster.kubectl.run(&arguments).await?;
    let content: k8s_openapi::ByteString = serde_json::from_value(json!(encoded.trim()))?;
    Ok(content.0)
}

/// Waits until the notification log says this.
async fn logged(context: &Context, what: &str) -> Result {
    until("the notification log knows of it", SOON, async || {
        let log = String::from_utf8(secret(context, FIRINGS_SECRET, "firings.json").await?)?;
        ensure!(log.contains(what), "no {what} in {log}");
        Ok(())
    })
    .await
}

/// Status and text of the operator's answer. It is known by the certificate that the nodes get.
async fn post(context: &Context, token: &str, node: &str, hits: &[Value]) -> Result<(u16, String)> {
    let certificate = secret(context, INGEST_SECRET, ALERTS_CERTIFICATE).await?;
    let certificate = reqwest::Certificate::from_pem(&certificate)?;
    let operator = context.operator.lock().await;
    let address = operator.as_ref().ok_or("the operator does not run")?.alerts();
    drop(operator);
    let client = reqwest::Client::builder()
        .tls_certs_only([certificate])
        .resolve(HOST, address)
        .timeout(Duration::from_secs(10))
        .build()?;
    let response = client
        .post(format!("https://{HOST}:{}/v1/hits", address.port()))
        .bearer_auth(token)
        .body(json!({"node": node, "hits": hits}).to_string())
        .send()
        .await?;
    Ok((response.status().as_u16(), response.text().await?))
}

/// Reports as a probe does: until the operator has done with all of it.
async fn report(context: &Context, node: &str, hits: &[Value]) -> Result {
    let token = probe_token(context, node).await?;
    until("the operator has done with the hits", SOON * 2, async || {
        let (status, text) = post(context, &token, node, hits).await?;
        ensure!(status == 200 && text == r#"{"pending":[]}"#, "it answered {status}: {text}");
        Ok(())
    })
    .await
}

async fn once(context: &Context) -> Result {
    let scene = Scene::new(context, "alert-once", None, None).await?;
    scene.handle.condition("AlertsSynced", "True", "NoTarget", SOON).await?;
    let started = Instant::now();
    report(context, &scene.nodes[0], &[scene.hit("r-1", "web-0")]).await?;
    println!("        reported, called and answered in {} ms", started.elapsed().as_millis());
    for node in &scene.nodes {
        report(context, node, &[scene.hit("r-1", "web-0"), scene.hit("r-2", "web-0")]).await?;
    }
    let bodies = scene.sink.bodies();
    ensure!(bodies.len() == 1, "{} calls: {bodies:?}", bodies.len());
    let body = &bodies[0];
    ensure!(body["message"] == "wget in web-0" && body["alert"] == "wget_command", "{body}");
    ensure!(body["watch"] == "SecurityWatch/alert-once/egress", "{body}");
    ensure!(body["node"] == scene.nodes[0].as_str() && body["event_id"] == "r-1", "{body}");
    // Another pod is another message.
    report(context, &scene.nodes[1], &[scene.hit("r-9", "web-1")]).await?;
    ensure!(
        scene.sink.messages() == ["wget in web-0", "wget in web-1"],
        "{:?}",
        scene.sink.bodies()
    );
    // What a node says of another namespace is not this watch's.
    let mut foreign = scene.hit("r-10", "bank-0");
    foreign["namespace"] = json!("bank");
    report(context, &scene.nodes[1], &[foreign]).await?;
    ensure!(scene.sink.bodies().len() == 2, "another namespace's hit fired");
    until("the status says when", SOON, async || scene.last_fired().await.map(|_| ())).await?;
    let arguments = ["describe", "securitywatch", "egress", "--namespace", "alert-once"];
    let described = context.cluster.kubectl.run(&arguments).await?;
    ensure!(described.contains("Last Fired:"), "kubectl describe printed:\n{described}");
    scene.end().await
}

async fn without_parseable(context: &Context) -> Result {
    let target = json!({"parseable": {"url": "http://127.0.0.1:9", "stream": "away"}});
    let scene = Scene::new(context, "alert-away", Some(target), None).await?;
    scene.handle.condition("AlertsSynced", "False", "TargetUnreachable", SOON).await?;
    report(context, &scene.nodes[0], &[scene.hit("r-1", "web-0")]).await?;
    ensure!(scene.sink.messages() == ["wget in web-0"], "{:?}", scene.sink.bodies());
    until("the status says when", SOON, async || scene.last_fired().await.map(|_| ())).await?;
    // The finalizer would wait for the server.
    scene.handle.patch(&json!({"spec": {"target": null}})).await?;
    scene.handle.delete().await?;
    let finalizers = json!({"metadata": {"finalizers": null}});
    // Gone already is as good.
    let _ = scene.handle.patch(&finalizers).await;
    scene.handle.gone(SOON).await
}

async fn strangers(context: &Context) -> Result {
    let scene = Scene::new(context, "alert-strangers", None, None).await?;
    let (own, other) = (scene.nodes[0].as_str(), scene.nodes[1].as_str());
    let bound = ["--bound-object-kind", "Node", "--bound-object-name", own];
    let audience = ["--audience", AUDIENCE];
    let hits = [scene.hit("r-1", "web-0")];
    let cases = [
        ("no token", String::new(), own, 401),
        ("no such token", "a.b.c".to_owned(), own, 401),
        (
            "a token for the API server",
            token(context, "securitywatch-probe", &bound).await?,
            own,
            401,
        ),
        (
            "another account's token",
            token(context, "securitywatch-operator", &[&audience[..], &bound].concat()).await?,
            own,
            403,
        ),
        ("a token of no node", token(context, "securitywatch-probe", &audience).await?, own, 403),
        ("another node's hits", probe_token(context, own).await?, other, 403),
    ];
    for (what, token, node, wanted) in cases {
        let (status, text) = post(context, &token, node, &hits).await?;
        ensure!(status == wanted, "{what}: answered {status} instead of {wanted}: {text}");
    }
    let (status, _) = post(context, &probe_token(context, own).await?, own, &[json!({})]).await?;
    ensure!(status == 400, "nonsense was answered {status}");
    ensure!(scene.sink.bodies().is_empty(), "a stranger's hit fired");
    scene.end().await
}

async fn repeats(context: &Context) -> Result {
    let repeat = json!({"interval": "2s", "times": 2});
    let scene = Scene::new(context, "alert-repeats", None, Some(repeat)).await?;
    let (node, started) = (scene.nodes[0].as_str(), Instant::now());
    let token = probe_token(context, node).await?;
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(7) {
        sent += 1;
        let hits = [scene.hit(&format!("r-{sent}"), "web-0")];
        let (status, text) = post(context, &token, node, &hits).await?;
        ensure!(status == 200, "answered {status}: {text}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let bodies = scene.sink.bodies();
    let calls: Vec<_> = bodies.iter().filter_map(|body| body["call"].as_u64()).collect();
    ensure!(calls == [1, 2, 3], "calls {calls:?} of {sent} hits in 7 s");
    let told: u64 = bodies.iter().filter_map(|body| body["hits"].as_u64()).sum();
    ensure!(told > 3 && told <= sent, "{told} of {sent} hits are told of");
    scene.end().await
}

async fn refusing(context: &Context) -> Result {
    let scene = Scene::new(context, "alert-refused", None, None).await?;
    scene.sink.answer(404, Duration::ZERO);
    report(context, &scene.nodes[0], &[scene.hit("r-1", "web-0")]).await?;
    let told = scene.handle.condition("AlertsSynced", "False", "NotDelivered", SOON).await?;
    let why = "webhook of secret oncall key url answered 404";
    ensure!(told.message.contains(why), "{}", told.message);
    let arguments = ["describe", "securitywatch", "egress", "--namespace", "alert-refused"];
    until("an event tells of it", SOON, async || {
        let text = context.cluster.kubectl.run(&arguments).await?;
        ensure!(text.contains("AlertNotDelivered"), "no event in:\n{text}");
        ensure!(!text.contains("T0KEN"), "the URL shows in:\n{text}");
        Ok(())
    })
    .await?;
    scene.sink.answer(200, Duration::ZERO);
    report(context, &scene.nodes[0], &[scene.hit("r-2", "web-1")]).await?;
    scene.handle.condition("AlertsSynced", "True", "NoTarget", SOON).await?;
    let log = std::fs::read_to_string(context.pod.log())?;
    ensure!(!log.contains("T0KEN-of-the-sink"), "the URL is in the log");
    scene.end().await
}

async fn death(context: &Context) -> Result {
    let scene = Scene::new(context, "alert-death", None, None).await?;
    let node = scene.nodes[0].as_str();
    report(context, node, &[scene.hit("r-0", "before")]).await?;
    until("the status says when", SOON, async || scene.last_fired().await.map(|_| ())).await?;
    let before = scene.last_fired().await?;
    logged(context, "wget in before").await?;
    // The webhook hangs, so the hit stays with the probe.
    scene.sink.answer(200, Duration::from_secs(60));
    let (token, hits) = (probe_token(context, node).await?, [scene.hit("r-1", "web-0")]);
    let (status, text) = post(context, &token, node, &hits).await?;
    ensure!(status == 200 && text == r#"{"pending":[0]}"#, "answered {status}: {text}");
    let operator = context.operator.lock().await.take().ok_or("the operator does not run")?;
    operator.kill().await?;
    scene.sink.answer(200, Duration::ZERO);
    context.start_operator().await?;
    report(context, node, &hits).await?;
    // Before the death the call was under way: it may be made twice, never not at all.
    ensure!(
        scene.sink.messages() == ["wget in before", "wget in web-0", "wget in web-0"],
        "{:?}",
        scene.sink.messages()
    );
    report(context, node, &hits).await?;
    report(context, node, &[scene.hit("r-2", "before")]).await?;
    ensure!(
        scene.sink.bodies().len() == 3,
        "reported once more, called once more: {:?}",
        scene.sink.messages()
    );
    until("the status says of the last one", SOON, async || {
        let now = scene.last_fired().await?;
        ensure!(now > before, "lastFired is still {now}");
        Ok(())
    })
    .await?;
    scene.end().await
}

async fn handed_over(context: &Context) -> Result {
    let repeat = json!({"interval": "8s", "times": 9});
    let scene = Scene::new(context, "alert-handed-over", None, Some(repeat)).await?;
    let node = scene.nodes[0].as_str();
    report(context, node, &[scene.hit("r-1", "web-0")]).await?;
    // Taken, and to be told of with the next call: the probe will not report it again.
    report(context, node, &[scene.hit("r-2", "web-0")]).await?;
    let operator = context.operator.lock().await.take().ok_or("the operator does not run")?;
    ensure!(operator.stop().await?.success(), "the operator did not end well");
    logged(context, r#""eventId":"r-2""#).await?;
    context.start_operator().await?;
    until("the next operator tells of what was folded", Duration::from_secs(30), async || {
        ensure!(scene.sink.bodies().len() >= 2, "{} calls", scene.sink.bodies().len());
        Ok(())
    })
    .await?;
    // A call was made a moment ago: the interval runs.
    report(context, node, &[scene.hit("r-3", "web-0")]).await?;
    let told: Vec<_> = scene
        .sink
        .bodies()
        .iter()
        .map(|body| (body["call"].clone(), body["hits"].clone(), body["event_id"].clone()))
        .collect();
    let wanted = [(json!(1), json!(1), json!("r-1")), (json!(2), json!(1), json!("r-2"))];
    ensure!(told == wanted, "{told:?}");
    scene.end().await
}
