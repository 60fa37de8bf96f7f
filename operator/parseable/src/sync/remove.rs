//! Removing what a watch that is gone has left.

use std::collections::HashSet;

use serde_json::Value;
use ulid::Ulid;

use super::{alerts, documents};
use crate::desired::Owner;
use crate::failure::{Failure, FailureClass};
use crate::http::Call;
use crate::identity;
use crate::plan::document;
use crate::report::{Generation, Swept};
use crate::server::Inner;
use crate::wire::ListedTarget;

pub(crate) async fn remove(server: &Inner, owner: &Owner, stream: &str) -> Result<Swept, Failure> {
    let facts = server.facts.get(&server.http, &server.site).await?;
    let swept = match facts.generation {
        Generation::Unsupported => Swept::default(),
        Generation::Document => remove_from_document(server, owner, stream).await?,
        Generation::Sql => {
            let cluster = identity::cluster_tag(&owner.cluster_id);
            let uid = identity::uid_tag(&owner.uid);
            let alerts =
                delete_alerts(server, &uid, |tags| tags.contains(&uid) && tags.contains(&cluster))
                    .await?;
            let mark = identity::cluster_mark(&owner.cluster_id);
            let targets =
                delete_targets(server, |cluster, uid| cluster == mark && uid == owner.uid).await?;
            Swept { alerts, targets }
        }
    };
    server.claims.drop_of(&owner.uid);
    Ok(swept)
}

pub(crate) async fn sweep(
    server: &Inner,
    cluster_id: &str,
    live: &HashSet<String>,
) -> Result<Swept, Failure> {
    let facts = server.facts.get(&server.http, &server.site).await?;
    match facts.generation {
        Generation::Unsupported => Ok(Swept::default()),
        Generation::Document => sweep_documents(server, cluster_id, live).await,
        Generation::Sql => {
            let cluster = identity::cluster_tag(cluster_id);
            let alerts = delete_alerts(server, &cluster, |tags| {
                tags.contains(&cluster)
                    && identity::uid_of(tags).is_some_and(|uid| !live.contains(uid))
            })
            .await?;
            let mark = identity::cluster_mark(cluster_id);
            let targets =
                delete_targets(server, |cluster, uid| cluster == mark && !live.contains(uid))
                    .await?;
            Ok(Swept { alerts, targets })
        }
    }
}

async fn delete_alerts(
    server: &Inner,
    tag: &str,
    is_it: impl Fn(&[String]) -> bool,
) -> Result<usize, Failure> {
    let mut deleted = 0;
    for alert in alerts::list(server, tag).await? {
        if is_it(alert.tags()) && alerts::delete(server, &alert.id).await? {
            deleted += 1;
        }
    }
    Ok(deleted)
}

async fn delete_targets(
    server: &Inner,
    is_it: impl Fn(&str, &str) -> bool,
) -> Result<usize, Failure> {
    let http = &server.http;
    let reply = http.call(Call::get("/targets").long()).await?;
    let doing = "the request for the list of targets";
    let listed: Vec<ListedTarget> = http.expect(&reply, FailureClass::AlertRejected, doing)?;
    let mut deleted = 0;
    for listed in listed {
        let (target, _) = listed.parts();
        let ours = identity::target_owner(&target.name).is_some_and(|(of, uid)| is_it(of, uid));
        if ours && delete_target(server, &target.id).await? {
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Whether it was deleted. One that is gone already is as good; one that an alert still names stays, and the next call tries
/// again.
pub(super) async fn delete_target(server: &Inner, id: &str) -> Result<bool, Failure> {
    if !alerts::is_ulid(id) {
        return Ok(false);
    }
    let http = &server.http;
    let reply = http.call(Call::delete(format!("/targets/{id}"))).await?;
    if reply.is_success() {
        if let Ok(id) = Ulid::from_string(id) {
            server.site.memory().applied.remove(&id);
        }
        return Ok(true);
    }
    match reply.status {
        404 | 409 => Ok(false),
        _ if reply.contains("Invalid Target ID") => Ok(false),
        _ => Err(http.refused(&reply, FailureClass::AlertRejected, "the deletion of a target")),
    }
}

pub(super) async fn remove_from_document(
    server: &Inner,
    owner: &Owner,
    stream: &str,
) -> Result<Swept, Failure> {
    let lock = server.site.stream(stream);
    let _one_at_a_time = lock.lock().await;
    let current = documents::read(server, stream).await?;
    let mut swept = Swept::default();
    if let Some(plan) = document::plan(current.as_ref(), owner, &[]) {
        documents::write(server, stream, &plan.document).await?;
        swept.alerts = plan.deleted.len();
    }
    server.site.memory().documents.remove(&owner.uid);
    Ok(swept)
}

async fn sweep_documents(
    server: &Inner,
    cluster_id: &str,
    live: &HashSet<String>,
) -> Result<Swept, Failure> {
    let http = &server.http;
    let reply = http.call(Call::get("/logstream").long()).await?;
    let doing = "the request for the list of streams";
    let streams: Vec<Value> = http.expect(&reply, FailureClass::StreamRejected, doing)?;
    let mut swept = Swept::default();
    let names = streams.iter().filter_map(|stream| stream["name"].as_str());
    for stream in names
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    {
        let lock = server.site.stream(stream);
        let _one_at_a_time = lock.lock().await;
        let Some(current) = documents::read(server, stream).await? else { continue };
        if let Some((document, count)) = document::sweep(&current, cluster_id, live) {
            documents::write(server, stream, &document).await?;
            swept.alerts += count;
        }
    }
    Ok(swept)
}
