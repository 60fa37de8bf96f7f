//! The checked form of a watch: what is left once every field of its spec has a meaning.

mod alert;
mod target;

pub use alert::{Alert, Login, Receiver, Repeat, Target, UrlSource};
pub(crate) use alert::{check_header, check_interval, judged, message, rule};
pub use target::Parseable;

use crate::compile::compile_policy;
use crate::field::{FieldError, FieldPath};
use crate::policy::Policy;
use crate::v1alpha1::{EventFilters, PolicyRef, PolicySource, SecurityWatchSpec, rules};

/// A watch whose every field is understood and supported.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedWatch {
    /// The policy written in the watch.
    pub policy: Option<Policy>,
    /// Or the object that holds it, for the caller to resolve.
    pub policy_ref: Option<PolicyRef>,
    /// Where events go.
    pub parseable: Option<Parseable>,
    /// In the order of the document.
    pub alerts: Vec<Alert>,
    /// `suspend: true`: nothing of this is to run.
    pub suspended: bool,
}

/// Checks the spec of a watch, which stands at `base` in its document (`spec`). `name` becomes the
/// events' `policy_name`; `namespace` is that of a SecurityWatch, to whose pods the policy is confined.
///
/// # Errors
/// Everything that is wrong or not supported, each with its path.
pub fn check_watch(
    name: &str,
    namespace: Option<&str>,
    base: &FieldPath,
    spec: &SecurityWatchSpec,
) -> Result<CheckedWatch, Vec<FieldError>> {
    let mut errors = Vec::new();
    let (mut policy, policy_ref) = policy(name, base, spec.tracing_policy.as_ref(), &mut errors);
    if let (Some(policy), Some(namespace)) = (&mut policy, namespace) {
        let path = base.field("tracingPolicy").field("spec");
        match policy.scope.confined_to(namespace, &path) {
            Ok(confined) => policy.scope = confined,
            Err(error) => errors.push(error),
        }
    }
    refuse_filters(base, spec.events.as_ref(), &mut errors);
    let parseable = spec.target.as_ref().and_then(|target| {
        target::check(&base.field("target").field("parseable"), &target.parseable, &mut errors)
    });
    let alerts = alert::check_all(
        &base.field("alerts"),
        spec.alerts.as_deref().unwrap_or_default(),
        &mut errors,
    );
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(CheckedWatch {
        policy,
        policy_ref,
        parseable,
        alerts,
        suspended: spec.suspend.unwrap_or(false),
    })
}

fn policy(
    name: &str,
    base: &FieldPath,
    source: Option<&PolicySource>,
    errors: &mut Vec<FieldError>,
) -> (Option<Policy>, Option<PolicyRef>) {
    let path = base.field("tracingPolicy");
    match source.map(|source| (&source.spec, &source.reference)) {
        None => (None, None),
        Some((Some(spec), None)) => match compile_policy(name, &path.field("spec"), spec) {
            Ok(policy) => (Some(policy), None),
            Err(found) => {
                errors.extend(found);
                (None, None)
            }
        },
        Some((None, Some(reference))) => {
            if !rules::OBJECT_NAME.allows(&reference.name) {
                errors.push(FieldError::new(
                    &path.field("ref").field("name"),
                    rules::OBJECT_NAME.message,
                ));
            }
            (None, Some(reference.clone()))
        }
        Some(_) => {
            errors.push(FieldError::new(&path, rules::ONE_POLICY));
            (None, None)
        }
    }
}

fn refuse_filters(base: &FieldPath, events: Option<&EventFilters>, errors: &mut Vec<FieldError>) {
    let Some(events) = events else { return };
    let path = base.field("events");
    let present = [
        ("allow", events.allow.as_ref().is_some_and(|filters| !filters.is_empty())),
        ("deny", events.deny.as_ref().is_some_and(|filters| !filters.is_empty())),
        ("redact", events.redact.as_ref().is_some_and(|redactions| !redactions.is_empty())),
    ];
    for (field, _) in present.iter().filter(|(_, present)| *present) {
        errors.push(FieldError::new(
            &path.field(field),
            format!("{field} is not supported: every event in the watch's scope leaves the node as it is"),
        ));
    }
}
