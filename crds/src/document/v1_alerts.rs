//! The alert document of Parseable's first generation, as the published walk-throughs use it:
//! `{"version": "v1", "alerts": [...]}`.
//!
//! Its endpoints are written in the document itself, which a watch forbids: such a document is read
//! from files only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Report;
use super::node::Node;
use super::{Document, Kind, place, read, schema};
use crate::field::{FieldError, FieldPath};
use crate::rule::Expr;
use crate::rule::v1::{Composite, RuleDocument};
use crate::secret::{Secret, SecretUrl};
use crate::v1alpha1::{MAX_ALERTS, Severity};
use crate::watch::{
    Alert, Login, Receiver, Repeat, Target, UrlSource, check_header, check_interval, judged,
    message, rule,
};

/// The old server's interval where a target names none.
const DEFAULT_INTERVAL: &str = "200s";
/// The old server's number of calls where a webhook or Slack target names none.
const DEFAULT_TIMES: u32 = 5;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let repeat = json!({"type": "object", "properties": {
        "interval": {"type": "string", "maxLength": 64},
        "times": {"type": "integer", "minimum": 1, "maximum": 1000}
    }});
    let target = json!({"type": "object", "required": ["type", "endpoint"], "properties": {
        "type": {"type": "string", "enum": ["webhook", "slack", "alertmanager"]},
        "endpoint": {"type": "string", "format": "password", "minLength": 1, "maxLength": 4096},
        "headers": {"type": "object", "maxProperties": 16, "additionalProperties": {
            "type": "string", "format": "password"
        }},
        "skip_tls_check": {"type": "boolean"},
        "username": {"type": "string"},
        "password": {"type": "string", "format": "password"},
        "repeat": repeat
    }});
    json!({"type": "object", "required": ["version", "alerts"], "properties": {
        "version": {"type": "string", "enum": ["v1"]},
        "alerts": {
            "type": "array",
            "maxItems": MAX_ALERTS,
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name", "message", "rule", "targets"], "properties": {
                // Written by the server; not read.
                "id": {"type": "string"},
                "name": {"type": "string", "minLength": 1, "maxLength": 128},
                "message": {"type": "string", "minLength": 1, "maxLength": 2048},
                "rule": {},
                "targets": {"type": "array", "minItems": 1, "maxItems": 8, "items": target}
            }}
        }
    }})
});

#[derive(Debug, Deserialize)]
struct V1Document {
    alerts: Vec<V1Alert>,
}

#[derive(Debug, Deserialize)]
struct V1Alert {
    name: String,
    message: String,
    rule: Value,
    targets: Vec<V1Target>,
}

#[derive(Deserialize)]
struct V1Target {
    #[serde(rename = "type")]
    kind: V1TargetKind,
    endpoint: String,
    headers: Option<BTreeMap<String, String>>,
    skip_tls_check: Option<bool>,
    username: Option<String>,
    password: Option<String>,
    repeat: Option<V1Repeat>,
}

// Endpoint, headers and password are secrets.
impl std::fmt::Debug for V1Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("V1Target").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum V1TargetKind {
    Webhook,
    Slack,
    Alertmanager,
}

#[derive(Debug, Deserialize)]
struct V1Repeat {
    interval: Option<String>,
    times: Option<u32>,
}

/// Whether a document is one of these: they carry a version and alerts, and no kind.
pub(super) fn is_one(node: &Node) -> bool {
    node.get("kind").is_none()
        && node.get("apiVersion").is_none()
        && (node.get("version").is_some() || node.get("alerts").is_some())
}

pub(super) fn load(file_name: &str, node: &Node, report: &mut Report) -> Option<Document> {
    let before = report.count();
    schema::check(node, &SCHEMA, &FieldPath::root(), report);
    if report.count() > before {
        return None;
    }
    let document: V1Document = read(node, &FieldPath::root(), report)?;
    let mut errors = Vec::new();
    let list = FieldPath::root().field("alerts");
    let alerts = document
        .alerts
        .into_iter()
        .enumerate()
        .filter_map(|(index, alert)| convert(&list.index(index), alert, &mut errors))
        .collect();
    if !errors.is_empty() {
        place(node, errors, report);
        return None;
    }
    let stem = Path::new(file_name).file_stem().and_then(|stem| stem.to_str());
    Some(Document {
        file: file_name.to_owned(),
        position: node.position,
        kind: Kind::AlertsV1,
        name: stem.unwrap_or("alerts").to_owned(),
        namespace: None,
        policy: None,
        parseable: None,
        alerts,
        suspended: false,
    })
}

