//! Targets of today's generation.

use std::collections::{BTreeMap, HashMap};

use securitywatch_api::secret::SecretUrl;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::desired::{DesiredAlert, Destination, Owner};
use crate::identity;
use crate::wire::StoredTarget;

/// What servers show instead of a secret.
const MASK: &str = "********";
/// After so many passes a target is written again although nothing looks wrong: a changed secret cannot be seen.
pub(crate) const REFRESH_AFTER: u32 = 12;

/// A target as it is to be.
#[derive(Clone, PartialEq)]
pub(crate) struct TargetSpec {
    pub(crate) id: Ulid,
    pub(crate) key: String,
    /// The body of the POST, secrets and all.
    pub(crate) body: Value,
    /// Tells two bodies apart without keeping them.
    pub(crate) digest: String,
    pub(crate) url: SecretUrl,
}

impl std::fmt::Debug for TargetSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetSpec")
            .field("id", &self.id)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What this process last wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) digest: String,
    /// Passes since.
    pub(crate) age: u32,
}

/// Why a target is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// New, or changed by the spec or a Secret, or it is not known what was written before.
    Spec,
    /// It was right before, and was changed or deleted by hand.
    Drift,
    /// To be sure.
    Refresh,
}

/// The targets of all alerts, each key once.
pub(crate) fn specs(owner: &Owner, alerts: &[DesiredAlert]) -> BTreeMap<String, TargetSpec> {
    let mut specs = BTreeMap::new();
    for target in alerts.iter().flat_map(|alert| &alert.targets) {
        specs
            .entry(target.key.clone())
            .or_insert_with(|| spec(owner, &target.key, &target.destination));
    }
    specs
}

fn spec(owner: &Owner, key: &str, destination: &Destination) -> TargetSpec {
    let id = identity::target_id(owner, key);
    let (mut body, url) = match destination {
        Destination::Webhook { url, headers, skip_tls_check } => {
            let headers: BTreeMap<&str, &str> =
                headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
            (json!({"type": "webhook", "headers": headers, "skipTlsCheck": skip_tls_check}), url)
        }
        Destination::Slack { url } => (json!({"type": "slack"}), url),
        Destination::Alertmanager { url, login, skip_tls_check } => {
            let mut body = json!({"type": "alertManager", "skipTlsCheck": skip_tls_check});
            if let Some(login) = login {
                body["username"] = json!(login.username);
                body["password"] = json!(login.password.expose());
            }
            (body, url)
        }
    };
    body["id"] = json!(id.to_string());
    body["name"] = json!(identity::target_name(owner, key));
    body["endpoint"] = json!(url.expose().as_str());
    let digest = identity::digest(&["body", &body.to_string()], 32);
    TargetSpec { id, key: key.to_owned(), body, digest, url: url.clone() }
}

/// Which targets to write, and why.
pub(crate) fn writes<'a>(
    specs: impl IntoIterator<Item = &'a TargetSpec>,
    found: &[StoredTarget],
    applied: &HashMap<Ulid, Applied>,
) -> Vec<(&'a TargetSpec, Cause)> {
    let cause = |spec: &TargetSpec| {
        let id = spec.id.to_string();
        let there = found.iter().find(|target| target.id == id);
        let right = there.is_some_and(|target| looks_right(spec, target));
        match applied.get(&spec.id) {
            Some(applied) if applied.digest == spec.digest && !right => Some(Cause::Drift),
            Some(applied) if applied.digest == spec.digest => {
                (applied.age >= REFRESH_AFTER).then_some(Cause::Refresh)
            }
            _ => Some(Cause::Spec),
        }
    };
    specs.into_iter().filter_map(|spec| Some((spec, cause(spec)?))).collect()
}

/// Ids of targets of this watch that nothing needs any more.
pub(crate) fn unused(
    owner: &Owner,
    specs: &BTreeMap<String, TargetSpec>,
    found: &[StoredTarget],
) -> Vec<String> {
    let cluster = identity::cluster_mark(&owner.cluster_id);
    found
        .iter()
        .filter(|target| {
            identity::target_owner(&target.name) == Some((cluster.as_str(), owner.uid.as_str()))
        })
        .filter(|target| !specs.values().any(|spec| spec.id.to_string() == target.id))
        .map(|target| target.id.clone())
        .collect()
}

