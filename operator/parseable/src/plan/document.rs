//! The old generation: one document for each stream, with everybody's alerts in it.
//!
//! It is read, changed and written as a whole. Entries of others stay as they are, byte for byte of their JSON; ours are known by
//! their names. What a server shows is written in its own way (other parentheses, defaults filled in), so entries
//! are compared by what they mean.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use securitywatch_api::rule::{Expr, v1::RuleDocument};
use securitywatch_api::watch::Repeat;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::desired::{DesiredAlert, DesiredTarget, Destination, Owner};
use crate::failure::{Failure, FailureClass};
use crate::identity;

/// What the server takes where a target says nothing.
const DEFAULT_REPEAT: Repeat = Repeat { interval: Duration::from_secs(200), times: 5 };
/// For a target that wants no repetition: the server knows none, and one is the least.
const LEAST_REPEAT: Repeat = Repeat { interval: Duration::from_secs(200), times: 1 };

/// What the stream's document is to become.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DocumentPlan {
    pub(crate) document: Value,
    /// Names of alerts, as in the spec.
    pub(crate) created: Vec<String>,
    pub(crate) updated: Vec<String>,
    pub(crate) deleted: Vec<String>,
}

/// The entry of one alert.
///
/// # Errors
/// The old generation cannot say it.
pub(crate) fn entry(owner: &Owner, alert: &DesiredAlert) -> Result<Value, Failure> {
    let refused = |message: String| Failure::new(FailureClass::AlertRejected, message);
    let rule = alert.rule.to_text().map_err(|error| {
        refused(format!("this version of the server cannot hold the rule: {error}"))
    })?;
    Ok(json!({
        "name": format!("{}{}", identity::entry_prefix(owner), alert.name),
        "message": alert.message.to_string(),
        "rule": {"type": "composite", "config": rule},
        "targets": alert.targets.iter().map(target).collect::<Vec<Value>>(),
    }))
}

fn target(target: &DesiredTarget) -> Value {
    let (mut value, url) = match &target.destination {
        Destination::Webhook { url, headers, skip_tls_check } => {
            let headers: BTreeMap<&str, &str> =
                headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
            (json!({"type": "webhook", "headers": headers, "skip_tls_check": skip_tls_check}), url)
        }
        Destination::Slack { url } => (json!({"type": "slack"}), url),
        Destination::Alertmanager { url, login, skip_tls_check } => {
            let mut value = json!({"type": "alertmanager", "skip_tls_check": skip_tls_check});
            if let Some(login) = login {
                value["username"] = json!(login.username);
                value["password"] = json!(login.password.expose());
            }
            (value, url)
        }
    };
    let repeat = target.repeat.unwrap_or(LEAST_REPEAT);
    value["endpoint"] = json!(url.expose().as_str());
    value["repeat"] =
        json!({"interval": format!("{}s", repeat.interval.as_secs()), "times": repeat.times});
    value
}

