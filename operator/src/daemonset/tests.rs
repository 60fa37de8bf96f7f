#![allow(clippy::unwrap_used)]

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

use super::*;
use crate::status::Rollout;

fn config(more: Value) -> ProbeConfig {
    let mut config = json!({
        "name": "securitywatch-probe", "serviceAccountName": "securitywatch-probe",
        "image": "example.org/probe@sha256:00"
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn rendered(more: Value) -> Value {
    let place = Place {
        namespace: "securitywatch-system".into(),
        owner: Some(("securitywatch-operator".into(), "uid-1".into())),
    };
    render(&config(more), &place)
}

fn pod(more: Value) -> Value {
    rendered(more)["spec"]["template"]["spec"].take()
}

#[test]
fn it_is_what_the_server_takes_for_a_daemonset() {
    let daemonset: DaemonSet = serde_json::from_value(rendered(json!({}))).unwrap();
    assert_eq!(daemonset.metadata.owner_references.unwrap()[0].uid, "uid-1");
    let spec = daemonset.spec.unwrap();
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    for (name, value) in spec.selector.match_labels.unwrap() {
        assert_eq!(labels.get(&name), Some(&value));
    }
}

#[test]
fn the_least_privileges() {
    let pod = pod(json!({}));
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({
            "privileged": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "runAsUser": 0, "runAsNonRoot": false,
            "capabilities": {
                "drop": ["ALL"], "add": ["BPF", "PERFMON", "SYS_PTRACE", "SYS_RESOURCE"]
            },
            "seccompProfile": {"type": "RuntimeDefault"},
            "appArmorProfile": {"type": "Unconfined"}
        })
    );
    assert_eq!((&pod["hostPID"], &pod["hostNetwork"]), (&json!(true), &Value::Null));
    assert_eq!(
        pod["volumes"],
        json!([
            {
                "name": "ingest",
                "secret": {"secretName": "securitywatch-ingest", "optional": true, "defaultMode": 256}
            },
            {"name": "state", "emptyDir": {"sizeLimit": "32Mi"}}
        ])
    );
}

#[test]
fn the_escape_hatch() {
    let security = &pod(json!({"privileged": true}))["containers"][0]["securityContext"];
    assert_eq!(security["privileged"], json!(true));
    assert_eq!(security["capabilities"], Value::Null);
}

#[test]
fn the_charts_values_arrive() {
    let values = json!({
        "imagePullSecrets": ["registry"], "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"}, "priorityClassName": "system-node-critical",
        "resources": {"limits": {"memory": "256Mi"}}, "podLabels": {"team": "sec",
        "app.kubernetes.io/name": "renamed", "securitywatch.io/daemonset": "stolen"}, "metricsPort": 9464, "healthPort": 9000,
        "clusterName": "prod", "logLevel": "info",
        "updateStrategy": {"type": "OnDelete"},
        "eventLog": {"enabled": true, "maxSizeMB": 50}
    });
    let all = rendered(values);
    assert_eq!(all["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    let template = &all["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"],
        json!({
            "team": "sec", "app.kubernetes.io/name": "renamed",
            "app.kubernetes.io/component": "probe",
            "securitywatch.io/daemonset": "securitywatch-probe"
        })
    );
    let pod = &template["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["containers"][0]["resources"], json!({"limits": {"memory": "256Mi"}}));
    assert_eq!(
        pod["containers"][0]["args"],
        json!([
            "agent",
            "--ingest-credentials=/var/run/securitywatch/ingest",
            "--cgroup-root=/host/sys/fs/cgroup",
            "--health-addr=0.0.0.0:9000",
            "--state=/var/lib/securitywatch",
            "--metrics-addr=0.0.0.0:9464",
            "--cluster-name=prod",
            "--event-log=/var/log/securitywatch/events.json",
            "--event-log-max-size-mb=50"
        ])
    );
    assert_eq!(pod["volumes"][3]["hostPath"]["path"], json!("/var/log/securitywatch"));
}

#[test]
fn hits_are_reported_with_a_token_of_their_own() {
    let url = "https://securitywatch-operator.ns.svc:9443";
    let pod = pod(json!({"operatorUrl": url}));
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    for argument in [
        "--operator-url=https://securitywatch-operator.ns.svc:9443",
        "--operator-token=/var/run/securitywatch/operator/token",
        "--operator-ca=/var/run/securitywatch/ingest/alerts.crt",
        "--state=/var/lib/securitywatch",
    ] {
        assert!(arguments.contains(&json!(argument)), "{argument}");
    }
    assert_eq!(
        pod["volumes"][3],
        json!({"name": "operator-token", "projected": {"defaultMode": 256, "sources": [{"serviceAccountToken":
            {"path": "token", "audience": "securitywatch-operator", "expirationSeconds": 3600}}]}})
    );
    assert_eq!(pod["volumes"][2]["emptyDir"], json!({"sizeLimit": "32Mi"}));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 4);
    assert_eq!(
        config(json!({"operatorUrl": url})).operator_host().as_deref(),
        Some("securitywatch-operator.ns.svc")
    );
    assert_eq!(config(json!({"operatorUrl": "http://x"})).operator_host(), None);
}

#[test]
fn empty_values_are_left_out() {
    let pod = pod(json!({"tolerations": [], "nodeSelector": {}, "priorityClassName": ""}));
    for field in ["tolerations", "nodeSelector", "priorityClassName", "affinity"] {
        assert_eq!(pod.get(field), None, "{field}");
    }
}

#[test]
fn a_wrong_value_is_named() {
    let wrong =
        json!({"name": "p", "serviceAccountName": "p", "image": "i", "imagePulPolicy": "x"});
    let error = serde_json::from_value::<ProbeConfig>(wrong).unwrap_err().to_string();
    assert!(error.contains("imagePulPolicy"), "{error}");
}

#[test]
fn numbers_of_an_older_template_do_not_count() {
    let daemonset = |observed: i64| -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 2},
            "status": {
                "desiredNumberScheduled": 3, "numberReady": 2, "currentNumberScheduled": 3,
                "numberMisscheduled": 0, "observedGeneration": observed
            }
        }))
        .unwrap()
    };
    assert_eq!(rollout(&daemonset(2)), Some(Rollout { desired: 3, running: 2, counted: true }));
    assert!(!rollout(&daemonset(1)).unwrap().counted);
}
