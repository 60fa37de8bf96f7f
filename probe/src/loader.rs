//! BPF objects into the kernel: the lifecycle programs once, then one object instance per policy hook.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{
    Link, MapCore, MapFlags, MapHandle, OpenMapMut, PrintLevel, ProgramAttachType, ProgramMut,
};

use crate::bpf::cgroup::CgroupSkelBuilder;
use crate::bpf::generic_fentry::GenericFentrySkelBuilder;
use crate::bpf::generic_kprobe::GenericKprobeSkelBuilder;
use crate::bpf::process::ProcessSkelBuilder;
use crate::cgroups::{Kind, Layout};
use crate::planner::Backend;
use crate::policy::config::{HookConfig, HookScope};

/// Sizes the node decides.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes, a power of two of pages.
    pub lifecycle_ring: u32,
    /// Bytes, a power of two of pages.
    pub telemetry_ring: u32,
    /// Processes alive at once.
    pub processes: u32,
    /// Cgroups of pods at once.
    pub cgroups: u32,
}

impl Sizes {
    /// For a node with this much memory: rings of 1/1024 and 1/512 of it within 1 to 4 and 2 to 8 MiB,
    /// 32,768 processes and more from 32 GiB on, 4,096 cgroups of pods and more from 16 GiB on.
    ///
    /// The reader empties the rings a hundred times a second, so these hold the bursts of 50 ms at half a million
    /// events a second; larger ones would only be memory that each node shows as the probe's, twice.
    #[must_use]
    pub fn for_memory(bytes: u64) -> Self {
        let power = |share: u64, min: u64, max: u64| {
            u32::try_from(share.clamp(min, max).next_power_of_two()).unwrap_or(1 << 22)
        };
        const MIB: u64 = 1 << 20;
        Self {
            lifecycle_ring: power(bytes / 1024, MIB, 4 * MIB),
            telemetry_ring: power(bytes / 512, 2 * MIB, 8 * MIB),
            processes: power(bytes / MIB, 32_768, 262_144),
            cgroups: power(bytes / (4 * MIB), 4096, 32_768),
        }
    }
}

/// An object that did not load or attach.
#[derive(Debug, thiserror::Error)]
#[error("{step} {what}: {source}")]
pub struct LoadError {
    /// open, load, attach or fill
    pub step: &'static str,
    /// The program's target or the map.
    pub what: String,
    #[source]
    pub source: libbpf_rs::Error,
}

fn failed(step: &'static str, what: &str) -> impl FnOnce(libbpf_rs::Error) -> LoadError {
    let what = what.to_owned();
    move |source| LoadError { step, what, source }
}

/// Maps that all objects use, by descriptors of our own.
#[derive(Debug)]
pub struct SharedMaps {
    pub lifecycle: MapHandle,
    pub telemetry: MapHandle,
    pub processes: MapHandle,
    pub losses: MapHandle,
    pub control: MapHandle,
    pub gates: MapHandle,
    pub cgroups: MapHandle,
    pub pods: MapHandle,
    pub containers: MapHandle,
    sequences: MapHandle,
    path_walks: MapHandle,
    hierarchy: Kind,
    /// From the first policy hook on.
    slots: Option<MapHandle>,
    pendings: Option<MapHandle>,
}

/// The attached lifecycle programs; dropping it detaches them.
#[derive(Debug)]
pub struct Lifecycle {
    _links: Vec<Link>,
    /// To ask the kernel about.
    pub programs: Vec<OwnedFd>,
    /// Whether the cgroups of pods are followed, or why not.
    pub pods: Result<(), LoadError>,
}

/// One attached hook; dropping it detaches it.
#[derive(Debug)]
pub struct AttachedHook {
    _links: Vec<Link>,
    /// To ask the kernel about.
    pub programs: Vec<OwnedFd>,
}

/// Attached programs, in the order of their attachment.
#[derive(Default)]
struct Attached {
    links: Vec<Link>,
    programs: Vec<OwnedFd>,
}

impl Attached {
    fn add(
        &mut self,
        program: &ProgramMut<'_>,
        link: libbpf_rs::Result<Link>,
        what: &str,
    ) -> Result<(), LoadError> {
        self.links.push(link.map_err(failed("attach", what))?);
        let program = program.as_fd().try_clone_to_owned().map_err(Into::into);
        self.programs.push(program.map_err(failed("keep", what))?);
        Ok(())
    }