/// Whether everything that can be seen of a target is as it was written.
fn looks_right(spec: &TargetSpec, found: &StoredTarget) -> bool {
    let text = |field: &str| spec.body[field].as_str().unwrap_or_default();
    // The server calls an alertManager a webhook.
    let kind = |kind: &str| if kind == "alertManager" { "webhook" } else { kind }.to_owned();
    let headers: Vec<&String> = spec.body["headers"]
        .as_object()
        .map(|headers| headers.keys().collect())
        .unwrap_or_default();
    found.name == text("name")
        && kind(&found.kind) == kind(text("type"))
        && found.headers.keys().collect::<Vec<_>>() == headers
        && found.skip_tls_check == spec.body["skipTlsCheck"].as_bool().unwrap_or(false)
        && found.username.as_deref().unwrap_or_default() == text("username")
        && looks_like(&found.endpoint, text("endpoint"))
}

/// A masked endpoint has its scheme left.
fn looks_like(shown: &str, endpoint: &str) -> bool {
    match shown.split_once("://") {
        Some((scheme, rest)) if rest.contains(MASK) => {
            endpoint.split_once("://").is_some_and(|(own, _)| own == scheme)
        }
        _ => shown == endpoint,
    }
}

#[cfg(test)]
mod tests {
    use crate::desired::{DesiredTarget, Login};
    use securitywatch_api::rule::{self, Template};
    use securitywatch_api::secret::Secret;
    use securitywatch_api::v1alpha1::Severity;

    use super::*;

    fn owner() -> Owner {
        Owner {
            cluster_id: "c1".into(),
            uid: "u1".into(),
            title: "SecurityWatch/shop/egress".into(),
            created_ms: 1_795_312_441_395,
        }
    }

    fn url(text: &str) -> SecretUrl {
        SecretUrl::parse(text).unwrap()
    }

    fn manager(password: &str) -> Destination {
        Destination::Alertmanager {
            url: url("http://am.monitoring:9093/api/v2/alerts"),
            login: Some(Login {
                username: "sw".into(),
                password: Secret::new(password.to_owned()),
            }),
            skip_tls_check: false,
        }
    }

    fn hook() -> Destination {
        Destination::Webhook {
            url: url("https://hooks.example.org/token"),
            headers: [("X-Team".to_owned(), Secret::new("a".to_owned()))].into(),
            skip_tls_check: true,
        }
    }

    fn of(targets: Vec<(&str, Destination)>) -> BTreeMap<String, TargetSpec> {
        let target = |(key, destination): (&str, Destination)| DesiredTarget {
            key: key.to_owned(),
            destination,
            repeat: None,
        };
        let alert = DesiredAlert {
            name: "a".into(),
            severity: Severity::High,
            message: Template::parse("").unwrap(),
            rule: rule::parse("a = 1").unwrap(),
            targets: targets.into_iter().map(target).collect(),
        };
        specs(&owner(), &[alert.clone(), alert])
    }

    /// As the server shows it.
    fn shown(spec: &TargetSpec) -> StoredTarget {
        let mut body = spec.body.clone();
        let scheme = spec.url.expose().scheme();
        body["endpoint"] = json!(format!("{scheme}://********"));
        if body["type"] == "alertManager" {
            body["type"] = json!("webhook");
            body["password"] = json!("********");
        }
        let headers = body.get_mut("headers").and_then(Value::as_object_mut);
        for value in headers.into_iter().flat_map(|headers| headers.values_mut()) {
            *value = json!("********");
        }
        serde_json::from_value(body).unwrap()
    }

    fn applied(specs: &BTreeMap<String, TargetSpec>, age: u32) -> HashMap<Ulid, Applied> {
        specs.values().map(|spec| (spec.id, Applied { digest: spec.digest.clone(), age })).collect()
    }

