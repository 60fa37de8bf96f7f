//! One stream: its settings, its columns, its rows.

use chrono::{DateTime, Duration, DurationRound, SecondsFormat, Utc};
use datafusion::arrow::array::{ArrayRef, RecordBatch, UInt64Array, new_null_array};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ArrayWriter;
use serde_json::{Map, Value, json};

use crate::columns::{self, Columns};
use crate::documents::Document;
use crate::retention::Task;

/// How far back a window may end and still see the rows in memory: 5 minutes does, an hour does not;
/// between them nothing was recorded.
const IN_MEMORY_REACH_MINUTES: i32 = 10;

/// A minute of the wall clock.
pub(crate) const MINUTE: Duration = Duration::minutes(1);

/// What is set at creation or by an update.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) time_partition_limit_days: Option<u32>,
    pub(crate) custom_partition: Option<String>,
    pub(crate) static_schema: bool,
    pub(crate) log_source: Option<String>,
    pub(crate) telemetry_type: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) labels: Vec<String>,
}

/// A span of whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
}

/// What is looked at, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    pub(crate) window: Window,
    pub(crate) now: DateTime<Utc>,
    /// How long rows stay in memory.
    pub(crate) minute: Duration,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) settings: Settings,
    pub(crate) retention: Vec<Task>,
    /// Alerts of the old generation.
    pub(crate) document: Option<Document>,
    created_at: DateTime<Utc>,
    columns: Columns,
    /// Columns that rows have and the schema does not show yet: those of the headers of requests whose events
    /// brought no new field, until the minute ends or the server starts again.
    pending: Columns,
    batches: Vec<Stored>,
    ingested_bytes: usize,
}

/// The rows of one request.
#[derive(Debug)]
struct Stored {
    received: DateTime<Utc>,
    batch: RecordBatch,
}

impl Stream {
    pub(crate) fn new(settings: Settings, columns: Columns, now: DateTime<Utc>) -> Self {
        Self {
            settings,
            retention: Vec::new(),
            document: None,
            created_at: now,
            columns,
            pending: Columns::new(),
            batches: Vec::new(),
            ingested_bytes: 0,
        }
    }

    /// The columns the schema shows.
    pub(crate) fn columns(&mut self, now: DateTime<Utc>) -> &Columns {
        self.end_of_minute(now);
        &self.columns
    }

    /// All columns rows have.
    pub(crate) fn all_columns(&self) -> Columns {
        let mut all = self.columns.clone();
        all.extend(self.pending.clone());
        all
    }

    /// Takes a request's rows. `from_events` are new columns from the events, `from_request` the server's own.
    pub(crate) fn store(
        &mut self,
        batch: RecordBatch,
        received: DateTime<Utc>,
        from_events: Columns,
        from_request: Columns,
        bytes: usize,
    ) {
        self.end_of_minute(received);
        let shown = !from_events.is_empty() || self.columns.is_empty();
        self.columns.extend(from_events);
        if shown {
            self.columns.extend(from_request);
        } else {
            let known = &self.columns;
            let unknown = from_request.into_iter().filter(|(name, _)| !known.contains_key(name));
            self.pending.extend(unknown);
        }
        self.ingested_bytes += bytes;
        self.batches.push(Stored { received, batch });
    }

    /// Shows the columns that were pending.
    pub(crate) fn commit(&mut self) {
        self.columns.append(&mut self.pending);
    }

    fn end_of_minute(&mut self, now: DateTime<Utc>) {
        let this = minute(now);
        if self.batches.last().is_some_and(|last| minute(last.received) < this) {
            self.commit();
        }
    }

