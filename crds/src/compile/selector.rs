//! `selectors[]`.

use super::{Errors, action, filled, filter, value};
use crate::field::FieldPath;
use crate::policy::{Arg, ArgFilter, ArgKind, BinaryFilter, MAX_FILTERS, Selector, TextPlace};
use crate::tracing_policy::{ArgSelector, BinaryOperator, BinarySelector, KProbeSelector};

/// What a selector may speak about.
pub(super) struct Context<'a> {
    /// The hook's args by position; `None` where one is wrong, which is reported already.
    pub(super) args: &'a [Option<Arg>],
    /// The return value's kind, when the hook reports one.
    pub(super) return_kind: Option<ArgKind>,
}

/// What is wrong is in `errors`; the selector returned then lacks it.
pub(super) fn compile(
    path: &FieldPath,
    spec: &KProbeSelector,
    context: &Context<'_>,
    errors: &mut Errors,
) -> Selector {
    refuse_unsupported(path, spec, errors);
    check_count(path, spec, errors);
    let args =
        filters(path, "matchArgs", spec.match_args.as_deref(), errors, |path, filter, errors| {
            let arg = position(path, filter, context, errors)?;
            let kind = context.args.get(arg)?.as_ref()?.kind;
            Some(ArgFilter { arg, test: filter::compile(path, filter, kind, errors)? })
        });
    let returns = filters(
        path,
        "matchReturnArgs",
        spec.match_return_args.as_deref(),
        errors,
        |path, filter, errors| return_filter(path, filter, context, errors),
    );
    let return_actions = spec.match_return_actions.as_deref().unwrap_or_default();
    if !return_actions.is_empty() && !filled(spec.match_return_args.as_ref()) {
        errors.add(&path.field("matchReturnActions"), "matchReturnActions needs matchReturnArgs");
    }
    Selector {
        args,
        returns,
        binaries: binaries(path, spec, errors),
        action: action::compile(&path.field("matchActions"), spec.match_actions.as_deref(), errors),
        return_action: action::compile(
            &path.field("matchReturnActions"),
            Some(return_actions),
            errors,
        ),
    }
}

fn refuse_unsupported(path: &FieldPath, spec: &KProbeSelector, errors: &mut Errors) {
    errors.refuse(path, "label", spec.label.is_some());
    errors.refuse(path, "macros", filled(spec.macros.as_ref()));
    errors.refuse(path, "matchData", filled(spec.match_data.as_ref()));
    errors.refuse(path, "matchPIDs", filled(spec.match_pids.as_ref()));
    errors.refuse(path, "matchParentBinaries", filled(spec.match_parent_binaries.as_ref()));
    errors.refuse(path, "matchNamespaces", filled(spec.match_namespaces.as_ref()));
    errors.refuse(path, "matchNamespaceChanges", filled(spec.match_namespace_changes.as_ref()));
    errors.refuse(path, "matchCapabilities", filled(spec.match_capabilities.as_ref()));
    errors.refuse(path, "matchCapabilityChanges", filled(spec.match_capability_changes.as_ref()));
    errors.refuse(path, "matchWorkloads", filled(spec.match_workloads.as_ref()));
}

fn check_count(path: &FieldPath, spec: &KProbeSelector, errors: &mut Errors) {
    for (field, list) in
        [("matchArgs", &spec.match_args), ("matchReturnArgs", &spec.match_return_args)]
    {
        let count = list.as_ref().map_or(0, Vec::len);
        if count > MAX_FILTERS {
            errors.add(
                &path.field(field),
                format!("{count} filters, at most {MAX_FILTERS} are possible"),
            );
        }
    }
}

fn filters(
    path: &FieldPath,
    field: &str,
    specs: Option<&[ArgSelector]>,
    errors: &mut Errors,
    compile: impl Fn(&FieldPath, &ArgSelector, &mut Errors) -> Option<ArgFilter>,
) -> Vec<ArgFilter> {
    let list = path.field(field);
    let specs = specs.unwrap_or_default().iter().enumerate();
    specs.filter_map(|(index, spec)| compile(&list.index(index), spec, errors)).collect()
}

