//! What is known about a watch, brought into the form that `plan` works on.

use securitywatch_api::field::{FieldError, FieldPath};
use securitywatch_api::v1alpha1::conditions::reasons::{accepted, resolved_refs};
use securitywatch_api::v1alpha1::{PolicyKind, PolicyRef, SecurityWatchSpec};
use securitywatch_api::watch::{CheckedWatch, check_watch};

use crate::key::{WatchKey, WatchKind};
use crate::policies::{Lookup, PolicyKey, size};
use crate::references::{Resolved, names};
use crate::status::Judgement;

/// Most mistakes that one condition names.
const MAX_MISTAKES: usize = 5;

/// A spec with its meaning, or what is wrong with it.
pub type Checked = Result<CheckedWatch, Vec<FieldError>>;

/// Gives a spec its meaning.
pub fn check(key: &WatchKey, spec: &SecurityWatchSpec) -> Checked {
    check_watch(&key.name, key.namespace.as_deref(), &FieldPath::root().field("spec"), spec)
}

/// What a reference to a policy object comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyAnswer {
    /// The spec refers to none.
    Unasked,
    /// A reference that is not allowed.
    NotPermitted(String),
    /// What is known about the object that it names.
    Known(PolicyRef, Lookup),
}

/// The object that a watch may refer to by `reference`.
///
/// # Errors
/// Why it may not.
pub fn policy_key(key: &WatchKey, reference: &PolicyRef) -> Result<PolicyKey, String> {
    match (reference.kind, &key.namespace) {
        (PolicyKind::TracingPolicy, _) => {
            Ok(PolicyKey { namespace: None, name: reference.name.clone() })
        }
        (PolicyKind::TracingPolicyNamespaced, Some(namespace)) => {
            Ok(PolicyKey { namespace: Some(namespace.clone()), name: reference.name.clone() })
        }
        (PolicyKind::TracingPolicyNamespaced, None) => Err(
            "spec.tracingPolicy.ref.kind: a ClusterSecurityWatch has no namespace; refer to a TracingPolicy"
                .to_owned(),
        ),
    }
}

/// Whether the spec, with the policy it refers to, can be honoured.
#[must_use]
pub fn judge_spec(checked: &Checked, policy: &PolicyAnswer) -> Judgement {
    let checked = match checked {
        Ok(checked) => checked,
        Err(errors) => {
            let unsupported = |error: &FieldError| {
                error.path.as_str().starts_with("spec.tracingPolicy")
                    && error.message.contains("not supported")
            };
            let reason = if errors.iter().all(unsupported) {
                accepted::UNSUPPORTED_HOOK
            } else {
                accepted::INVALID_POLICY
            };
            return Judgement::No { reason, message: listed(errors) };
        }
    };
    if let PolicyAnswer::Known(reference, Lookup::Found(facts)) = policy {
        return match &facts.judged {
            Ok(size) => Judgement::Yes { message: size.clone() },
            Err(mistakes) => Judgement::No {
                reason: accepted::INVALID_POLICY,
                message: format!("{}: {mistakes}", title(reference)),
            },
        };
    }
    let message = match (&checked.policy, &checked.policy_ref) {
        (Some(policy), _) => size(policy),
        (None, Some(reference)) => format!("policy from {}", title(reference)),
        (None, None) => "no policy: process starts and ends only".to_owned(),
    };
    Judgement::Yes { message }
}

