//! What is done for a server and not for a watch: restarts are noticed, orphans removed.

use std::collections::HashSet;
use std::sync::Arc;

use securitywatch_parseable::{Restart, ServerConfig};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::context::Context;
use crate::lock::lock;

/// The uids of all watches there are; only who knows all of them may call others orphans.
#[derive(Debug, Clone)]
pub struct Live(pub HashSet<String>);

/// Each server and account in use, once.
fn in_use(context: &Context) -> Vec<ServerConfig> {
    let mut configs: Vec<ServerConfig> = Vec::new();
    for (_, memory) in context.memories.all() {
        let memory = lock(&memory);
        if let Some(place) = &memory.slot.place
            && !configs.contains(&place.config)
        {
            configs.push(place.config.clone());
        }
    }
    configs
}

/// Asks each server whether it was restarted; if so, its watches are synced now.
pub async fn check_restarts(context: &Context) {
    for config in in_use(context) {
        let Ok(server) = context.engine.servers.get(&config) else { continue };
        match server.check_restart().await {
            Ok(Restart::Restarted | Restart::Replaced) => {
                info!(url = %config.url, "The server was restarted or replaced; syncing its watches.");
                sync_all(context, &config);
            }
            Ok(Restart::No | Restart::Unknown) => {}
            // The syncs say it in the status.
            Err(failure) => {
                debug!(url = %config.url, error = failure.message, "No look at the server.")
            }
        }
    }
}

fn sync_all(context: &Context, config: &ServerConfig) {
    for (_, memory) in context.memories.all() {
        let mut memory = lock(&memory);
        if memory.slot.place.as_ref().is_some_and(|place| place.config.url == config.url) {
            memory.slot.due = Some(Instant::now());
            context.triggers.fire(memory.key.clone());
        }
    }
}

/// Removes what watches left that are gone. A watch of this cluster counts as live whatever its server: two
/// names may be one server.
pub async fn sweep(context: &Arc<Context>, live: &Live) {
    for config in in_use(context) {
        let Ok(server) = context.engine.servers.get(&config) else { continue };
        match server.sweep(&context.engine.settings.cluster_id, &live.0).await {
            Ok(swept) if swept.alerts + swept.targets > 0 => {
                info!(url = %config.url, alerts = swept.alerts, targets = swept.targets, "Removed what deleted watches had left.");
            }
            Ok(_) => {}
            Err(failure) => {
                warn!(url = %config.url, error = failure.message, "Orphans could not be looked for.")
            }
        }
    }
}