    fn into_hook(self) -> AttachedHook {
        AttachedHook { _links: self.links, programs: self.programs }
    }
}

/// Sends libbpf's messages to the log, at debug level: what concerns the user is in the error.
pub fn log_libbpf() {
    libbpf_rs::set_print(Some((PrintLevel::Debug, |_, message| {
        tracing::debug!(target: "libbpf", "{}", message.trim_end());
    })));
}

/// The maps that all objects share.
macro_rules! reuse_shared {
    ($open:expr, $maps:expr, $what:expr) => {{
        let open = &mut $open.maps;
        for (map, handle) in [
            (&mut open.lifecycle, &$maps.lifecycle),
            (&mut open.telemetry, &$maps.telemetry),
            (&mut open.processes, &$maps.processes),
            (&mut open.losses, &$maps.losses),
            (&mut open.control, &$maps.control),
            (&mut open.gates, &$maps.gates),
            (&mut open.cgroups, &$maps.cgroups),
            (&mut open.pods, &$maps.pods),
            (&mut open.containers, &$maps.containers),
            (&mut open.sequences, &$maps.sequences),
        ] {
            map.reuse_fd(handle.as_fd()).map_err(failed("share", $what))?;
        }
    }};
}

/// Loads and attaches fork, exec and exit, and what follows the cgroups of pods. `layout`: where those are, if
/// there are any.
///
/// # Errors
/// The kernel refuses an object: no BTF, no privileges, or a kernel older than 5.10. That it refuses only the
/// part about cgroups is told in the result.
pub fn load_lifecycle(
    sizes: Sizes,
    layout: Option<&Layout>,
) -> Result<(Lifecycle, SharedMaps), LoadError> {
    let what = "process lifecycle";
    let hierarchy = layout.map_or(Kind::Unified, |layout| layout.kind);
    let mut storage = MaybeUninit::uninit();
    let mut open =
        ProcessSkelBuilder::default().open(&mut storage).map_err(failed("open", what))?;
    for (map, entries) in [
        (&mut open.maps.lifecycle, sizes.lifecycle_ring),
        (&mut open.maps.telemetry, sizes.telemetry_ring),
        (&mut open.maps.processes, sizes.processes),
        (&mut open.maps.cgroups, sizes.cgroups),
    ] {
        map.set_max_entries(entries).map_err(failed("size", what))?;
    }
    if let Some(constants) = open.maps.rodata_hierarchy_data.as_deref_mut() {
        constants.hierarchy = hierarchy as u32;
    }
    let skel = open.load().map_err(failed("load", what))?;
    let handle =
        |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(map).map_err(failed("share", what));
    let maps = SharedMaps {
        lifecycle: handle(&skel.maps.lifecycle)?,
        telemetry: handle(&skel.maps.telemetry)?,
        processes: handle(&skel.maps.processes)?,
        losses: handle(&skel.maps.losses)?,
        control: handle(&skel.maps.control)?,
        gates: handle(&skel.maps.gates)?,
        cgroups: handle(&skel.maps.cgroups)?,
        pods: handle(&skel.maps.pods)?,
        containers: handle(&skel.maps.containers)?,
        sequences: handle(&skel.maps.sequences)?,
        path_walks: handle(&skel.maps.path_walks)?,
        hierarchy,
        slots: None,
        pendings: None,
    };
    // Cgroups first: where a process is stands before its exec.
    let followed = layout.map(|layout| load_cgroups(&maps, layout)).transpose();
    let (mut attached, pods) = match followed {
        Ok(attached) => (attached.unwrap_or_default(), Ok(())),
        Err(error) => (Attached::default(), Err(error)),
    };
    // Exit first: a process that ends between two attachments must not stay in the table for ever.
    for (name, program) in [
        ("sched_process_exit", &skel.progs.on_exit),
        ("sched_process_fork", &skel.progs.on_fork),
        ("sched_process_exec", &skel.progs.on_exec),
    ] {
        attached.add(program, program.attach(), name)?;
    }
    let Attached { links, programs } = attached;
    Ok((Lifecycle { _links: links, programs, pods }, maps))
}

