//! The definitions on a real API server: accepted, strict, and readable in their refusals.

use serde_json::{Value, json};

use super::watches::{Handle, SOON, alert, apply, find, full};
use crate::scenario::{Context, Scenario};
use crate::{Result, ensure, scenarios};

pub const SCENARIOS: &[Scenario] = scenarios![
    "definitions are accepted without a warning" => definitions,
    "samples pass a strict server-side dry run" => samples,
    "the rendered chart passes a strict server-side dry run, and applying it twice changes nothing" => chart,
    "what CEL refuses reads as a sentence with its field" => refusals,
    "status is written apart from the spec, and a user's apply does not conflict with it" => status,
    "after reconciliation kubectl diff finds nothing" => no_drift,
];

async fn definitions(context: &Context) -> Result {
    let kubectl = &context.cluster.kubectl;
    let arguments =
        ["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "crds/yaml"];
    let output = kubectl.output_with(&arguments, "").await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.trim().is_empty(), "kubectl said: {errors}");
    let list = kubectl.run(&["get", "crd", "--output", "json"]).await?;
    let list: Value = serde_json::from_str(&list)?;
    let ours = list["items"].as_array().into_iter().flatten();
    let ours: Vec<_> = ours.filter(|crd| crd["spec"]["group"] == "securitywatch.io").collect();
    ensure!(ours.len() == 3, "{} definitions", ours.len());
    for crd in ours {
        for condition in crd["status"]["conditions"].as_array().into_iter().flatten() {
            let bad = condition["type"] == "NonStructuralSchema"
                || condition["type"] == "Established" && condition["status"] != "True";
            ensure!(!bad, "{}: {condition}", crd["metadata"]["name"]);
        }
    }
    Ok(())
}

const STRICT: [&str; 4] = ["apply", "--server-side", "--dry-run=server", "--validate=strict"];

async fn samples(context: &Context) -> Result {
    let arguments = [&STRICT[..], &["-f", "config/samples"]].concat();
    let output = context.cluster.kubectl.output_with(&arguments, "").await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && errors.trim().is_empty(), "kubectl said: {errors}");
    Ok(())
}

async fn chart(context: &Context) -> Result {
    let rendered = crate::tools::helm(
        context.cluster.kubeconfig(),
        &[
            "template",
            "securitywatch",
            "charts/securitywatch",
            "--namespace",
            crate::install::NAMESPACE,
        ],
    )
    .await?;
    let kubectl = &context.cluster.kubectl;
    let arguments = [&STRICT[..], &["--force-conflicts", "-f", "-"]].concat();
    let output = kubectl.output_with(&arguments, &rendered).await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !errors.contains("Warning"), "kubectl said: {errors}");
    let arguments = ["diff", "--server-side", "--force-conflicts", "-f", "-"];
    let output = kubectl.output_with(&arguments, &rendered).await?;
    let found = String::from_utf8_lossy(&output.stdout);
    // Only who manages a field may differ: helm before, kubectl now.
    let changes: Vec<&str> = found
        .lines()
        .filter(|line| {
            line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
        })
        .collect();
    ensure!(changes.is_empty(), "applying again would change: {changes:?}");
    Ok(())
}