    #[test]
    fn bodies_are_those_of_the_api() {
        let specs = of(vec![("a/0", hook()), ("a/1", manager("pw"))]);
        let id = |key: &str| identity::target_id(&owner(), key).to_string();
        let name = |key: &str| {
            format!("sw/SecurityWatch/shop/egress/{key} [{}/u1]", identity::cluster_mark("c1"))
        };
        assert_eq!(
            specs["a/0"].body,
            json!({"id": id("a/0"), "name": name("a/0"), "type": "webhook", "headers": {"X-Team": "a"},
                   "endpoint": "https://hooks.example.org/token", "skipTlsCheck": true})
        );
        assert_eq!(
            specs["a/1"].body,
            json!({"id": id("a/1"), "name": name("a/1"), "type": "alertManager", "username": "sw", "password": "pw",
                   "endpoint": "http://am.monitoring:9093/api/v2/alerts", "skipTlsCheck": false})
        );
        assert!(!format!("{specs:?}").contains("token"), "a secret in {specs:?}");
    }

    #[test]
    fn nothing_is_written_twice_and_lost_memory_writes_once() {
        let specs = of(vec![("a/0", hook()), ("a/1", manager("pw"))]);
        let found: Vec<_> = specs.values().map(shown).collect();
        assert_eq!(writes(specs.values(), &found, &applied(&specs, 1)), []);
        let causes = |found: &[StoredTarget], applied: &HashMap<_, _>| -> Vec<Cause> {
            writes(specs.values(), found, applied).into_iter().map(|(_, cause)| cause).collect()
        };
        assert_eq!(causes(&found, &HashMap::new()), [Cause::Spec, Cause::Spec]);
        assert_eq!(
            causes(&found, &applied(&specs, REFRESH_AFTER)),
            [Cause::Refresh, Cause::Refresh]
        );
        assert_eq!(causes(&[], &applied(&specs, 1)), [Cause::Drift, Cause::Drift]);
        // Another password cannot be seen on the server; the memory of what was written tells.
        let newer = of(vec![("a/0", hook()), ("a/1", manager("other"))]);
        let written = writes(newer.values(), &found, &applied(&specs, 1));
        assert_eq!(written.len(), 1);
        assert_eq!((written[0].0.key.as_str(), written[0].1), ("a/1", Cause::Spec));
    }

    #[test]
    fn each_visible_change_is_seen() {
        let specs = of(vec![("a/0", hook()), ("a/1", manager("pw"))]);
        let changes: [fn(&mut StoredTarget); 6] = [
            |target| target.name = "renamed".into(),
            |target| target.kind = "slack".into(),
            |target| target.endpoint = "ftp://********".into(),
            |target| target.skip_tls_check = !target.skip_tls_check,
            |target| target.username = Some("other".into()),
            |target| drop(target.headers.insert("X-Other".into(), MASK.into())),
        ];
        for (number, change) in changes.iter().enumerate() {
            for spec in specs.values() {
                let mut there = shown(spec);
                assert!(looks_right(spec, &there), "{there:?}");
                change(&mut there);
                assert!(!looks_right(spec, &there), "change {number} of {}", spec.key);
            }
        }
        // A version that masks nothing.
        let spec = &specs["a/0"];
        let mut there = shown(spec);
        there.endpoint = "https://hooks.example.org/token".into();
        assert!(looks_right(spec, &there));
        there.endpoint = "https://hooks.example.org/other".into();
        assert!(!looks_right(spec, &there));
    }

    #[test]
    fn only_own_targets_are_unused() {
        let specs = of(vec![("a/0", hook())]);
        let old = of(vec![("b/0", hook())]);
        let mut other_cluster = shown(&old["b/0"]);
        other_cluster.name = other_cluster.name.replace(&identity::cluster_mark("c1"), "00000000");
        let mut foreign = shown(&old["b/0"]);
        foreign.name = "sw/default/hook".into();
        let found = [shown(&specs["a/0"]), other_cluster, foreign, shown(&old["b/0"])];
        assert_eq!(unused(&owner(), &specs, &found), [old["b/0"].id.to_string()]);
    }
}