/// Follows the cgroups of pods as they are made and removed.
fn load_cgroups(maps: &SharedMaps, layout: &Layout) -> Result<Attached, LoadError> {
    let what = "cgroups of pods";
    let mut storage = MaybeUninit::uninit();
    let mut open = CgroupSkelBuilder::default().open(&mut storage).map_err(failed("open", what))?;
    reuse_shared!(open, maps, what);
    if let Some(constants) = open.maps.rodata_hierarchy_data.as_deref_mut() {
        constants.hierarchy_id = layout.id;
    }
    let skel = open.load().map_err(failed("load", what))?;
    let mut attached = Attached::default();
    for (name, program) in
        [("cgroup_rmdir", &skel.progs.on_rmdir), ("cgroup_mkdir", &skel.progs.on_mkdir)]
    {
        attached.add(program, program.attach(), name)?;
    }
    Ok(attached)
}

/// Which hook an instance is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Number in its events.
    pub hook: u32,
    /// The policy's index in map `gates`.
    pub gate: u32,
    /// Silent unless the gate holds this.
    pub generation: u32,
    /// Our own thread group.
    pub self_tgid: u32,
    /// Whose calls it sees.
    pub scope: HookScope,
}

/// Loads one hook and attaches it to `function`. It stays silent until its gate is turned.
///
/// # Errors
/// The kernel refuses the program, or the function cannot be hooked.
pub fn load_hook(
    maps: &mut SharedMaps,
    id: Identity,
    config: &HookConfig,
    backend: Backend,
    function: &str,
    parameters: usize,
) -> Result<AttachedHook, LoadError> {
    let mut rodata = config.rodata.clone();
    rodata.hook = id.hook;
    rodata.gate = id.gate;
    rodata.generation = id.generation;
    rodata.self_tgid = id.self_tgid;
    (rodata.scope, rodata.scope_bit) = id.scope.constants();
    rodata.hierarchy = maps.hierarchy as u32;
    match backend {
        Backend::Kprobe
        | Backend::KprobeKretprobe
        | Backend::KprobeMulti
        | Backend::KprobeKretprobeMulti => load_kprobe(maps, *rodata, config, backend, function),
        Backend::Fentry | Backend::Fexit | Backend::FentryFexit => {
            load_trampoline(maps, *rodata, config, backend, function, parameters)
        }
    }
}

/// The maps of a generic object that are shared or sized per hook; both front ends have the same.
macro_rules! prepare_maps {
    ($open:expr, $maps:expr, $config:expr, $what:expr) => {{
        reuse_shared!($open, $maps, $what);
        let open = &mut $open.maps;
        for (map, handle) in [
            (&mut open.path_walks, Some(&$maps.path_walks)),
            (&mut open.slots, $maps.slots.as_ref()),
            (&mut open.pendings, $maps.pendings.as_ref()),
        ] {
            reuse(map, handle).map_err(failed("share", $what))?;
        }
        size(&mut open.texts, $config.texts.len()).map_err(failed("size", $what))?;
        size(&mut open.addrs, $config.addrs.len()).map_err(failed("size", $what))?;
    }};
}

/// After the load: fills the tries and keeps the working memory for the next hook.
macro_rules! fill_maps {
    ($skel:expr, $maps:expr, $config:expr, $what:expr) => {{
        let (texts, addrs) = (&$skel.maps.texts, &$skel.maps.addrs);
        for key in &$config.texts {
            let key = key.to_bytes(texts.key_size() as usize);
            texts.update(&key, &[1], MapFlags::ANY).map_err(failed("fill", $what))?;
        }
        for key in &$config.addrs {
            let key = key.to_bytes(addrs.key_size() as usize);
            addrs.update(&key, &[1], MapFlags::ANY).map_err(failed("fill", $what))?;
        }
        if $maps.slots.is_none() {
            $maps.slots =
                Some(MapHandle::try_from(&$skel.maps.slots).map_err(failed("share", $what))?);
            $maps.pendings =
                Some(MapHandle::try_from(&$skel.maps.pendings).map_err(failed("share", $what))?);
        }
    }};
}

