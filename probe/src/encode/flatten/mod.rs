//! One event, one row: Tetragon's nested JSON as a stable set of scalar columns.
//!
//! A Parseable server explodes every array of an event into rows, lets each label become a column of the
//! 1000 a stream may ever have, types a column by the first value it sees, and keeps numbers as 64-bit
//! floats. So a row has
//!
//! - nested objects joined by `_` under the event's kind: `process_exec_process_binary`,
//!   `process_exit_process_pod_name`, `process_kprobe_function_name`;
//! - lists of words joined by commas (`process_kprobe_tags`), label maps as one JSON string
//!   (`…_pod_pod_labels`);
//! - `args[]` three times: whole as JSON (`process_kprobe_args_json`), by position
//!   (`process_kprobe_args_0_file_arg_path`), and the first of each kind without position
//!   (`process_kprobe_args_file_arg_path`, `process_kprobe_args_sock_arg_daddr`), which is what rules want;
//!   `return` likewise (`process_kprobe_return_int_arg`);
//! - 64-bit integers as text (`…_sock_arg_cookie`);
//! - of its own: `event_type` (the kind), `event_id` (unique; the same on every delivery of one event),
//!   `event_time`, `node_name`, `cluster`, `boot_id`, `run_id` (one start of the probe) and `seq`, which counts
//!   the rows of one stream in one run from 1 without holes: a hole is a loss, a repeated `event_id` a repeat.
//!
//! What Tetragon leaves out (zero, empty, unset) is left out here. Every column a row can have is listed by
//! [`columns()`] and seeded by [`seed_rows`], so types never depend on the first event.

mod row;
mod seed;

use crate::encode::json::{self, text};
use crate::encode::names;
use crate::encode::rfc3339::Rfc3339;
use crate::event::{
    Arg, Body, Event, Exit, Kprobe, PathValue, Pod, Process, SockValue, Value as ArgValue, WallTime,
};
use columns::{
    ArgColumns, COLUMNS, INDEXED_ARGS, KindColumns, KprobeColumns, PathColumns, PodColumns,
    ProcessColumns, SockColumns,
};
pub use columns::{Column, ColumnType, SEED_EVENT_TYPE, column};
use row::Cell;
pub use row::{Row, close};
use securitywatch_api::columns;
pub use seed::seed_rows;
use std::io::Write as _;

/// Where events come from; the same for all rows of a run.
#[derive(Debug, Clone)]
pub struct Origin {
    pub node_name: String,
    /// Absent outside a cluster.
    pub cluster: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: String,
    /// Differs in every start of the probe; letters and digits.
    pub run_id: String,
}

/// Every column a row can have, in a stable order.
#[must_use]
pub fn columns() -> &'static [&'static Column] {
    &COLUMNS.all
}

/// Flattens one event. `buffer` holds what must be rendered; its old content is dropped.
pub fn flatten<'a>(
    event: &'a Event,
    origin: &'a Origin,
    clock: &mut Rfc3339,
    buffer: Vec<u8>,
) -> Row<'a> {
    let all = &*COLUMNS;
    let mut row = Row::new(event.body.kind(), buffer);
    row.push(all.event_type, Cell::Plain(event.body.kind()));
    row.render_plain(all.event_id, |out| {
        out.extend_from_slice(origin.run_id.as_bytes());
        out.push(b'-');
        text::number(event.seq, out);
    });
    time(&mut row, all.event_time, event.time, clock);
    row.text(all.node_name, &origin.node_name);
    if let Some(cluster) = &origin.cluster {
        row.text(all.cluster, cluster);
    }
    row.plain(all.boot_id, &origin.boot_id);
    row.plain(all.run_id, &origin.run_id);
    match &event.body {
        Body::Exec => processes(&mut row, &all.exec, event, clock),
        Body::Exit(exit) => {
            processes(&mut row, &all.exit, event, clock);
            exited(&mut row, exit, clock);
        }
        Body::Kprobe(kprobe) => {
            processes(&mut row, &all.kprobe, event, clock);
            hooked(&mut row, kprobe);
        }
    }
    row
}