/// Where in the hook's args the filtered argument stands. `args` gives that position itself and wins
/// over `index`, which is the position in the function.
fn position(
    path: &FieldPath,
    spec: &ArgSelector,
    context: &Context<'_>,
    errors: &mut Errors,
) -> Option<usize> {
    match (spec.args.as_deref().unwrap_or_default(), spec.index) {
        ([position], _) => {
            let found =
                usize::try_from(*position).ok().filter(|position| *position < context.args.len());
            if found.is_none() {
                errors.add(
                    &path.field("args").index(0),
                    format!(
                        "the hook has {} args, counted from 0: there is no args[{position}]",
                        context.args.len()
                    ),
                );
            }
            found
        }
        ([], Some(index)) => {
            // An argument that is wrong has lost its index: its own error says enough.
            let some_are_wrong = context.args.iter().any(Option::is_none);
            let found = context
                .args
                .iter()
                .position(|arg| arg.as_ref().is_some_and(|arg| i32::from(arg.index) == index));
            if found.is_none() && !some_are_wrong {
                errors.add(
                    &path.field("index"),
                    format!("the hook records no argument {index}: add it to args with its type"),
                );
            }
            found
        }
        ([], None) => {
            errors.add(path, "index is missing: which argument to compare");
            None
        }
        (_, _) => {
            errors.add(
                &path.field("args"),
                "a filter on several arguments is not supported: write one filter for each",
            );
            None
        }
    }
}

fn return_filter(
    path: &FieldPath,
    spec: &ArgSelector,
    context: &Context<'_>,
    errors: &mut Errors,
) -> Option<ArgFilter> {
    let Some(kind) = context.return_kind else {
        errors.add(path, "matchReturnArgs needs return: true and a returnArg in the hook");
        return None;
    };
    let positions = spec.args.as_deref().unwrap_or_default();
    if spec.index.is_some_and(|index| index != 0) || positions.iter().any(|position| *position != 0)
    {
        errors.add(path, "a function returns one value: its index is 0");
        return None;
    }
    Some(ArgFilter { arg: 0, test: filter::compile(path, spec, kind, errors)? })
}

fn binaries(path: &FieldPath, spec: &KProbeSelector, errors: &mut Errors) -> Option<BinaryFilter> {
    let list = path.field("matchBinaries");
    let specs = spec.match_binaries.as_deref().unwrap_or_default();
    if specs.len() > 1 {
        errors.add(&list, "a selector has one matchBinaries entry: put all paths into its values");
    }
    binary_filter(&list.index(0), specs.first()?, errors)
}

fn binary_filter(
    path: &FieldPath,
    spec: &BinarySelector,
    errors: &mut Errors,
) -> Option<BinaryFilter> {
    errors.refuse(path, "followChildren", spec.follow_children == Some(true));
    let (place, negate) = match spec.operator {
        BinaryOperator::In => (TextPlace::Equal, false),
        BinaryOperator::NotIn => (TextPlace::Equal, true),
        BinaryOperator::Prefix => (TextPlace::Prefix, false),
        BinaryOperator::NotPrefix => (TextPlace::Prefix, true),
        BinaryOperator::Postfix => (TextPlace::Postfix, false),
        BinaryOperator::NotPostfix => (TextPlace::Postfix, true),
    };
    if spec.values.is_empty() {
        errors.add(&path.field("values"), "values is empty: list paths of binaries");
    }
    let mut values = Vec::with_capacity(spec.values.len());
    for (index, text) in spec.values.iter().enumerate() {
        match value::binary(text, place) {
            Ok(text) => values.push(text),
            Err(message) => errors.add(&path.field("values").index(index), message),
        }
    }
    Some(BinaryFilter { place, negate, values })
}
