//! Kubernetes Events, which `kubectl describe` shows below the status.
//!
//! The recorder of kube-runtime counts events of one reason as one, with the text of the first: two
//! deleted alerts would read as one alert deleted twice. Here the text is part of what makes two events
//! the same.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::warn;

use crate::error::within;
use crate::lock::lock;
use crate::status::cut;
use crate::telemetry::Metrics;

/// Who speaks.
const REPORTER: &str = "securitywatch";
/// The same text about the same object within this time is one event that happened again.
const SAME: Duration = Duration::from_secs(6 * 60);
/// Longest text the API server takes, in bytes.
const NOTE_BYTES: usize = 1024;

/// Something that happened to a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// One sentence with numbers.
    pub note: String,
}

impl Announcement {
    /// Nothing to worry about.
    pub fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: false, reason, note: note.into() }
    }

    /// Worth a look.
    pub fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { warning: true, reason, note: note.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    reason: &'static str,
    note: String,
}

#[derive(Debug)]
struct Recent {
    name: String,
    count: i32,
    at: Instant,
}

/// Writes Events.
pub struct Announcer {
    client: Client,
    instance: String,
    recent: Mutex<HashMap<Key, Recent>>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Announcer {
    /// `instance` is the operator's pod.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        Self { client, instance: instance.to_owned(), recent: Mutex::default() }
    }

    /// Writes events about one object. Failures are logged and counted: no work stops for an event.
    pub async fn publish(
        &self,
        about: &ObjectReference,
        announcements: &[Announcement],
        metrics: &Metrics,
    ) {
        for announcement in announcements {
            match self.publish_one(about, announcement).await {
                Ok(()) => metrics.announced("written"),
                Err(error) => {
                    metrics.announced("failed");
                    warn!(reason = announcement.reason, %error, "An event could not be written.");
                }
            }
        }
    }

    async fn publish_one(
        &self,
        about: &ObjectReference,
        announcement: &Announcement,
    ) -> Result<(), crate::error::Error> {
        let key = Key {
            uid: about.uid.clone().unwrap_or_default(),
            reason: announcement.reason,
            note: announcement.note.clone(),
        };
        let api: Api<Event> =
            Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or("default"));
        let again = {
            let mut recent = lock(&self.recent);
            recent.retain(|_, event| event.at.elapsed() < SAME);
            recent.get_mut(&key).map(|event| {
                event.count = event.count.saturating_add(1);
                event.at = Instant::now();
                (event.name.clone(), event.count)
            })
        };
        if let Some((name, count)) = again {
            let last_observed_time = MicroTime(Timestamp::now());
            let series = EventSeries { count, last_observed_time };
            let patch = Patch::Merge(serde_json::json!({"series": series}));
            let params = PatchParams::default();
            return within("patch event", api.patch(&name, &params, &patch)).await.map(|_| ());
        }
        let event = self.event(about, announcement);
        let name = event.metadata.name.clone().unwrap_or_default();
        within("create event", api.create(&PostParams::default(), &event)).await?;
        lock(&self.recent).insert(key, Recent { name, count: 1, at: Instant::now() });
        Ok(())
    }

    fn event(&self, about: &ObjectReference, announcement: &Announcement) -> Event {
        let now = Timestamp::now();
        // Nanoseconds alone could repeat: two events about one object, written at once.
        let name = format!(
            "{}.{:x}{:04x}",
            about.name.as_deref().unwrap_or_default(),
            now.as_nanosecond(),
            fastrand::u16(..)
        );
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if announcement.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(announcement.reason.to_owned()),
            note: Some(cut_bytes(&announcement.note, NOTE_BYTES)),
            action: Some("Reconcile".to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(cut(&self.instance, 128)),
            ..Event::default()
        }
    }
}

fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - "…".len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let text = "ä".repeat(600);
        let cut = cut_bytes(&text, NOTE_BYTES);
        assert!(cut.len() <= NOTE_BYTES && cut.ends_with("ä…"), "{}", cut.len());
        assert_eq!(cut_bytes("short", NOTE_BYTES), "short");
    }
}
