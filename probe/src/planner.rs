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
    /// By ftrace, without perf events.
    KprobeMulti,
    /// The same with a return probe.
    KprobeKretprobeMulti,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::FentryFexit => "fentry+fexit",
            Self::Kprobe => "kprobe",
            Self::KprobeKretprobe => "kprobe+kretprobe",
            Self::KprobeMulti => "kprobe.multi",
            Self::KprobeKretprobeMulti => "kprobe.multi+kretprobe.multi",
        })
    }
}

/// Which backends the planner may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// The cheapest that sees every call.
    #[default]
    Auto,
    /// Trampolines only.
    Fentry,
    /// kprobes only.
    Kprobe,
    /// kprobes by ftrace only.
    KprobeMulti,
}

/// The reason of a hook that is right but that this node has no way to serve.
pub const BACKEND_UNAVAILABLE: &str = "BackendUnavailable";

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
pub fn plan(
    policy: &Policy,
    caps: &Capabilities,
    prefer: Preference,
    kernel: &dyn KernelFacts,
) -> Vec<PlannedHook> {
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
    // Where trampolines would miss calls, they are the second choice.
    let instead = caps.preemption && caps.has_kprobes() && prefer == Preference::Auto;
    let trampolines = matches!(prefer, Preference::Auto | Preference::Fentry);
    if trampolines && caps.fentry.is_yes() && in_btf && !instead {
        return Outcome::Attach { backend: trampoline(hook), parameters };
    }
    let plain = caps.kprobe.is_yes() && prefer != Preference::KprobeMulti;
    if prefer != Preference::Fentry && (plain || caps.kprobe_multi.is_yes()) {
        let backend = match (hook.returns.is_some(), plain) {
            (false, true) => Backend::Kprobe,
            (true, true) => Backend::KprobeKretprobe,
            (false, false) => Backend::KprobeMulti,
            (true, false) => Backend::KprobeKretprobeMulti,
        };
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
    let (n, arg) =
        hook.args.iter().enumerate().find(|(_, arg)| usize::from(arg.index) >= parameters)?;
    Some(Refusal {
        reason: "NoSuchArgument",
        path: hook.path.field("args").index(n).field("index"),
        message: format!(
            "{function} has {parameters} arguments on this kernel, so the largest index is {}, not {}",
            parameters.saturating_sub(1),
            arg.index
        ),
    })
}

fn no_backend(
    function: &str,
    path: FieldPath,
    caps: &Capabilities,
    prefer: Preference,
    in_btf: bool,
) -> Refusal {
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
            "no way to hook {function} on kernel {}: fentry: {fentry}; kprobe: {}; kprobe.multi: {}",
            caps.kernel,
            why(&caps.kprobe),
            why(&caps.kprobe_multi)
        ),
        Preference::Fentry => format!("--backend fentry: {fentry}"),
        Preference::Kprobe => format!("--backend kprobe: {}", why(&caps.kprobe)),
        Preference::KprobeMulti => {
            format!("--backend kprobe-multi: {}", why(&caps.kprobe_multi))
        }
    };
    Refusal { reason: BACKEND_UNAVAILABLE, path, message }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::HashMap;

    use securitywatch_api::policy::{Action, Arg, ArgKind, ReturnArg, Scope, Selector};

    use super::*;
    use crate::capabilities::Support;

    struct Kernel(HashMap<&'static str, FunctionFacts>);

    impl KernelFacts for Kernel {
        fn function(&self, name: &str) -> Option<FunctionFacts> {
            Some(
                self.0.get(name).copied().unwrap_or(FunctionFacts { symbols: 0, parameters: None }),
            )
        }
        fn arch(&self) -> &str {
            "x86_64"
        }
    }

    fn kernel() -> Kernel {
        let facts = |symbols, parameters| FunctionFacts { symbols, parameters };
        Kernel(HashMap::from([
            ("tcp_connect", facts(1, Some(1))),
            ("security_file_permission", facts(1, Some(2))),
            ("static_twice", facts(2, Some(1))),
            ("not_in_btf", facts(1, None)),
            ("__x64_sys_openat", facts(1, Some(1))),
        ]))
    }

    fn caps(fentry: bool, kprobe: bool) -> Capabilities {
        let support =
            |works| if works { Support::Yes } else { Support::No { reason: "load: no".into() } };
        Capabilities {
            kernel: "6.1".into(),
            btf: Support::Yes,
            lockdown: "none".into(),
            cgroup: "v2".into(),
            lifecycle: Support::Yes,
            kprobe: support(kprobe),
            kprobe_multi: support(false),
            fentry: support(fentry),
            preemption: false,
            lsm: support(fentry),
            fmod_ret: support(fentry),
            raw_syscalls: Support::Yes,
            uprobe: Support::Yes,
        }
    }

    fn hook(target: HookTarget, returns: bool, sigkill: bool) -> Hook {
        Hook {
            path: FieldPath::root().field("spec").field("kprobes").index(0),
            target,
            message: None,
            tags: Vec::new(),
            args: vec![Arg { index: 0, kind: ArgKind::Nop, label: None }],
            returns: returns.then_some(ReturnArg { kind: ArgKind::Int32, label: None }),
            ignore_call_not_found: false,
            selectors: vec![Selector {
                action: Action { sigkill, no_post: false },
                ..Selector::default()
            }],
        }
    }

    fn outcome(hook: Hook, caps: &Capabilities, prefer: Preference) -> Outcome {
        let policy = Policy { name: "p".into(), scope: Scope::default(), hooks: vec![hook] };
        plan(&policy, caps, prefer, &kernel()).remove(0).outcome
    }

    fn function(name: &str) -> HookTarget {
        HookTarget::Function(name.into())
    }

    #[track_caller]
    fn expect(hook: Hook, (fentry, kprobe): (bool, bool), backend: Backend) {
        match outcome(hook, &caps(fentry, kprobe), Preference::Auto) {
            Outcome::Attach { backend: chosen, .. } => assert_eq!(chosen, backend),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refusal(hook: Hook, caps: &Capabilities, prefer: Preference) -> Refusal {
        match outcome(hook, caps, prefer) {
            Outcome::Refuse(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_trampolines_would_miss_calls_kprobes_are_chosen() {
        let backend = |caps: Capabilities, prefer| {
            let hook = hook(HookTarget::Function("tcp_connect".into()), true, false);
            match outcome(hook, &Capabilities { preemption: true, ..caps }, prefer) {
                Outcome::Attach { backend, .. } => Some(backend),
                _ => None,
            }
        };
        let auto = Preference::Auto;
        assert_eq!(backend(caps(true, true), auto), Some(Backend::KprobeKretprobe));
        assert_eq!(backend(caps(true, true), Preference::Fentry), Some(Backend::Fexit));
        let multi = Capabilities { kprobe_multi: Support::Yes, ..caps(true, false) };
        assert_eq!(backend(multi, auto), Some(Backend::KprobeKretprobeMulti));
        assert_eq!(backend(caps(true, false), auto), Some(Backend::Fexit), "better than nothing");
    }

    #[test]
    fn each_hook_gets_the_cheapest_backend_that_keeps_its_meaning() {
        let tcp = || function("tcp_connect");
        let openat = || HookTarget::Syscall("openat".into());
        expect(hook(tcp(), false, false), (true, true), Backend::Fentry);
        expect(hook(tcp(), true, false), (true, true), Backend::Fexit);
        expect(hook(tcp(), true, true), (true, true), Backend::FentryFexit);
        expect(hook(openat(), true, false), (true, true), Backend::FentryFexit);
        expect(hook(tcp(), false, false), (false, true), Backend::Kprobe);
        expect(hook(tcp(), true, false), (false, true), Backend::KprobeKretprobe);
        expect(hook(function("not_in_btf"), false, false), (true, true), Backend::Kprobe);
    }

    #[test]
    fn what_cannot_be_hooked_is_refused_with_its_reason() {
        let (all, none) = (caps(true, true), caps(false, false));
        let refused =
            |name: &str, caps| refusal(hook(function(name), false, false), caps, Preference::Auto);
        let missing = refused("no_such_function", &all);
        assert_eq!(
            (missing.reason, missing.path.as_str()),
            ("FunctionNotFound", "spec.kprobes[0].call")
        );
        assert!(missing.message.contains("ignore.callNotFound"), "{}", missing.message);
        assert_eq!(refused("static_twice", &all).reason, "AmbiguousFunction");
        assert_eq!(refused("tcp_connect", &none).reason, "BackendUnavailable");
        let no_fallback =
            refusal(hook(function("not_in_btf"), false, false), &all, Preference::Fentry);
        assert!(
            no_fallback.message.contains("BTF does not describe not_in_btf"),
            "{}",
            no_fallback.message
        );
    }

    #[test]
    fn an_argument_the_function_does_not_have_is_refused() {
        let mut hook = hook(function("tcp_connect"), false, false);
        hook.args.push(Arg { index: 1, kind: ArgKind::Int32, label: None });
        let refusal = refusal(hook, &caps(true, true), Preference::Auto);
        assert_eq!(
            (refusal.reason, refusal.path.as_str()),
            ("NoSuchArgument", "spec.kprobes[0].args[1].index")
        );
    }

    #[test]
    fn a_missing_function_may_be_ignored() {
        let mut hook = hook(function("no_such_function"), false, false);
        hook.ignore_call_not_found = true;
        assert_eq!(outcome(hook, &caps(true, true), Preference::Auto), Outcome::Skip);
    }
}
