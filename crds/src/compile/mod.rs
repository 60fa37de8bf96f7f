//! From the words of a TracingPolicy to the checked [`Policy`].
//!
//! What is not supported yet is refused at its exact path. Nothing that would change which events are
//! seen or what happens to a process is accepted and ignored.

mod action;
mod argument;
mod filter;
mod hook;
mod names;
mod number;
mod scope;
mod selector;
mod value;

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::field::{FieldError, FieldPath};
use crate::policy::Policy;
use crate::tracing_policy::TracingPolicySpec;

/// Checks `spec`, which stands at `base` in its document (`spec`, or `spec.tracingPolicy.spec`), and
/// gives it its meaning. `name` becomes the events' `policy_name`.
///
/// # Errors
/// Everything that is wrong or not supported, each with its path, in the order of the document.
pub fn compile_policy(
    name: &str,
    base: &FieldPath,
    spec: &TracingPolicySpec,
) -> Result<Policy, Vec<FieldError>> {
    let mut errors = Errors::default();
    let kprobes = spec.kprobes.as_deref().unwrap_or_default();
    let hooks: Vec<_> = kprobes
        .iter()
        .enumerate()
        .filter_map(|(index, kprobe)| {
            hook::compile(&base.field("kprobes").index(index), kprobe, &mut errors)
        })
        .collect();
    refuse_other_hooks(base, spec, &mut errors);
    let scope = scope::compile(base, spec, &mut errors);
    check_options(base, spec, &mut errors);
    if kprobes.is_empty() && errors.is_empty() {
        errors.add(base, "the policy has no hook: add kprobes, for example - {call: tcp_connect, syscall: false}");
    }
    errors.into_result(Policy { name: name.to_owned(), scope, hooks })
}

fn refuse_other_hooks(base: &FieldPath, spec: &TracingPolicySpec, errors: &mut Errors) {
    let sections = [
        (
            "fentries",
            filled(spec.fentries.as_ref()),
            "name the functions under kprobes, which uses fentry where the kernel offers it",
        ),
        (
            "tracepoints",
            filled(spec.tracepoints.as_ref()),
            "hook the kernel function behind the tracepoint under kprobes",
        ),
        (
            "uprobes",
            filled(spec.uprobes.as_ref()),
            "only kernel functions and syscalls can be hooked",
        ),
        ("usdts", filled(spec.usdts.as_ref()), "only kernel functions and syscalls can be hooked"),
        (
            "lsmhooks",
            filled(spec.lsmhooks.as_ref()),
            "hook the function security_NAME under kprobes",
        ),
        ("loader", spec.loader == Some(true), "mapped libraries are not reported"),
        ("lists", filled(spec.lists.as_ref()), "name each function in a kprobe of its own"),
        ("enforcers", filled(spec.enforcers.as_ref()), "use the action Sigkill"),
    ];
    for (field, present, instead) in sections {
        if present {
            errors.add(&base.field(field), format!("{field} is not supported: {instead}"));
        }
    }
    if spec.selectors_macros.as_ref().is_some_and(|macros| !macros.is_empty()) {
        errors.add(
            &base.field("selectorsMacros"),
            "selectorsMacros is not supported: write the filters into the selectors themselves",
        );
    }
}

fn filled<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn check_options(base: &FieldPath, spec: &TracingPolicySpec, errors: &mut Errors) {
    for (index, option) in spec.options.iter().flatten().enumerate() {
        let path = base.field("options").index(index);
        match (option.name.as_str(), option.value.as_deref().unwrap_or_default()) {
            // Each hook is attached on its own here, so both values say what happens anyway.
            ("disable-kprobe-multi", "" | "1" | "0" | "true" | "false") => {}
            // Enforcing is what happens without the option.
            ("policy-mode", "enforce") => {}
            ("policy-mode", value) => errors.add(
                &path.field("value"),
                format!(
                    "policy-mode {value:?} is not supported: remove the enforcing actions instead"
                ),
            ),
            ("disable-kprobe-multi", value) => {
                errors.add(&path.field("value"), format!("{value:?} is neither true nor false"));
            }
            (name, _) => {
                errors.add(&path.field("name"), format!("the option {name} is not supported"))
            }
        }
    }
}

/// What was found wrong so far.
#[derive(Debug, Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, path: &FieldPath, message: impl Into<String>) {
        self.0.push(FieldError::new(path, message));
    }

    /// Refuses what is present and not built.
    fn refuse(&mut self, path: &FieldPath, field: &str, present: bool) {
        if present {
            self.add(&path.field(field), format!("{field} is not supported"));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_result<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// A word of the language as the document spells it.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}
