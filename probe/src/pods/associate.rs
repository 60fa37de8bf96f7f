//! Which pod and container a cgroup is, from what the API server and the runtime say. Pure.

use super::known::{Instance, KnownContainer, KnownPod};
use super::runtime::RuntimeRecord;
use crate::event::{Association, Container, Grade, Pod, WallTime};

/// Everything that is known now, and how much that is.
#[must_use]
pub fn associate(
    association: &Association,
    pod: Option<&KnownPod>,
    record: Option<&RuntimeRecord>,
) -> (Grade, Pod) {
    // The cgroup is made by the kernel's own rules; a bundle that says otherwise is somebody else's.
    let record = record.filter(|record| *record.pod_uid == *association.pod_uid);
    let is_it = |pod: &&KnownPod| {
        record.is_none_or(|r| r.namespace == pod.namespace && r.pod_name == pod.name)
    };
    match pod.filter(is_it) {
        Some(pod) => {
            let (grade, container) = container(association, pod, record);
            (grade, with(pod, container))
        }
        None => (Grade::Partial, without_pod(association, record)),
    }
}

/// What is missing of a pod that is not known as it should be, in one word.
#[must_use]
pub const fn missing(pod: &Pod) -> &'static str {
    if pod.name.is_empty() {
        "pod"
    } else if pod.workload.is_empty() {
        "labels"
    } else {
        "container"
    }
}

fn container(
    association: &Association,
    pod: &KnownPod,
    record: Option<&RuntimeRecord>,
) -> (Grade, Container) {
    let id = &*association.container_id;
    if id.is_empty() {
        return (Grade::Complete, Container::default());
    }
    if let Some((container, instance)) = pod.instance(id) {
        return (Grade::Complete, started(container, instance));
    }
    let unnamed = Container { id: full_id(association, record), ..Container::default() };
    match record {
        Some(record) if record.is_sandbox() => (Grade::Complete, unnamed),
        Some(record) => {
            let written = pod.container(&record.container_name);
            (Grade::Named, named(unnamed, record, written))
        }
        None => (Grade::Partial, unnamed),
    }
}

fn started(container: &KnownContainer, instance: &Instance) -> Container {
    Container {
        id: instance.id.clone(),
        name: container.name.clone(),
        image_id: instance.image_id.clone(),
        image_name: instance.image_name.clone(),
        start_time: instance.start_time,
        privileged: container.privileged,
        exec_probes: container.exec_probes.clone(),
    }
}

/// A container whose status has not come yet.
fn named(
    container: Container,
    record: &RuntimeRecord,
    written: Option<&KnownContainer>,
) -> Container {
    let image = match (record.image_name.as_str(), written) {
        ("", Some(written)) => &written.image,
        _ => &record.image_name,
    };
    Container {
        name: record.container_name.clone(),
        image_name: image.clone(),
        image_id: String::new(),
        start_time: WallTime::default(),
        privileged: written.is_some_and(|written| written.privileged),
        exec_probes: written.map(|written| written.exec_probes.clone()).unwrap_or_default(),
        ..container
    }
}

fn with(pod: &KnownPod, container: Container) -> Pod {
    Pod {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        container,
        labels: pod.labels.clone(),
        workload: pod.workload.clone(),
        workload_kind: pod.workload_kind.clone(),
        ..Pod::default()
    }
}

fn without_pod(association: &Association, record: Option<&RuntimeRecord>) -> Pod {
    let id = full_id(association, record);
    let container = Container { id, ..Container::default() };
    let uid = association.pod_uid.to_string();
    match record {
        Some(record) => Pod {
            namespace: record.namespace.clone(),
            name: record.pod_name.clone(),
            uid,
            container: named(container, record, None),
            ..Pod::default()
        },
        None => Pod { uid, container, ..Pod::default() },
    }
}

