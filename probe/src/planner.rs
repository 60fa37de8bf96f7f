//! Which backend serves each hook on a node, or why none does. Pure: facts in, plan out.

use std::fmt;

use securitywatch_api::field::FieldPath;
use securitywatch_api::policy::{Hook, HookTarget, Policy};

use crate::capabilities::Capabilities;

/// What the planner asks about one kernel function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Text symbols of that name: 0 is missing, more than one is ambiguous.
    pub symbols: usize,
    /// Parameters by the kernel's BTF; `None` where BTF has no such function.
    pub parameters: Option<usize>,
}

/// A kernel that can be asked about its functions.
pub trait KernelFacts {
    /// The function's facts; `None` when this kernel is only described and its functions are not known.
    fn function(&self, name: &str) -> Option<FunctionFacts>;
    /// For example `x86_64`; names the prefix of system call functions.
    fn arch(&self) -> &str;
}

/// How a hook is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Trampoline at entry.
    Fentry,
    /// Trampoline at exit, which sees the arguments too.
    Fexit,
    /// Trampolines at entry and exit: the entry acts, the exit adds the return value.
    FentryFexit,
    /// Breakpoint or ftrace at entry.
    Kprobe,
    /// The same with a return probe.
    KprobeKretprobe,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::FentryFexit => "fentry+fexit",
            Self::Kprobe => "kprobe",
            Self::KprobeKretprobe => "kprobe+kretprobe",
        })
    }
}

/// Which backends the planner may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// The cheapest that works.
    #[default]
    Auto,
    /// Trampolines only.
    Fentry,
    /// kprobes only.
    Kprobe,
}

/// Why a hook cannot be served; `reason` is a condition reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// CamelCase: `FunctionNotFound`, `BackendUnavailable`, `AmbiguousFunction`, `NoSuchArgument`.
    pub reason: &'static str,
    /// The field.
    pub path: FieldPath,
    /// One sentence with the fix.
    pub message: String,
}

/// What becomes of one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Attached by this backend; a trampoline knows its target's parameters.
    Attach { backend: Backend, parameters: usize },
    /// `ignore.callNotFound` and no such function.
    Skip,
    /// Not on this node.
    Refuse(Refusal),
}

/// One hook's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedHook {
    /// `spec.kprobes[0]`
    pub path: FieldPath,
    /// The symbol: `tcp_connect`, `__x64_sys_openat`.
    pub function: String,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// The symbol a hook attaches to.
#[must_use]
pub fn symbol(target: &HookTarget, arch: &str) -> String {
    match target {
        HookTarget::Function(name) => name.clone(),
        HookTarget::Syscall(name) => match arch {
            "aarch64" => format!("__arm64_sys_{name}"),
            _ => format!("__x64_sys_{name}"),
        },
    }
}

/// Plans every hook of a policy.
#[must_use]
pub fn plan(policy: &Policy, caps: &Capabilities, prefer: Preference, kernel: &dyn KernelFacts) -> Vec<PlannedHook> {
    policy
        .hooks
        .iter()
        .map(|hook| {
            let function = symbol(&hook.target, kernel.arch());
            let outcome = plan_hook(hook, &function, caps, prefer, kernel);
            PlannedHook { path: hook.path.clone(), function, outcome }
        })
        .collect()
}

fn plan_hook(
    hook: &Hook,
    function: &str,
    caps: &Capabilities,
    prefer: Preference,
    kernel: &dyn KernelFacts,
) -> Outcome {
    let facts = kernel.function(function);
    let call = hook.path.field("call");
    if facts.is_some_and(|f| f.symbols == 0 && f.parameters.is_none()) {
        if hook.ignore_call_not_found {
            return Outcome::Skip;
        }
        return Outcome::Refuse(Refusal {
            reason: "FunctionNotFound",
            path: call,
            message: format!(
                "kernel {} has no function \"{function}\"; set ignore.callNotFound or exclude the node with nodeSelector",
                caps.kernel
            ),
        });
    }
    if let Some(refusal) = missing_argument(hook, function, facts) {
        return Outcome::Refuse(refusal);
    }
    if let Some(f) = facts.filter(|f| f.symbols > 1) {
        return Outcome::Refuse(Refusal {
            reason: "AmbiguousFunction",
            path: call,
            message: format!(
                "kernel {} has {} functions named \"{function}\" and a hook would reach only one of them; choose another function",
                caps.kernel, f.symbols
            ),
        });
    }
    let in_btf = facts.is_none_or(|f| f.parameters.is_some());
    let parameters = facts.and_then(|f| f.parameters).unwrap_or_default();
    if prefer != Preference::Kprobe && caps.fentry.is_yes() && in_btf {
        return Outcome::Attach { backend: trampoline(hook), parameters };
    }
    if prefer != Preference::Fentry && caps.kprobe.is_yes() {
        let backend = if hook.returns.is_some() { Backend::KprobeKretprobe } else { Backend::Kprobe };
        return Outcome::Attach { backend, parameters };
    }
    Outcome::Refuse(no_backend(function, call, caps, prefer, in_btf))
}

/// The exit alone serves a hook that only reads: arguments of kernel functions are still what they were.
/// An action must not wait for the exit, and a system call's user memory can change until then.
fn trampoline(hook: &Hook) -> Backend {
    let acts = hook.selectors.iter().any(|s| s.action.sigkill);
    let user_memory = matches!(hook.target, HookTarget::Syscall(_));
    match &hook.returns {
        None => Backend::Fentry,
        Some(_) if acts || user_memory => Backend::FentryFexit,
        Some(_) => Backend::Fexit,
    }
}

fn missing_argument(hook: &Hook, function: &str, facts: Option<FunctionFacts>) -> Option<Refusal> {
    // A system call's one parameter is the caller's registers.
    if matches!(hook.target, HookTarget::Syscall(_)) {
        return None;
    }
    let parameters = facts?.parameters?;
    let (n, arg) = hook.args.iter().enumerate().find(|(_, arg)| usize::from(arg.index) >= parameters)?;
    Some(Refusal {
        reason: "NoSuchArgument",
        path: hook.path.field("args").index(n).field("index"),
        message: format!("{function} has {parameters} arguments on this kernel, so the largest index is {}, not {}",
            parameters.saturating_sub(1), arg.index),
    })
}

fn no_backend(function: &str, path: FieldPath, caps: &Capabilities, prefer: Preference, in_btf: bool) -> Refusal {
    use crate::capabilities::Support;
    let why = |support: &Support| match support {
        Support::Yes => String::from("works"),
        Support::No { reason } => reason.clone(),
    };
    let fentry = if caps.fentry.is_yes() && !in_btf {
        format!("BTF does not describe {function}")
    } else {
        why(&caps.fentry)
    };
    let message = match prefer {
        Preference::Auto => format!(
            "no way to hook {function} on kernel {}: fentry: {fentry}; kprobe: {}",
            caps.kernel,
            why(&caps.kprobe)
        ),
        Preference::Fentry => format!("--backend fentry: {fentry}"),
        Preference::Kprobe => format!("--backend kprobe: {}", why(&caps.kprobe)),
    };
    Refusal { reason: "BackendUnavailable", path, message }
}