    /// What `/info` says.
    pub(crate) fn info(&self, now: DateTime<Utc>) -> Value {
        let settings = &self.settings;
        let mut info = Map::new();
        let mut say = |key: &str, value: Value| {
            info.insert(key.to_owned(), value);
        };
        say("createdAt", json!(self.created_at.to_rfc3339_opts(SecondsFormat::Nanos, false)));
        let this = minute(now);
        let mut written = self.batches.iter().map(|b| minute(b.received)).filter(|m| *m < this);
        if let Some(first) = written.next() {
            let last = written.next_back().unwrap_or(first);
            say("firstEventAt", json!(first.to_rfc3339()));
            say("latestEventAt", json!(last.to_rfc3339()));
        }
        if let Some(days) = settings.time_partition_limit_days {
            say("timePartitionLimit", json!(days.to_string()));
        }
        if let Some(field) = &settings.custom_partition {
            say("customPartition", json!(field));
        }
        if settings.static_schema {
            say("staticSchemaFlag", json!("true"));
        }
        say("streamType", json!("UserDefined"));
        let source = settings.log_source.as_deref().unwrap_or("json");
        say("logSource", json!([{"log_source_format": source, "fields": []}]));
        say("telemetryType", json!(settings.telemetry_type.as_deref().unwrap_or("logs")));
        say("hotTierEnabled", json!(false));
        if !settings.tags.is_empty() {
            say("datasetTags", json!(settings.tags));
        }
        if !settings.labels.is_empty() {
            say("datasetLabels", json!(settings.labels));
        }
        say("inferTimestamp", json!(true));
        Value::Object(info)
    }

    /// What `/stats` says.
    pub(crate) fn stats(&self, name: &str, now: DateTime<Utc>) -> Value {
        let (count, size) = (self.row_count(), self.ingested_bytes);
        json!({
            "stream": name,
            "time": now.to_rfc3339_opts(SecondsFormat::Nanos, true),
            "ingestion": {
                "count": count, "size": size, "format": "json",
                "lifetime_count": count, "lifetime_size": size,
                "deleted_count": 0, "deleted_size": 0,
            },
            "storage": {"size": 0, "format": "parquet", "lifetime_size": 0, "deleted_size": 0},
        })
    }

    pub(crate) fn row_count(&self) -> usize {
        self.batches.iter().map(|stored| stored.batch.num_rows()).sum()
    }

    /// The rows a query over `window` scans, newest first. Rows of the current minute are in memory and seen
    /// by any window near now; older ones are filtered exactly.
    pub(crate) fn scan(&mut self, scan: Scan) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
        let Scan { window, now, minute } = scan;
        self.end_of_minute(now);
        let near = now - window.end < minute * IN_MEMORY_REACH_MINUTES;
        let schema = columns::schema(&self.columns);
        let mut seen = Vec::new();
        for stored in self.batches.iter().rev() {
            let visible = if floor(stored.received, minute) == floor(now, minute) {
                near
            } else {
                window.start <= stored.received && stored.received < window.end
            };
            if visible && stored.batch.num_rows() > 0 {
                seen.push(newest_first(&widen(&stored.batch, &schema)?)?);
            }
        }
        Ok((schema, seen))
    }

    /// All rows in the order they came, nulls left out.
    pub(crate) fn rows(&self) -> Vec<Map<String, Value>> {
        self.batches.iter().flat_map(|stored| to_json(&stored.batch)).collect()
    }
}

/// The start of the minute.
pub(crate) fn minute(time: DateTime<Utc>) -> DateTime<Utc> {
    floor(time, MINUTE)
}

/// The start of the minute, for minutes of another length.
pub(crate) fn floor(time: DateTime<Utc>, minute: Duration) -> DateTime<Utc> {
    time.duration_trunc(minute).unwrap_or(time)
}

/// Columns that came later are null in an old batch.
fn widen(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    RecordBatch::try_new(schema.clone(), columns)
}

fn newest_first(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let indices = UInt64Array::from_iter_values((0..batch.num_rows() as u64).rev());
    let columns = batch.columns().iter().map(|column| take(column, &indices, None));
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<Vec<_>, _>>()?)
}

fn to_json(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut writer = ArrayWriter::new(Vec::new());
    let written = writer.write(batch).and_then(|()| writer.finish());
    if let Err(error) = written {
        tracing::error!(%error, "Cannot show a stream's rows as JSON");
    }
    serde_json::from_slice(&writer.into_inner()).unwrap_or_default()
}
