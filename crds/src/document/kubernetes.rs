//! Documents with apiVersion and kind.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::error::Report;
use super::node::{Content, Node};
use super::{Document, Kind, place, read, schema};
use crate::compile::compile_policy;
use crate::field::FieldPath;
use crate::nearest::nearest;
use crate::tracing_policy::{self, TracingPolicySpec};
use crate::v1alpha1::{self, SecurityWatchSpec, rules};
use crate::watch::{CheckedWatch, check_watch};

const KINDS: [Kind; 4] = [
    Kind::SecurityWatch,
    Kind::ClusterSecurityWatch,
    Kind::TracingPolicy,
    Kind::TracingPolicyNamespaced,
];

/// The schema of a watch's spec: that of the CRD, see [`crate::crd::document_schema`].
static WATCH_SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("watch.schema.json")).unwrap_or_default());

/// What is read of metadata, and what the API server adds to objects it returns.
static METADATA_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = || json!({"type": "string", "maxLength": 253});
    let map = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": text(), "namespace": text(), "labels": map(), "annotations": map(),
            "uid": {}, "resourceVersion": {}, "generation": {}, "creationTimestamp": {}, "selfLink": {},
            "managedFields": {}, "finalizers": {}, "ownerReferences": {}, "generateName": {},
            "deletionTimestamp": {}, "deletionGracePeriodSeconds": {}
        }
    })
});

pub(super) fn load(file_name: &str, node: &Node, report: &mut Report) -> Option<Document> {
    let kind = kind(node, report)?;
    let before = report.count();
    check_envelope(node, kind, report);
    let root = FieldPath::root();
    let (metadata_path, spec_path) = (root.field("metadata"), root.field("spec"));
    let metadata = part(node, "metadata", report);
    if let Some(metadata) = metadata {
        schema::check(metadata, &METADATA_SCHEMA, &metadata_path, report);
    }
    let name = metadata.and_then(|metadata| named(metadata, "name", report));
    let namespace = metadata.and_then(|metadata| named(metadata, "namespace", report));
    let spec = part(node, "spec", report)?;
    let policy_schema = &WATCH_SCHEMA["properties"]["tracingPolicy"]["properties"]["spec"];
    let schema = if is_watch(kind) { &*WATCH_SCHEMA } else { policy_schema };
    schema::check(spec, schema, &spec_path, report);
    if report.count() > before {
        return None;
    }
    let name = name?;
    let checked = if is_watch(kind) {
        let spec: SecurityWatchSpec = read(spec, &spec_path, report)?;
        checked_watch(node, &name, &spec, report)?
    } else {
        let spec: TracingPolicySpec = read(spec, &spec_path, report)?;
        checked_policy(node, &name, &spec, report)?
    };
    if let Some(policy) = checked.policy.as_ref().filter(|_| is_namespaced(kind)) {
        let path =
            if is_watch(kind) { spec_path.field("tracingPolicy").field("spec") } else { spec_path };
        // Only asked whether it can be: without a cluster there are no namespaces to be confined to.
        let confined = policy.scope.confined_to(namespace.as_deref().unwrap_or_default(), &path);
        confined.map_err(|error| place(node, vec![error], report)).ok()?;
    }
    Some(Document {
        file: file_name.to_owned(),
        position: node.position,
        kind,
        name,
        namespace,
        policy: checked.policy,
        parseable: checked.parseable,
        alerts: checked.alerts,
        suspended: checked.suspended,
    })
}

const fn is_watch(kind: Kind) -> bool {
    matches!(kind, Kind::SecurityWatch | Kind::ClusterSecurityWatch)
}

const fn is_namespaced(kind: Kind) -> bool {
    matches!(kind, Kind::SecurityWatch | Kind::TracingPolicyNamespaced)
}

/// The document's kind, if it is one that can be read.
fn kind(node: &Node, report: &mut Report) -> Option<Kind> {
    let path = FieldPath::root().field("kind");
    let known = KINDS.map(Kind::as_str);
    let Some(value) = node.get("kind") else {
        report.add(node.position, &path, format!("kind is missing: one of {}", known.join(", ")));
        return None;
    };
    let text = value.text().unwrap_or_default();
    let kind = KINDS.into_iter().find(|kind| kind.as_str() == text);
    if kind.is_none() {
        let message = match nearest(text, known) {
            Some(near) => format!("{text:?} is not known: did you mean {near}?"),
            None => format!("{text:?} cannot be read here: one of {}", known.join(", ")),
        };
        report.add(value.position, &path, message);
    }
    kind
}

fn check_envelope(node: &Node, kind: Kind, report: &mut Report) {
    let root = FieldPath::root();
    let wanted = if is_watch(kind) { v1alpha1::API_VERSION } else { tracing_policy::API_VERSION };
    let path = root.field("apiVersion");
    match node.get("apiVersion") {
        None => report.add(node.position, &path, format!("apiVersion is missing: write {wanted}")),
        Some(value) if value.text() != Some(wanted) => {
            let found = value.text().unwrap_or("this");
            report.add(
                value.position,
                &path,
                format!("{found} has no kind {kind}: write {wanted}"),
            );
        }
        Some(_) => {}
    }
    let Content::Map(entries) = &node.content else {
        return;
    };
    // status is the server's part: objects read back from a cluster carry it.
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let message = match nearest(&entry.key, known) {
            Some(near) => format!("unknown field {:?}: did you mean {near}?", entry.key),
            None => format!("unknown field {:?}: here can stand {}", entry.key, known.join(", ")),
        };
        report.add(entry.key_position, &root.field(&entry.key), message);
    }
}

/// A part that every document has.
fn part<'a>(node: &'a Node, field: &str, report: &mut Report) -> Option<&'a Node> {
    let found = node.get(field).filter(|part| !part.is_null());
    if found.is_none() {
        report.add(node.position, &FieldPath::root().field(field), format!("{field} is missing"));
    }
    found
}

/// A name in metadata, checked.
fn named(metadata: &Node, field: &str, report: &mut Report) -> Option<String> {
    let value = metadata.get(field)?;
    let text = value.text()?;
    if !rules::OBJECT_NAME.allows(text) {
        let path = FieldPath::root().field("metadata").field(field);
        report.add(value.position, &path, rules::OBJECT_NAME.message);
    }
    Some(text.to_owned())
}

fn checked_watch(
    node: &Node,
    name: &str,
    spec: &SecurityWatchSpec,
    report: &mut Report,
) -> Option<CheckedWatch> {
    let path = FieldPath::root().field("spec");
    let checked =
        check_watch(name, None, &path, spec).map_err(|errors| place(node, errors, report)).ok()?;
    if checked.policy_ref.is_some() {
        let path = path.field("tracingPolicy").field("ref");
        let message = "ref names an object in a cluster, and a file is read without one: write the policy itself under spec";
        report.add(node.locate(&path), &path, message);
        return None;
    }
    Some(checked)
}

fn checked_policy(
    node: &Node,
    name: &str,
    spec: &TracingPolicySpec,
    report: &mut Report,
) -> Option<CheckedWatch> {
    let compiled = compile_policy(name, &FieldPath::root().field("spec"), spec);
    let policy = compiled.map_err(|errors| place(node, errors, report)).ok()?;
    Some(CheckedWatch {
        policy: Some(policy),
        policy_ref: None,
        parseable: None,
        alerts: Vec::new(),
        suspended: false,
    })
}
