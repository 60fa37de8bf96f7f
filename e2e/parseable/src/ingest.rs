//! Events in.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header as http_header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use datafusion::arrow::datatypes::DataType;
use serde_json::{Map, Value};

use crate::accounts::forbidden;
use crate::accounts::privilege::Action;
use crate::answer::{Answer, Reply};
use crate::body::JsonBody;
use crate::columns::{self, Columns, P_TIMESTAMP};
use crate::counts::{Counters, Taken};
use crate::faults::fail;
use crate::flatten::Rows;
use crate::store::check_name;
use crate::stream::{Settings, Stream};
use crate::streams::header;
use crate::wire::Peer;
use crate::{Shared, body, flatten, sink, strict_json};

/// Columns a request's own headers may add, and the length of their values.
const MAX_HEADER_COLUMNS: usize = 10;
const MAX_HEADER_VALUE: usize = 100;

/// Headers that steer the ingest and are no columns.
const STEERING: [&str; 3] = ["x-p-stream", "x-p-log-source", "x-p-extract-log"];

pub(crate) async fn to_stream(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    ingest(shared, Some(name), request).await
}

pub(crate) async fn to_header(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    ingest(shared, None, request).await
}

/// Faults first, then credentials, then the ingest itself; all of it counted.
async fn ingest(shared: Arc<Shared>, stream: Option<String>, request: Request) -> Response {
    let (fault, limit) = (shared.faults.take(), shared.config.max_body_bytes);
    let reply = fail(fault, request, limit, |request| take(&shared, stream, request));
    let reply = reply.await;
    if reply.is_err() {
        Counters::add(&shared.counts.refused_ingests, 1);
    }
    reply.into_response()
}

async fn take(shared: &Arc<Shared>, stream: Option<String>, request: Request) -> Reply {
    let caller = shared.store().accounts.caller(request.headers())?;
    if shared.config.sink {
        let taken = sink::count(request, shared.config.max_body_bytes).await?;
        shared.counts.taken(taken);
        return Ok(StatusCode::OK.into_response());
    }
    let origin = Origin::of(&request);
    let on_ingest_route = stream.is_none();
    let name = stream.or_else(|| origin.stream.clone()).ok_or_else(|| {
        Answer::bad_request("Header Error: Stream name not found in header [x-p-stream]")
    })?;
    if !caller.may_on(Action::Ingest, &name) {
        return Err(forbidden());
    }
    if !on_ingest_route {
        shared.store().get(&name)?;
    }
    origin.check_log_source(&name)?;
    if on_ingest_route && !shared.store().contains(&name) {
        check_name(&name)?;
        let stream = Stream::new(Settings::default(), Columns::new(), shared.now());
        shared.store().insert(&name, stream);
    }
    let body = body::read_json(request, shared.config.max_body_bytes).await?;
    let taken = store(shared, &name, &origin, &body).map_err(|answer| {
        if answer == Answer::HangUp && on_ingest_route {
            // A real server is gone here and has to be started again.
            Counters::add(&shared.counts.aborts, 1);
            shared.store().start_again();
        }
        answer
    })?;
    shared.counts.taken(taken);
    Ok(StatusCode::OK.into_response())
}

