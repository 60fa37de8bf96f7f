#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OLD: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

fn read(pod: serde_json::Value) -> KnownPod {
    KnownPod::read(&serde_json::from_value(pod).unwrap())
}

#[test]
fn what_events_carry_is_kept() {
    let pod = read(json!({
        "metadata": {
            "namespace": "shop", "name": "web-0", "uid": "u", "generateName": "web-",
            "labels": {"tier": "x", "app": "web"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "s", "controller": true}
            ],
        },
        "spec": {
            "initContainers": [{"name": "init", "image": "busybox"}],
            "containers": [
                {
                    "name": "web", "image": "nginx", "securityContext": {"privileged": true},
                    "livenessProbe": {"exec": {"command": ["cat", "/ok"]}},
                    "readinessProbe": {"exec": {"command": ["cat", "/ok"]}},
                    "startupProbe": {"httpGet": {"port": 80}},
                },
                {"name": "side", "image": "envoy"},
            ],
            "ephemeralContainers": [{"name": "debug", "image": "sh"}],
        },
        "status": {
            "initContainerStatuses": [{
                "name": "init", "image": "docker.io/library/busybox:latest", "imageID": "sha256:2",
                "ready": true, "restartCount": 0, "containerID": format!("containerd://{OLD}"),
                "state": {"terminated": {
                    "containerID": format!("containerd://{OLD}"), "exitCode": 0, "startedAt": "2026-11-22T01:00:00Z"
                }},
            }],
            "containerStatuses": [{
                "name": "web", "image": "docker.io/library/nginx:latest", "imageID": "sha256:1",
                "ready": true, "restartCount": 1, "containerID": format!("containerd://{ID}"),
                "state": {"running": {"startedAt": "2026-11-22T01:00:02Z"}},
                "lastState": {"terminated": {"containerID": "containerd://gone", "exitCode": 1}},
            }],
        },
    }));
    assert_eq!((pod.uid.as_str(), pod.cgroup_uid.as_str()), ("u", "u"));
    assert_eq!((pod.workload.as_str(), pod.workload_kind.as_str()), ("web", "StatefulSet"));
    assert_eq!(pod.labels, [("app".into(), "web".into()), ("tier".into(), "x".into())]);
    let names: Vec<_> = pod.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["web", "side", "init", "debug"]);
    let (web, instance) = pod.instance(ID).unwrap();
    assert!(web.privileged && web.exec_probes.len() == 1, "the same command counts once");
    assert_eq!(instance.id, format!("containerd://{ID}"));
    assert_eq!(instance.image_name, "docker.io/library/nginx:latest");
    assert_eq!(instance.start_time, WallTime(1_795_309_202_000_000_000));
    assert_eq!(web.instances[1].id, "containerd://gone", "one that was restarted is known");
    let (init, ended) = pod.instance(OLD).unwrap();
    assert_eq!((init.name.as_str(), init.instances.len()), ("init", 1));
    assert_eq!(ended.start_time, WallTime(1_795_309_200_000_000_000), "one that ended, too");
    assert!(pod.container("side").unwrap().instances.is_empty());
}

#[test]
fn the_cgroups_of_a_static_pod_have_the_kubelets_uid() {
    let hash = "00112233445566778899aabbccddeeff";
    let pod = |annotations: serde_json::Value| {
        read(json!({"metadata": {"name": "etcd", "uid": "api", "annotations": annotations}}))
    };
    let mirror =
        pod(json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": hash}));
    assert_eq!((mirror.uid.as_str(), mirror.cgroup_uid.as_str()), ("api", hash));
    let victim = "11111111-2222-3333-4444-555555555555";
    for annotations in [
        json!({"kubernetes.io/config.hash": hash}),
        json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.mirror": "x"}),
        json!({"kubernetes.io/config.hash": victim, "kubernetes.io/config.mirror": victim}),
    ] {
        assert_eq!(pod(annotations.clone()).cgroup_uid, "api", "{annotations}");
    }
}
