//! Writes what was planned.

use kube::api::{Patch, PatchParams};
use securitywatch_api::cluster::{FINALIZER, OPERATOR_MANAGER, STATUS_MANAGER};
use securitywatch_api::v1alpha1::{API_VERSION, WatchStatus};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, within};
use crate::key::{WatchKey, WatchObject};

/// Writes a status by server-side apply: a condition that is no longer in it goes. Returns the resource
/// version that came of it; `None`: the watch is gone.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn status<K: WatchObject>(
    context: &Context,
    key: &WatchKey,
    uid: &str,
    status: &WatchStatus,
) -> Result<Option<u64>, Error> {
    let api = K::api(context.client.clone(), key.namespace.as_deref());
    let patch = json!({
        "apiVersion": API_VERSION,
        "kind": key.kind.as_str(),
        // With its uid: a watch of that name that was made meanwhile must not inherit this status.
        "metadata": {"name": key.name, "uid": uid},
        "status": status,
    });
    let params = PatchParams::apply(STATUS_MANAGER).force();
    let patch = Patch::Apply(patch);
    match within("write status", api.patch_status(&key.name, &params, &patch)).await {
        Ok(object) => {
            context.metrics.wrote("status");
            Ok(Some(version(object.meta())))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds or removes our finalizer, if nobody changed the watch meanwhile.
///
/// # Errors
/// Somebody did; the API server refuses or does not answer.
pub async fn finalizer<K: WatchObject>(
    context: &Context,
    object: &K,
    wanted: bool,
) -> Result<(), Error> {
    let meta = object.meta();
    let name = meta.name.clone().unwrap_or_default();
    let present = meta.finalizers.clone().unwrap_or_default();
    let api = K::api(context.client.clone(), meta.namespace.as_deref());
    let patch = Patch::Merge(finalizer_patch(&present, meta.resource_version.as_deref(), wanted));
    let params = PatchParams { field_manager: Some(OPERATOR_MANAGER.into()), ..Default::default() };
    match within("write finalizer", api.patch_metadata(&name, &params, &patch)).await {
        Ok(_) => {
            context.metrics.wrote("finalizer");
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A merge patch replaces the whole list, so it names the version it was made from.
fn finalizer_patch(present: &[String], version: Option<&str>, wanted: bool) -> Value {
    let mut finalizers: Vec<_> =
        present.iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}})
}

/// The version of an object as a number: larger is newer.
#[must_use]
pub fn version(meta: &kube::core::ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_finalizers_stay() {
        let others = ["example.org/a".to_owned(), FINALIZER.to_owned()];
        assert_eq!(
            finalizer_patch(&others, Some("7"), false),
            json!({"metadata": {"finalizers": ["example.org/a"], "resourceVersion": "7"}})
        );
        assert_eq!(
            finalizer_patch(&others[..1], Some("7"), true),
            json!({"metadata": {"finalizers": ["example.org/a", FINALIZER], "resourceVersion": "7"}})
        );
    }
}
