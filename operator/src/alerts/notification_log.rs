//! The notification log: what is known of firings, kept in a Secret, so that the replica that acts next goes on where this
//! one ended. Neither an upgrade nor the death of a replica makes a receiver hear anew of what it knows, and hits that wait
//! for their interval are told of by whoever acts then.
//!
//! Written while alerts fire, every two seconds at most, and when the process ends; at rest nothing is written.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use securitywatch_api::alerting::{Hit, Kept};
use securitywatch_api::cluster::{FIRINGS_SECRET, OPERATOR_MANAGER};
use securitywatch_api::watch::Repeat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::lines::{KeptLine, LineKey};
use crate::error::{Error, within};

/// From one write to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(2);
const KEY: &str = "firings.json";
/// A Secret has room for 1 MiB.
const MAX_BYTES: usize = 768 << 10;
/// Hits that change nothing but the end of a firing are written this often while it would last.
const LOOKS_WHILE_QUIET: u32 = 4;
/// The clocks may part by so much before the wall's is looked at again.
const DRIFT_MS: i64 = 1000;

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    /// The latest first.
    firings: Vec<Entry>,
}

/// A firing. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// The watch's uid.
    watch: String,
    alert: String,
    target: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<RepeatEntry>,
    message: String,
    calls: u32,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    called_ms: Option<i64>,
    /// At this time or less than [`Self::active_step_ms`] later it was hit or called last.
    active_ms: i64,
    active_step_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folded: Option<FoldedEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RepeatEntry {
    interval_ms: u64,
    times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FoldedEntry {
    events: u64,
    hit: Hit,
}

/// Both clocks at one moment. One pair serves long, so that the same moment always has the same time.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    instant: Instant,
    wall_ms: i64,
}

impl Clocks {
    fn now() -> Self {
        Self { instant: Instant::now(), wall_ms: Timestamp::now().as_millisecond() }
    }

    fn wall_ms(&self, at: Instant) -> i64 {
        let since = millis(at.saturating_duration_since(self.instant));
        let before = millis(self.instant.saturating_duration_since(at));
        self.wall_ms.saturating_add(since).saturating_sub(before)
    }

