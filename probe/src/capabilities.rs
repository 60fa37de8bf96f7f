//! What this node's kernel lets a probe do, found by loading and attaching a harmless program of each class.
//!
//! Configurations lie: a kernel may announce BPF LSM and trampolines and refuse both. Only a trial tells.

use std::mem::MaybeUninit;
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, OpenProgramMut};
use serde::{Deserialize, Serialize};

use crate::bpf::trial::{OpenTrialSkel, TrialSkel, TrialSkelBuilder};

mod preemption;
pub mod text;

/// Whether a class of programs works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Support {
    /// Loaded and attached.
    Yes,
    /// Refused, with the step and the kernel's word: `attach: Operation not supported`.
    No {
        /// Step and error.
        reason: String,
    },
}

impl Support {
    /// Whether it works.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// One node's abilities; `check --capabilities FILE` reads the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// `uname -r`
    pub kernel: String,
    /// The kernel describes its own types, without which nothing loads.
    pub btf: Support,
    /// none, integrity or confidentiality
    pub lockdown: String,
    /// v2, hybrid, v1 or none
    pub cgroup: String,
    /// exec, fork and exit by BTF tracepoints
    pub lifecycle: Support,
    /// kprobe and kretprobe
    pub kprobe: Support,
    /// The same by the ftrace of 5.18 and newer, for which perf events need not be allowed
    #[serde(default = "untried")]
    pub kprobe_multi: Support,
    /// BPF trampolines: fentry and fexit, with the argument helpers of 5.17
    pub fentry: Support,
    /// The kernel preempts tasks inside the programs of trampolines, which hides calls of others from them.
    #[serde(default)]
    pub preemption: bool,
    /// BPF LSM, listed in `lsm=`
    pub lsm: Support,
    /// changing the return value of security hooks
    pub fmod_ret: Support,
    /// raw tracepoints of system calls
    pub raw_syscalls: Support,
    /// user functions
    pub uprobe: Support,
}

impl Capabilities {
    /// Whether there is a kprobe of one kind or the other.
    #[must_use]
    pub const fn has_kprobes(&self) -> bool {
        self.kprobe.is_yes() || self.kprobe_multi.is_yes()
    }

    /// Tries every class on the running kernel. Needs CAP_BPF and CAP_PERFMON; without them each class
    /// is refused with the kernel's word.
    #[must_use]
    pub fn detect() -> Self {
        let btf = if Path::new("/sys/kernel/btf/vmlinux").exists() {
            Support::Yes
        } else {
            no(
                "/sys/kernel/btf/vmlinux is missing: the kernel was built without CONFIG_DEBUG_INFO_BTF",
            )
        };
        let fentry = trial(|s| &mut s.progs.trial_fentry, |s| s.progs.trial_fentry.attach());
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            lockdown: lockdown(),
            cgroup: cgroup_layout(),
            lifecycle: trial(
                |s| &mut s.progs.trial_lifecycle,
                |s| s.progs.trial_lifecycle.attach(),
            ),
            kprobe: trial(|s| &mut s.progs.trial_kprobe, |s| s.progs.trial_kprobe.attach()),
            kprobe_multi: trial(
                |s| &mut s.progs.trial_kprobe_multi,
                |s| s.progs.trial_kprobe_multi.attach_kprobe_multi(false, vec![TRIAL_FUNCTION]),
            ),
            preemption: fentry.is_yes() && preemption::is_preempted(),
            fentry,
            lsm: lsm(),
            fmod_ret: trial(|s| &mut s.progs.trial_fmod_ret, |s| s.progs.trial_fmod_ret.attach()),
            raw_syscalls: trial(
                |s| &mut s.progs.trial_syscalls,
                |s| s.progs.trial_syscalls.attach(),
            ),
            uprobe: uprobe(),
            btf,
        }
    }
}

/// What a trial of kprobes is put on: every kernel has it.
const TRIAL_FUNCTION: &str = "security_file_permission";

/// For descriptions of nodes that are older than the class.
fn untried() -> Support {
    no("not tried")
}

fn no(reason: impl Into<String>) -> Support {
    Support::No { reason: reason.into() }
}

/// Loads the object with only the chosen program, attaches it, and lets go of it.
fn trial(
    choose: impl for<'a, 'o> FnOnce(&'a mut OpenTrialSkel<'o>) -> &'a mut OpenProgramMut<'o>,
    attach: impl FnOnce(&TrialSkel<'_>) -> libbpf_rs::Result<Link>,
) -> Support {
    let mut storage = MaybeUninit::uninit();
    let mut open = match TrialSkelBuilder::default().open(&mut storage) {
        Ok(open) => open,
        Err(error) => return no(format!("open: {}", kernel_word(&error))),
    };
    choose_only(&mut open, choose);
    let skel = match open.load() {
        Ok(skel) => skel,
        Err(error) => return no(format!("load: {}", kernel_word(&error))),
    };
    match attach(&skel) {
        Ok(_link) => Support::Yes,
        Err(error) => no(format!("attach: {}", kernel_word(&error))),
    }
}

fn choose_only<'o>(
    open: &mut OpenTrialSkel<'o>,
    choose: impl for<'a> FnOnce(&'a mut OpenTrialSkel<'o>) -> &'a mut OpenProgramMut<'o>,
) {
    for mut program in open.open_object_mut().progs_mut() {
        program.set_autoload(false);
    }
    choose(open).set_autoload(true);
}

/// The kernel's own words for an error number, without libbpf's story around them.
fn kernel_word(error: &libbpf_rs::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let text = source.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn lsm() -> Support {
    let works = trial(|s| &mut s.progs.trial_lsm, |s| s.progs.trial_lsm.attach());
    let active = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if works.is_yes()
        && !active.trim().is_empty()
        && !active.trim().split(',').any(|name| name == "bpf")
    {
        return no(format!("bpf is not in the kernel's lsm= list ({})", active.trim()));
    }
    works
}

/// The function a trial uprobe is put on; never called.
#[inline(never)]
extern "C" fn uprobe_target() {
    std::hint::black_box(0);
}

fn uprobe() -> Support {
    let Some(offset) = file_offset(uprobe_target as *const () as u64) else {
        return no("own mapping not found in /proc/self/maps");
    };
    let pid = std::process::id() as i32;
    trial(
        |s| &mut s.progs.trial_uprobe,
        |s| s.progs.trial_uprobe.attach_uprobe(false, pid, "/proc/self/exe", offset),
    )
}

/// Where in our own executable the code at `address` lies.
fn file_offset(address: u64) -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) =
            (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
        (start..end).contains(&address).then(|| usize::try_from(address - start + offset).ok())?
    })
}

/// The bracketed word of `none [integrity] confidentiality`.
fn lockdown() -> String {
    let text = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    text.split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("unknown", |(word, _)| word)
        .to_owned()
}

fn cgroup_layout() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (has("cgroup2"), has("cgroup")) {
        (true, false) => "v2",
        (true, true) => "hybrid",
        (false, true) => "v1",
        (false, false) => "none",
    }
    .to_owned()
}
