//! What is kept of a pod: a node has hundreds, and of each most is of no use here.

use k8s_openapi::api::core::v1::{
    ContainerStatus, EphemeralContainer, Pod, Probe, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::workload::workload;
use crate::event::{ExecProbe, WallTime};

/// The kubelet's own uid of a static pod, on the pod that mirrors it for the API server.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Marks such a mirror, with the same value.
const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod of this node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownPod {
    /// The API server's.
    pub uid: String,
    /// The one in the names of its cgroups: the same but for static pods.
    pub cgroup_uid: String,
    pub namespace: String,
    pub name: String,
    /// Sorted by key.
    pub labels: Vec<(String, String)>,
    pub workload: String,
    pub workload_kind: String,
    pub containers: Vec<KnownContainer>,
}

/// A container of its spec, with what its status says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownContainer {
    pub name: String,
    /// As written in the spec.
    pub image: String,
    pub privileged: bool,
    pub exec_probes: Vec<ExecProbe>,
    /// The running one, or the last, and the one before it.
    pub instances: Vec<Instance>,
}

/// One start of a container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Instance {
    /// `containerd://<64 hex>`
    pub id: String,
    pub image_id: String,
    pub image_name: String,
    pub start_time: WallTime,
}

impl Instance {
    /// Whether it has this id, which stands without the runtime's name.
    #[must_use]
    pub fn is(&self, container_id: &str) -> bool {
        self.id.rsplit_once("//").map_or(self.id.as_str(), |(_, id)| id) == container_id
    }
}

impl KnownPod {
    /// Keeps what is needed.
    #[must_use]
    pub fn read(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        let (workload, workload_kind) = workload(metadata);
        let uid = metadata.uid.clone().unwrap_or_default();
        Self {
            cgroup_uid: static_uid(pod).unwrap_or_else(|| uid.clone()),
            uid,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default().into_iter().collect(),
            workload,
            workload_kind,
            containers: containers(pod),
        }
    }

    /// The container with this id and its start.
    #[must_use]
    pub fn instance(&self, container_id: &str) -> Option<(&KnownContainer, &Instance)> {
        self.containers.iter().find_map(|container| {
            let found = container.instances.iter().find(|instance| instance.is(container_id))?;
            Some((container, found))
        })
    }

    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&KnownContainer> {
        self.containers.iter().find(|container| container.name == name)
    }
}

/// Whoever may create pods may write these annotations. So only what no ordinary pod's uid looks like is taken.
fn static_uid(pod: &Pod) -> Option<String> {
    let annotations = pod.metadata.annotations.as_ref()?;
    let hash = annotations.get(CONFIG_HASH)?;
    let is_hash = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hash && annotations.get(CONFIG_MIRROR) == Some(hash)).then(|| hash.clone())
}

fn containers(pod: &Pod) -> Vec<KnownContainer> {
    let (Some(spec), status) = (&pod.spec, pod.status.as_ref()) else { return Vec::new() };
    let of = |statuses: Option<&Vec<ContainerStatus>>, name: &str| {
        statuses.into_iter().flatten().find(|status| status.name == name).cloned()
    };
    let init = spec.init_containers.iter().flatten().map(|container| {
        (container, of(status.and_then(|s| s.init_container_statuses.as_ref()), &container.name))
    });
    let main = spec.containers.iter().map(|container| {
        (container, of(status.and_then(|s| s.container_statuses.as_ref()), &container.name))
    });
    let written = main.chain(init).map(|(container, status)| KnownContainer {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        privileged: is_privileged(container.security_context.as_ref()),
        exec_probes: exec_probes([
            container.liveness_probe.as_ref(),
            container.readiness_probe.as_ref(),
            container.startup_probe.as_ref(),
        ]),
        instances: status.as_ref().map(instances).unwrap_or_default(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| {
        let statuses = status.and_then(|s| s.ephemeral_container_statuses.as_ref());
        let status = of(statuses, &container.name);
        of_ephemeral(container, status.as_ref())
    });
    written.chain(ephemeral).collect()
}

fn of_ephemeral(
    container: &EphemeralContainer,
    status: Option<&ContainerStatus>,
) -> KnownContainer {
    KnownContainer {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        privileged: is_privileged(container.security_context.as_ref()),
        exec_probes: Vec::new(),
        instances: status.map(instances).unwrap_or_default(),
    }
}

fn is_privileged(context: Option<&SecurityContext>) -> bool {
    context.and_then(|context| context.privileged) == Some(true)
}

fn exec_probes(probes: [Option<&Probe>; 3]) -> Vec<ExecProbe> {
    let commands = probes
        .into_iter()
        .flatten()
        .filter_map(|probe| probe.exec.as_ref()?.command.as_deref().and_then(ExecProbe::new));
    let mut distinct = Vec::new();
    for command in commands {
        if !distinct.contains(&command) {
            distinct.push(command);
        }
    }
    distinct
}

fn instances(status: &ContainerStatus) -> Vec<Instance> {
    let instance = |id: &str, started: Option<&Time>| Instance {
        id: id.to_owned(),
        image_id: status.image_id.clone(),
        image_name: status.image.clone(),
        start_time: started.map(wall_time).unwrap_or_default(),
    };
    let running = status.state.as_ref().and_then(|s| s.running.as_ref()?.started_at.as_ref());
    let ended = status.state.as_ref().and_then(|s| s.terminated.as_ref());
    let last = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let current = status.container_id.iter().map(|id| {
        let started = ended.filter(|e| e.container_id.as_ref() == Some(id));
        instance(id, running.or_else(|| started?.started_at.as_ref()))
    });
    let before = [ended, last].into_iter().flatten().filter_map(|ended| {
        Some(instance(ended.container_id.as_ref()?, ended.started_at.as_ref()))
    });
    let mut instances: Vec<Instance> = Vec::new();
    for instance in current.chain(before) {
        let is_new = instances.iter().all(|known| known.id != instance.id);
        if is_new && !instance.id.is_empty() {
            instances.push(instance);
        }
    }
    instances
}

fn wall_time(time: &Time) -> WallTime {
    WallTime(i64::try_from(time.0.as_nanosecond()).unwrap_or_default())
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