fn store(shared: &Shared, name: &str, origin: &Origin, body: &JsonBody) -> Result<Taken, Answer> {
    let document = strict_json::parse(&body.bytes)?;
    let Rows { events, mut rows } = flatten::rows(document)?;
    if rows.iter().any(|row| row.contains_key(P_TIMESTAMP)) {
        return Err(Answer::bad_request("Invalid Request: field p_timestamp is a reserved field"));
    }
    let mut store = shared.store();
    let stream = store.get(name)?;
    let known = stream.all_columns();
    let limit = shared.config.max_columns;
    if known.len() > limit {
        return Err(Answer::bad_request(format!(
            "Failed to ingest events in dataset {name}. Total number of fields {} exceeds the permissible limit \
             of {limit}. We recommend creating a new dataset beyond {limit} for better query performance.",
            known.len()
        )));
    }
    if let Some(field) = &stream.settings.custom_partition {
        check_partition(&rows, field)?;
    }
    let from_events = if stream.settings.static_schema {
        columns::check_static(&rows, &known)?;
        Columns::new()
    } else {
        columns::settle(&mut rows, &known)
    };
    let received = shared.now();
    let own = origin.columns(received);
    for row in &mut rows {
        row.extend(own.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    }
    let from_request: Columns = own
        .into_iter()
        .map(|(name, _)| match name.as_str() {
            P_TIMESTAMP => (name, columns::timestamp()),
            _ => (name, DataType::Utf8),
        })
        .collect();
    let mut all = known;
    all.extend(from_events.clone());
    all.extend(from_request.clone());
    let row_count = rows.len();
    let batch = columns::decode(rows, &all)?;
    stream.store(batch, received, from_events, from_request, body.bytes.len());
    Ok(Taken {
        body_bytes: body.sent_bytes,
        inflated_bytes: body.bytes.len(),
        events,
        rows: row_count,
    })
}

fn check_partition(rows: &[Map<String, Value>], field: &str) -> Result<(), Answer> {
    for row in rows {
        let why = match row.get(field) {
            None => "is not part of the log",
            Some(Value::String(text)) if text.contains('.') => "contains a period in the value",
            Some(Value::String(text)) if text.is_empty() => "is empty or null",
            Some(Value::Null) => "is empty or null",
            Some(_) => continue,
        };
        return Err(Answer::bad_request(format!(
            "Invalid Request: Ingestion failed as field {field} {why}"
        )));
    }
    Ok(())
}

/// What the request itself says, apart from its events.
struct Origin {
    stream: Option<String>,
    log_source: Option<String>,
    user_agent: String,
    source_ip: String,
    /// `X-P-Cluster: c1` as `cluster`, `c1`.
    extra: Vec<(String, String)>,
}

impl Origin {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>();
        Self {
            stream: header(headers, "x-p-stream"),
            log_source: header(headers, "x-p-log-source"),
            user_agent: header(headers, http_header::USER_AGENT.as_str()).unwrap_or_default(),
            source_ip: peer.map(|Peer(address)| ip(address)).unwrap_or_default(),
            extra: extra(headers),
        }
    }

    fn check_log_source(&self, stream: &str) -> Result<(), Answer> {
        match self.log_source.as_deref() {
            None | Some("json") => Ok(()),
            Some(otel) if otel.starts_with("otel-") => Err(Answer::bad_request(format!(
                "Ingestion failed for stream {stream}. Use the endpoints `/v1/logs` for otel logs, `/v1/metrics` \
                 for otel metrics and `/v1/traces` for otel traces"
            ))),
            Some(other) => Err(Answer::bad_request(format!(
                "Unsupported log format: '{other}'. This format cannot be parsed by the current version. Please \
                 create an issue on our GitHub repository (github.com/parseablehq/parseable) with a sample log \
                 event, or reach out in the #support-channel on our Slack community for assistance. Include this \
                 error message and your log sample to help us improve compatibility."
            ))),
        }
    }

    fn columns(&self, received: DateTime<Utc>) -> Vec<(String, String)> {
        let mut own = vec![
            (P_TIMESTAMP.to_owned(), received.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()),
            ("p_user_agent".to_owned(), self.user_agent.clone()),
            ("p_src_ip".to_owned(), self.source_ip.clone()),
        ];
        if let Some(source) = &self.log_source {
            own.push(("p_format".to_owned(), source.clone()));
        }
        own.extend(self.extra.iter().cloned());
        own
    }
}

fn ip(address: &SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}

fn extra(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !STEERING.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let column = name.as_str().strip_prefix("x-p-")?;
            let value: String = value.to_str().ok()?.chars().take(MAX_HEADER_VALUE).collect();
            Some((column.to_owned(), value))
        })
        .take(MAX_HEADER_COLUMNS)
        .collect()
}
