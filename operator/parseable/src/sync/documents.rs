//! Alerts of the old generation.

use serde_json::Value;

use super::Pass;
use crate::failure::{Failure, FailureClass};
use crate::http::Call;
use crate::plan::columns::{self, Schema};
use crate::plan::document::{self, DocumentPlan};
use crate::report::{Change, ChangeKind};
use crate::server::Inner;

impl Pass<'_> {
    pub(super) async fn document(&mut self, schema: &Schema) -> Result<(), Failure> {
        let (server, desired) = (self.server, self.desired);
        self.leave_old_stream().await?;
        let mut wanted = Vec::with_capacity(desired.alerts.len());
        // A document has no place for an alert that calls nobody; such alerts are fired by the operator alone.
        let calling =
            desired.alerts.iter().enumerate().filter(|(_, alert)| !alert.targets.is_empty());
        for (index, alert) in calling {
            let entry = columns::check_rule(schema, &desired.stream, &alert.rule)
                .and_then(|()| document::entry(&desired.owner, alert));
            let entry = entry.map_err(|failure| self.fail(index, failure)).ok();
            wanted.push((alert.name.as_str(), entry));
        }
        let lock = server.site.stream(&desired.stream);
        let _one_at_a_time = lock.lock().await;
        let current = read(server, &desired.stream).await?;
        if let Some(plan) = document::plan(current.as_ref(), &desired.owner, &wanted) {
            write(server, &desired.stream, &plan.document).await?;
            self.tell(plan);
        }
        let uid = desired.owner.uid.clone();
        server.site.memory().documents.insert(uid, desired.stream.clone());
        Ok(())
    }

    /// The alerts of a watch that names another stream now stay behind in the document of the old one.
    async fn leave_old_stream(&self) -> Result<(), Failure> {
        let owner = &self.desired.owner;
        let before = self.server.site.memory().documents.get(&owner.uid).cloned();
        match before {
            Some(stream) if stream != self.desired.stream => {
                super::remove::remove_from_document(self.server, owner, &stream).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, plan: DocumentPlan) {
        let stream = &self.desired.stream;
        for (kind, names, what) in [
            (ChangeKind::AlertCreated, plan.created, "is in place"),
            (ChangeKind::AlertUpdated, plan.updated, "was written again as the watch asks for"),
            (ChangeKind::AlertDeleted, plan.deleted, "was deleted"),
        ] {
            for name in names {
                let message = format!("alert {name} {what} (stream {stream})");
                self.changes.push(Change::new(kind, message));
            }
        }
    }
}

/// The stream's document; `None` when it has none.
pub(super) async fn read(server: &Inner, stream: &str) -> Result<Option<Value>, Failure> {
    let http = &server.http;
    let reply = http.call(Call::get(format!("/logstream/{stream}/alert")).long()).await?;
    if reply.status == 404 {
        return Ok(None);
    }
    let doing = format!("the request for the alerts of stream {stream}");
    http.expect(&reply, FailureClass::AlertRejected, &doing).map(Some)
}

pub(super) async fn write(server: &Inner, stream: &str, document: &Value) -> Result<(), Failure> {
    let http = &server.http;
    let call = Call::put(format!("/logstream/{stream}/alert")).json(document.clone()).long();
    let reply = http.call(call).await?;
    if reply.is_success() {
        return Ok(());
    }
    // The old server wants an event first.
    if reply.status == 405 {
        let message = format!(
            "waiting for the first event of stream {stream}; the server takes no alerts before"
        );
        return Err(Failure::new(FailureClass::ColumnPending, message));
    }
    Err(http.refused(
        &reply,
        FailureClass::AlertRejected,
        &format!("the alerts of stream {stream}"),
    ))
}
