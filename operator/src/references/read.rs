//! Reads Secrets, by name and no other way.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tracing::debug;

use super::Found;
use crate::error::{Error, within};

/// Reads the named Secrets of a namespace at once.
pub async fn read(
    client: &Client,
    namespace: &str,
    names: &BTreeSet<String>,
) -> BTreeMap<String, Found> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let api = &api;
    let reads = names.iter().map(|name| async move {
        let found = match within("get secret", api.get_opt(name)).await {
            Ok(Some(secret)) => Found::Data(
                secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect(),
            ),
            Ok(None) => Found::Absent,
            Err(Error::Kube { source: kube::Error::Api(status), .. }) if status.is_forbidden() => {
                Found::Forbidden
            }
            Err(error) => {
                debug!(namespace, name, %error, "A Secret could not be read now.");
                Found::Unanswered
            }
        };
        (name.clone(), found)
    });
    join_all(reads).await.into_iter().collect()
}
