//! What a pod belongs to, by Tetragon's rules: a guess from the pod alone, without a look at its owners.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Name and kind of the workload, for example `web` and `Deployment`; a pod of nobody is its own.
#[must_use]
pub fn workload(pod: &ObjectMeta) -> (String, String) {
    let of_itself = || (pod.name.clone().unwrap_or_default(), "Pod".to_owned());
    // A name that was not generated is no controller's, and so is a static pod's.
    if pod.generate_name.as_ref().is_none_or(String::is_empty) {
        return of_itself();
    }
    let mut owners = pod.owner_references.iter().flatten();
    match owners.find(|owner| owner.controller == Some(true)) {
        Some(owner) => of_owner(owner, pod.labels.as_ref()),
        None => of_itself(),
    }
}

fn of_owner(owner: &OwnerReference, labels: Option<&BTreeMap<String, String>>) -> (String, String) {
    let label = |key| labels?.get(key).filter(|value| !value.is_empty());
    let (name, kind) = (owner.name.as_str(), owner.kind.as_str());
    let found = match kind {
        "ReplicaSet" => label("pod-template-hash")
            .and_then(|hash| name.strip_suffix(hash.as_str())?.strip_suffix('-'))
            .map(|name| (name, "Deployment")),
        "ReplicationController" => {
            label("deploymentconfig").map(|name| (name.as_str(), "DeploymentConfig"))
        }
        "Job" => cron_job(name).map(|name| (name, "CronJob")),
        _ => None,
    };
    let (name, kind) = found.unwrap_or((name, kind));
    (name.to_owned(), kind.to_owned())
}

/// A CronJob names its jobs by itself and the minute, in eight to ten digits.
fn cron_job(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let is_minute = (8..=10).contains(&minute.len()) && minute.bytes().all(|b| b.is_ascii_digit());
    (is_minute && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn of(kind: &str, owner: &str, labels: &[(&str, &str)]) -> String {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let meta = json!({
            "name": "p-x1", "generateName": "p-", "labels": labels,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "1"},
                {"apiVersion": "v1", "kind": kind, "name": owner, "uid": "2", "controller": true},
            ],
        });
        let (name, kind) = workload(&serde_json::from_value(meta).unwrap());
        format!("{kind}/{name}")
    }

    #[test]
    fn controllers_stand_for_their_pods() {
        let hash = [("pod-template-hash", "5d4f")];
        assert_eq!(of("ReplicaSet", "web-5d4f", &hash), "Deployment/web");
        assert_eq!(of("ReplicaSet", "web-5d4f", &[]), "ReplicaSet/web-5d4f");
        assert_eq!(of("ReplicaSet", "web-other", &hash), "ReplicaSet/web-other");
        assert_eq!(of("StatefulSet", "db", &[]), "StatefulSet/db");
        assert_eq!(of("DaemonSet", "agent", &hash), "DaemonSet/agent");
        assert_eq!(of("Job", "backup-29384756", &[]), "CronJob/backup");
        assert_eq!(of("Job", "backup-2938475", &[]), "Job/backup-2938475");
        assert_eq!(of("Job", "migrate", &[]), "Job/migrate");
        let config = [("deploymentconfig", "shop")];
        assert_eq!(of("ReplicationController", "shop-3", &config), "DeploymentConfig/shop");
    }

    #[test]
    fn a_pod_that_nobody_made_is_its_own_workload() {
        let bare = json!({"name": "xwing", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "1", "controller": true}
        ]});
        let (name, kind) = workload(&serde_json::from_value(bare).unwrap());
        assert_eq!((name.as_str(), kind.as_str()), ("xwing", "Pod"));
        let orphan = json!({"name": "p-x1", "generateName": "p-"});
        let (name, kind) = workload(&serde_json::from_value(orphan).unwrap());
        assert_eq!((name.as_str(), kind.as_str()), ("p-x1", "Pod"));
    }
}
