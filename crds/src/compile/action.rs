//! `matchActions[]` and `matchReturnActions[]`.

use super::{Errors, filled, word};
use crate::field::FieldPath;
use crate::policy::Action;
use crate::tracing_policy::{ActionName, ActionSelector};

/// Most actions of a selector; Tetragon's own limit.
const MAX_ACTIONS: usize = 3;

/// All actions of a list, which stands at `list`, boiled down. No action means: post the event.
pub(super) fn compile(
    list: &FieldPath,
    specs: Option<&[ActionSelector]>,
    errors: &mut Errors,
) -> Action {
    let specs = specs.unwrap_or_default();
    if specs.len() > MAX_ACTIONS {
        errors.add(list, format!("{} actions, at most {MAX_ACTIONS} are possible", specs.len()));
    }
    let mut action = Action::default();
    for (index, spec) in specs.iter().enumerate() {
        let path = list.index(index);
        match spec.action {
            ActionName::Post => {}
            ActionName::NoPost => action.no_post = true,
            ActionName::Sigkill => action.sigkill = true,
            other => {
                errors.add(
                    &path.field("action"),
                    format!(
                        "{} is not supported; supported are Post, NoPost and Sigkill",
                        word(other)
                    ),
                );
                // Its parameters belong to it: one error says enough.
                continue;
            }
        }
        refuse_parameters(&path, spec, errors);
    }
    action
}

fn refuse_parameters(path: &FieldPath, spec: &ActionSelector, errors: &mut Errors) {
    // Published policies put argError beside Sigkill, where it means nothing to Tetragon either.
    errors.refuse(path, "argError", spec.arg_error.is_some() && spec.action != ActionName::Sigkill);
    errors.refuse(path, "argSig", spec.arg_sig.is_some());
    errors.refuse(path, "argSock", spec.arg_sock.is_some());
    errors.refuse(path, "argUrl", spec.arg_url.is_some());
    errors.refuse(path, "argFqdn", spec.arg_fqdn.is_some());
    errors.refuse(path, "argIndex", spec.arg_index.is_some());
    errors.refuse(path, "argValue", spec.arg_value.is_some());
    errors.refuse(path, "argRegs", filled(spec.arg_regs.as_ref()));
    errors.refuse(path, "argNewSymbol", spec.arg_new_symbol.is_some());
    errors.refuse(path, "argNewAddr", spec.arg_new_addr.is_some());
    errors.refuse(path, "argNewOffset", spec.arg_new_offset.is_some());
    if spec.rate_limit.is_some() {
        errors.add(&path.field("rateLimit"), "rateLimit is not supported: every matching call is reported; remove it or narrow the filters");
    }
    errors.refuse(path, "rateLimitScope", spec.rate_limit_scope.is_some());
    errors.refuse(path, "kernelStackTrace", spec.kernel_stack_trace == Some(true));
    errors.refuse(path, "userStackTrace", spec.user_stack_trace == Some(true));
    errors.refuse(path, "imaHash", spec.ima_hash == Some(true));
}