fn processes<'a>(row: &mut Row<'a>, columns: &KindColumns, event: &'a Event, clock: &mut Rfc3339) {
    process(row, &columns.process, &event.process, event.tid, clock);
    if let Some(parent) = &event.parent {
        process(row, &columns.parent, parent, parent.pid, clock);
    }
}

fn process<'a>(
    row: &mut Row<'a>,
    c: &ProcessColumns,
    p: &'a Process,
    tid: u32,
    clock: &mut Rfc3339,
) {
    row.plain(c.exec_id, &p.exec_id);
    row.push(c.pid, Cell::Unsigned(p.pid.into()));
    row.push(c.uid, Cell::Unsigned(p.uid.into()));
    row.text(c.cwd, &p.cwd);
    row.text(c.binary, &p.binary);
    row.text(c.arguments, &p.arguments);
    row.plain(c.flags, &p.flags);
    time(row, c.start_time, p.start_time, clock);
    row.push(c.auid, Cell::Unsigned(p.auid.into()));
    if let Some(of) = p.pod() {
        pod(row, &c.pod, of, p, clock);
    }
    row.plain(c.docker, &p.docker);
    row.plain(c.parent_exec_id, &p.parent_exec_id);
    row.nonzero(c.refcnt, p.refcnt.into());
    row.push(c.tid, Cell::Unsigned(tid.into()));
    row.push(c.in_init_tree, Cell::Bool(p.in_init_tree));
}

fn pod<'a>(row: &mut Row<'a>, c: &PodColumns, p: &'a Pod, process: &Process, clock: &mut Rfc3339) {
    row.text(c.namespace, &p.namespace);
    row.text(c.name, &p.name);
    row.text(c.uid, &p.uid);
    row.text(c.container_id, &p.container.id);
    row.text(c.container_name, &p.container.name);
    row.text(c.container_image_id, &p.container.image_id);
    row.text(c.container_image_name, &p.container.image_name);
    time(row, c.container_start_time, p.container.start_time, clock);
    row.nonzero(c.container_pid, process.namespace_pid.into());
    if process.may_be_exec_probe() {
        row.push(c.container_maybe_exec_probe, Cell::Bool(true));
    }
    if !p.labels.is_empty() {
        row.render_text(c.labels, |out| labels(out, &p.labels));
    }
    row.text(c.workload, &p.workload);
    row.text(c.workload_kind, &p.workload_kind);
}

fn labels(out: &mut Vec<u8>, labels: &[(String, String)]) {
    for (at, (key, value)) in labels.iter().enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        text::string(key, out);
        out.push(b':');
        text::string(value, out);
    }
    out.push(b'}');
}

/// A time that is not known has no cell: an empty one would be diverted to a column of its own.
fn time(row: &mut Row<'_>, column: &'static Column, at: WallTime, clock: &mut Rfc3339) {
    if at.0 > 0 {
        row.render_plain(column, |out| clock.write(at, out));
    }
}

fn exited(row: &mut Row<'_>, exit: &Exit, clock: &mut Rfc3339) {
    let c = &COLUMNS.exit_own;
    if exit.signal != 0 {
        word(row, c.signal, names::signal(exit.signal), exit.signal.into());
    }
    row.nonzero(c.status, exit.status.into());
    time(row, c.time, exit.time, clock);
}

fn word(row: &mut Row<'_>, column: &'static Column, name: Option<&'static str>, number: u64) {
    match name {
        Some(name) => row.plain(column, name),
        None => row.render_plain(column, |out| text::number(number, out)),
    }
}

