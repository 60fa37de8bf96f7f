//! The policies that are loaded now, and the exchange of one for another without a gap.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use libbpf_rs::{MapCore, MapFlags};
use securitywatch_api::policy::{ArgKind, PodScope, Policy, Workloads};

use super::config::{self, HookScope};
use super::scopes::{Bit, BitPool, NoPods, ScopeKeeper};
use crate::capabilities::Capabilities;
use crate::event;
use crate::kernel::{KernelError, RunningKernel};
use crate::loader::{self, AttachedHook, Identity, LoadError, SharedMaps};
use crate::misses::Misses;
use crate::planner::{self, Backend, Outcome, PlannedHook, Preference, Refusal};

/// How long an exchanged policy's hooks stay attached, silent at entry, so that calls under way return
/// through the program that saw them enter.
const RETURN_GRACE: Duration = Duration::from_millis(200);

/// What the decoder must know of a hook to read its records.
#[derive(Debug)]
pub struct LoadedHook {
    /// Shared by its events.
    pub hook: Arc<event::Hook>,
    /// In the order of the policy, with `nop`s.
    pub args: Vec<(ArgKind, Arc<str>)>,
    /// Present when the policy asks for the return value.
    pub ret: Option<(ArgKind, Arc<str>)>,
}

/// Hook number to meaning; written when policies change, read for each batch of records.
pub type HookTable = Arc<RwLock<HashMap<u32, Arc<LoadedHook>>>>;

/// What became of one hook of an applied policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    /// The symbol.
    pub function: String,
    /// `None`: skipped, as the policy allows.
    pub backend: Option<Backend>,
    /// A process is killed for some calls.
    pub kills: bool,
}

/// Why a policy was not loaded. Others, and an earlier version of the same, are untouched.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// This node cannot serve it.
    #[error("{}", refusals.iter().map(|r| format!("{}: {}", r.path, r.message)).collect::<Vec<_>>().join("; "))]
    Refused {
        /// One for each hook that cannot be served.
        refusals: Vec<Refusal>,
    },
    /// The kernel took back what the trial promised.
    #[error("{path}: {source}")]
    Load {
        path: String,
        #[source]
        source: LoadError,
    },
    /// The kernel's functions could not be looked up.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// All gates are taken.
    #[error("{} policies are loaded, the most a node can hold", MAX_POLICIES)]
    TooMany,
    /// Which pods it applies to cannot be told.
    #[error("{0}")]
    Scope(String),
    /// The exchange itself failed.
    #[error("turn gate: {0}")]
    Gate(#[source] libbpf_rs::Error),
}

/// `GATES` in `records.h`.
const MAX_POLICIES: u32 = 1024;

/// The policies of this node.
#[derive(Debug)]
pub struct PolicySet {
    maps: SharedMaps,
    capabilities: Capabilities,
    preference: Preference,
    table: HookTable,
    loaded: HashMap<String, Loaded>,
    scopes: Arc<dyn ScopeKeeper>,
    /// Why no process can be told to be of a pod or of the host.
    blind: Option<String>,
    bits: BitPool,
    misses: Misses,
    next_hook: u32,
    next_generation: u32,
}

#[derive(Debug)]
struct Loaded {
    gate: u32,
    hooks: Vec<(u32, AttachedHook)>,
    bit: Option<ScopeBit>,
}

/// The bit of a generation, kept right by the keeper until it is dropped.
#[derive(Debug)]
struct ScopeBit {
    bit: Bit,
    keeper: Arc<dyn ScopeKeeper>,
}

impl ScopeBit {
    fn begin(
        pool: &BitPool,
        keeper: &Arc<dyn ScopeKeeper>,
        pods: &PodScope,
    ) -> Result<Self, ApplyError> {
        let bit = pool.take().ok_or(ApplyError::TooMany)?;
        let held = Self { bit, keeper: Arc::clone(keeper) };
        held.keeper.begin(held.bit.number(), pods).map_err(ApplyError::Scope)?;
        Ok(held)
    }
}

impl Drop for ScopeBit {
    fn drop(&mut self) {
        self.keeper.end(self.bit.number());
    }
}

