//! What the container runtime has written down about a container: its name in the pod, which the API server learns
//! a second later, and a container of 50 ms is gone by then.
//!
//! containerd and CRI-O keep an OCI bundle for each container, with the pod among its annotations, from before the
//! cgroup is made until the container is deleted. It is read through `/proc/1/root`: a probe that sees the node's processes may
//! look there anyway, while a mount of the runtime's folder would bring its socket, and with that the whole node.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde::Deserialize;

/// The node's files, as the first process of its pid namespace sees them.
pub const HOST_ROOT: &str = "/proc/1/root";

/// Where bundles are, with `ID` for the container's: containerd's, those of k3s and MicroK8s, and CRI-O's.
const BUNDLES: [&str; 4] = [
    "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
    "run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
    "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
    "run/containers/storage/overlay-containers/ID/userdata/config.json",
];

/// Most containers that wait to be looked at; beyond, the API server has to do.
const MAX_WAITING: usize = 1024;
/// A bundle that is not there yet is looked for again after this.
const RETRY: Duration = Duration::from_millis(20);
const ATTEMPTS: usize = 3;
/// A bundle is a few dozen kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// A container, as its runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeRecord {
    /// As the kubelet has it, and the cgroup.
    pub pod_uid: String,
    pub namespace: String,
    pub pod_name: String,
    /// Empty for the sandbox, which only holds the pod's namespaces.
    pub container_name: String,
    /// With registry and tag; may be empty.
    pub image_name: String,
    /// `containerd` or `cri-o`
    pub runtime: &'static str,
}

impl RuntimeRecord {
    /// Whether it is the pod's sandbox.
    #[must_use]
    pub const fn is_sandbox(&self) -> bool {
        self.container_name.is_empty()
    }
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// Reads a bundle's `config.json`; `None` if it is no container of Kubernetes.
#[must_use]
pub fn parse(config: &[u8]) -> Option<RuntimeRecord> {
    let mut bundle: Bundle = serde_json::from_slice(config).ok()?;
    let mut take = |key: &str| bundle.annotations.remove(key);
    if let Some(kind) = take("io.kubernetes.cri.container-type") {
        let name = take("io.kubernetes.cri.container-name");
        return Some(RuntimeRecord {
            pod_uid: take("io.kubernetes.cri.sandbox-uid")?,
            namespace: take("io.kubernetes.cri.sandbox-namespace")?,
            pod_name: take("io.kubernetes.cri.sandbox-name")?,
            container_name: if kind == "sandbox" { String::new() } else { name? },
            image_name: take("io.kubernetes.cri.image-name").unwrap_or_default(),
            runtime: "containerd",
        });
    }
    let kind = take("io.kubernetes.cri-o.ContainerType")?;
    let name = take("io.kubernetes.container.name");
    Some(RuntimeRecord {
        pod_uid: take("io.kubernetes.pod.uid")?,
        namespace: take("io.kubernetes.pod.namespace")?,
        pod_name: take("io.kubernetes.pod.name")?,
        container_name: if kind == "sandbox" { String::new() } else { name? },
        image_name: take("io.kubernetes.cri-o.ImageName").unwrap_or_default(),
        runtime: "cri-o",
    })
}

/// Looks for a container's bundle below `root`.
///
/// # Errors
/// What the system says of the last place; not being there is the usual.
pub fn read(root: &Path, container_id: &str) -> io::Result<RuntimeRecord> {
    let mut error = io::Error::from(io::ErrorKind::NotFound);
    for bundle in BUNDLES {
        match read_file(&root.join(bundle.replace("ID", container_id))) {
            Ok(config) => {
                return parse(&config).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the bundle names no pod")
                });
            }
            // What is forbidden says more than what is not there.
            Err(new) if new.kind() != io::ErrorKind::NotFound => error = new,
            Err(_) => {}
        }
    }
    Err(error)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut config = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut config)?;
    Ok(config)
}

/// Asks for containers by id.
#[derive(Debug, Clone)]
pub struct RuntimeReader(SyncSender<String>);

