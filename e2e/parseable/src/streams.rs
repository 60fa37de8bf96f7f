//! Creating, changing, showing and deleting streams.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use datafusion::arrow::datatypes::DataType;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Caller;
use crate::accounts::privilege::Action;
use crate::answer::{Answer, Reply, json, text};
use crate::columns::{self, Columns};
use crate::store::check_name;
use crate::stream::{Settings, Stream};
use crate::{Shared, body, flatten, retention, strict_json};

const KNOWN_TAGS: [&str; 5] =
    ["agent-observability", "k8s-observability", "database-observability", "apm", "service-map"];

/// Those the caller may see.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Reply {
    let store = shared.store();
    let names = store.names().filter(|name| caller.may_on(Action::ListStreams, name));
    let names: Vec<Value> = names.map(|name| json!({"name": name})).collect();
    json(&Value::Array(names))
}

pub(crate) async fn put(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Reply {
    let headers = request.headers().clone();
    // Any other value panics the real handler.
    if header(&headers, "x-p-stream-type")
        .is_some_and(|kind| kind != "UserDefined" && kind != "Internal")
    {
        return Err(Answer::HangUp);
    }
    let static_schema = header(&headers, "x-p-static-schema-flag").as_deref() == Some("true");
    if header(&headers, "x-p-update-stream").as_deref() == Some("true") {
        return update(&shared, &name, &headers, static_schema);
    }
    if shared.store().contains(&name) {
        return Err(Answer::bad_request(format!(
            "Logstream {name} already exists, please create a new log stream with unique name"
        )));
    }
    check_name(&name)?;
    let settings = Settings {
        time_partition_limit_days: time_partition_limit(&headers)?,
        custom_partition: custom_partition(&headers)?,
        static_schema,
        log_source: header(&headers, "x-p-log-source"),
        telemetry_type: header(&headers, "x-p-telemetry-type"),
        tags: words(&headers, "x-p-dataset-tags")
            .filter(|tag| KNOWN_TAGS.contains(&tag.as_str()))
            .collect(),
        labels: words(&headers, "x-p-dataset-labels").collect(),
    };
    let columns = if static_schema {
        static_columns(&name, request, shared.config.max_body_bytes).await?
    } else {
        Columns::new()
    };
    let now = shared.now();
    shared.store().insert(&name, Stream::new(settings, columns, now));
    text("Log stream created")
}

/// Only the limit or the custom partition change; a missing partition header clears the partition.
fn update(shared: &Shared, name: &str, headers: &HeaderMap, static_schema: bool) -> Reply {
    let mut store = shared.store();
    let stream = store.get(name)?;
    if static_schema {
        return Err(Answer::bad_request(
            "Altering the schema of an existing stream is restricted.",
        ));
    }
    if let Some(days) = time_partition_limit(headers)? {
        stream.settings.time_partition_limit_days = Some(days);
    } else {
        stream.settings.custom_partition = custom_partition(headers)?;
    }
    text("Log stream created")
}

/// The server reports these mistakes as its own.
fn time_partition_limit(headers: &HeaderMap) -> Result<Option<u32>, Answer> {
    let Some(limit) = header(headers, "x-p-time-partition-limit") else {
        return Ok(None);
    };
    let Some(days) = limit.strip_suffix('d') else {
        return Err(Answer::internal("Missing 'd' suffix for duration value"));
    };
    match days.parse() {
        Ok(days) if days > 0 => Ok(Some(days)),
        _ => Err(Answer::internal("could not convert duration to an unsigned number")),
    }
}

fn custom_partition(headers: &HeaderMap) -> Result<Option<String>, Answer> {
    let partition = header(headers, "x-p-custom-partition");
    if partition.as_ref().is_some_and(|fields| fields.contains(',')) {
        return Err(Answer::internal("Maximum 1 custom partition key is supported"));
    }
    Ok(partition)
}

#[derive(Deserialize)]
struct StaticSchema {
    fields: Vec<StaticField>,
}

#[derive(Deserialize)]
struct StaticField {
    name: String,
    data_type: String,
}

async fn static_columns(name: &str, request: Request, limit: usize) -> Result<Columns, Answer> {
    let bytes = body::read(request, limit).await?.bytes;
    if bytes.is_empty() {
        return Err(Answer::internal(format!(
            "Please provide schema in the request body for static schema logstream {name}"
        )));
    }
    let schema: StaticSchema = serde_json::from_slice(&bytes).map_err(|error| {
        Answer::bad_request(format!("Could not deserialize into JSON object, {error}"))
    })?;
    let refused = || {
        Answer::internal(format!("Unable to commit static schema, logstream {name} not created"))
    };
    let mut columns = Columns::new();
    for field in schema.fields {
        let data_type: DataType = columns::named_type(&field.data_type).ok_or_else(refused)?;
        let taken = field.name == columns::P_TIMESTAMP;
        if taken || columns.insert(field.name, data_type).is_some() {
            return Err(refused());
        }
    }
    columns.insert(columns::P_TIMESTAMP.to_owned(), columns::timestamp());
    Ok(columns)
}

pub(crate) async fn delete(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    shared.store().remove(&name)?;
    text(format!("log stream {name} deleted"))
}

pub(crate) async fn info(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    let info = shared.store().get(&name)?.info(shared.now());
    json(&info)
}

pub(crate) async fn schema(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    let schema = columns::schema_json(shared.store().get(&name)?.columns(shared.now()));
    json(&schema)
}

pub(crate) async fn stats(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Reply {
    let mut store = shared.store();
    let stream = store.get(&name)?;
    match query.as_deref() {
        None | Some("") => json(&stream.stats(&name, shared.now())),
        // The real handler panics.
        Some("date") => Err(Answer::HangUp),
        // Figures of a day appear when its files are written, which this server never does.
        Some(query) if query.starts_with("date=") => {
            json(&json!({"events": 0, "ingestion": 0, "storage": 0}))
        }
        Some(_) => Err(Answer::bad_request("Invalid query parameter")),
    }
}

pub(crate) async fn get_retention(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Reply {
    let retention = json!(shared.store().get(&name)?.retention);
    json(&retention)
}

pub(crate) async fn put_retention(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let tasks = retention::parse(&bytes)?;
    shared.store().get(&name)?.retention = tasks;
    text(format!("set retention configuration for log stream {name}"))
}

/// The recorded server ran without a hot tier.
pub(crate) async fn hot_tier(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    shared.store().get(&name)?;
    Err(Answer::Text(
        StatusCode::FORBIDDEN,
        format!(
            "Hot tier is not enabled at the server config, cannot enable hot tier for stream {name}"
        ),
    ))
}

/// The schema a sample would make.
pub(crate) async fn detect_schema(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let mut rows = flatten::rows(strict_json::parse(&bytes)?)?.rows;
    json(&columns::schema_json(&columns::settle(&mut rows, &Columns::new())))
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

fn words(headers: &HeaderMap, name: &str) -> impl Iterator<Item = String> {
    let list = header(headers, name).unwrap_or_default();
    let words: Vec<String> = list
        .split(',')
        .map(|word| word.trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    words.into_iter()
}
