//! The stream: it is there, keeps its data as long as asked, and has the columns that the alerts need.

use jiff::Timestamp;
use serde_json::json;

use super::{Pass, StreamState};
use crate::failure::{Failure, FailureClass};
use crate::http::Call;
use crate::identity;
use crate::plan::columns::{self, Schema};
use crate::report::{Change, ChangeKind};
use crate::wire::{RetentionTask, SchemaDocument};

/// Words of every server for a stream that is there already. With 400, because it is an error to it.
const EXISTS: &str = "already exists";

impl Pass<'_> {
    /// What the report says of the stream, and the stream itself when there is one. A retention that cannot be set is
    /// no reason to leave the alerts alone.
    pub(super) async fn stream(&mut self) -> (Result<(), Failure>, Option<StreamState>) {
        let lock = self.server.site.stream(&self.desired.stream);
        let _one_at_a_time = lock.lock().await;
        let (schema, created) = match self.exists().await {
            Ok(found) => found,
            Err(failure) => return (Err(failure), None),
        };
        let retention = self.retention().await;
        if let Err(failure) = &retention
            && failure.class == FailureClass::Unreachable
        {
            return (retention, None);
        }
        match self.seeded(schema).await {
            Ok(schema) => (retention, Some(StreamState { schema, created })),
            Err(failure) => (retention.and(Err(failure)), None),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/logstream/{}{rest}", self.desired.stream)
    }

    /// The stream's columns, and whether it had to be created.
    async fn exists(&mut self) -> Result<(Schema, bool), Failure> {
        if let Some(schema) = self.schema().await? {
            return Ok((schema, false));
        }
        let (http, owner, stream) = (&self.server.http, &self.desired.owner, &self.desired.stream);
        let labels =
            format!("managed-by.securitywatch,sw-{}", identity::cluster_mark(&owner.cluster_id));
        let call = Call::put(self.path("")).header("X-P-Dataset-Labels", labels);
        let reply = http.call(call).await?;
        let created = reply.is_success();
        if !created && !reply.contains(EXISTS) {
            let doing = format!("the creation of stream {stream}");
            let mut failure = http.refused(&reply, FailureClass::StreamRejected, &doing);
            // A server reports some mistakes in a stream's settings as its own.
            if failure.class == FailureClass::StreamRejected {
                // Whatever answers at this URL must not write into a status: its reason is recognised, not repeated.
                if reply.contains("SQL keyword") {
                    failure.message.push_str(": an SQL keyword cannot name a stream");
                }
                failure.message.push_str("; choose another name in target.parseable.stream");
            }
            return Err(failure);
        }
        if created {
            let message = format!("stream {stream} was created on {}", http.who());
            self.changes.push(Change::new(ChangeKind::StreamCreated, message));
        }
        Ok((self.schema().await?.unwrap_or_default(), created))
    }

    /// `None`: there is no such stream.
    async fn schema(&self) -> Result<Option<Schema>, Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::get(self.path("/schema")).long()).await?;
        // What does not exist and what has no columns yet are told apart by nobody but the current generation; creating tells.
        if matches!(reply.status, 400 | 404) {
            return Ok(None);
        }
        let doing = format!("the request for the columns of stream {}", self.desired.stream);
        let document: SchemaDocument = http.expect(&reply, FailureClass::StreamRejected, &doing)?;
        Ok(Some(Schema::read(document)))
    }

    async fn retention(&mut self) -> Result<(), Failure> {
        let (server, desired) = (self.server, self.desired);
        let (http, stream) = (&server.http, &desired.stream);
        let claim =
            server.claims.claim(&desired.owner, http.base(), stream, desired.retention_days);
        let Some(days) = desired.retention_days else { return Ok(()) };
        if let Err(older) = claim {
            let message = format!(
                "stream {stream} keeps its data for {}d, as {}, which is older, wants it; give both the same target.parseable.retention",
                older.retention_days, older.title
            );
            return Err(Failure::new(FailureClass::Conflict, message));
        }
        let wanted = format!("{days}d");
        let reply = http.call(Call::get(self.path("/retention"))).await?;
        let doing = format!("the request for the retention of stream {stream}");
        // Old servers have no answer where there is no retention.
        let current: Vec<RetentionTask> = match reply.status {
            404 => Vec::new(),
            _ => http.expect(&reply, FailureClass::StreamRejected, &doing)?,
        };
        if matches!(current.as_slice(), [task] if task.action == "delete" && task.duration == wanted)
        {
            return Ok(());
        }
        let body = json!([{
            "description": format!("delete after {days} days"), "action": "delete", "duration": wanted
        }]);
        let reply = http.call(Call::put(self.path("/retention")).json(body)).await?;
        if !reply.is_success() {
            let doing = format!("the retention of {wanted} for stream {stream}");
            return Err(http.refused(&reply, FailureClass::StreamRejected, &doing));
        }
        let before = current
            .first()
            .map_or_else(String::new, |task| format!(" instead of {}", task.duration));
        let message = format!("stream {stream} keeps its data for {wanted}{before}");
        self.changes.push(Change::new(ChangeKind::RetentionSet, message));
        Ok(())
    }

    /// The columns after those were added that alerts need and the stream lacks.
    async fn seeded(&self, schema: Schema) -> Result<Schema, Failure> {
        let missing = columns::missing(&schema, &self.desired.alerts);
        if missing.is_empty() {
            return Ok(schema);
        }
        let http = &self.server.http;
        let now = Timestamp::now().to_string();
        // Never an empty list: that ends some servers.
        let rows = json!([columns::seed_row(&missing, &self.desired.owner.uid, &now)]);
        let reply = http.call(Call::post(self.path("")).upsert().json(rows)).await?;
        if !reply.is_success() {
            let stream = &self.desired.stream;
            let doing = format!("a row that gives stream {stream} its columns");
            let failure = http.refused(&reply, FailureClass::ColumnPending, &doing);
            // Refused as a row: each alert says which column it waits for.
            return match failure.class {
                FailureClass::ColumnPending => Ok(schema),
                _ => Err(failure),
            };
        }
        Ok(self.schema().await?.unwrap_or(schema))
    }
}