fn reuse(map: &mut OpenMapMut<'_>, handle: Option<&MapHandle>) -> libbpf_rs::Result<()> {
    handle.map_or(Ok(()), |handle| map.reuse_fd(handle.as_fd()))
}

fn size(map: &mut OpenMapMut<'_>, entries: usize) -> libbpf_rs::Result<()> {
    map.set_max_entries(u32::try_from(entries.max(1)).unwrap_or(u32::MAX))
}

fn load_kprobe(
    maps: &mut SharedMaps,
    rodata: crate::bpf::generic_fentry::types::hook_config,
    config: &HookConfig,
    backend: Backend,
    function: &str,
) -> Result<AttachedHook, LoadError> {
    let returns = matches!(backend, Backend::KprobeKretprobe | Backend::KprobeKretprobeMulti);
    let multi = matches!(backend, Backend::KprobeMulti | Backend::KprobeKretprobeMulti);
    let mut storage = MaybeUninit::uninit();
    let mut open =
        GenericKprobeSkelBuilder::default().open(&mut storage).map_err(failed("open", function))?;
    prepare_maps!(open, maps, config, function);
    set_rodata(&mut open.maps.rodata_hook, &rodata).map_err(failed("configure", function))?;
    open.progs.kprobe_return.set_autoload(returns);
    if multi {
        for program in [&mut open.progs.kprobe_call, &mut open.progs.kprobe_return] {
            program.set_attach_type(ProgramAttachType::KprobeMulti);
        }
    }
    let skel = open.load().map_err(failed("load", function))?;
    fill_maps!(skel, maps, config, function);
    let mut attached = Attached::default();
    // The return before the entry: a call must find its return probe.
    for (program, at_return, used) in
        [(&skel.progs.kprobe_return, true, returns), (&skel.progs.kprobe_call, false, true)]
    {
        if used {
            let link = if multi {
                program.attach_kprobe_multi(at_return, vec![function])
            } else {
                program.attach_kprobe(at_return, function)
            };
            attached.add(program, link, function)?;
        }
    }
    Ok(attached.into_hook())
}

fn load_trampoline(
    maps: &mut SharedMaps,
    rodata: crate::bpf::generic_fentry::types::hook_config,
    config: &HookConfig,
    backend: Backend,
    function: &str,
    parameters: usize,
) -> Result<AttachedHook, LoadError> {
    let mut storage = MaybeUninit::uninit();
    let mut open =
        GenericFentrySkelBuilder::default().open(&mut storage).map_err(failed("open", function))?;
    prepare_maps!(open, maps, config, function);
    set_rodata(&mut open.maps.rodata_hook, &rodata).map_err(failed("configure", function))?;
    if let Some(target) = open.maps.rodata_target_data.as_deref_mut() {
        target.target_args = u32::try_from(parameters).unwrap_or(0);
    }
    let [entry, leave, complete] = match backend {
        Backend::Fexit => [false, false, true],
        Backend::FentryFexit => [true, true, false],
        _ => [true, false, false],
    };
    let progs = &mut open.progs;
    for (program, used) in [
        (&mut progs.fentry_call, entry),
        (&mut progs.fexit_return, leave),
        (&mut progs.fexit_complete, complete),
    ] {
        program.set_autoload(used);
        if used {
            program
                .set_attach_target(0, Some(function.to_owned()))
                .map_err(failed("target", function))?;
        }
    }
    let skel = open.load().map_err(failed("load", function))?;
    fill_maps!(skel, maps, config, function);
    let mut attached = Attached::default();
    for (program, used) in [
        (&skel.progs.fexit_complete, complete),
        (&skel.progs.fexit_return, leave),
        (&skel.progs.fentry_call, entry),
    ] {
        if used {
            attached.add(program, program.attach(), function)?;
        }
    }
    Ok(attached.into_hook())
}

/// Writes the hook's constants; the two front ends share the struct but not its Rust type.
fn set_rodata(
    map: &mut OpenMapMut<'_>,
    rodata: &crate::bpf::generic_fentry::types::hook_config,
) -> libbpf_rs::Result<()> {
    map.set_initial_value(&crate::policy::config::rodata_bytes(rodata))
}
