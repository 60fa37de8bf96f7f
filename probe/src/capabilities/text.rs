//! What a node can do, for people.

use std::fmt;

use super::{Capabilities, Support};

/// The table of `capabilities`.
#[derive(Debug)]
pub struct Table<'a>(pub &'a Capabilities);

/// The node in a few words, for example `6.12.107, BTF, fentry, kprobe, LSM`.
#[must_use]
pub fn in_short(capabilities: &Capabilities) -> String {
    let mut words = vec![capabilities.kernel.as_str()];
    let classes = [
        (&capabilities.btf, "BTF"),
        (&capabilities.fentry, "fentry"),
        (&capabilities.kprobe, "kprobe"),
        (&capabilities.lsm, "LSM"),
    ];
    words.extend(classes.iter().filter(|(support, _)| support.is_yes()).map(|(_, word)| *word));
    words.join(", ")
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0;
        writeln!(
            f,
            "kernel {}  btf {}  lockdown {}  cgroup {}",
            node.kernel,
            yes_or_no(&node.btf),
            node.lockdown,
            node.cgroup
        )?;
        if let Support::No { reason } = &node.btf {
            writeln!(f, "  {reason}")?;
        }
        // A class that no policy can use yet says so: a yes alone would be read as a promise.
        let unused = "no policy uses it yet";
        row(f, "exec/exit", &node.lifecycle, "btf tracepoints")?;
        row(f, "kprobe", &node.kprobe, "kernel functions and system calls")?;
        row(f, "kprobe.multi", &node.kprobe_multi, "the same, where perf events are not allowed")?;
        row(f, "fentry/fexit", &node.fentry, trampolines(node))?;
        if node.lsm == node.fmod_ret {
            row(f, "lsm, fmod_ret", &node.lsm, unused)?;
        } else {
            row(f, "lsm", &node.lsm, unused)?;
            row(f, "fmod_ret", &node.fmod_ret, unused)?;
        }
        row(f, "syscalls", &node.raw_syscalls, "raw tracepoints; no policy uses them yet")?;
        row(f, "uprobe", &node.uprobe, unused)?;
        writeln!(f, "{}", verdict(node))
    }
}

const fn trampolines(node: &Capabilities) -> &'static str {
    match (node.preemption, node.has_kprobes()) {
        (false, _) => "kernel functions and system calls, at less cost",
        (true, true) => {
            "not used: this kernel preempts their programs, and so hides calls; kprobes do not have that"
        }
        (true, false) => {
            "kernel functions and system calls; this kernel preempts their programs, and so hides calls (lost, recursion_miss)"
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, class: &str, support: &Support, how: &str) -> fmt::Result {
    let note = match support {
        Support::Yes => how,
        Support::No { reason } => reason,
    };
    writeln!(f, "  {class:<15} {:<5} {note}", yes_or_no(support))
}

const fn yes_or_no(support: &Support) -> &'static str {
    if support.is_yes() { "yes" } else { "no" }
}

/// What it comes to.
fn verdict(node: &Capabilities) -> &'static str {
    match (node.lifecycle.is_yes(), node.fentry.is_yes() || node.has_kprobes()) {
        (true, true) => {
            "policies with kernel functions (tcp_connect, security_*) and system calls can run on this node"
        }
        (true, false) => {
            "policies with kernel functions (tcp_connect, security_*) or system calls cannot run on this node; exec and exit events and alerts on them can"
        }
        (false, _) => {
            "the probe cannot run on this node: without exec and exit no event has a process"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restricted() -> Capabilities {
        let no = |reason: &str| Support::No { reason: reason.into() };
        Capabilities {
            kernel: "6.18.44".into(),
            btf: Support::Yes,
            lockdown: "integrity".into(),
            cgroup: "hybrid".into(),
            lifecycle: Support::Yes,
            kprobe: no("attach: Operation not supported"),
            kprobe_multi: no("attach: Operation not supported"),
            fentry: no("load: Operation not permitted"),
            preemption: false,
            lsm: no("load: Operation not permitted"),
            fmod_ret: no("load: Operation not permitted"),
            raw_syscalls: Support::Yes,
            uprobe: Support::Yes,
        }
    }

    #[test]
    fn a_node_without_trampolines() {
        assert_eq!(
            Table(&restricted()).to_string(),
            "\
kernel 6.18.44  btf yes  lockdown integrity  cgroup hybrid
  exec/exit       yes   btf tracepoints
  kprobe          no    attach: Operation not supported
  kprobe.multi    no    attach: Operation not supported
  fentry/fexit    no    load: Operation not permitted
  lsm, fmod_ret   no    load: Operation not permitted
  syscalls        yes   raw tracepoints; no policy uses them yet
  uprobe          yes   no policy uses it yet
policies with kernel functions (tcp_connect, security_*) or system calls cannot run on this node; exec and exit events and alerts on them can
"
        );
        assert_eq!(in_short(&restricted()), "6.18.44, BTF");
    }

    #[test]
    fn a_kernel_that_preempts_programs() {
        let mut node = Capabilities {
            fentry: Support::Yes,
            preemption: true,
            kprobe: Support::Yes,
            ..restricted()
        };
        assert!(Table(&node).to_string().contains("  fentry/fexit    yes   not used: this kernel"));
        node.kprobe = Support::No { reason: "load: Operation not permitted".into() };
        assert!(Table(&node).to_string().contains("and so hides calls (lost, recursion_miss)\n"));
    }

    #[test]
    fn a_full_node() {
        let node = Capabilities {
            kprobe: Support::Yes,
            fentry: Support::Yes,
            lsm: Support::No { reason: "bpf is not in the kernel's lsm= list".into() },
            fmod_ret: Support::Yes,
            ..restricted()
        };
        let text = Table(&node).to_string();
        assert!(
            text.contains("\n  lsm             no    bpf is not in the kernel's lsm= list\n"),
            "{text}"
        );
        assert!(text.contains("\n  fmod_ret        yes   "), "{text}");
        assert!(text.ends_with("and system calls can run on this node\n"), "{text}");
        assert_eq!(in_short(&node), "6.18.44, BTF, fentry, kprobe");
    }

    #[test]
    fn a_kernel_without_btf() {
        let no = Support::No { reason: "/sys/kernel/btf/vmlinux is missing".into() };
        let node = Capabilities { btf: no.clone(), lifecycle: no, ..restricted() };
        let text = Table(&node).to_string();
        assert!(text.contains("btf no  lockdown"), "{text}");
        assert!(text.contains("\n  /sys/kernel/btf/vmlinux is missing\n"), "{text}");
        assert!(text.contains("the probe cannot run on this node"), "{text}");
    }
}
