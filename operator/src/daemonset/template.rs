//! The DaemonSet as it is applied. What is here is all that is on the nodes.

use securitywatch_api::alerting::wire::AUDIENCE;
use securitywatch_api::cluster::{ALERTS_CERTIFICATE, INGEST_SECRET};
use serde_json::{Map, Value, json};

use super::{EventLog, ProbeConfig};

/// Where the probe finds the accounts it ships with.
const INGEST_FOLDER: &str = "/var/run/securitywatch/ingest";
/// Where the probe finds the token that it reports hits with.
const TOKEN_FOLDER: &str = "/var/run/securitywatch/operator";
/// How long such a token is good for; the kubelet exchanges it in time.
const TOKEN_SECONDS: u32 = 3600;
/// Where the event log is written, in the container and, unless the chart says otherwise, on the node.
const EVENT_LOG_FOLDER: &str = "/var/log/securitywatch";
/// The cgroups of the node: in the container, whose own `/sys/fs/cgroup` shows no other's, and on the node.
const CGROUP_ROOT: &str = "/host/sys/fs/cgroup";
const HOST_CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// What outlives the probe's process, and ends with its pod: the ledger, and hits that wait.
const STATE_FOLDER: &str = "/var/lib/securitywatch";
const STATE_SIZE: &str = "32Mi";
/// Where the probe answers whether it is well, unless the chart says otherwise.
const HEALTH_PORT: u16 = 8081;

/// BPF and PERFMON load and attach programs; SYS_PTRACE reads `/proc` of other users' processes, which
/// the probe needs to know those that were there before it; SYS_RESOURCE lifts the limit on locked
/// memory, which kernels before 5.11 count BPF maps against.
const CAPABILITIES: [&str; 4] = ["BPF", "PERFMON", "SYS_PTRACE", "SYS_RESOURCE"];

/// Where the DaemonSet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The operator's Deployment by name and uid: what it owns goes when the chart is uninstalled.
    pub owner: Option<(String, String)>,
}

/// Renders the DaemonSet for server-side apply: only fields that mean something.
#[must_use]
pub fn render(config: &ProbeConfig, place: &Place) -> Value {
    let mut metadata = json!({
        "name": config.name,
        "namespace": place.namespace,
        "labels": labels(config, true),
    });
    if let Some((name, uid)) = &place.owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid
        }]);
    }
    let mut template = json!({"labels": labels(config, false)});
    put(&mut template, "annotations", strings(config.pod_annotations.as_ref()));
    let update = config.update_strategy.as_ref().map_or_else(
        || json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}),
        |strategy| json!(strategy),
    );
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": selector(config)},
            "updateStrategy": update,
            "template": {"metadata": template, "spec": pod(config)},
        }
    })
}

/// Immutable once applied, so it holds nothing that a value of the chart may change.
fn selector(config: &ProbeConfig) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("securitywatch.io/daemonset".into(), config.name.as_str().into());
    labels
}

/// The chart's labels, by which its monitors select; where it says nothing, the usual ones.
fn labels(config: &ProbeConfig, managed: bool) -> Map<String, Value> {
    let mut labels = Map::new();
    labels.insert("app.kubernetes.io/name".into(), "securitywatch".into());
    labels.insert("app.kubernetes.io/component".into(), "probe".into());
    labels.extend(strings(config.pod_labels.as_ref()));
    // Pods that the selector does not match would be refused by the server.
    labels.extend(selector(config));
    if managed {
        labels.insert("app.kubernetes.io/managed-by".into(), "securitywatch-operator".into());
    }
    labels
}

fn pod(config: &ProbeConfig) -> Value {
    let mut pod = json!({
        "serviceAccountName": config.service_account_name,
        "automountServiceAccountToken": true,
        // /proc of the pod is that of the node.
        "hostPID": true,
        // The probe sends what waits for ten seconds.
        "terminationGracePeriodSeconds": 20,
        "containers": [container(config)],
        "volumes": volumes(config),
    });
    put(&mut pod, "tolerations", json!(config.tolerations));
    put(&mut pod, "nodeSelector", json!(config.node_selector));
    put(&mut pod, "affinity", json!(config.affinity));
    put(&mut pod, "priorityClassName", json!(config.priority_class_name));
    let pull = config.image_pull_secrets.iter().flatten().map(|name| json!({"name": name}));
    put(&mut pod, "imagePullSecrets", Value::Array(pull.collect()));
    pod
}

fn container(config: &ProbeConfig) -> Value {
    let health = config.health_port.unwrap_or(HEALTH_PORT);
    let mut ports = vec![json!({"name": "health", "containerPort": health, "protocol": "TCP"})];
    if let Some(port) = config.metrics_port {
        ports.push(json!({"name": "metrics", "containerPort": port, "protocol": "TCP"}));
    }
    let mut container = json!({
        "name": "probe",
        "image": config.image,
        "args": arguments(config, health),
        "env": environment(config),
        "ports": ports,
        "securityContext": security(config),
        "volumeMounts": mounts(config),
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "health"},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
        },
        // A probe that hangs is blind; one that is only busy must not be killed for it.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "health"},
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    });
    put(&mut container, "imagePullPolicy", json!(config.image_pull_policy));
    put(&mut container, "resources", json!(config.resources));
    container
}