fn hooked<'a>(row: &mut Row<'a>, kprobe: &'a Kprobe) {
    let c: &KprobeColumns = &COLUMNS.kprobe_own;
    row.text(c.function_name, &kprobe.hook.function);
    arguments(row, c, &kprobe.args);
    if let Some(ret) = &kprobe.ret {
        argument(row, &c.ret, &ret.value);
    }
    row.plain(c.action, kprobe.action.as_str());
    row.text(c.policy_name, &kprobe.hook.policy);
    row.plain(c.return_action, kprobe.return_action.as_str());
    row.text(c.message, &kprobe.hook.message);
    if !kprobe.hook.tags.is_empty() {
        row.render_text(c.tags, |out| {
            for (at, tag) in kprobe.hook.tags.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(tag.as_bytes());
            }
        });
    }
}

fn arguments<'a>(row: &mut Row<'a>, c: &KprobeColumns, args: &'a [Arg]) {
    if args.is_empty() {
        return;
    }
    let mut seen = 0u16;
    for (at, arg) in args.iter().enumerate() {
        if at < INDEXED_ARGS {
            argument(row, &c.indexed[at], &arg.value);
        }
        let kind = 1u16 << kind_number(&arg.value);
        if seen & kind == 0 {
            seen |= kind;
            argument(row, &c.first, &arg.value);
        }
    }
    row.render_text(c.args_json, |out| json::arguments(args, out));
}

const fn kind_number(value: &ArgValue) -> u16 {
    match value {
        ArgValue::String(_) => 0,
        ArgValue::Int(_) => 1,
        ArgValue::Uint(_) => 2,
        ArgValue::Long(_) => 3,
        ArgValue::Size(_) => 4,
        ArgValue::File(_) => 5,
        ArgValue::Path(_) => 6,
        ArgValue::Sock(_) => 7,
        ArgValue::Error(_) => 8,
    }
}

fn argument<'a>(row: &mut Row<'a>, c: &ArgColumns, value: &'a ArgValue) {
    match value {
        // An empty string is a value here: Tetragon shows it, as it does every member of a variant.
        ArgValue::String(text) => row.push(c.string, Cell::Text(text)),
        ArgValue::Int(number) => row.push(c.int, Cell::Signed((*number).into())),
        ArgValue::Uint(number) => row.push(c.uint, Cell::Unsigned((*number).into())),
        ArgValue::Long(number) => row.render_plain(c.long, |out| text::number(*number, out)),
        ArgValue::Size(number) => row.render_plain(c.size, |out| text::number(*number, out)),
        ArgValue::File(value) => path(row, &c.file, value),
        ArgValue::Path(value) => path(row, &c.path, value),
        ArgValue::Sock(value) => sock(row, &c.sock, value),
        ArgValue::Error(message) => row.text(c.error, message),
    }
}

const UNRESOLVED: &str = "unresolvedPathComponents";

fn path<'a>(row: &mut Row<'a>, c: &PathColumns, value: &'a PathValue) {
    row.text(c.path, &value.path);
    if value.unresolved {
        row.plain(c.flags, UNRESOLVED);
    }
    row.render_plain(c.permission, |out| {
        out.extend_from_slice(names::permission(value.mode, &mut [0; 10]));
    });
}

fn sock(row: &mut Row<'_>, c: &SockColumns, value: &SockValue) {
    word(row, c.family, names::family(value.family), value.family.into());
    word(row, c.kind, names::socket_type(value.kind), value.kind.into());
    word(row, c.protocol, names::protocol(value.protocol), value.protocol.into());
    row.nonzero(c.mark, value.mark.into());
    row.nonzero(c.priority, value.priority.into());
    for (column, address) in [(c.saddr, value.saddr), (c.daddr, value.daddr)] {
        if let Some(address) = address {
            row.render_plain(column, |out| {
                let _ = write!(out, "{address}");
            });
        }
    }
    row.nonzero(c.sport, value.sport.into());
    row.nonzero(c.dport, value.dport.into());
    if value.cookie != 0 {
        row.render_plain(c.cookie, |out| text::number(value.cookie, out));
    }
    word(row, c.state, names::tcp_state(value.state), value.state.into());
}

#[cfg(test)]
mod tests;
