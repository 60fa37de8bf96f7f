//! Where a policy applies: on which nodes, and to which processes there.
//!
//! Pure. Which pods, containers and nodes there are is known on the node.

use crate::field::{FieldError, FieldPath};

/// The key that stands for a pod's namespace in a podSelector, as in Tetragon.
pub const POD_NAMESPACE_LABEL: &str = "k8s:io.kubernetes.pod.namespace";
/// The keys of a containerSelector: the container's name in its pod, and its image without tag and digest.
pub const CONTAINER_KEYS: [&str; 2] = ["name", "repo"];

/// Where a policy applies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// To which processes.
    pub workloads: Workloads,
    /// `nodeSelector`: on which nodes; an empty one is every node.
    pub nodes: LabelSelector,
}

/// The processes a policy applies to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Workloads {
    /// All of them, of pods and of the host: no selector is given.
    #[default]
    Everything,
    /// Only these.
    Some {
        /// `hostSelector: {}`: processes outside of any pod.
        host: bool,
        /// Processes of these pods; `None`: of no pod.
        pods: Option<PodScope>,
    },
}

/// The pods a policy applies to, and of each the containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodScope {
    /// Only pods of this namespace.
    pub namespace: Option<String>,
    /// `podSelector`; an empty one is every pod.
    pub labels: LabelSelector,
    /// `containerSelector` over [`CONTAINER_KEYS`]; an empty one is every container.
    pub containers: LabelSelector,
}

/// Requirements on labels; all of them must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// In the order of the document, `matchLabels` first. Empty: everything matches.
    pub requirements: Vec<Requirement>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must satisfy.
    pub test: LabelTest,
}

/// What a label's value must satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelTest {
    /// There is one, and it is listed.
    In(Vec<String>),
    /// There is none, or it is not listed.
    NotIn(Vec<String>),
    /// There is one.
    Exists,
    /// There is none.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether labels, looked up by `value_of`, satisfy every requirement.
    pub fn matches<'labels>(&self, value_of: impl Fn(&str) -> Option<&'labels str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = value_of(&requirement.key);
            let is_listed =
                |values: &[String]| value.is_some_and(|value| values.iter().any(|v| v == value));
            match &requirement.test {
                LabelTest::In(values) => is_listed(values),
                LabelTest::NotIn(values) => !is_listed(values),
                LabelTest::Exists => value.is_some(),
                LabelTest::DoesNotExist => value.is_none(),
            }
        })
    }
}

impl PodScope {
    /// Whether a pod of these labels in this namespace is selected.
    pub fn admits_pod<'pod>(
        &self,
        namespace: &'pod str,
        label: impl Fn(&str) -> Option<&'pod str>,
    ) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.labels.matches(|key| {
                let written = label(key);
                if key == POD_NAMESPACE_LABEL { written.or(Some(namespace)) } else { written }
            })
    }

    /// Whether a container of a selected pod is selected. `image` as in the pod's spec or status.
    #[must_use]
    pub fn admits_container(&self, name: &str, image: &str) -> bool {
        let repository = image_repository(image);
        self.containers.matches(|key| match key {
            "name" => Some(name),
            "repo" => Some(repository),
            _ => None,
        })
    }
}

impl Scope {
    /// The same, for the pods of one namespace only.
    ///
    /// # Errors
    /// It asks for host processes, which belong to no namespace. `base` is where the policy's spec stands.
    pub fn confined_to(&self, namespace: &str, base: &FieldPath) -> Result<Self, FieldError> {
        let pods = match &self.workloads {
            Workloads::Everything => PodScope::default(),
            Workloads::Some { host: true, .. } => {
                return Err(FieldError::new(
                    &base.field("hostSelector"),
                    "host processes belong to no namespace: leave hostSelector out, or write a ClusterSecurityWatch",
                ));
            }
            Workloads::Some { pods, .. } => pods.clone().unwrap_or_default(),
        };
        let pods = Some(PodScope { namespace: Some(namespace.to_owned()), ..pods });
        Ok(Self { workloads: Workloads::Some { host: false, pods }, nodes: self.nodes.clone() })
    }
}

