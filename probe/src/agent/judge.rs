//! What one watch asks of this node. Pure: the object and the policies it may name in, a wish out.

use securitywatch_api::cluster::policy_hash;
use securitywatch_api::compile::compile_policy;
use securitywatch_api::field::{FieldError, FieldPath};
use securitywatch_api::policy::Policy;
use securitywatch_api::v1alpha1::conditions::reasons::{accepted, node_policy, resolved_refs};
use securitywatch_api::v1alpha1::{PolicyKind, PolicyRef};
use securitywatch_api::watch::{Alert, CheckedWatch, Parseable, check_watch};

use super::Reason;
use super::store::{Known, Objects, Watched};
use crate::output::Scope;

/// Most mistakes that a report names; the operator's condition has them all.
const MAX_ERRORS: usize = 5;

/// One watch, judged by its object alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    pub uid: String,
    /// `SecurityWatch/shop/egress`
    pub title: String,
    pub generation: i64,
    /// Of the policy, where there is one.
    pub hash: Option<String>,
    pub scope: Scope,
    pub verdict: Verdict,
}

/// What is to become of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Run(Box<Task>),
    /// Nothing of it is to run.
    Suspended,
    /// The policy it names is not there: nothing is left that could run.
    Gone(Reason),
    /// It cannot run as it is written; what runs of an earlier generation goes on.
    Refused(Reason),
    /// What it names is not known yet; what runs goes on.
    Waiting(Reason),
}

/// What is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// `None`: only exec and exit.
    pub policy: Option<Policy>,
    /// The object that holds the policy, for example `TracingPolicy/egress`, where that is not the watch itself.
    pub named: Option<String>,
    pub target: Option<Parseable>,
    /// Each of which can be judged.
    pub alerts: Vec<Alert>,
    pub node: NodeChoice,
}

/// Whether a policy's nodeSelector selects this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeChoice {
    /// It has none.
    Unasked,
    Selected,
    /// It does not: the policy is not in the task, and exec and exit events go on.
    NotSelected,
    /// The labels are not known: the policy is loaded, for an API server that is away must switch nothing off.
    Unknown,
}

impl Wish {
    /// Whether the node's labels matter to it.
    #[must_use]
    pub fn asks_for_the_node(&self) -> bool {
        matches!(&self.verdict, Verdict::Run(task) if task.node != NodeChoice::Unasked)
    }
}

/// Judges one watch.
#[must_use]
pub fn judge(watch: &Watched, objects: &Objects) -> Wish {
    let scope = match &watch.namespace {
        Some(namespace) => Scope::Namespace(namespace.as_str().into()),
        None => Scope::Everything,
    };
    let (verdict, hash) = verdict(watch, objects);
    let (uid, title, generation) = (watch.uid.clone(), watch.title(), watch.generation);
    Wish { uid, title, generation, hash, scope, verdict }
}

fn verdict(watch: &Watched, objects: &Objects) -> (Verdict, Option<String>) {
    let spec = match &watch.spec {
        Ok(spec) => spec,
        Err(error) => {
            let message = format!("the object cannot be read: {error}");
            return (Verdict::Refused(Reason::new(accepted::INVALID_POLICY, message)), None);
        }
    };
    let written = spec.tracing_policy.as_ref().and_then(|source| source.spec.as_ref());
    let mut hash = written.map(policy_hash);
    let checked = match check_watch(
        &watch.name,
        watch.namespace.as_deref(),
        &FieldPath::root().field("spec"),
        spec,
    ) {
        Ok(checked) => checked,
        Err(errors) => {
            let reason = Reason::new(accepted::INVALID_POLICY, listed(&errors));
            return (Verdict::Refused(reason), hash);
        }
    };
    let named = match &checked.policy_ref {
        Some(reference) => match named_policy(watch, reference, objects) {
            Ok(found) => {
                hash = Some(found.hash);
                Some((found.policy, found.title))
            }
            // A suspended watch runs nothing, whatever it names.
            Err(_) if checked.suspended => None,
            Err(missing) => return (missing.verdict, missing.hash),
        },
        None => None,
    };
    if checked.suspended {
        return (Verdict::Suspended, hash);
    }
    if let Some(reason) = unjudgeable(&checked.alerts) {
        return (Verdict::Refused(reason), hash);
    }
    let CheckedWatch { policy, parseable: target, alerts, .. } = checked;
    let (policy, named) = match named {
        Some((policy, title)) => (Some(policy), Some(title)),
        None => (policy, None),
    };
    let node = policy.as_ref().map_or(NodeChoice::Unasked, |policy| choose(policy, objects));
    let policy = policy.filter(|_| node != NodeChoice::NotSelected);
    (Verdict::Run(Box::new(Task { policy, named, target, alerts, node })), hash)
}

