//! Makes the stream ready: it exists, keeps its data as long as asked, and has every column with its type.

use super::batch::{Batch, RawBatch};
use super::client::{Answer, Keeper};
use super::link::{Link, is_held};
use super::words::Words;
use crate::encode::flatten::{ColumnType, columns, seed_rows};
use crate::event::WallTime;
use crate::spool::Class;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

impl Link {
    /// Goes on until the stream is ready or is known to be made ready by somebody else.
    pub(super) async fn prepare(&self) {
        if self.keeper == Keeper::Operator {
            return;
        }
        let mut failures = 0;
        loop {
            let last = *self.draining.borrow();
            let Err(answer) = self.prepare_once().await else { return };
            if last && is_held(&answer) {
                self.given_up.store(true, Relaxed);
                return;
            }
            failures += 1;
            self.wait_out(answer, failures).await;
        }
    }

    async fn prepare_once(&self) -> Result<(), Answer> {
        match self.client.schema().await {
            Ok(schema) => {
                self.keep_for().await?;
                match check_schema(&schema) {
                    Ok(()) => {
                        self.proven.store(true, Relaxed);
                        Ok(())
                    }
                    Err(Fault::Missing) => self.seed().await,
                    Err(Fault::Types(wrong)) => {
                        let stream = self.client.stream();
                        tracing::warn!(
                            stream,
                            "The stream has columns of other types, so their values go to columns of other names and rules \
                             on them see nothing: {wrong}; name another stream in target.parseable.stream"
                        );
                        self.seed().await
                    }
                }
            }
            Err(Answer::NoStream) => self.create_and_seed().await,
            // Credentials that may only ingest cannot look; whoever made them made the stream.
            Err(Answer::Unauthorized(_)) => self.seed().await,
            Err(answer) => Err(answer),
        }
    }

    pub(super) async fn create_and_seed(&self) -> Result<(), Answer> {
        let stream = self.client.stream();
        match self.client.create().await {
            Answer::Accepted => {}
            Answer::Unauthorized(why) => {
                let why = format!(
                    "{why} (stream \"{stream}\" does not exist: create it, or give credentials that may)"
                );
                return Err(Answer::Unauthorized(why.into()));
            }
            Answer::NoStream => {
                return Err(Answer::Refused(
                    "answered 404 when the stream was to be created: check target.parseable.url"
                        .into(),
                ));
            }
            Answer::Rejected { status, text } => {
                let told = format!(
                    "answered {} when stream \"{stream}\" was to be created",
                    status.as_u16()
                );
                return Err(Answer::Refused(Words::with(told, &text)));
            }
            answer => return Err(answer),
        }
        tracing::info!(stream, "The stream is there");
        self.keep_for().await?;
        self.seed().await
    }

    /// Sets the retention where it differs. Not being allowed to is no reason to keep events back.
    async fn keep_for(&self) -> Result<(), Answer> {
        let Some(days) = self.retention_days else { return Ok(()) };
        let answer = match self.client.retention().await {
            Ok(current) if current[0]["duration"] == format!("{days}d") => return Ok(()),
            Ok(_) => self.client.put_retention(days).await,
            Err(answer) => answer,
        };
        let why = match answer {
            Answer::Accepted => return Ok(()),
            Answer::Retry { .. } | Answer::Reset(_) => return Err(answer),
            Answer::Unauthorized(why)
            | Answer::NoAccount(why)
            | Answer::Refused(why)
            | Answer::NotYet(why) => why.to_string(),
            Answer::TooLarge(why) => why,
            Answer::Rejected { text, .. } => text,
            Answer::NoStream => "the stream is not there".to_owned(),
        };
        let stream = self.client.stream();
        tracing::warn!(stream, "The retention of {days}d could not be set: {why}");
        Ok(())
    }

    async fn seed(&self) -> Result<(), Answer> {
        let Some(batch) = self.seed_batch() else { return Ok(()) };
        match self.post(&batch).await {
            Answer::Accepted => Ok(()),
            // Without its seed the stream still takes events, typed by the first of them.
            Answer::Rejected { text, .. } | Answer::TooLarge(text) => {
                let stream = self.client.stream();
                tracing::warn!(stream, "The server refused the row that types the columns: {text}");
                Ok(())
            }
            Answer::NoStream => {
                let stream = self.client.stream();
                let why = format!(
                    "has no stream \"{stream}\", and the credentials may not create it: create it, or give others"
                );
                Err(Answer::Refused(why.into()))
            }
            answer => Err(answer),
        }
    }

    fn seed_batch(&self) -> Option<Batch> {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = WallTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX));
        let rows = seed_rows(&self.origin, now);
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let mut body = b"[".to_vec();
        body.extend(rows.join(&b",\n"[..]));
        body.push(b']');
        let raw = RawBatch { class: Class::Lifecycle, body, rows: count, oldest: now };
        let mut packer = self.packer.lock().unwrap_or_else(PoisonError::into_inner);
        packer.pack(&raw).ok()
    }
}

enum Fault {
    /// Some column is not there yet.
    Missing,
    /// The first few columns with another type, for a message.
    Types(String),
}

fn check_schema(schema: &Value) -> Result<(), Fault> {
    let fields = schema["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found: HashMap<&str, &Value> =
        fields.iter().filter_map(|f| Some((f["name"].as_str()?, &f["data_type"]))).collect();
    let wrong: Vec<String> = columns()
        .iter()
        .filter_map(|c| {
            found.get(c.name).filter(|t| !is_type(c.kind, t)).map(|t| format!("{} is {t}", c.name))
        })
        .collect();
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(3);
        let mut shown = wrong.into_iter().take(3).collect::<Vec<_>>().join(", ");
        if more > 0 {
            shown.push_str(&format!(" and {more} more"));
        }
        return Err(Fault::Types(shown));
    }
    if columns().iter().any(|c| !found.contains_key(c.name)) {
        return Err(Fault::Missing);
    }
    Ok(())
}

/// Arrow's name for the type, as the server shows it.
fn is_type(kind: ColumnType, shown: &Value) -> bool {
    match kind {
        ColumnType::Text => shown == "Utf8",
        ColumnType::Number => shown == "Float64",
        ColumnType::Bool => shown == "Boolean",
        ColumnType::Time => shown.get("Timestamp").is_some(),
    }
}