/// The document with this watch's alerts as they are to be; `None` when it has them already. An alert without an entry is one
/// that cannot be written now: what is there of it stays.
pub(crate) fn plan(
    current: Option<&Value>,
    owner: &Owner,
    wanted: &[(&str, Option<Value>)],
) -> Option<DocumentPlan> {
    let prefix = identity::entry_prefix(owner);
    let mark = (identity::cluster_mark(&owner.cluster_id), identity::uid_mark(&owner.uid));
    let is_ours = |entry: &Value| {
        identity::entry_owner(name(entry)) == Some((mark.0.as_str(), mark.1.as_str()))
    };
    let entries = entries(current);
    let (ours, mut result): (Vec<&Value>, Vec<&Value>) =
        entries.iter().partition(|entry| is_ours(entry));
    let (mut created, mut updated, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for (alert, entry) in wanted {
        let there = ours.iter().find(|there| name(there).strip_prefix(&prefix) == Some(alert));
        match (there, entry) {
            (None, None) => {}
            (Some(there), None) => result.push(there),
            (None, Some(entry)) => {
                created.push((*alert).to_owned());
                result.push(entry);
            }
            (Some(there), Some(entry)) if means_the_same(there, entry) => result.push(there),
            (Some(_), Some(entry)) => {
                updated.push((*alert).to_owned());
                result.push(entry);
            }
        }
    }
    for there in &ours {
        let alert = name(there).strip_prefix(&prefix);
        if !wanted.iter().any(|(name, _)| Some(*name) == alert) {
            deleted.push(alert.unwrap_or_else(|| name(there)).to_owned());
        }
    }
    let changed = !(created.is_empty() && updated.is_empty() && deleted.is_empty());
    let document = json!({"version": "v1", "alerts": result});
    changed.then_some(DocumentPlan { document, created, updated, deleted })
}

/// The document without entries of this cluster whose watch is gone, and how many those were.
pub(crate) fn sweep(
    current: &Value,
    cluster_id: &str,
    live_uids: &HashSet<String>,
) -> Option<(Value, usize)> {
    let cluster = identity::cluster_mark(cluster_id);
    let live: HashSet<String> = live_uids.iter().map(|uid| identity::uid_mark(uid)).collect();
    let is_orphan = |entry: &&Value| match identity::entry_owner(name(entry)) {
        Some((of, uid)) => of == cluster && !live.contains(uid),
        None => false,
    };
    let entries = entries(Some(current));
    let (orphans, rest): (Vec<&Value>, Vec<&Value>) = entries.iter().partition(is_orphan);
    (!orphans.is_empty()).then(|| (json!({"version": "v1", "alerts": rest}), orphans.len()))
}

fn entries(document: Option<&Value>) -> &[Value] {
    document
        .and_then(|document| document["alerts"].as_array())
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap_or_default()
}

fn means_the_same(one: &Value, other: &Value) -> bool {
    match (meaning(one), meaning(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// What an entry does, whatever way it is written; `None` when that cannot be told.
fn meaning(entry: &Value) -> Option<(String, Expr, Vec<TargetMeaning>)> {
    let rule: RuleDocument = serde_json::from_value(entry["rule"].clone()).ok()?;
    let targets: Vec<TargetDocument> = serde_json::from_value(entry["targets"].clone()).ok()?;
    let targets = targets.into_iter().map(TargetDocument::meaning).collect::<Option<Vec<_>>>()?;
    Some((entry["message"].as_str()?.to_owned(), rule.into_expr().ok()?, targets))
}

#[derive(Deserialize)]
struct TargetDocument {
    #[serde(rename = "type")]
    kind: String,
    endpoint: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    skip_tls_check: Option<bool>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    repeat: Option<RepeatDocument>,
}

#[derive(Default, Deserialize)]
struct RepeatDocument {
    #[serde(default)]
    interval: Option<String>,
    #[serde(default)]
    times: Option<u32>,
}

/// Kind, endpoint, headers, TLS, user, password, interval, times.
type TargetMeaning =
    (String, String, BTreeMap<String, String>, bool, Option<String>, Option<String>, Duration, u32);

impl TargetDocument {
    fn meaning(self) -> Option<TargetMeaning> {
        let repeat = self.repeat.unwrap_or_default();
        let interval = match repeat.interval {
            Some(text) => humantime::parse_duration(&text).ok()?,
            None => DEFAULT_REPEAT.interval,
        };
        let times = repeat.times.unwrap_or(DEFAULT_REPEAT.times);
        Some((
            self.kind,
            self.endpoint,
            self.headers.unwrap_or_default(),
            self.skip_tls_check.unwrap_or(false),
            self.username,
            self.password,
            interval,
            times,
        ))
    }
}

#[cfg(test)]
mod tests {
    use securitywatch_api::rule::{self, Template};
    use securitywatch_api::secret::{Secret, SecretUrl};
    use securitywatch_api::v1alpha1::Severity;

    use super::*;

    fn owner(uid: &str) -> Owner {
        Owner {
            cluster_id: "c1".into(),
            uid: uid.into(),
            title: "SecurityWatch/shop/egress".into(),
            created_ms: 1,
        }
    }

    fn alert(name: &str) -> DesiredAlert {
        let destination = Destination::Webhook {
            url: SecretUrl::parse("http://hooks.example.org/x").unwrap(),
            headers: [("A".to_owned(), Secret::new("b".to_owned()))].into(),
            skip_tls_check: false,
        };
        let repeat = Some(Repeat { interval: Duration::from_secs(90), times: 5 });
        DesiredAlert {
            name: name.into(),
            severity: Severity::High,
            message: Template::parse("wget in {pod}").unwrap(),
            rule: rule::parse(r#"(a =% "wget") and (b = 1 or c = 2)"#).unwrap(),
            targets: vec![DesiredTarget { key: "k".into(), destination, repeat }],
        }
    }

    fn plan_of(current: Option<&Value>, alerts: &[DesiredAlert]) -> Option<DocumentPlan> {
        let owner = owner("u1");
        let wanted: Vec<_> = alerts
            .iter()
            .map(|alert| (alert.name.as_str(), Some(entry(&owner, alert).unwrap())))
            .collect();
        plan(current, &owner, &wanted)
    }

    #[test]
    fn the_document_of_an_untouched_stream() {
        let made = plan_of(None, &[alert("wget")]).unwrap();
        assert_eq!(made.created, ["wget"]);
        assert_eq!(
            made.document,
            json!({"version": "v1", "alerts": [{
                "name": format!("{}wget", identity::entry_prefix(&owner("u1"))),
                "message": "wget in {pod}",
                "rule": {"type": "composite", "config": "a =% \"wget\" and (b = 1 or c = 2)"},
                "targets": [{"type": "webhook", "endpoint": "http://hooks.example.org/x", "headers": {"A": "b"},
                             "skip_tls_check": false, "repeat": {"interval": "90s", "times": 5}}],
            }]})
        );
        assert_eq!(plan_of(None, &[]), None);
    }

    #[test]
    fn what_the_server_writes_its_own_way_is_the_same() {
        let mut shown = plan_of(None, &[alert("wget")]).unwrap().document;
        let entry = &mut shown["alerts"][0];
        entry["rule"]["config"] = json!(r#"((a =% "wget") and ((b = 1) or (c = 2)))"#);
        entry["targets"][0]["repeat"]["interval"] = json!("1m 30s");
        entry["targets"][0]["username"] = json!(null);
        entry["id"] = json!("01J");
        assert_eq!(plan_of(Some(&shown), &[alert("wget")]), None);
        shown["alerts"][0]["rule"]["config"] = json!(r#"a =% "curl""#);
        let repaired = plan_of(Some(&shown), &[alert("wget")]).unwrap();
        assert_eq!(repaired.updated, ["wget"]);
    }

    #[test]
    fn entries_of_others_stay_as_they_are() {
        let foreign = json!({"name": "by hand", "message": "m", "rule": {"type": "column", "config": {"x": 1}},
                             "targets": [{"type": "slack", "endpoint": "https://x"}], "new field": [1]});
        let other = entry(&owner("u2"), &alert("wget")).unwrap();
        let current = json!({"version": "v1", "alerts": [other, foreign]});
        let made = plan_of(Some(&current), &[alert("wget")]).unwrap();
        assert_eq!(made.document["alerts"][0], other);
        assert_eq!(made.document["alerts"][1], foreign);
        assert_eq!((made.created, made.deleted), (vec!["wget".to_owned()], Vec::<String>::new()));
        // And away again.
        let gone = plan_of(Some(&made.document), &[]).unwrap();
        assert_eq!((gone.document, gone.deleted), (current, vec!["wget".to_owned()]));
    }

    #[test]
    fn one_that_cannot_be_written_now_keeps_its_entry() {
        let current = plan_of(None, &[alert("wget")]).unwrap().document;
        assert_eq!(plan(Some(&current), &owner("u1"), &[("wget", None)]), None);
        assert_eq!(plan(None, &owner("u1"), &[("wget", None)]), None);
    }

    #[test]
    fn orphans_of_this_cluster_are_swept() {
        let mine = |uid: &str| entry(&owner(uid), &alert("wget")).unwrap();
        let other = Owner { cluster_id: "c2".into(), ..owner("gone") };
        let other = entry(&other, &alert("wget")).unwrap();
        let current = json!({"version": "v1", "alerts": [mine("u1"), mine("gone"), other]});
        let live = HashSet::from(["u1".to_owned()]);
        let (document, count) = sweep(&current, "c1", &live).unwrap();
        assert_eq!((document["alerts"].clone(), count), (json!([mine("u1"), other]), 1));
        assert_eq!(sweep(&document, "c1", &live), None);
    }

    #[test]
    fn what_the_text_form_cannot_say_is_refused() {
        let mut alert = alert("wget");
        alert.rule = Expr::all([]);
        assert!(entry(&owner("u1"), &alert).unwrap_err().message.contains("cannot hold the rule"));
    }
}