/// An image's name without tag and digest: `registry:5000/team/app` of `registry:5000/team/app:v1@sha256:…`.
#[must_use]
pub fn image_repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn selector(requirements: &[(&str, LabelTest)]) -> LabelSelector {
        let requirement = |(key, test): &(&str, LabelTest)| Requirement {
            key: (*key).into(),
            test: test.clone(),
        };
        LabelSelector { requirements: requirements.iter().map(requirement).collect() }
    }

    fn one_of(values: &[&str]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_operator_knows_a_label_that_is_not_there() {
        let labels = |key: &str| match key {
            "app" => Some("shop"),
            "empty" => Some(""),
            _ => None,
        };
        let cases = [
            ("app", LabelTest::In(one_of(&["bank", "shop"])), true),
            ("app", LabelTest::In(one_of(&["bank"])), false),
            ("missing", LabelTest::In(one_of(&["shop"])), false),
            ("empty", LabelTest::In(one_of(&[""])), true),
            ("missing", LabelTest::In(one_of(&[""])), false),
            ("app", LabelTest::NotIn(one_of(&["bank"])), true),
            ("app", LabelTest::NotIn(one_of(&["bank", "shop"])), false),
            ("missing", LabelTest::NotIn(one_of(&["shop"])), true),
            ("empty", LabelTest::Exists, true),
            ("missing", LabelTest::Exists, false),
            ("empty", LabelTest::DoesNotExist, false),
            ("missing", LabelTest::DoesNotExist, true),
        ];
        for (key, test, expected) in cases {
            assert_eq!(
                selector(&[(key, test.clone())]).matches(labels),
                expected,
                "{key} {test:?}"
            );
        }
        let both = [("app", LabelTest::Exists), ("missing", LabelTest::Exists)];
        assert!(!selector(&both).matches(labels), "all requirements must hold");
        assert!(LabelSelector::default().matches(labels), "an empty selector selects everything");
    }

    #[test]
    fn a_pod_is_selected_by_namespace_and_labels() {
        let label = |key: &str| (key == "app").then_some("web");
        let by_namespace = selector(&[(POD_NAMESPACE_LABEL, LabelTest::In(one_of(&["shop"])))]);
        let pods = PodScope { labels: by_namespace, ..PodScope::default() };
        assert!(pods.admits_pod("shop", label));
        assert!(!pods.admits_pod("bank", label));
        let confined = PodScope { namespace: Some("bank".into()), ..pods };
        assert!(!confined.admits_pod("shop", label), "the namespace is a condition of its own");
        assert!(!confined.admits_pod("bank", label));
    }

    #[test]
    fn a_container_is_selected_by_name_and_repository() {
        let pods = |key, value| PodScope {
            containers: selector(&[(key, LabelTest::In(one_of(&[value])))]),
            ..PodScope::default()
        };
        let image = "registry:5000/team/app:v1@sha256:0123";
        assert!(pods("name", "main").admits_container("main", image));
        assert!(!pods("name", "main").admits_container("sidecar", image));
        assert!(pods("repo", "registry:5000/team/app").admits_container("main", image));
        assert!(PodScope::default().admits_container("any", ""));
    }

    #[test]
    fn repositories_have_neither_tag_nor_digest() {
        for (image, repository) in [
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx"),
            ("nginx", "nginx"),
            ("localhost:5000/nginx", "localhost:5000/nginx"),
            ("localhost:5000/nginx@sha256:aa", "localhost:5000/nginx"),
            ("", ""),
        ] {
            assert_eq!(image_repository(image), repository);
        }
    }

    #[test]
    fn a_namespace_confines_every_scope_and_never_reaches_the_host() {
        let base = FieldPath::root().field("spec");
        let confined = Scope::default().confined_to("shop", &base).unwrap();
        let pods = PodScope { namespace: Some("shop".into()), ..PodScope::default() };
        assert_eq!(confined.workloads, Workloads::Some { host: false, pods: Some(pods) });

        let labels = selector(&[("app", LabelTest::Exists)]);
        let pods = PodScope { labels: labels.clone(), ..PodScope::default() };
        let scope = Scope {
            workloads: Workloads::Some { host: false, pods: Some(pods) },
            nodes: labels.clone(),
        };
        let confined = scope.confined_to("shop", &base).unwrap();
        assert_eq!(confined.nodes, labels);
        let Workloads::Some { pods: Some(pods), .. } = confined.workloads else { unreachable!() };
        assert_eq!((pods.namespace.as_deref(), pods.labels), (Some("shop"), labels));

        let host =
            Scope { workloads: Workloads::Some { host: true, pods: None }, ..Scope::default() };
        let error = host.confined_to("shop", &base).unwrap_err();
        assert_eq!(error.path.as_str(), "spec.hostSelector");
    }
}