/// What is put where, and the words that must be in the refusal: the field and what to do.
fn mistakes(context: &Context) -> Vec<(Value, [&'static str; 2])> {
    let with = |pointer: &str, value: Value| {
        let mut watch = full(context, "refusals", "refused", "tetrademo");
        if let Some(place) = watch.pointer_mut(pointer) {
            *place = value;
        }
        watch
    };
    let target = |field: &str, value: &str| {
        with(&format!("/spec/target/parseable/{field}"), Value::from(value))
    };
    let mut both = full(context, "refusals", "refused", "tetrademo");
    both["spec"]["tracingPolicy"]["ref"] = json!({"kind": "TracingPolicy", "name": "egress"});
    let mut unknown = full(context, "refusals", "refused", "tetrademo");
    unknown["spec"]["tracingPolicy"]["spec"]["kprobes"][0]["cal"] = json!("x");
    let mut receivers = alert("two", r#"(process_exec_process_binary = "x")"#);
    receivers["targets"][0]["slack"] = json!({"urlFrom": {"secretName": "oncall", "key": "url"}});
    let mut hasty = alert("hasty", r#"(process_exec_process_binary = "x")"#);
    hasty["targets"][0]["repeat"] = json!({"interval": "10ms", "times": 5});
    vec![
        (target("stream", "My Stream"), ["spec.target.parseable.stream", "for example tetrademo"]),
        (
            target("url", "http://me:pw@parseable.svc"),
            ["spec.target.parseable.url", "holds no user name"],
        ),
        (target("retention", "2w"), ["spec.target.parseable.retention", "for example 30d"]),
        (both, ["spec.tracingPolicy", "not both"]),
        (unknown, ["kprobes[0].cal", "field not declared in schema"]),
        (with("/spec/alerts/0", receivers), ["spec.alerts[0].targets[0]", "exactly one of"]),
        (
            with("/spec/alerts/0", hasty),
            ["spec.alerts[0].targets[0].repeat.interval", "for example 10s"],
        ),
    ]
}

async fn refusals(context: &Context) -> Result {
    let kubectl = &context.cluster.kubectl;
    kubectl.run(&["create", "namespace", "refusals"]).await?;
    for (watch, words) in mistakes(context) {
        let arguments = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        let output = kubectl.output_with(&arguments, &watch.to_string()).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "accepted, though {words:?}: {watch}");
        for word in words {
            ensure!(said.contains(word), "no {word:?} in: {said}");
        }
    }
    Ok(())
}

async fn status(context: &Context) -> Result {
    context.namespace("apart").await?;
    let watch = full(context, "apart", "egress", "apart");
    let created = apply(context, &watch).await?;
    let handle = Handle::new(context, "apart", "egress");
    handle.condition("Accepted", "True", "Valid", SOON).await?;
    let after = handle.get().await?;
    ensure!(
        after.metadata.generation == created.metadata.generation,
        "the operator changed the spec: generation {:?}",
        after.metadata.generation
    );
    // A user who writes a status into the file changes nothing of it.
    let mut forged = watch.clone();
    forged["status"] = json!({"observedGeneration": 99});
    apply(context, &forged).await?;
    let after = handle.get().await?;
    let observed = after.status.as_ref().and_then(|status| status.observed_generation);
    ensure!(observed == after.metadata.generation, "status was overwritten: {observed:?}");
    // Without --force-conflicts: nobody else owns what the user wrote.
    let arguments = ["apply", "--server-side", "--field-manager=user", "-f", "-"];
    context.cluster.kubectl.run_with(&arguments, &watch.to_string()).await?;
    find(after.status.as_ref(), "Ready")?;
    handle.delete().await?;
    handle.gone(SOON).await
}

async fn no_drift(context: &Context) -> Result {
    context.namespace("drift").await?;
    let kubectl = &context.cluster.kubectl;
    let sample = std::fs::read_to_string(
        securitywatch_e2e::guest::repository().join("config/samples/egress.yaml"),
    )?;
    let sample = sample
        .replace("namespace: default", "namespace: drift")
        .replace("http://parseable.parseable.svc", &context.parseable.url);
    kubectl.run_with(&["apply", "-f", "-"], &sample).await?;
    let handle = Handle::new(context, "drift", "egress");
    handle.condition("Accepted", "True", "Valid", SOON).await?;
    let output = kubectl.output_with(&["diff", "-f", "-"], &sample).await?;
    let found = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "kubectl diff found:\n{found}");
    let again = kubectl.run_with(&["apply", "-f", "-"], &sample).await?;
    ensure!(again.contains("unchanged"), "applied again: {again}");
    handle.delete().await?;
    handle.gone(SOON).await
}