impl PolicySet {
    /// None loaded yet.
    #[must_use]
    pub fn new(maps: SharedMaps, capabilities: Capabilities, preference: Preference) -> Self {
        Self {
            maps,
            capabilities,
            preference,
            table: HookTable::default(),
            loaded: HashMap::new(),
            scopes: Arc::new(NoPods),
            blind: None,
            bits: BitPool::default(),
            misses: Misses::default(),
            next_hook: 1,
            next_generation: 1,
        }
    }

    /// From now on policies may select pods. Without this, such a policy is refused.
    pub fn keep_scopes(&mut self, keeper: Arc<dyn ScopeKeeper>) {
        self.scopes = keeper;
    }

    /// From now on policies that apply to some processes only are refused, and why.
    pub fn cannot_tell_pods(&mut self, reason: &str) {
        self.blind = Some(reason.to_owned());
    }

    /// The decoder's view.
    #[must_use]
    pub fn table(&self) -> HookTable {
        Arc::clone(&self.table)
    }

    /// Calls that the kernel ran no program for.
    #[must_use]
    pub fn misses(&self) -> Misses {
        self.misses.clone()
    }

    /// The shared maps.
    #[must_use]
    pub const fn maps(&self) -> &SharedMaps {
        &self.maps
    }

    /// Loads `policy` under `key`, in place of what was there. `watch` is the number its events carry.
    ///
    /// # Errors
    /// Any hook that cannot be served leaves everything as it was.
    pub fn apply(
        &mut self,
        key: &str,
        policy: &Policy,
        watch: usize,
    ) -> Result<Vec<HookReport>, ApplyError> {
        let plan = self.plan(policy)?;
        let refusals: Vec<_> = plan
            .iter()
            .filter_map(|p| match &p.outcome {
                Outcome::Refuse(refusal) => Some(refusal.clone()),
                _ => None,
            })
            .collect();
        if !refusals.is_empty() {
            return Err(ApplyError::Refused { refusals });
        }
        let gate = self.gate_for(key)?;
        let (scope, bit) = self.scope(&policy.scope.workloads)?;
        let generation = self.next_generation;
        self.next_generation += 1;
        let mut hooks = Vec::with_capacity(plan.len());
        for (planned, hook) in plan.iter().zip(&policy.hooks) {
            let Outcome::Attach { backend, parameters } = planned.outcome else { continue };
            let id = Identity {
                hook: self.next_hook,
                gate,
                generation,
                self_tgid: std::process::id(),
                scope,
            };
            self.next_hook += 1;
            self.announce(id.hook, policy, hook, &planned.function, watch);
            let compiled = config::compile(hook);
            let attached = loader::load_hook(
                &mut self.maps,
                id,
                &compiled,
                backend,
                &planned.function,
                parameters,
            )
            .map_err(|source| ApplyError::Load { path: hook.path.to_string(), source });
            match attached {
                Ok(mut attached) => {
                    self.misses.add(id.hook, std::mem::take(&mut attached.programs));
                    hooks.push((id.hook, attached));
                }
                Err(error) => {
                    self.forget(hooks.iter().map(|(n, _)| *n).chain([id.hook]));
                    return Err(error);
                }
            }
        }
        self.turn(gate, generation)?;
        if let Some(old) = self.loaded.insert(key.to_owned(), Loaded { gate, hooks, bit }) {
            self.retire(old);
        }
        Ok(plan.iter().zip(&policy.hooks).map(|(planned, hook)| report(planned, hook)).collect())
    }

    /// Unloads what is under `key`; nothing there is no error.
    ///
    /// # Errors
    /// The gate could not be closed; the hooks are detached all the same.
    pub fn remove(&mut self, key: &str) -> Result<(), ApplyError> {
        let Some(old) = self.loaded.remove(key) else { return Ok(()) };
        let closed = self.turn(old.gate, 0);
        self.retire(old);
        closed
    }