/// Whether what the spec refers to is there.
#[must_use]
pub fn judge_references(
    checked: &CheckedWatch,
    resolved: &Resolved,
    policy: &PolicyAnswer,
) -> Judgement {
    let mut problems: Vec<(&'static str, String)> = Vec::new();
    if let Some(problem) = policy_problem(policy) {
        problems.push(problem);
    }
    problems
        .extend(resolved.problems.iter().map(|problem| (problem.reason, problem.message.clone())));
    // A definite failure says more than one that cannot be told.
    problems.sort_by_key(|(reason, _)| *reason == resolved_refs::FORBIDDEN);
    if let Some((reason, _)) = problems.first() {
        let reason = *reason;
        let messages: Vec<_> =
            problems.into_iter().take(MAX_MISTAKES).map(|(_, message)| message).collect();
        let message = messages.join("; ");
        return if reason == resolved_refs::FORBIDDEN {
            Judgement::Unclear { reason, message }
        } else {
            Judgement::No { reason, message }
        };
    }
    let mut parts = Vec::new();
    if let PolicyAnswer::Known(reference, _) = policy {
        parts.push(title(reference));
    }
    let secrets: Vec<_> = names(checked).into_iter().collect();
    match secrets.len() {
        0 => {}
        1 => parts.push(format!("secret {}", secrets[0])),
        _ => parts.push(format!("secrets {}", secrets.join(", "))),
    }
    let message = if parts.is_empty() { "no references".to_owned() } else { parts.join("; ") };
    Judgement::Yes { message }
}

fn policy_problem(policy: &PolicyAnswer) -> Option<(&'static str, String)> {
    let (reference, lookup) = match policy {
        PolicyAnswer::Unasked => return None,
        PolicyAnswer::NotPermitted(message) => {
            return Some((resolved_refs::REF_NOT_PERMITTED, message.clone()));
        }
        PolicyAnswer::Known(reference, lookup) => (reference, lookup),
    };
    let title = title(reference);
    let path = "spec.tracingPolicy.ref";
    match lookup {
        Lookup::Found(_) | Lookup::Pending => None,
        Lookup::Absent => Some((
            resolved_refs::POLICY_NOT_FOUND,
            format!(
                "{path}: {title} does not exist; apply it, or write the policy under spec.tracingPolicy.spec"
            ),
        )),
        Lookup::KindMissing => Some((
            resolved_refs::POLICY_KIND_MISSING,
            format!(
                "{path}: the cluster has no TracingPolicy objects (CRDs of cilium.io); write the policy under spec.tracingPolicy.spec"
            ),
        )),
        Lookup::Forbidden => Some((
            resolved_refs::FORBIDDEN,
            format!(
                "{path}: the operator may not read {title}: its ClusterRole lacks get, list and watch on tracingpolicies and tracingpoliciesnamespaced of cilium.io"
            ),
        )),
    }
}

fn title(reference: &PolicyRef) -> String {
    let kind = match reference.kind {
        PolicyKind::TracingPolicy => "TracingPolicy",
        PolicyKind::TracingPolicyNamespaced => "TracingPolicyNamespaced",
    };
    format!("{kind} {}", reference.name)
}

/// The hash of the policy that nodes are asked to load.
#[must_use]
pub fn policy_hash(spec: &SecurityWatchSpec, policy: &PolicyAnswer) -> Option<String> {
    let source = spec.tracing_policy.as_ref()?;
    if let Some(spec) = &source.spec {
        return Some(securitywatch_api::cluster::policy_hash(spec));
    }
    match policy {
        PolicyAnswer::Known(_, Lookup::Found(facts)) => Some(facts.hash.clone()),
        _ => None,
    }
}

/// Mistakes on one line, each with its field; only the first line of each, for carets below a text do
/// not survive a condition's message.
#[must_use]
pub fn listed(errors: &[FieldError]) -> String {
    let mut lines: Vec<String> = errors
        .iter()
        .take(MAX_MISTAKES)
        .map(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
        .collect();
    if errors.len() > MAX_MISTAKES {
        lines.push(format!("and {} more", errors.len() - MAX_MISTAKES));
    }
    lines.join("; ")
}

/// Whether the watch leaves something outside of the cluster that must go with it.
#[must_use]
pub fn leaves_traces(checked: &CheckedWatch) -> bool {
    checked.parseable.is_some() && !checked.alerts.is_empty()
}

/// The namespace a watch's Secrets are in.
#[must_use]
pub fn secret_namespace<'a>(key: &'a WatchKey, own: &'a str) -> &'a str {
    match key.kind {
        WatchKind::Namespaced => key.namespace.as_deref().unwrap_or(own),
        WatchKind::Cluster => own,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::policies::{PolicyFacts, judge};
    use crate::references::{Found, resolve};

    fn key() -> WatchKey {
        WatchKey {
            kind: WatchKind::Namespaced,
            namespace: Some("shop".into()),
            name: "egress".into(),
        }
    }

    fn spec(value: Value) -> SecurityWatchSpec {
        serde_json::from_value(value).unwrap()
    }

    fn checked(value: Value) -> Checked {
        check(&key(), &spec(value))
    }

    fn known(lookup: Lookup) -> PolicyAnswer {
        let reference = PolicyRef { kind: PolicyKind::TracingPolicy, name: "p".into() };
        PolicyAnswer::Known(reference, lookup)
    }

    fn by_reference() -> Checked {
        checked(json!({"tracingPolicy": {"ref": {"kind": "TracingPolicy", "name": "p"}}}))
    }

    fn references(lookup: Lookup) -> Judgement {
        judge_references(&by_reference().unwrap(), &Resolved::default(), &known(lookup))
    }

    #[test]
    fn a_good_spec_is_summed_up() {
        let policy = json!({"tracingPolicy": {"spec": {"kprobes": [{
            "call": "tcp_connect", "syscall": false,
            "args": [{"index": 0, "type": "sock"}],
            "selectors": [{"matchArgs": [{"index": 0, "operator": "DPort", "values": ["80"]}]}]
        }]}}});
        let message = "1 hook, 1 selector".to_owned();
        assert_eq!(
            judge_spec(&checked(policy), &PolicyAnswer::Unasked),
            Judgement::Yes { message }
        );
        let message = "no policy: process starts and ends only".to_owned();
        assert_eq!(
            judge_spec(&checked(json!({})), &PolicyAnswer::Unasked),
            Judgement::Yes { message }
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_field() {
        let rule = checked(json!({"alerts": [{"name": "a", "message": "m", "rule": "x =~ 1",
            "targets": [{"slack": {"urlFrom": {"secretName": "s", "key": "k"}}}]}]}));
        let Judgement::No { reason, message } = judge_spec(&rule, &PolicyAnswer::Unasked) else {
            panic!("accepted");
        };
        assert_eq!(reason, "InvalidPolicy");
        assert!(message.starts_with("spec.alerts[0].rule: "), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn what_is_not_supported_has_its_own_reason() {
        let uprobe = checked(json!({"tracingPolicy": {"spec": {"uprobes": [
            {"path": "/bin/x", "symbols": ["main"]}
        ]}}}));
        let judged = judge_spec(&uprobe, &PolicyAnswer::Unasked);
        assert!(matches!(judged, Judgement::No { reason: "UnsupportedHook", .. }), "{judged:?}");
    }

    #[test]
    fn a_policy_object_is_followed() {
        let good = judge("p", json!({"kprobes": [{"call": "tcp_connect", "syscall": false}]}));
        let answer = known(Lookup::Found(good.clone()));
        let message = "1 hook, 0 selectors".to_owned();
        assert_eq!(judge_spec(&by_reference(), &answer), Judgement::Yes { message });
        let by_reference =
            spec(json!({"tracingPolicy": {"ref": {"kind": "TracingPolicy", "name": "p"}}}));
        assert_eq!(policy_hash(&by_reference, &answer), Some(good.hash));
    }

    #[test]
    fn a_policy_object_that_cannot_be_honoured_is_named() {
        let bad = PolicyFacts { hash: "1".into(), judged: Err("spec.kprobes: none".into()) };
        let message = "TracingPolicy p: spec.kprobes: none".to_owned();
        assert_eq!(
            judge_spec(&by_reference(), &known(Lookup::Found(bad))),
            Judgement::No { reason: "InvalidPolicy", message }
        );
    }

    #[test]
    fn a_missing_policy_object_or_kind_is_a_failed_reference() {
        let reason = |judgement| match judgement {
            Judgement::No { reason, .. } | Judgement::Unclear { reason, .. } => reason,
            Judgement::Yes { .. } => "",
        };
        assert_eq!(reason(references(Lookup::Absent)), "PolicyNotFound");
        assert_eq!(reason(references(Lookup::KindMissing)), "PolicyKindMissing");
        assert_eq!(reason(references(Lookup::Forbidden)), "Forbidden");
    }

    #[test]
    fn a_cluster_watch_cannot_refer_to_a_namespaced_policy() {
        let reference = PolicyRef { kind: PolicyKind::TracingPolicyNamespaced, name: "p".into() };
        let cluster = WatchKey { kind: WatchKind::Cluster, namespace: None, name: "w".into() };
        assert!(policy_key(&cluster, &reference).is_err());
        assert_eq!(policy_key(&key(), &reference).unwrap().namespace.as_deref(), Some("shop"));
    }

    #[test]
    fn resolved_secrets_are_named() {
        let watch = checked(json!({"target": {"parseable": {
            "url": "http://p", "stream": "s", "credentials": {"secretName": "admin"}
        }}}))
        .unwrap();
        let data = Found::Data([("apiKey".to_owned(), b"k".to_vec())].into());
        let resolved = resolve("shop", &watch, &[("admin".to_owned(), data)].into());
        let message = "secret admin".to_owned();
        assert_eq!(
            judge_references(&watch, &resolved, &PolicyAnswer::Unasked),
            Judgement::Yes { message }
        );
    }
}