fn choose(policy: &Policy, objects: &Objects) -> NodeChoice {
    let selector = &policy.scope.nodes;
    match &objects.node {
        _ if selector.is_empty() => NodeChoice::Unasked,
        None => NodeChoice::Unknown,
        Some(labels) if selector.matches(|key| labels.get(key).map(String::as_str)) => {
            NodeChoice::Selected
        }
        Some(_) => NodeChoice::NotSelected,
    }
}

/// Why an alert would be silent for ever.
fn unjudgeable(alerts: &[Alert]) -> Option<Reason> {
    let error = alerts.iter().find_map(|alert| crate::alert::judge(alert).err())?;
    Some(Reason::new(accepted::INVALID_POLICY, error.to_string()))
}

/// A policy that a watch names.
struct Named {
    policy: Policy,
    hash: String,
    title: String,
}

/// What is to become of a watch without the policy it names, and the hash of that, if it exists.
struct Missing {
    verdict: Verdict,
    hash: Option<String>,
}

/// The policy that the watch names; or what is to become of the watch without it.
fn named_policy(
    watch: &Watched,
    reference: &PolicyRef,
    objects: &Objects,
) -> Result<Named, Box<Missing>> {
    let PolicyRef { kind, name } = reference;
    let path = "spec.tracingPolicy.ref";
    let namespace = match (kind, &watch.namespace) {
        (PolicyKind::TracingPolicy, _) => None,
        (PolicyKind::TracingPolicyNamespaced, Some(namespace)) => Some(namespace.as_str()),
        (PolicyKind::TracingPolicyNamespaced, None) => {
            let message = format!(
                "{path}.kind: a ClusterSecurityWatch has no namespace, so it cannot name a TracingPolicyNamespaced; name a TracingPolicy"
            );
            let reason = Reason::new(resolved_refs::REF_NOT_PERMITTED, message);
            return Err(Box::new(Missing { verdict: Verdict::Refused(reason), hash: None }));
        }
    };
    let store = objects.policies(*kind);
    let title = match namespace {
        Some(namespace) => format!("{kind:?}/{namespace}/{name}"),
        None => format!("{kind:?}/{name}"),
    };
    let gone = |word, message| {
        let verdict = Verdict::Gone(Reason::new(word, message));
        Err(Box::new(Missing { verdict, hash: None }))
    };
    match (store.known(), store.get(namespace, name)) {
        (Known::NotYet, _) => {
            let message = format!(
                "{path}: {title} is not known yet: the list of {kind:?} objects has not come"
            );
            let verdict = Verdict::Waiting(Reason::new(node_policy::AWAITING_POLICY, message));
            Err(Box::new(Missing { verdict, hash: None }))
        }
        (Known::NoSuchKind, _) => {
            let message = format!(
                "{path}: the cluster has no {kind:?} objects; install their definition, or write the policy under spec.tracingPolicy.spec"
            );
            gone(resolved_refs::POLICY_KIND_MISSING, message)
        }
        (Known::All, None) => {
            let message = format!("{path}: {title} does not exist; create it");
            gone(resolved_refs::POLICY_NOT_FOUND, message)
        }
        (Known::All, Some(object)) => {
            let refused = |message: String| {
                let reason =
                    Reason::new(accepted::INVALID_POLICY, format!("{path}: {title}: {message}"));
                let hash = object.spec.as_ref().ok().map(policy_hash);
                Box::new(Missing { verdict: Verdict::Refused(reason), hash })
            };
            let spec = object.spec.as_ref().map_err(|error| refused(error.clone()))?;
            let base = FieldPath::root().field("spec");
            let mut policy =
                compile_policy(name, &base, spec).map_err(|errors| refused(listed(&errors)))?;
            if let Some(namespace) = &watch.namespace {
                let confined = policy.scope.confined_to(namespace, &base);
                policy.scope = confined.map_err(|error| refused(error.to_string()))?;
            }
            Ok(Named { policy, hash: policy_hash(spec), title })
        }
    }
}

/// A few mistakes in one line.
fn listed(errors: &[FieldError]) -> String {
    let mut text: Vec<String> =
        errors.iter().take(MAX_ERRORS).map(|error| error.to_string().replace('\n', " ")).collect();
    if errors.len() > MAX_ERRORS {
        text.push(format!("and {} more", errors.len() - MAX_ERRORS));
    }
    text.join("; ")
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
