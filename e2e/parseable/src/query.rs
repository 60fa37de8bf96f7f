//! Queries, in the engine and the dialect of the real server.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Query as UrlQuery, Request, State};
use axum::http::{HeaderValue, header};
use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::JsonArray;
use datafusion::common::TableReference;
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Statement, visit_relations};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::accounts::Caller;
use crate::accounts::privilege::Action;
use crate::answer::{Answer, Reply, json_bytes};
use crate::stream::{MINUTE, Scan, Window, minute};
use crate::{Shared, body, columns};

/// The engine walks a condition on its stack, and an unoptimised build takes much of it.
const STACK_BYTES: usize = 64 << 20;

/// The threads queries run on.
#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Option<Runtime>,
}

impl Engine {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `query` there; a panic of the engine ends as it does in the real server, without an answer.
    pub(crate) async fn run<T, F>(&self, query: F) -> Result<T, Answer>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Answer>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else {
            return Err(Answer::HangUp);
        };
        runtime.spawn(query).await.unwrap_or(Err(Answer::HangUp))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Waiting for the threads is forbidden in a task, and a stand-in may well be dropped in one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryRequest {
    query: String,
    start_time: String,
    end_time: String,
    #[serde(default)]
    send_null: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Flags {
    fields: bool,
    streaming: bool,
    send_null: bool,
}

pub(crate) async fn query(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    UrlQuery(flags): UrlQuery<Flags>,
    request: Request,
) -> Reply {
    let started = Instant::now();
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let asked: QueryRequest = body::parse(&bytes)?;
    let now = shared.now();
    let window = window(&asked.start_time, &asked.end_time, now)?;
    let nulls = asked.send_null || flags.send_null;
    let inner = Arc::clone(&shared);
    let result = shared
        .engine
        .run(async move { run(&inner, &caller, &asked.query, window, now).await })
        .await?;
    let records = to_json(&result, nulls).map_err(|error| Answer::internal(error.to_string()))?;
    let mut response = json_bytes(match (flags.streaming, flags.fields) {
        (true, true) => return Err(Answer::not_recorded("a streamed query with fields")),
        (true, false) => [records.as_slice(), b"\n"].concat(),
        (false, true) => {
            let names: Vec<&String> =
                result.schema.fields().iter().map(|field| field.name()).collect();
            let head = format!("{{\"fields\":{},\"records\":", json!(names));
            [head.as_bytes(), &records, b"}"].concat()
        }
        (false, false) => records,
    });
    let headers = response.headers_mut();
    if flags.streaming {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    }
    if let Ok(elapsed) = HeaderValue::from_bytes(format!("{:?}", started.elapsed()).as_bytes()) {
        headers.insert("p-time-elapsed", elapsed);
    }
    Ok(response)
}

/// A window as a query names it, cut to whole minutes.
fn window(start: &str, end: &str, now: DateTime<Utc>) -> Result<Window, Answer> {
    let refuse =
        |why: &str| Answer::bad_request(format!("Error while parsing provided time range: {why}"));
    let (start, end) = if end == "now" {
        let back = humantime::parse_duration(start).map_err(|_| refuse("Parsing humantime"))?;
        let back = chrono::Duration::from_std(back).map_err(|_| refuse("Parsing humantime"))?;
        (now - back, now)
    } else {
        let stamp = |text| {
            DateTime::parse_from_rfc3339(text)
                .map(|time| time.to_utc())
                .map_err(|_| refuse("Parsing RFC 3339"))
        };
        (stamp(start)?, stamp(end)?)
    };
    if start > end {
        return Err(refuse("Start time cannot be greater than the end time"));
    }
    Ok(Window { start: minute(start), end: minute(end) })
}

/// A query's rows with the columns it asked for.
pub(crate) struct Answered {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

async fn run(
    shared: &Shared,
    caller: &Caller,
    sql: &str,
    window: Window,
    now: DateTime<Utc>,
) -> Result<Answered, Answer> {
    let planning =
        |error: DataFusionError| Answer::bad_request(format!("Datafusion Error: {error}"));
    if sql.trim().is_empty() {
        return Err(Answer::bad_request("Error: Failed to parse sql"));
    }
    let context = context();
    let statement =
        context.state().sql_to_statement(sql, &Dialect::PostgreSQL).map_err(|error| match error
            .find_root()
        {
            DataFusionError::SQL(..) => Answer::bad_request(format!("Error: {error}")),
            _ => planning(error),
        })?;
    let streams = streams_of(&statement);
    let is_query = matches!(&statement, ParsedStatement::Statement(inner)
        if matches!(**inner, Statement::Query(_) | Statement::Insert(_)));
    if streams.is_empty() || !is_query {
        // The real handler panics.
        return Err(Answer::HangUp);
    }
    for name in streams {
        if shared.store().contains(&name) && !caller.may_on(Action::Query, &name) {
            return Err(Answer::bad_request(format!(
                "Error: User does not have access to stream- {name}"
            )));
        }
        register(shared, &context, &name, Some(Scan { window, now, minute: MINUTE }))
            .map_err(|error| Answer::internal(error.to_string()))?;
    }
    let plan = context.state().statement_to_plan(statement).await.map_err(planning)?;
    if matches!(plan, datafusion::logical_expr::LogicalPlan::Dml(_)) {
        return Err(Answer::not_recorded("an INSERT that plans"));
    }
    let frame = DataFrame::new(context.state(), plan);
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await.map_err(|error| {
        Answer::internal(format!(
            "Execution Error: Query Execution failed due to error in datafusion: {error}"
        ))
    })?;
    Ok(Answered { schema, batches })
}

/// The engine with no stream in it yet.
pub(crate) fn context() -> SessionContext {
    context_in("public")
}

/// The same with another schema for names without one.
pub(crate) fn context_in(schema: &str) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_default_catalog_and_schema("datafusion", schema);
    let mut config = config;
    config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
    SessionContext::new_with_config(config)
}

/// Makes a stream a table, for planning alone where there is nothing to scan. A stream that does not exist
/// is left to the planner, which has the right words for it.
pub(crate) fn register(
    shared: &Shared,
    context: &SessionContext,
    name: &str,
    scan: Option<Scan>,
) -> Result<(), DataFusionError> {
    let (schema, batches) = {
        let mut store = shared.store();
        let Ok(stream) = store.get(name) else {
            return Ok(());
        };
        match scan {
            Some(scan) => stream.scan(scan)?,
            None => (columns::schema(stream.columns(shared.now())), Vec::new()),
        }
    };
    let table = MemTable::try_new(schema, vec![batches])?;
    context.register_table(TableReference::bare(name), Arc::new(table))?;
    Ok(())
}

/// The tables a statement names, as the dialect folds them.
fn streams_of(statement: &ParsedStatement) -> Vec<String> {
    let mut names = Vec::new();
    if let ParsedStatement::Statement(inner) = statement {
        let _ = visit_relations(&**inner, |relation: &ObjectName| {
            if let Some(ObjectNamePart::Identifier(name)) = relation.0.last() {
                let folded = match name.quote_style {
                    Some(_) => name.value.clone(),
                    None => name.value.to_lowercase(),
                };
                if !names.contains(&folded) {
                    names.push(folded);
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }
    names
}

fn to_json(answered: &Answered, nulls: bool) -> Result<Vec<u8>, ArrowError> {
    let mut writer =
        WriterBuilder::new().with_explicit_nulls(nulls).build::<_, JsonArray>(Vec::new());
    for batch in &answered.batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let written = writer.into_inner();
    Ok(if written.is_empty() { b"[]".to_vec() } else { written })
}
