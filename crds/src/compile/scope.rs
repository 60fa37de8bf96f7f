//! Where a policy applies: `podSelector`, `containerSelector`, `hostSelector` and `nodeSelector`, by Tetragon's
//! rules. With none of the first three it applies to every process; with any of them, only to what they select.

use super::Errors;
use crate::field::FieldPath;
use crate::policy::{
    CONTAINER_KEYS, LabelSelector, LabelTest, PodScope, Requirement, Scope, Workloads,
};
use crate::tracing_policy::{self, LabelExpression, LabelOperator, TracingPolicySpec};

pub(super) fn compile(base: &FieldPath, spec: &TracingPolicySpec, errors: &mut Errors) -> Scope {
    let mut selected = |field, source: &Option<tracing_policy::LabelSelector>| {
        source.as_ref().map(|source| selector(&base.field(field), source, errors))
    };
    let pods = selected("podSelector", &spec.pod_selector);
    let containers = selected("containerSelector", &spec.container_selector);
    let host = selected("hostSelector", &spec.host_selector);
    let nodes = selected("nodeSelector", &spec.node_selector).unwrap_or_default();
    if let Some(containers) = &spec.container_selector {
        check_container_keys(&base.field("containerSelector"), containers, errors);
    }
    if host.as_ref().is_some_and(|host| !host.is_empty()) {
        errors.add(
            &base.field("hostSelector"),
            "hostSelector selects all of the host or is left out: write hostSelector: {}; nodes are selected by nodeSelector",
        );
    }
    let has_pods = pods.is_some() || containers.is_some();
    let pods = has_pods.then(|| PodScope {
        namespace: None,
        labels: pods.unwrap_or_default(),
        containers: containers.unwrap_or_default(),
    });
    let workloads = match (host.is_some(), pods) {
        (false, None) => Workloads::Everything,
        (host, pods) => Workloads::Some { host, pods },
    };
    Scope { workloads, nodes }
}

fn selector(
    path: &FieldPath,
    source: &tracing_policy::LabelSelector,
    errors: &mut Errors,
) -> LabelSelector {
    let labels = source.match_labels.iter().flatten().map(|(key, value)| Requirement {
        key: key.clone(),
        test: LabelTest::In(vec![value.clone()]),
    });
    let mut requirements: Vec<Requirement> = labels.collect();
    for (index, expression) in source.match_expressions.iter().flatten().enumerate() {
        let path = path.field("matchExpressions").index(index);
        requirements.extend(requirement(&path, expression, errors));
    }
    LabelSelector { requirements }
}

fn requirement(
    path: &FieldPath,
    expression: &LabelExpression,
    errors: &mut Errors,
) -> Option<Requirement> {
    let LabelExpression { key, operator, values } = expression;
    let values = values.clone().unwrap_or_default();
    let takes_values = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
    if key.is_empty() {
        errors.add(&path.field("key"), "the key is empty: name a label");
        return None;
    }
    if takes_values == values.is_empty() {
        let message = if takes_values {
            format!("{operator:?} compares with values: list at least one")
        } else {
            format!("{operator:?} takes no values: leave them out, or use In or NotIn")
        };
        errors.add(&path.field("values"), message);
        return None;
    }
    let test = match operator {
        LabelOperator::In => LabelTest::In(values),
        LabelOperator::NotIn => LabelTest::NotIn(values),
        LabelOperator::Exists => LabelTest::Exists,
        LabelOperator::DoesNotExist => LabelTest::DoesNotExist,
    };
    Some(Requirement { key: key.clone(), test })
}