    /// Somebody may have set the wall's clock.
    fn agree(&mut self) {
        let now = Self::now();
        if (self.wall_ms(now.instant) - now.wall_ms).abs() > DRIFT_MS {
            *self = now;
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

impl Entry {
    fn new(kept: KeptLine, now: Instant, clocks: &Clocks) -> Self {
        let KeptLine { line, repeat, quiet, firing } = kept;
        let time = |age: Duration| clocks.wall_ms(now.checked_sub(age).unwrap_or(now));
        let step = millis(quiet / LOOKS_WHILE_QUIET).max(1000);
        let active = time(firing.active);
        Self {
            watch: line.watch.to_string(),
            alert: line.alert.to_string(),
            target: line.target,
            repeat: repeat.map(|r| RepeatEntry {
                interval_ms: r.interval.as_millis() as u64,
                times: r.times,
            }),
            message: firing.message,
            calls: firing.calls,
            called_ms: firing.called.map(time),
            active_ms: active - active.rem_euclid(step),
            active_step_ms: step,
            folded: firing.folded.map(|(hit, events)| FoldedEntry { events, hit }),
        }
    }

    /// The latest first, and the same ones always in the same order.
    fn order(&self) -> (Reverse<i64>, &str, &str, usize, &str) {
        (Reverse(self.active_ms), &self.watch, &self.alert, self.target, &self.message)
    }

    fn kept(self, now_ms: i64) -> (LineKey, Option<Repeat>, Kept<Hit>) {
        let age = |of: i64| duration(now_ms.saturating_sub(of));
        let line = LineKey {
            watch: Arc::from(self.watch),
            alert: Arc::from(self.alert),
            target: self.target,
        };
        let repeat = self
            .repeat
            .map(|r| Repeat { interval: Duration::from_millis(r.interval_ms), times: r.times });
        let firing = Kept {
            message: self.message,
            calls: self.calls,
            called: self.called_ms.map(age),
            active: age(self.active_ms.saturating_add(self.active_step_ms)),
            folded: self.folded.map(|folded| (folded.hit, folded.events)),
        };
        (line, repeat, firing)
    }
}

impl Document {
    fn new(kept: Vec<KeptLine>, now: Instant, clocks: &Clocks) -> Self {
        let mut firings: Vec<_> =
            kept.into_iter().map(|kept| Entry::new(kept, now, clocks)).collect();
        firings.sort_by(|a, b| a.order().cmp(&b.order()));
        Self { firings }
    }

    /// As much of it as a Secret holds, and how many firings that leaves out.
    fn to_bytes(&self) -> Result<(Vec<u8>, usize), serde_json::Error> {
        let mut size = 0;
        let mut fit = self.firings.len();
        for (place, entry) in self.firings.iter().enumerate() {
            size += serde_json::to_vec(entry)?.len() + 1;
            if size > MAX_BYTES {
                fit = place;
                break;
            }
        }
        let bytes = serde_json::to_vec(&json!({"firings": self.firings[..fit]}))?;
        Ok((bytes, self.firings.len() - fit))
    }
}

/// The log of the replica that acts.
#[derive(Debug)]
pub(super) struct NotificationLog {
    clocks: Clocks,
    written: Document,
}

impl NotificationLog {
    pub(super) fn new() -> Self {
        Self { clocks: Clocks::now(), written: Document::default() }
    }

    /// What the replica before this one left.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(super) async fn load(
        &mut self,
        api: &Api<Secret>,
    ) -> Result<Vec<(LineKey, Option<Repeat>, Kept<Hit>)>, Error> {
        let found = within("get secret", api.get_opt(FIRINGS_SECRET)).await?;
        let Some(bytes) = found.and_then(|secret| secret.data?.remove(KEY)) else {
            return Ok(Vec::new());
        };
        self.written = serde_json::from_slice(&bytes.0).unwrap_or_else(|error| {
            warn!(secret = FIRINGS_SECRET, %error, "The notification log cannot be read; beginning a new one.");
            Document::default()
        });
        let now = self.clocks.wall_ms(Instant::now());
        Ok(self.written.clone().firings.into_iter().map(|entry| entry.kept(now)).collect())
    }

    /// Writes what is known now where that is something else. Says whether it was.
    ///
    /// # Errors
    /// The API server refuses or does not answer.
    pub(super) async fn save(
        &mut self,
        api: &Api<Secret>,
        kept: Vec<KeptLine>,
        now: Instant,
    ) -> Result<bool, Error> {
        self.clocks.agree();
        let document = Document::new(kept, now, &self.clocks);
        if document == self.written {
            return Ok(false);
        }
        let (bytes, left_out) = match document.to_bytes() {
            Ok(done) => done,
            Err(error) => {
                warn!(%error, "The notification log cannot be written.");
                return Ok(false);
            }
        };
        if left_out > 0 {
            warn!(
                left_out,
                "The notification log is full: a restart would forget the oldest firings."
            );
        }
        let params = PatchParams::apply(OPERATOR_MANAGER).force();
        let patch = Patch::Apply(secret(bytes));
        within("apply secret", api.patch(FIRINGS_SECRET, &params, &patch)).await?;
        self.written = document;
        Ok(true)
    }
}

fn secret(bytes: Vec<u8>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": FIRINGS_SECRET,
            "labels": {"app.kubernetes.io/managed-by": "securitywatch-operator"},
        },
        "type": "Opaque",
        "data": {KEY: ByteString(bytes)},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(message: &str, active: Duration) -> KeptLine {
        let hit = Hit { message: message.into(), pod: Some("web-0".into()), ..Hit::default() };
        KeptLine {
            line: LineKey { watch: "u".into(), alert: "a".into(), target: 1 },
            repeat: Some(Repeat { interval: Duration::from_secs(60), times: 3 }),
            quiet: Duration::from_secs(180),
            firing: Kept {
                message: message.into(),
                calls: 2,
                called: Some(Duration::from_secs(9)),
                active,
                folded: Some((hit, 5)),
            },
        }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let clocks = Clocks::now();
        let now = clocks.instant + Duration::from_secs(3600);
        let wanted = kept("m", Duration::from_secs(4));
        let document = Document::new(vec![kept("m", Duration::from_secs(4))], now, &clocks);
        let (bytes, left_out) = document.to_bytes().unwrap();
        assert_eq!(left_out, 0);
        let read: Document = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, document);
        let later = clocks.wall_ms(now) + 1000;
        let (line, repeat, firing) = read.firings.into_iter().next().unwrap().kept(later);
        assert_eq!((line, repeat), (wanted.line, wanted.repeat));
        assert_eq!(firing.called, Some(Duration::from_secs(10)));
        // Never older than it is: a firing must not end too early.
        assert!(firing.active <= Duration::from_secs(5), "{:?}", firing.active);
        assert_eq!((firing.calls, firing.folded), (2, wanted.firing.folded));
    }

    #[test]
    fn the_same_firings_are_the_same_document_at_any_time() {
        let mut clocks = Clocks::now();
        let hour = clocks.instant + Duration::from_secs(3600);
        let at = |later: Duration| {
            let mut kept = kept("m", Duration::from_secs(4) + later);
            kept.firing.called = Some(Duration::from_secs(9) + later);
            Document::new(vec![kept], hour + later, &clocks)
        };
        assert_eq!(at(Duration::ZERO), at(Duration::from_nanos(1_234_567_890)));
        let before = clocks.wall_ms;
        clocks.agree();
        assert_eq!(clocks.wall_ms, before, "a clock that nobody set");
    }

    #[test]
    fn a_log_that_is_too_long_keeps_the_latest() {
        let clocks = Clocks::now();
        let long = "x".repeat(4096);
        let many = (0..400u64).map(|n| kept(&format!("{long}{n}"), Duration::from_secs(n * 60)));
        let document = Document::new(many.collect(), clocks.instant, &clocks);
        let (bytes, left_out) = document.to_bytes().unwrap();
        assert!(bytes.len() <= MAX_BYTES + 64 && left_out > 0, "{} bytes", bytes.len());
        let read: Document = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.firings.len(), 400 - left_out);
        assert!(read.firings[0].message.ends_with("x0"));
    }
}
