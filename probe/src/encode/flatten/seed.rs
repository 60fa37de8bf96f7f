//! Synthetic rows that give a new stream every column with its type.

use super::Origin;
use super::columns::{COLUMNS, Column, ColumnType, SEED_EVENT_TYPE};
use super::row::push_plain;
use crate::encode::json::text;
use crate::encode::rfc3339::Rfc3339;
use crate::event::WallTime;

/// The seed rows of a stream, one for each kind of event, as JSON objects ready for a batch.
///
/// Together they carry every column: text is `""` (or the origin's own), numbers are 0, booleans false and times
/// `now`. An empty string never looks like a time, so a text column with a time-like name (`…_arguments` contains
/// `ts`) stays text.
#[must_use]
pub fn seed_rows(origin: &Origin, now: WallTime) -> Vec<Vec<u8>> {
    ["process_exec", "process_exit", "process_kprobe"]
        .into_iter()
        .map(|kind| seed_row(kind, origin, now))
        .collect()
}

fn seed_row(kind: &str, origin: &Origin, now: WallTime) -> Vec<u8> {
    let mut time = Vec::new();
    Rfc3339::default().write(now, &mut time);
    let mut out = Vec::with_capacity(16 * 1024);
    for column in COLUMNS.all.iter().filter(|c| belongs(c, kind)) {
        out.extend_from_slice(column.key.as_bytes());
        match column.kind {
            ColumnType::Text => text::string(&own(column, kind, origin), &mut out),
            ColumnType::Number => out.push(b'0'),
            ColumnType::Bool => out.extend_from_slice(b"false"),
            ColumnType::Time => push_plain(&mut out, &time),
        }
    }
    if let Some(first) = out.first_mut() {
        *first = b'{';
    }
    out.push(b'}');
    out
}

fn belongs(column: &Column, kind: &str) -> bool {
    column.name.starts_with(kind) || !column.name.starts_with("process_")
}

fn own(column: &Column, kind: &str, origin: &Origin) -> String {
    let all = &*COLUMNS;
    if column == all.event_type {
        SEED_EVENT_TYPE.to_owned()
    } else if column == all.event_id {
        format!("{}-seed-{kind}", origin.run_id)
    } else if column == all.node_name {
        origin.node_name.clone()
    } else if column == all.cluster {
        origin.cluster.clone().unwrap_or_default()
    } else if column == all.boot_id {
        origin.boot_id.clone()
    } else if column == all.run_id {
        origin.run_id.clone()
    } else {
        String::new()
    }
}