/// A misspelt key would select no container, or with NotIn every one.
fn check_container_keys(
    path: &FieldPath,
    source: &tracing_policy::LabelSelector,
    errors: &mut Errors,
) {
    let mut check = |path: &FieldPath, key: &str| {
        if !CONTAINER_KEYS.contains(&key) {
            let known = CONTAINER_KEYS.join(" and ");
            errors.add(path, format!("containers have no {key:?}: the keys are {known}"));
        }
    };
    for key in source.match_labels.iter().flat_map(|labels| labels.keys()) {
        check(&path.field("matchLabels").field(key), key);
    }
    for (index, expression) in source.match_expressions.iter().flatten().enumerate() {
        check(&path.field("matchExpressions").index(index).field("key"), &expression.key);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::compile::compile_policy;

    fn scope(selectors: Value) -> Result<Scope, Vec<String>> {
        let mut spec = json!({"kprobes": [{"call": "tcp_connect", "syscall": false}]});
        for (field, value) in selectors.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: TracingPolicySpec = serde_json::from_value(spec).unwrap();
        compile_policy("test", &FieldPath::root().field("spec"), &spec)
            .map(|policy| policy.scope)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_selectors_combine_as_in_tetragon() {
        let by_app = json!({"matchLabels": {"app": "shop"}});
        let by_name =
            json!({"matchExpressions": [{"key": "name", "operator": "In", "values": ["main"]}]});
        let required = |key: &str, value: &str| LabelSelector {
            requirements: vec![Requirement {
                key: key.into(),
                test: LabelTest::In(vec![value.into()]),
            }],
        };
        let pods = |labels: LabelSelector, containers: LabelSelector| {
            Some(PodScope { namespace: None, labels, containers })
        };
        let (all, app, main) =
            (LabelSelector::default(), required("app", "shop"), required("name", "main"));
        for (selectors, expected) in [
            (json!({}), Workloads::Everything),
            (json!({"podSelector": null}), Workloads::Everything),
            (json!({"hostSelector": {}}), Workloads::Some { host: true, pods: None }),
            (
                json!({"podSelector": {}}),
                Workloads::Some { host: false, pods: pods(all.clone(), all.clone()) },
            ),
            (
                json!({"podSelector": by_app}),
                Workloads::Some { host: false, pods: pods(app.clone(), all.clone()) },
            ),
            (
                json!({"containerSelector": by_name}),
                Workloads::Some { host: false, pods: pods(all.clone(), main.clone()) },
            ),
            (
                json!({"podSelector": by_app, "containerSelector": by_name, "hostSelector": {}}),
                Workloads::Some { host: true, pods: pods(app, main) },
            ),
        ] {
            assert_eq!(scope(selectors.clone()).unwrap().workloads, expected, "{selectors}");
        }
        let on_gpu = scope(json!({"nodeSelector": {"matchLabels": {"pool": "gpu"}}})).unwrap();
        assert_eq!(
            on_gpu,
            Scope { workloads: Workloads::Everything, nodes: required("pool", "gpu") },
            "nodeSelector says nothing about processes"
        );
    }

    #[test]
    fn a_selector_that_cannot_be_honoured_is_refused_at_its_path() {
        let expression = |operator: &str, values: Value| {
            json!({"podSelector": {"matchExpressions": [
                {"key": "app", "operator": "Exists"},
                {"key": "app", "operator": operator, "values": values},
            ]}})
        };
        let values = "spec.podSelector.matchExpressions[1].values: ";
        for (selectors, starts) in [
            (expression("NotIn", json!(null)), format!("{values}NotIn compares with values")),
            (expression("In", json!([])), format!("{values}In compares with values")),
            (expression("Exists", json!(["a"])), format!("{values}Exists takes no values")),
            (
                expression("DoesNotExist", json!(["a"])),
                format!("{values}DoesNotExist takes no values"),
            ),
            (
                json!({"containerSelector": {"matchLabels": {"image": "nginx"}}}),
                r#"spec.containerSelector.matchLabels.image: containers have no "image""#
                    .to_owned(),
            ),
            (
                json!({"containerSelector": {"matchExpressions": [{"key": "Name", "operator": "Exists"}]}}),
                r#"spec.containerSelector.matchExpressions[0].key: containers have no "Name""#
                    .to_owned(),
            ),
            (
                json!({"hostSelector": {"matchLabels": {"a": "b"}}}),
                "spec.hostSelector: hostSelector selects all of the host".to_owned(),
            ),
        ] {
            let errors = scope(selectors.clone()).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(&starts), "{selectors}: {errors:?}");
        }
    }
}
