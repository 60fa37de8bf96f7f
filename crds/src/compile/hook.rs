//! `kprobes[]`.

use super::{Errors, argument, filled, selector};
use crate::field::FieldPath;
use crate::policy::{Hook, HookTarget, MAX_SELECTORS};
use crate::tracing_policy::{KProbeSpec, ReturnArgAction};

/// Longest message, in bytes; Tetragon cuts there as well.
const MAX_MESSAGE_BYTES: usize = 256;
/// Most tags of a hook; Tetragon's own limit.
const MAX_TAGS: usize = 16;
/// Longest symbol name the kernel has, with its terminating zero.
const KSYM_NAME_BYTES: usize = 512;

/// `None` when the hook cannot be built at all; what else is wrong is in `errors`.
pub(super) fn compile(path: &FieldPath, spec: &KProbeSpec, errors: &mut Errors) -> Option<Hook> {
    let target = target(path, spec, errors);
    let args = argument::compile_list(path, spec.args.as_deref().unwrap_or_default(), errors);
    if filled(spec.data.as_ref()) {
        errors.add(
            &path.field("data"),
            "data is not supported: only the function's arguments are recorded",
        );
    }
    let returns = argument::compile_return(path, spec, errors);
    if let Some(action @ (ReturnArgAction::TrackSock | ReturnArgAction::UntrackSock)) =
        spec.return_arg_action
    {
        errors.add(
            &path.field("returnArgAction"),
            format!("{} is not supported", super::word(action)),
        );
    }
    let tags = spec.tags.clone().unwrap_or_default();
    if tags.len() > MAX_TAGS {
        errors.add(
            &path.field("tags"),
            format!("{} tags, at most {MAX_TAGS} are possible", tags.len()),
        );
    }
    let specs = spec.selectors.as_deref().unwrap_or_default();
    if specs.len() > MAX_SELECTORS {
        errors.add(
            &path.field("selectors"),
            format!(
                "{} selectors, at most {MAX_SELECTORS} are possible: split the hook into two",
                specs.len()
            ),
        );
    }
    let context =
        selector::Context { args: &args, return_kind: returns.as_ref().map(|arg| arg.kind) };
    let selectors = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            selector::compile(&path.field("selectors").index(index), spec, &context, errors)
        })
        .collect();
    Some(Hook {
        path: path.clone(),
        target: target?,
        message: spec.message.as_deref().map(cut_message),
        tags,
        args: args.into_iter().flatten().collect(),
        returns,
        ignore_call_not_found: spec
            .ignore
            .and_then(|ignore| ignore.call_not_found)
            .unwrap_or(false),
        selectors,
    })
}

fn cut_message(message: &str) -> String {
    message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)].to_owned()
}

fn target(path: &FieldPath, spec: &KProbeSpec, errors: &mut Errors) -> Option<HookTarget> {
    let path = path.field("call");
    let call = spec.call.as_str();
    if let Some(list) = call.strip_prefix("list:") {
        errors.add(&path, format!("the list {list:?} cannot be hooked: lists are not supported, name one function in each kprobe"));
        return None;
    }
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if call.is_empty() || call.len() >= KSYM_NAME_BYTES || !call.chars().all(known) {
        errors.add(&path, format!("{call:?} is not the name of a kernel function"));
        return None;
    }
    // The field's default in Tetragon's schema is true.
    if spec.syscall.unwrap_or(true) {
        match syscall_name(call) {
            Some(name) => Some(HookTarget::Syscall(name.to_owned())),
            None => {
                errors.add(&path, format!("{call:?} is not a syscall such as sys_openat: for a kernel function write syscall: false"));
                None
            }
        }
    } else {
        Some(HookTarget::Function(call.to_owned()))
    }
}

/// `openat` of `sys_openat`, `__x64_sys_openat` and `__arm64_sys_openat`.
fn syscall_name(call: &str) -> Option<&str> {
    ["__x64_sys_", "__arm64_sys_", "sys_"]
        .iter()
        .find_map(|prefix| call.strip_prefix(prefix))
        .filter(|name| !name.is_empty())
}
