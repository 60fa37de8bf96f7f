//! Dashboards: documents with an author.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ulid::Ulid;

use crate::accounts::Caller;
use crate::alerts::config::{list_stamp, stamp};
use crate::answer::{Answer, Reply, json};
use crate::{Shared, body};

/// What a client gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    title: String,
    tags: Option<Vec<String>>,
    #[serde(default)]
    is_favorite: bool,
    #[serde(default)]
    dashboard_type: DashboardType,
    #[serde(default)]
    tiles: Vec<Tile>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
enum DashboardType {
    #[default]
    Dashboard,
    Report,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tile {
    tile_id: Ulid,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// A dashboard as the server keeps it.
#[derive(Debug)]
pub(crate) struct Dashboard {
    document: Document,
    author: String,
    created: DateTime<Utc>,
    modified: DateTime<Utc>,
}

pub(crate) type Dashboards = BTreeMap<Ulid, Dashboard>;

impl Dashboard {
    pub(crate) fn show(&self, id: Ulid) -> Value {
        let document = &self.document;
        let mut shown = json!({
            "version": "v1",
            "title": document.title,
            "author": self.author,
            "dashboardId": id,
            "created": stamp(self.created),
            "modified": stamp(self.modified),
            "tags": document.tags,
            "isFavorite": document.is_favorite,
            "dashboardType": document.dashboard_type,
            "tiles": document.tiles,
            "tenantId": null,
        });
        if let Value::Object(shown) = &mut shown {
            shown.extend(document.other.clone());
        }
        shown
    }

    fn summarize(&self, id: Ulid) -> Value {
        let mut shown = json!({
            "title": self.document.title,
            "author": self.author,
            "created": list_stamp(self.created),
            "modified": list_stamp(self.modified),
            "dashboardId": id,
            "isFavorite": self.document.is_favorite,
        });
        if let Some(tags) = &self.document.tags {
            shown["tags"] = json!(tags);
        }
        shown
    }
}

#[derive(Deserialize)]
pub(crate) struct Filter {
    limit: Option<usize>,
    tags: Option<String>,
}

/// All, the newest first; by tags in the order they were made.
pub(crate) async fn list(State(shared): State<Arc<Shared>>, Query(filter): Query<Filter>) -> Reply {
    let store = shared.store();
    let mut found: Vec<_> = store.dashboards.iter().collect();
    match &filter.tags {
        None => found.reverse(),
        Some(wanted) => found.retain(|(_, dashboard)| {
            let tags = dashboard.document.tags.as_deref().unwrap_or_default();
            wanted.split(',').any(|tag| tags.iter().any(|own| own == tag.trim()))
        }),
    }
    found.truncate(filter.limit.unwrap_or(usize::MAX));
    let shown = found.into_iter().map(|(id, dashboard)| dashboard.summarize(*id)).collect();
    json(&Value::Array(shown))
}

pub(crate) async fn list_tags(State(shared): State<Arc<Shared>>) -> Reply {
    let store = shared.store();
    let tags = store.dashboards.values().filter_map(|dashboard| dashboard.document.tags.as_ref());
    let tags: BTreeSet<&String> = tags.flatten().collect();
    json(&json!(tags))
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let document: Document = body::parse(&bytes)?;
    let mut store = shared.store();
    let id = store.new_id();
    check_title(&store.dashboards, id, &document.title)?;
    let now = shared.now();
    let dashboard = Dashboard { document, author: caller.author(), created: now, modified: now };
    let shown = dashboard.show(id);
    store.dashboards.insert(id, dashboard);
    json(&shown)
}

pub(crate) async fn get(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let store = shared.store();
    let dashboard = store.dashboards.get(&id).ok_or_else(|| refused("Dashboard does not exist"))?;
    json(&dashboard.show(id))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Partial {
    rename_to: Option<String>,
    is_favorite: Option<bool>,
    tags: Option<String>,
}

/// Replaces the document, or changes what the query names. For the author only, whoever else asks.
pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(partial): Query<Partial>,
    request: Request,
) -> Reply {
    let id = path_id(&id)?;
    let is_partial =
        partial.rename_to.is_some() || partial.is_favorite.is_some() || partial.tags.is_some();
    let document = if is_partial {
        None
    } else {
        let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
        Some(body::parse::<Document>(&bytes)?)
    };
    let mut store = shared.store();
    let old = own(&mut store.dashboards, id, &caller)?.document.clone();
    let new = document.unwrap_or_else(|| Document {
        title: partial.rename_to.unwrap_or(old.title),
        is_favorite: partial.is_favorite.unwrap_or(old.is_favorite),
        tags: match partial.tags {
            Some(tags) => Some(tags.split(',').map(|tag| tag.trim().to_owned()).collect()),
            None => old.tags,
        },
        ..old
    });
    check_title(&store.dashboards, id, &new.title)?;
    let dashboard = own(&mut store.dashboards, id, &caller)?;
    dashboard.document = new;
    dashboard.modified = shared.now();
    json(&dashboard.show(id))
}

pub(crate) async fn add_tile(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    let id = path_id(&id)?;
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let tile: Tile = body::parse(&bytes)?;
    let mut store = shared.store();
    let dashboard = own(&mut store.dashboards, id, &caller)?;
    dashboard.document.tiles.push(tile);
    dashboard.modified = shared.now();
    json(&dashboard.show(id))
}

/// By the author or an administrator.
pub(crate) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Reply {
    let id = path_id(&id)?;
    let mut store = shared.store();
    let may = |dashboard: &Dashboard| caller.is_admin() || dashboard.author == caller.author();
    if !store.dashboards.get(&id).is_some_and(may) {
        return Err(refused(NOT_YOURS));
    }
    store.dashboards.remove(&id);
    Ok(StatusCode::OK.into_response())
}

const NOT_YOURS: &str = "Dashboard does not exist or you do not have permission to access it";

fn own<'a>(
    dashboards: &'a mut Dashboards,
    id: Ulid,
    caller: &Caller,
) -> Result<&'a mut Dashboard, Answer> {
    match dashboards.get_mut(&id) {
        Some(dashboard) if dashboard.author == caller.author() => Ok(dashboard),
        Some(_) if caller.is_admin() => Err(refused(NOT_YOURS)),
        _ => Err(refused("Dashboard does not exist or user is not authorized")),
    }
}

fn check_title(dashboards: &Dashboards, id: Ulid, title: &str) -> Result<(), Answer> {
    let taken = dashboards
        .iter()
        .any(|(other, dashboard)| *other != id && dashboard.document.title == title);
    if taken { Err(refused("Dashboard title must be unique")) } else { Ok(()) }
}

fn path_id(text: &str) -> Result<Ulid, Answer> {
    Ulid::from_string(text)
        .map_err(|_| refused("Invalid dashboard ID format - must be a valid ULID"))
}

fn refused(why: &str) -> Answer {
    Answer::bad_request(format!("Cannot perform this operation: {why}"))
}