    fn plan(&self, policy: &Policy) -> Result<Vec<PlannedHook>, ApplyError> {
        let names: Vec<_> = policy
            .hooks
            .iter()
            .map(|h| planner::symbol(&h.target, std::env::consts::ARCH))
            .collect();
        let kernel = RunningKernel::inspect(names.iter().map(String::as_str))?;
        Ok(planner::plan(policy, &self.capabilities, self.preference, &kernel))
    }

    /// Whose calls the hooks are to see; with the bit, which is set for the right pods before they speak.
    fn scope(&self, workloads: &Workloads) -> Result<(HookScope, Option<ScopeBit>), ApplyError> {
        let (host, pods) = match workloads {
            Workloads::Everything => return Ok((HookScope::Everything, None)),
            Workloads::Some { host, pods } => (*host, pods),
        };
        if let Some(reason) = &self.blind {
            return Err(ApplyError::Scope(format!(
                "processes of pods cannot be told apart: {reason}"
            )));
        }
        let Some(pods) = pods else { return Ok((HookScope::Some { host, pods: None }, None)) };
        let bit = ScopeBit::begin(&self.bits, &self.scopes, pods)?;
        let by_container = !pods.containers.is_empty();
        Ok((HookScope::Some { host, pods: Some((bit.bit.number(), by_container)) }, Some(bit)))
    }

    fn gate_for(&self, key: &str) -> Result<u32, ApplyError> {
        if let Some(loaded) = self.loaded.get(key) {
            return Ok(loaded.gate);
        }
        (0..MAX_POLICIES)
            .find(|gate| self.loaded.values().all(|l| l.gate != *gate))
            .ok_or(ApplyError::TooMany)
    }

    fn turn(&self, gate: u32, generation: u32) -> Result<(), ApplyError> {
        self.maps
            .gates
            .update(&gate.to_ne_bytes(), &generation.to_ne_bytes(), MapFlags::ANY)
            .map_err(ApplyError::Gate)
    }

    /// Before the hook is attached: its first record must find its meaning.
    fn announce(
        &self,
        n: u32,
        policy: &Policy,
        hook: &securitywatch_api::policy::Hook,
        function: &str,
        watch: usize,
    ) {
        let label = |label: &Option<String>| Arc::<str>::from(label.as_deref().unwrap_or_default());
        let loaded = LoadedHook {
            hook: Arc::new(event::Hook {
                function: function.to_owned(),
                policy: policy.name.clone(),
                message: hook.message.clone().unwrap_or_default(),
                tags: hook.tags.clone(),
                watch,
            }),
            args: hook.args.iter().map(|a| (a.kind, label(&a.label))).collect(),
            ret: hook.returns.as_ref().map(|r| (r.kind, label(&r.label))),
        };
        if let Ok(mut table) = self.table.write() {
            table.insert(n, Arc::new(loaded));
        }
    }

    fn forget(&self, hooks: impl Iterator<Item = u32>) {
        if let Ok(mut table) = self.table.write() {
            for n in hooks {
                table.remove(&n);
                self.misses.remove(n);
            }
        }
    }

    /// Detaches after a grace. The numbers stay known as long as records of theirs may be in the ring.
    fn retire(&self, old: Loaded) {
        let table = Arc::clone(&self.table);
        let misses = self.misses.clone();
        let numbers: Vec<u32> = old.hooks.iter().map(|(n, _)| *n).collect();
        std::thread::spawn(move || {
            std::thread::sleep(RETURN_GRACE);
            let Loaded { hooks, bit, .. } = old;
            drop(hooks);
            for hook in &numbers {
                misses.remove(*hook);
            }
            std::thread::sleep(Duration::from_secs(30));
            // Not before no program can run any more: the next owner of the bit selects other pods.
            drop(bit);
            if let Ok(mut table) = table.write() {
                for n in numbers {
                    table.remove(&n);
                }
            }
        });
    }
}

fn report(planned: &PlannedHook, hook: &securitywatch_api::policy::Hook) -> HookReport {
    let backend = match planned.outcome {
        Outcome::Attach { backend, .. } => Some(backend),
        _ => None,
    };
    HookReport { function: planned.function.clone(), backend, kills: hook.kills() }
}
