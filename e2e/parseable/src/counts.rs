//! What came in, for tests and measurements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// What came in since the start or the last reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Bytes read from the connections: request lines, headers and bodies as sent.
    pub wire_bytes: u64,
    /// Requests under `/api/`, the refused ones too.
    pub requests: u64,
    /// Ingests that were answered 200.
    pub ingests: u64,
    /// Bytes of their bodies as sent (compressed).
    pub body_bytes: u64,
    /// The same inflated.
    pub inflated_bytes: u64,
    /// JSON objects in them.
    pub events: u64,
    /// Rows they became; more than the events where arrays multiplied them.
    pub rows: u64,
    /// Ingests answered otherwise or not at all, injected faults included.
    pub refused_ingests: u64,
    /// Bodies that abort a real server (`[]` on `/ingest`). This one only closes the connection.
    pub aborts: u64,
    /// When the first and the last counted ingest was answered, in milliseconds since the epoch; 0 is none.
    pub first_ingest_ms: u64,
    pub last_ingest_ms: u64,
}

macro_rules! counters {
    ($($name:ident),+) => {
        /// The same as atomics.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),+ }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }

            pub(crate) fn reset(&self) {
                $(self.$name.store(0, Ordering::Relaxed);)+
            }
        }
    };
}

counters!(
    connections,
    wire_bytes,
    requests,
    ingests,
    body_bytes,
    inflated_bytes,
    events,
    rows,
    refused_ingests,
    aborts,
    first_ingest_ms,
    last_ingest_ms
);

/// One ingest that was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) body_bytes: usize,
    pub(crate) inflated_bytes: usize,
    pub(crate) events: usize,
    pub(crate) rows: usize,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self, taken: Taken) {
        Self::add(&self.ingests, 1);
        Self::add(&self.body_bytes, taken.body_bytes);
        Self::add(&self.inflated_bytes, taken.inflated_bytes);
        Self::add(&self.events, taken.events);
        Self::add(&self.rows, taken.rows);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let _ = self.first_ingest_ms.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.last_ingest_ms.fetch_max(now, Ordering::Relaxed);
    }
}
