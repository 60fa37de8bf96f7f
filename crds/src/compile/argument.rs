//! `args[]` and `returnArg`.

use super::{Errors, word};
use crate::field::FieldPath;
use crate::policy::{Arg, ArgKind, MAX_ARGS, ReturnArg};
use crate::tracing_policy::{ArgType, KProbeArg, KProbeSpec};

/// Arguments beyond the sixth are passed on the stack, where a hook cannot read them.
const REGISTER_ARGS: u8 = 6;

/// One entry for each argument of the document, so that positions stay true; `None` where it is wrong.
pub(super) fn compile_list(
    hook: &FieldPath,
    specs: &[KProbeArg],
    errors: &mut Errors,
) -> Vec<Option<Arg>> {
    let list = hook.field("args");
    if specs.len() > MAX_ARGS {
        errors.add(&list, format!("{} arguments, at most {MAX_ARGS} are possible", specs.len()));
    }
    specs
        .iter()
        .enumerate()
        .map(|(index, spec)| compile(&list.index(index), spec, errors))
        .collect()
}

fn compile(path: &FieldPath, spec: &KProbeArg, errors: &mut Errors) -> Option<Arg> {
    refuse_extras(path, spec, errors);
    let kind = kind(path, spec, errors);
    let index = match spec.index {
        Some(index) => u8::try_from(index).ok().filter(|index| *index < REGISTER_ARGS).or_else(|| {
            errors.add(
                &path.field("index"),
                format!("{index} is out of reach: the first {REGISTER_ARGS} arguments, 0 to 5, can be read"),
            );
            None
        }),
        None => {
            errors.add(path, "index is missing: the argument's position in the function, counted from 0");
            None
        }
    };
    Some(Arg { index: index?, kind: kind?, label: spec.label.clone() })
}

fn refuse_extras(path: &FieldPath, spec: &KProbeArg, errors: &mut Errors) {
    errors.refuse(
        path,
        "resolve",
        spec.resolve.as_ref().is_some_and(|resolve| !resolve.is_empty()),
    );
    errors.refuse(path, "sizeArgIndex", spec.size_arg_index.is_some_and(|index| index != 0));
    errors.refuse(path, "returnCopy", spec.return_copy == Some(true));
    errors.refuse(path, "maxData", spec.max_data == Some(true));
    errors.refuse(path, "source", spec.source.is_some());
    errors.refuse(path, "btfType", spec.btf_type.as_ref().is_some_and(|name| !name.is_empty()));
    errors.refuse(
        path,
        "btfTypeModule",
        spec.btf_type_module.as_ref().is_some_and(|name| !name.is_empty()),
    );
}

fn kind(path: &FieldPath, spec: &KProbeArg, errors: &mut Errors) -> Option<ArgKind> {
    let Some(written) = spec.kind.filter(|kind| *kind != ArgType::Auto) else {
        let place = if spec.kind.is_some() { path.field("type") } else { path.clone() };
        errors.add(
            &place,
            format!("name the type: it is not looked up in the kernel; one of {SUPPORTED}"),
        );
        return None;
    };
    let kind = supported(written);
    if kind.is_none() {
        errors.add(
            &path.field("type"),
            format!("{} is not supported; supported are {SUPPORTED}", word(written)),
        );
    }
    kind
}

const SUPPORTED: &str = "int, int8, int16, int32, int64, uint8, uint16, uint32, uint64, long, ulong, size_t, string, file, path, sock, nop";

const fn supported(written: ArgType) -> Option<ArgKind> {
    match written {
        ArgType::Int | ArgType::Int32 | ArgType::Sint32 => Some(ArgKind::Int32),
        ArgType::Int16 | ArgType::Sint16 => Some(ArgKind::Int16),
        ArgType::Int8 | ArgType::Sint8 => Some(ArgKind::Int8),
        ArgType::Uint32 => Some(ArgKind::Uint32),
        ArgType::Uint16 => Some(ArgKind::Uint16),
        ArgType::Uint8 => Some(ArgKind::Uint8),
        ArgType::Long | ArgType::Int64 | ArgType::Sint64 => Some(ArgKind::Int64),
        ArgType::Ulong | ArgType::Uint64 | ArgType::SizeT => Some(ArgKind::Uint64),
        ArgType::String => Some(ArgKind::String),
        ArgType::File => Some(ArgKind::File),
        ArgType::Path => Some(ArgKind::Path),
        ArgType::Sock => Some(ArgKind::Sock),
        ArgType::Nop => Some(ArgKind::Nop),
        _ => None,
    }
}

/// `returnArg` says how a return value would be read; only with `return: true` is there one.
pub(super) fn compile_return(
    hook: &FieldPath,
    spec: &KProbeSpec,
    errors: &mut Errors,
) -> Option<ReturnArg> {
    let path = hook.field("returnArg");
    if spec.returns != Some(true) {
        return None;
    }
    let Some(arg) = &spec.return_arg else {
        errors.add(
            &hook.field("return"),
            "return: true needs returnArg, for example returnArg: {index: 0, type: int}",
        );
        return None;
    };
    refuse_extras(&path, arg, errors);
    let kind = kind(&path, arg, errors)?;
    if super::number::bounds(kind).is_none() {
        errors.add(
            &path.field("type"),
            format!("a return value of type {} is not supported: only numbers are", word(arg.kind)),
        );
        return None;
    }
    Some(ReturnArg { kind, label: arg.label.clone() })
}