impl RuntimeReader {
    /// A reader in a thread of its own, which tells `found` of each answer.
    ///
    /// # Errors
    /// No thread.
    pub fn start(
        root: PathBuf,
        found: impl Fn(String, io::Result<RuntimeRecord>) + Send + 'static,
    ) -> io::Result<Self> {
        let (ask, asked) = sync_channel(MAX_WAITING);
        let answer = move || answer(&root, &asked, &found);
        std::thread::Builder::new().name("runtime".into()).spawn(answer)?;
        Ok(Self(ask))
    }

    /// The answer comes in its own time, or not at all when too many are asked for.
    pub fn ask(&self, container_id: &str) {
        let _ = self.0.try_send(container_id.to_owned());
    }
}

fn answer(
    root: &Path,
    asked: &Receiver<String>,
    found: &impl Fn(String, io::Result<RuntimeRecord>),
) {
    for id in asked {
        let mut record = read(root, &id);
        for _ in 1..ATTEMPTS {
            if record.is_ok() {
                break;
            }
            std::thread::sleep(RETRY);
            record = read(root, &id);
        }
        found(id, record);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn containerd(kind: &str) -> Vec<u8> {
        let mut bundle = json!({"ociVersion": "1.2.0", "process": {"args": ["sh"]}, "annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.image-name": "docker.io/library/nginx:latest",
            "io.kubernetes.cri.sandbox-id": "aa",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": "u",
        }});
        if kind != "sandbox" {
            bundle["annotations"]["io.kubernetes.cri.container-name"] = json!("web");
        }
        bundle.to_string().into_bytes()
    }

    fn crio(kind: &str, name: &str) -> Vec<u8> {
        json!({"annotations": {
            "io.kubernetes.cri-o.ContainerType": kind, "io.kubernetes.container.name": name,
            "io.kubernetes.cri-o.ImageName": "quay.io/app:1", "io.kubernetes.pod.name": "web-0",
            "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u",
        }})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn both_runtimes_name_pod_and_container() {
        let web = RuntimeRecord {
            pod_uid: "u".into(),
            namespace: "shop".into(),
            pod_name: "web-0".into(),
            container_name: "web".into(),
            image_name: "docker.io/library/nginx:latest".into(),
            runtime: "containerd",
        };
        assert_eq!(parse(&containerd("container")), Some(web.clone()));
        assert!(parse(&containerd("sandbox")).unwrap().is_sandbox());
        let expected =
            RuntimeRecord { image_name: "quay.io/app:1".into(), runtime: "cri-o", ..web };
        assert_eq!(parse(&crio("container", "web")), Some(expected));
        assert!(parse(&crio("sandbox", "POD")).unwrap().is_sandbox());
        assert_eq!(parse(br#"{"annotations":{"a":"b"}}"#), None);
        assert_eq!(parse(b"{"), None, "half written");
    }

    #[test]
    fn bundles_are_found_where_the_runtimes_put_them() {
        let root = tempfile::tempdir().unwrap();
        for (n, bundle) in BUNDLES.iter().enumerate() {
            let path = root.path().join(bundle.replace("ID", &n.to_string()));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, containerd("container")).unwrap();
            assert_eq!(read(root.path(), &n.to_string()).unwrap().container_name, "web");
        }
        let error = read(root.path(), "other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_bundle_that_comes_a_moment_later_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (tell, told) = sync_channel(1);
        let reader = RuntimeReader::start(root.path().to_owned(), move |id, record| {
            tell.send((id, record)).unwrap();
        });
        let reader = reader.unwrap();
        reader.ask("late");
        let path = root.path().join(BUNDLES[0].replace("ID", "late"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, crio("container", "web")).unwrap();
        let (id, record) = told.recv().unwrap();
        assert_eq!((id.as_str(), record.unwrap().container_name.as_str()), ("late", "web"));
        reader.ask("none");
        assert!(told.recv().unwrap().1.is_err());
    }
}