fn convert(path: &FieldPath, alert: V1Alert, errors: &mut Vec<FieldError>) -> Option<Alert> {
    let message = message(&path.field("message"), &alert.message, errors);
    let rule = convert_rule(&path.field("rule"), alert.rule, errors);
    let list = path.field("targets");
    let targets = alert
        .targets
        .into_iter()
        .enumerate()
        .filter_map(|(index, target)| convert_target(&list.index(index), target, errors))
        .collect();
    Some(Alert {
        path: path.clone(),
        name: alert.name,
        severity: Severity::default(),
        message: message?,
        rule: rule?,
        targets,
    })
}

fn convert_rule(path: &FieldPath, value: Value, errors: &mut Vec<FieldError>) -> Option<Expr> {
    let document: RuleDocument = match serde_path_to_error::deserialize(value) {
        Ok(document) => document,
        Err(error) => {
            let inner = error.path().to_string();
            let path = if inner == "." { path.clone() } else { path.field(&inner) };
            errors.push(FieldError::new(&path, error.inner().to_string()));
            return None;
        }
    };
    if let RuleDocument::Composite(Composite::Text(text)) = &document {
        return rule(&path.field("config"), text, errors);
    }
    match document.into_expr() {
        Ok(expr) => judged(path, expr, errors),
        Err(message) => {
            // It begins with the field's place in the rule.
            let (inner, message) = message.split_once(": ").unwrap_or(("config", message.as_str()));
            errors.push(FieldError::new(&path.field(inner), message));
            None
        }
    }
}

fn convert_target(
    path: &FieldPath,
    spec: V1Target,
    errors: &mut Vec<FieldError>,
) -> Option<Target> {
    refuse_strangers(path, &spec, errors);
    let repeat = convert_repeat(path, &spec, errors);
    let url = match SecretUrl::parse(&spec.endpoint) {
        Ok(url) => Some(UrlSource::Inline(url)),
        Err(message) => {
            errors.push(FieldError::new(&path.field("endpoint"), message));
            None
        }
    };
    let skip_tls_check = spec.skip_tls_check.unwrap_or(false);
    let receiver = match spec.kind {
        V1TargetKind::Webhook => {
            let mut headers = BTreeMap::new();
            for (name, value) in spec.headers.into_iter().flatten() {
                if let Err(message) = check_header(&name, &value) {
                    errors.push(FieldError::new(&path.field("headers").field(&name), message));
                }
                headers.insert(name, Secret::new(value));
            }
            Receiver::Webhook { url: url?, headers, skip_tls_check }
        }
        V1TargetKind::Slack => Receiver::Slack { url: url? },
        V1TargetKind::Alertmanager => {
            let login = match (spec.username, spec.password) {
                (Some(username), Some(password)) => {
                    Some(Login::Inline { username, password: Secret::new(password) })
                }
                (None, None) => None,
                _ => {
                    errors.push(FieldError::new(path, "username and password go together"));
                    None
                }
            };
            Receiver::Alertmanager { url: url?, login, skip_tls_check }
        }
    };
    Some(Target { path: path.clone(), receiver, repeat: Some(repeat?) })
}

/// Fields of one type of target in another.
fn refuse_strangers(path: &FieldPath, spec: &V1Target, errors: &mut Vec<FieldError>) {
    let kind = spec.kind;
    let strangers = [
        ("headers", spec.headers.is_some() && kind != V1TargetKind::Webhook),
        ("skip_tls_check", spec.skip_tls_check.is_some() && kind == V1TargetKind::Slack),
        ("username", spec.username.is_some() && kind != V1TargetKind::Alertmanager),
        ("password", spec.password.is_some() && kind != V1TargetKind::Alertmanager),
    ];
    for (field, _) in strangers.iter().filter(|(_, present)| *present) {
        errors.push(FieldError::new(
            &path.field(field),
            format!("a target of this type has no {field}"),
        ));
    }
}

fn convert_repeat(
    path: &FieldPath,
    spec: &V1Target,
    errors: &mut Vec<FieldError>,
) -> Option<Repeat> {
    let path = path.field("repeat");
    let repeat = spec.repeat.as_ref();
    let interval = repeat.and_then(|repeat| repeat.interval.as_deref()).unwrap_or(DEFAULT_INTERVAL);
    let interval = check_interval(interval)
        .map_err(|message| errors.push(FieldError::new(&path.field("interval"), message)));
    let times = match (repeat.and_then(|repeat| repeat.times), spec.kind) {
        (Some(times), _) => Some(times),
        (None, V1TargetKind::Webhook | V1TargetKind::Slack) => Some(DEFAULT_TIMES),
        (None, V1TargetKind::Alertmanager) => {
            let message = "without times this target would be called for ever: say how often";
            errors.push(FieldError::new(&path.field("times"), message));
            None
        }
    };
    Some(Repeat { interval: interval.ok()?, times: times? })
}