/// With the runtime's name in front, as the API server has it.
fn full_id(association: &Association, record: Option<&RuntimeRecord>) -> String {
    let id = &association.container_id;
    match (association.runtime, record) {
        _ if id.is_empty() => String::new(),
        ("", None) => id.to_string(),
        ("", Some(record)) => format!("{}://{id}", record.runtime),
        (runtime, _) => format!("{runtime}://{id}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn cgroup(id: &str) -> Association {
        Association::new("u".into(), id.into(), "containerd")
    }

    fn pod(instances: Vec<Instance>) -> KnownPod {
        let container = |name: &str, instances| KnownContainer {
            name: name.into(),
            image: format!("{name}:1"),
            privileged: true,
            instances,
            ..KnownContainer::default()
        };
        KnownPod {
            uid: "u".into(),
            cgroup_uid: "u".into(),
            namespace: "shop".into(),
            name: "web-0".into(),
            labels: vec![("app".into(), "web".into())],
            workload: "web".into(),
            workload_kind: "StatefulSet".into(),
            containers: vec![container("web", instances), container("side", Vec::new())],
        }
    }

    fn record(name: &str) -> RuntimeRecord {
        RuntimeRecord {
            pod_uid: "u".into(),
            namespace: "shop".into(),
            pod_name: "web-0".into(),
            container_name: name.into(),
            image_name: String::new(),
            runtime: "containerd",
        }
    }

    #[test]
    fn the_status_has_everything() {
        let instance = Instance {
            id: format!("containerd://{ID}"),
            image_id: "sha256:1".into(),
            image_name: "docker.io/web:1".into(),
            start_time: WallTime(9),
        };
        let (grade, found) = associate(&cgroup(ID), Some(&pod(vec![instance])), None);
        assert_eq!(grade, Grade::Complete);
        let container = &found.container;
        assert_eq!((container.name.as_str(), container.start_time), ("web", WallTime(9)));
        assert_eq!((found.workload.as_str(), found.labels.len()), ("web", 1));
    }

    #[test]
    fn before_the_status_the_runtime_names_the_container() {
        let (grade, found) = associate(&cgroup(ID), Some(&pod(Vec::new())), Some(&record("side")));
        assert_eq!((grade, found.container.name.as_str()), (Grade::Named, "side"));
        assert_eq!(found.container.image_name, "side:1", "as written");
        assert_eq!(found.container.id, format!("containerd://{ID}"));
        assert!(found.container.privileged && found.container.image_id.is_empty());
        let of_runtime = RuntimeRecord { image_name: "docker.io/side:1".into(), ..record("side") };
        let (_, found) = associate(&cgroup(ID), Some(&pod(Vec::new())), Some(&of_runtime));
        assert_eq!(found.container.image_name, "docker.io/side:1");
    }

    #[test]
    fn the_sandbox_is_no_container_of_the_spec() {
        let mut one = pod(Vec::new());
        one.containers.truncate(1);
        let (grade, found) = associate(&cgroup(ID), Some(&one), Some(&record("")));
        assert_eq!((grade, found.container.name.as_str()), (Grade::Complete, ""));
        let (grade, found) = associate(&cgroup(ID), Some(&one), None);
        assert_eq!(
            (grade, found.container.name.as_str()),
            (Grade::Partial, ""),
            "it may be either"
        );
        assert_eq!(missing(&found), "container");
    }

    #[test]
    fn a_process_beside_the_containers_has_the_pod_alone() {
        let (grade, found) = associate(&cgroup(""), Some(&pod(Vec::new())), None);
        assert_eq!((grade, found.container.id.as_str()), (Grade::Complete, ""));
    }

    #[test]
    fn without_the_api_server_there_is_what_the_runtime_says() {
        let (grade, found) = associate(&cgroup(ID), None, Some(&record("web")));
        assert_eq!(grade, Grade::Partial);
        assert_eq!((found.namespace.as_str(), found.name.as_str()), ("shop", "web-0"));
        assert_eq!((found.container.name.as_str(), missing(&found)), ("web", "labels"));
        let (grade, found) = associate(&cgroup(ID), None, None);
        assert_eq!((grade, missing(&found)), (Grade::Partial, "pod"));
        assert_eq!((found.uid.as_str(), found.name.as_str()), ("u", ""));
    }

    #[test]
    fn what_contradicts_the_cgroup_or_the_runtime_is_not_believed() {
        let foreign = RuntimeRecord { pod_uid: "other".into(), ..record("web") };
        let (grade, _) = associate(&cgroup(ID), Some(&pod(Vec::new())), Some(&foreign));
        assert_eq!(grade, Grade::Partial, "the record counts for nothing");
        let impostor = KnownPod { namespace: "evil".into(), ..pod(Vec::new()) };
        let (_, found) = associate(&cgroup(ID), Some(&impostor), Some(&record("web")));
        assert_eq!((found.namespace.as_str(), missing(&found)), ("shop", "labels"));
    }
}
