//! The labels of this node, for policies that select nodes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::watch::Cluster;

/// How often the labels are read. The probe may read a node and not watch all of them.
const INTERVAL: Duration = Duration::from_secs(60);

/// Reads the labels again and again; what is known stays while they cannot be read.
pub async fn follow_node(client: Client, cluster: Cluster, name: String) {
    let nodes = Api::<Node>::all(client);
    let mut told = false;
    loop {
        match nodes.get_metadata(&name).await {
            Ok(node) => {
                told = false;
                cluster.set_node(node.metadata.labels.unwrap_or_default());
            }
            Err(error) if !told => {
                told = true;
                let error = crate::ship::root_cause(&error);
                tracing::warn!(node = name, %error, "The node's labels cannot be read; policies that select nodes are loaded whatever they say, or stay as they are");
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
