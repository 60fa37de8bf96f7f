//! The checked form of a TracingPolicy: what is left once every word of the YAML has a meaning.
//!
//! `compile` (beside this file) turns a parsed [`crate::tracing_policy::TracingPolicySpec`] into a
//! [`Policy`] or a list of [`crate::field::FieldError`]s. Nothing here knows a kernel: whether a
//! function exists, and which backend serves it, is decided on the node by the probe's planner.

mod scope;

use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::field::FieldPath;
pub use scope::{
    CONTAINER_KEYS, LabelSelector, LabelTest, POD_NAMESPACE_LABEL, PodScope, Requirement, Scope,
    Workloads, image_repository,
};

/// Most selectors a hook may carry; Tetragon's own limit.
pub const MAX_SELECTORS: usize = 5;
/// Most argument filters in one selector; Tetragon's own limit.
pub const MAX_FILTERS: usize = 5;
/// Most arguments a hook may record.
pub const MAX_ARGS: usize = 5;
/// Most ranges (or single numbers) one scalar filter may list.
pub const MAX_RANGES: usize = 16;
/// Longest value, in bytes, of `Equal` and `Prefix` on strings and paths (the LPM key holds 256 bytes,
/// of which four name the filter and one ends an exact value).
pub const MAX_PREFIX_BYTES: usize = 250;
/// Longest value, in bytes, of `Postfix`; Tetragon's own limit.
pub const MAX_POSTFIX_BYTES: usize = 127;

/// A policy whose every field is understood and supported.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `metadata.name` of the TracingPolicy or of the watch; the events' `policy_name`.
    pub name: String,
    /// Where it applies.
    pub scope: Scope,
    /// In the order of the document: kprobes first.
    pub hooks: Vec<Hook>,
}

impl Policy {
    /// Whether a process is killed for some call. The call itself may still complete.
    #[must_use]
    pub fn kills(&self) -> bool {
        self.hooks.iter().any(Hook::kills)
    }
}

impl Hook {
    /// See [`Policy::kills`].
    #[must_use]
    pub fn kills(&self) -> bool {
        self.selectors.iter().any(|s| s.action.sigkill || s.return_action.sigkill)
    }
}

/// One `kprobes[]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// Where it stands in the document, for example `spec.kprobes[0]`.
    pub path: FieldPath,
    /// What it attaches to.
    pub target: HookTarget,
    /// At most 256 bytes; cut like Tetragon does.
    pub message: Option<String>,
    /// At most 16.
    pub tags: Vec<String>,
    /// What the event records, in the order of the document.
    pub args: Vec<Arg>,
    /// Present when `return: true`.
    pub returns: Option<ReturnArg>,
    /// A missing function is skipped instead of refused.
    pub ignore_call_not_found: bool,
    /// ORed; the first that matches decides the actions. Empty: every call is posted.
    pub selectors: Vec<Selector>,
}

/// The kernel side of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookTarget {
    /// `syscall: false`: a kernel function by its symbol name.
    Function(String),
    /// `syscall: true`: the bare syscall name, for example `openat` for `sys_openat` or `__x64_sys_openat`.
    Syscall(String),
}

/// One recorded argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Position in the function's own argument list, from 0.
    pub index: u8,
    /// How the register is read.
    pub kind: ArgKind,
    /// Shown with the value.
    pub label: Option<String>,
}

/// `returnArg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnArg {
    /// How the return register is read.
    pub kind: ArgKind,
    /// Shown with the value.
    pub label: Option<String>,
}

/// How an argument is read and shown. Words: the CRD's own type names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// `int`, `int32`, `sint32`: shown as `int_arg`.
    Int32,
    /// `int16`, `sint16`: shown as `int_arg`.
    Int16,
    /// `int8`, `sint8`: shown as `int_arg`.
    Int8,
    /// `uint32`: shown as `uint_arg`.
    Uint32,
    /// `uint16`: shown as `uint_arg`.
    Uint16,
    /// `uint8`: shown as `uint_arg`.
    Uint8,
    /// `long`, `int64`, `sint64`: shown as `long_arg`, a decimal string.
    Int64,
    /// `ulong`, `uint64`, `size_t`: shown as `size_arg`, a decimal string.
    Uint64,
    /// `string`: NUL-terminated, kernel or user memory; shown as `string_arg`.
    String,
    /// `file`: `struct file *`; shown as `file_arg`.
    File,
    /// `path`: `struct path *`; shown as `path_arg`.
    Path,
    /// `sock`: `struct sock *`; shown as `sock_arg`.
    Sock,
    /// `nop`: keeps its place in the list, reads nothing and shows nothing.
    Nop,
}

/// One selector: all of its parts must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selector {
    /// `matchArgs`.
    pub args: Vec<ArgFilter>,
    /// `matchReturnArgs`; judged when the function returns.
    pub returns: Vec<ArgFilter>,
    /// `matchBinaries`.
    pub binaries: Option<BinaryFilter>,
    /// What happens on a match.
    pub action: Action,
    /// What happens when the return filters match as well (`matchReturnActions`).
    pub return_action: Action,
}

/// One entry of `matchArgs` or `matchReturnArgs`.
#[derive(Debug, Clone, PartialEq)]
pub struct ArgFilter {
    /// Position in [`Hook::args`] (not the function's argument number); unused for return filters.
    pub arg: usize,
    /// What the value must satisfy.
    pub test: Test,
}

/// What a value is held against. `negate` is the operator's `Not` form: no value may match.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Numbers: `Equal`, `NotEqual`, `GT`, `LT`, `InRange`; compared as signed or unsigned by the kind.
    Range { negate: bool, ranges: Vec<RangeInclusive<i128>> },
    /// `Mask`: any listed value shares a bit with the argument.
    Mask { masks: Vec<u64> },
    /// Strings and paths. An empty path never matches, not even the `Not` forms.
    Text { place: TextPlace, negate: bool, values: Vec<String> },
    /// Addresses of a socket. A family without a listed network counts as not listed.
    Addr { side: Side, negate: bool, networks: Vec<IpNet> },
    /// Ports of a socket, host byte order.
    Port { side: Side, negate: bool, ranges: Vec<RangeInclusive<i128>> },
    /// `Protocol`: IPPROTO numbers.
    Protocol { values: Vec<RangeInclusive<i128>> },
    /// `Family`: AF numbers.
    Family { values: Vec<RangeInclusive<i128>> },
    /// `State`: TCP state numbers.
    State { values: Vec<RangeInclusive<i128>> },
}

/// Where in a string the value must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextPlace {
    /// The whole of it.
    Equal,
    /// Its first bytes; `/etc` matches `/etcetera`, as in Tetragon.
    Prefix,
    /// Its last bytes.
    Postfix,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The local end: `SAddr`, `SPort`.
    Source,
    /// The remote end: `DAddr`, `DPort`.
    Destination,
}

/// `matchBinaries`: the path of the process's binary as recorded at exec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryFilter {
    /// In, Prefix or Postfix.
    pub place: TextPlace,
    /// NotIn, NotPrefix or NotPostfix.
    pub negate: bool,
    /// At most [`MAX_PREFIX_BYTES`] (or [`MAX_POSTFIX_BYTES`]) bytes each.
    pub values: Vec<String>,
}

/// The `matchActions` of a selector, boiled down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Action {
    /// Sends SIGKILL to the process: it dies, the call itself may still complete.
    pub sigkill: bool,
    /// `NoPost`: the event is not sent.
    pub no_post: bool,
}
