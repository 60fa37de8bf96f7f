//! What documents cannot ask of a machine that is no cluster's node. Pure.

use securitywatch_api::document::{Document, Kind};
use securitywatch_api::field::FieldPath;
use securitywatch_api::policy::{Policy, Workloads};

use super::documents::Documents;
use crate::check::Problem;

/// Everything that asks for pods, or for nodes by their labels.
pub(super) fn refuse(documents: &Documents) -> Vec<Problem> {
    let all = documents.all.iter().filter(|document| !document.suspended);
    let asked = all.filter_map(|document| Some((document, document.policy.as_ref()?)));
    asked
        .flat_map(|(document, policy)| {
            let base = base(document);
            fields(policy).into_iter().map(move |(field, what)| {
                let message = format!(
                    "{field} selects {what}, which are known in a cluster only: leave it out, or apply the document to a cluster"
                );
                documents.problem(document, &base.field(field), message)
            })
        })
        .collect()
}

/// Where the policy's spec stands.
fn base(document: &Document) -> FieldPath {
    let spec = FieldPath::root().field("spec");
    match document.kind {
        Kind::SecurityWatch | Kind::ClusterSecurityWatch => {
            spec.field("tracingPolicy").field("spec")
        }
        _ => spec,
    }
}

fn fields(policy: &Policy) -> Vec<(&'static str, &'static str)> {
    let mut fields = Vec::new();
    if let Workloads::Some { pods: Some(pods), .. } = &policy.scope.workloads {
        if !pods.labels.is_empty() || pods.containers.is_empty() {
            fields.push(("podSelector", "pods"));
        }
        if !pods.containers.is_empty() {
            fields.push(("containerSelector", "containers"));
        }
    }
    if !policy.scope.nodes.is_empty() {
        fields.push(("nodeSelector", "nodes"));
    }
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(selectors: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec:\n  \
             {selectors}\n  kprobes: [{{call: tcp_connect, syscall: false}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let documents = Documents::read(&[path]).unwrap();
        refuse(&documents).into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn pods_and_nodes_are_refused_at_their_fields_and_the_host_is_not() {
        assert_eq!(refused("podSelector: {}"), ["spec.podSelector"]);
        let both =
            "podSelector: {matchLabels: {a: b}}\n  containerSelector: {matchLabels: {name: c}}";
        assert_eq!(refused(both), ["spec.podSelector", "spec.containerSelector"]);
        let containers = "containerSelector: {matchLabels: {name: c}}\n  hostSelector: {}";
        assert_eq!(refused(containers), ["spec.containerSelector"]);
        assert_eq!(refused("nodeSelector: {matchLabels: {a: b}}"), ["spec.nodeSelector"]);
        for fine in ["hostSelector: {}", "nodeSelector: {}", "tracepoints: []"] {
            assert!(refused(fine).is_empty(), "{fine}");
        }
    }
}