fn arguments(config: &ProbeConfig, health: u16) -> Vec<String> {
    let mut arguments = vec![
        "agent".to_owned(),
        format!("--ingest-credentials={INGEST_FOLDER}"),
        format!("--cgroup-root={CGROUP_ROOT}"),
        format!("--health-addr=0.0.0.0:{health}"),
        format!("--state={STATE_FOLDER}"),
    ];
    if let Some(port) = config.metrics_port {
        arguments.push(format!("--metrics-addr=0.0.0.0:{port}"));
    }
    if let Some(url) = operator_url(config) {
        arguments.push(format!("--operator-url={url}"));
        arguments.push(format!("--operator-token={TOKEN_FOLDER}/token"));
        arguments.push(format!("--operator-ca={INGEST_FOLDER}/{ALERTS_CERTIFICATE}"));
    }
    if let Some(name) = config.cluster_name.as_ref().filter(|name| !name.is_empty()) {
        arguments.push(format!("--cluster-name={name}"));
    }
    if let Some(log) = event_log(config) {
        arguments.push(format!("--event-log={EVENT_LOG_FOLDER}/events.json"));
        if let Some(size) = log.max_size_mb {
            arguments.push(format!("--event-log-max-size-mb={size}"));
        }
        if let Some(files) = log.max_files {
            arguments.push(format!("--event-log-max-files={files}"));
        }
    }
    arguments
}

fn environment(config: &ProbeConfig) -> Value {
    let mut environment = vec![json!({
        "name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}
    })];
    if let Some(level) = config.log_level.as_ref().filter(|level| !level.is_empty()) {
        environment.push(json!({"name": "RUST_LOG", "value": level}));
    }
    Value::Array(environment)
}

fn security(config: &ProbeConfig) -> Value {
    if config.privileged == Some(true) {
        return json!({"privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true});
    }
    json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsUser": 0,
        "runAsNonRoot": false,
        "capabilities": {"drop": ["ALL"], "add": CAPABILITIES},
        // The runtimes' profile lets bpf and perf_event_open through for who has the capabilities.
        "seccompProfile": {"type": "RuntimeDefault"},
        // The runtimes' profile forbids to read /proc of processes outside of the container.
        "appArmorProfile": {"type": "Unconfined"},
    })
}

fn operator_url(config: &ProbeConfig) -> Option<&str> {
    config.operator_url.as_deref().filter(|url| !url.is_empty())
}

fn event_log(config: &ProbeConfig) -> Option<&EventLog> {
    config.event_log.as_ref().filter(|log| log.enabled)
}

fn mounts(config: &ProbeConfig) -> Value {
    let mut mounts = vec![
        json!({"name": "ingest", "mountPath": INGEST_FOLDER, "readOnly": true}),
        json!({"name": "cgroup", "mountPath": CGROUP_ROOT, "readOnly": true}),
        json!({"name": "state", "mountPath": STATE_FOLDER}),
    ];
    if operator_url(config).is_some() {
        mounts.push(json!({"name": "operator-token", "mountPath": TOKEN_FOLDER, "readOnly": true}));
    }
    if event_log(config).is_some() {
        mounts.push(json!({"name": "event-log", "mountPath": EVENT_LOG_FOLDER}));
    }
    Value::Array(mounts)
}

/// The ingest accounts, the node's cgroups, room for what a container's death must not lose, the token for the operator and, where wanted,
/// the event log's folder. Type information and the kernel's
/// tables are in the `/sys` and `/proc` that every container has.
fn volumes(config: &ProbeConfig) -> Value {
    let mut volumes = vec![
        json!({
            "name": "ingest",
            "secret": {"secretName": INGEST_SECRET, "optional": true, "defaultMode": 0o400},
        }),
        json!({"name": "cgroup", "hostPath": {"path": HOST_CGROUP_ROOT, "type": "Directory"}}),
        json!({"name": "state", "emptyDir": {"sizeLimit": STATE_SIZE}}),
    ];
    if operator_url(config).is_some() {
        let token =
            json!({"path": "token", "audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS});
        volumes.push(json!({
            "name": "operator-token",
            "projected": {"defaultMode": 0o400, "sources": [{"serviceAccountToken": token}]},
        }));
    }
    if let Some(log) = event_log(config) {
        let path = log.host_path.as_deref().unwrap_or(EVENT_LOG_FOLDER);
        volumes.push(json!({
            "name": "event-log", "hostPath": {"path": path, "type": "DirectoryOrCreate"}
        }));
    }
    Value::Array(volumes)
}

fn strings(map: Option<&std::collections::BTreeMap<String, String>>) -> Map<String, Value> {
    map.into_iter().flatten().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect()
}

/// Sets a field unless it says nothing.
fn put(object: &mut Value, field: &str, value: impl Into<Value>) {
    let value = value.into();
    let empty = match &value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if !empty {
        object[field] = value;
    }
}
