//! What runs on this node, what is asked for, and the next step from one to the other. Pure: the caller takes the
//! steps and says what came of them.
//!
//! One watch that cannot run harms no other, and none of its own earlier generations: as long as the new one is
//! refused, the last good one goes on, and the report says both.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use securitywatch_api::policy::{Policy, Workloads};
use securitywatch_api::v1alpha1::NodePolicyState;
use securitywatch_api::v1alpha1::conditions::reasons::{accepted, node_policy, programmed, ready};
use securitywatch_api::watch::{Alert, Parseable};

use super::Reason;
use super::judge::{NodeChoice, Task, Verdict, Wish};
use crate::output::Scope;
use crate::policy::{ApplyError, HookReport};

/// A watch's number is given to another one only when no record of its hooks can be under way any more.
const NUMBER_REST: Duration = Duration::from_secs(60);

/// What keeps this node from knowing its pods and containers, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Some pod may be missed.
    pub pods: Option<String>,
    /// Some container may be missed by a containerSelector; the former included.
    pub containers: Option<String>,
}

/// One step in the kernel.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Load this policy in place of what the watch has.
    Load { uid: String, title: String, policy: Policy, named: Option<String>, number: usize },
    /// Unload what the watch has.
    Unload { uid: String, title: String },
}

/// Everything this node is asked to do.
#[derive(Debug, Default)]
pub struct State {
    entries: BTreeMap<String, Entry>,
    /// Watches that are gone and whose policy is still loaded.
    leaving: Vec<(String, Entry)>,
    numbers: Numbers,
    /// Why nothing can be loaded at all.
    blind: Option<Reason>,
}

/// One watch.
#[derive(Debug)]
pub struct Entry {
    pub wish: Wish,
    /// See [`crate::event::Hook::watch`].
    pub number: usize,
    pub running: Option<Running>,
    /// What came of the wish's policy; `None` while it was not tried.
    tried: Option<Result<Vec<HookReport>, Reason>>,
    /// It failed and is to be tried once more; until then it counts as failed.
    again: bool,
}

/// What runs of a watch.
#[derive(Debug, Clone)]
pub struct Running {
    pub generation: i64,
    /// What is loaded.
    pub policy: Option<Policy>,
    /// Its hooks as attached.
    hooks: Vec<HookReport>,
    pub target: Option<Parseable>,
    pub alerts: Vec<Alert>,
}

impl Running {
    fn without_policy(generation: i64, task: &Task) -> Self {
        let (target, alerts) = (task.target.clone(), task.alerts.clone());
        Self { generation, policy: None, hooks: Vec::new(), target, alerts }
    }
}

impl State {
    /// A node where nothing can be loaded.
    #[must_use]
    pub fn blind(reason: Reason) -> Self {
        Self { blind: Some(reason), ..Self::default() }
    }

    /// Takes what all watches ask for now; those that are not among them are gone.
    pub fn set(&mut self, wishes: Vec<Wish>, now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for wish in wishes {
            let entry = match before.remove(&wish.uid) {
                Some(entry) => entry.with(wish),
                None => Entry::new(wish, self.numbers.take(now)),
            };
            self.entries.insert(entry.wish.uid.clone(), entry);
        }
        for (uid, entry) in before {
            if entry.has_policy() {
                self.leaving.push((uid, entry));
            } else {
                self.numbers.give_back(entry.number, now);
            }
        }
        if let Some(blind) = &self.blind {
            for entry in self.entries.values_mut() {
                (entry.running, entry.tried) = (None, Some(Err(blind.clone())));
            }
        }
    }

    /// What to do next in the kernel; `None`: everything is as it should be, or was tried.
    #[must_use]
    pub fn next(&self) -> Option<Step> {
        if self.blind.is_some() {
            return None;
        }
        // What is to end, ends first: it makes room.
        if let Some((uid, entry)) = self.leaving.first() {
            return Some(Step::Unload { uid: uid.clone(), title: entry.wish.title.clone() });
        }
        let ends = self.entries.values().find(|entry| entry.is_to_unload());
        ends.or_else(|| self.entries.values().find(|entry| entry.is_to_load())).map(Entry::step)
    }

    /// What came of [`Step::Load`]; `true` when that is news.
    pub fn loaded(&mut self, uid: &str, outcome: Result<Vec<HookReport>, Reason>) -> bool {
        let Some(entry) = self.entries.get_mut(uid) else { return false };
        let Verdict::Run(task) = &entry.wish.verdict else { return false };
        let only_exec_and_exit = Running::without_policy(entry.wish.generation, task);
        if let Ok(hooks) = &outcome {
            let (policy, hooks) = (task.policy.clone(), hooks.clone());
            entry.running = Some(Running { policy, hooks, ..only_exec_and_exit });
        } else if !entry.has_policy() {
            // They need no hook.
            entry.running = Some(only_exec_and_exit);
        }
        entry.again = false;
        let outcome = Some(outcome);
        let is_news = entry.tried != outcome;
        entry.tried = outcome;
        is_news
    }

    /// [`Step::Unload`] was done.
    pub fn unloaded(&mut self, uid: &str, now: Instant) {
        if let Some(place) = self.leaving.iter().position(|(of, _)| of == uid) {
            let (_, entry) = self.leaving.remove(place);
            self.numbers.give_back(entry.number, now);
            return;
        }
        let Some(entry) = self.entries.get_mut(uid) else { return };
        entry.running = None;
        entry.run_without_policy();
    }

    /// Failed policies are to be tried again: a module may have brought the function, another policy made room.
    pub fn retry_failed(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.is_retriable()) {
            entry.again = true;
        }
    }

    /// All watches, by uid.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

impl Entry {
    fn new(wish: Wish, number: usize) -> Self {
        Self { wish, number, running: None, tried: None, again: false }.settled()
    }

    fn with(mut self, wish: Wish) -> Self {
        if wish == self.wish {
            return self;
        }
        self.tried = match (&self.wish.verdict, &wish.verdict, self.tried) {
            // The same policy need not be loaded again, nor be tried again.
            (Verdict::Run(old), Verdict::Run(new), tried) if old.policy == new.policy => tried,
            _ => None,
        };
        self.again = false;
        self.wish = wish;
        self.settled()
    }

    /// Takes over what needs no kernel.
    fn settled(mut self) -> Self {
        match &self.wish.verdict {
            Verdict::Suspended | Verdict::Gone(_) if !self.has_policy() => self.running = None,
            Verdict::Run(task) => {
                let generation = self.wish.generation;
                let only_exec_and_exit = matches!(self.tried, Some(Err(_))) && !self.has_policy();
                match &mut self.running {
                    Some(running) if running.policy == task.policy => {
                        // Nothing new, or back to what still runs.
                        self.tried = Some(Ok(running.hooks.clone()));
                        running.generation = generation;
                        running.target = task.target.clone();
                        running.alerts = task.alerts.clone();
                    }
                    _ if only_exec_and_exit => {
                        self.running = Some(Running::without_policy(generation, task));
                    }
                    _ => {}
                }
                self.run_without_policy();
            }
            _ => {}
        }
        self
    }

    fn run_without_policy(&mut self) {
        let Verdict::Run(task) = &self.wish.verdict else { return };
        if task.policy.is_none() && !self.has_policy() {
            self.running = Some(Running::without_policy(self.wish.generation, task));
            self.tried = Some(Ok(Vec::new()));
        }
    }

    fn has_policy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.policy.is_some())
    }

    fn is_to_unload(&self) -> bool {
        self.has_policy()
            && match &self.wish.verdict {
                Verdict::Suspended | Verdict::Gone(_) => true,
                Verdict::Run(task) => task.policy.is_none(),
                Verdict::Refused(_) | Verdict::Waiting(_) => false,
            }
    }

    fn is_to_load(&self) -> bool {
        (self.tried.is_none() || self.again)
            && matches!(&self.wish.verdict, Verdict::Run(task) if task.policy.is_some())
    }

    fn is_retriable(&self) -> bool {
        matches!(self.tried, Some(Err(_)))
            && matches!(&self.wish.verdict, Verdict::Run(task) if task.policy.is_some())
    }

    fn step(&self) -> Step {
        let (uid, title) = (self.wish.uid.clone(), self.wish.title.clone());
        match &self.wish.verdict {
            Verdict::Run(task) if self.is_to_load() => match &task.policy {
                Some(policy) => {
                    let (policy, number) = (policy.clone(), self.number);
                    Step::Load { uid, title, policy, named: task.named.clone(), number }
                }
                None => Step::Unload { uid, title },
            },
            _ => Step::Unload { uid, title },
        }
    }

    /// The hooks as attached; empty while the wish's policy is not loaded.
    #[must_use]
    pub fn hooks(&self) -> &[HookReport] {
        match &self.tried {
            Some(Ok(hooks)) => hooks,
            _ => &[],
        }
    }

    /// How the wish stands, and why.
    #[must_use]
    pub fn standing(&self, gaps: &Gaps) -> (NodePolicyState, Option<Reason>) {
        match (&self.wish.verdict, &self.tried) {
            (Verdict::Suspended, _) => {
                let reason = Reason::new(ready::SUSPENDED, "spec.suspend is set");
                (NodePolicyState::Skipped, Some(reason))
            }
            (Verdict::Gone(reason) | Verdict::Refused(reason), _) => {
                (NodePolicyState::Failed, Some(self.and_what_runs(reason)))
            }
            (Verdict::Waiting(reason), _) => {
                (NodePolicyState::Loading, Some(self.and_what_runs(reason)))
            }
            (Verdict::Run(_), None) => (NodePolicyState::Loading, None),
            (Verdict::Run(task), Some(Ok(_))) => match task.node {
                NodeChoice::NotSelected => {
                    let message = "the policy's nodeSelector does not select this node; exec and exit events go on";
                    let reason = Reason::new(node_policy::NODE_NOT_SELECTED, message);
                    (NodePolicyState::Skipped, Some(reason))
                }
                NodeChoice::Unknown => {
                    let message = "the labels of this node are not known yet, so the policy is loaded whatever its nodeSelector says";
                    let reason = Reason::new(node_policy::NODE_UNKNOWN, message);
                    (NodePolicyState::Loaded, self.blind_spot(gaps).or(Some(reason)))
                }
                NodeChoice::Unasked | NodeChoice::Selected => {
                    (NodePolicyState::Loaded, self.blind_spot(gaps))
                }
            },
            (Verdict::Run(_), Some(Err(reason))) => {
                (NodePolicyState::Failed, Some(self.and_what_runs(reason)))
            }
        }
    }

    /// What a loaded watch that is about some pods may not see.
    fn blind_spot(&self, gaps: &Gaps) -> Option<Reason> {
        let pods = self.running.as_ref().and_then(|running| {
            match &running.policy.as_ref()?.scope.workloads {
                Workloads::Some { pods, .. } => pods.as_ref(),
                Workloads::Everything => None,
            }
        });
        let gap = match (pods, &self.wish.scope) {
            (Some(pods), _) if !pods.containers.is_empty() => &gaps.containers,
            (Some(_), _) | (None, Scope::Namespace(_)) => &gaps.pods,
            (None, Scope::Everything) => return None,
        };
        Some(Reason::new(node_policy::PODS_UNKNOWN, gap.clone()?))
    }

    /// What fails, and what goes on all the same.
    fn and_what_runs(&self, reason: &Reason) -> Reason {
        let more = match &self.running {
            None => return reason.clone(),
            Some(Running { policy: Some(_), generation, .. })
                if *generation == self.wish.generation =>
            {
                "; the policy as it was before goes on".to_owned()
            }
            Some(Running { policy: Some(_), generation, .. }) => {
                format!("; generation {generation} goes on")
            }
            Some(_) => "; exec and exit events go on".to_owned(),
        };
        Reason { word: reason.word.clone(), message: format!("{}{more}", reason.message) }
    }
}

/// The numbers that events carry.
#[derive(Debug, Default)]
struct Numbers {
    next: usize,
    resting: VecDeque<(Instant, usize)>,
}

impl Numbers {
    fn take(&mut self, now: Instant) -> usize {
        let rested = |since: &Instant| now.saturating_duration_since(*since) >= NUMBER_REST;
        if self.resting.front().is_some_and(|(since, _)| rested(since))
            && let Some((_, number)) = self.resting.pop_front()
        {
            return number;
        }
        self.next += 1;
        self.next - 1
    }

    fn give_back(&mut self, number: usize, now: Instant) {
        self.resting.push_back((now, number));
    }
}

/// Why a policy was not loaded, in the report's words. `named` is the object that holds it, where that is not the
/// watch itself.
#[must_use]
pub fn refusal(error: &ApplyError, named: Option<&str>) -> Reason {
    let word = match error {
        ApplyError::Refused { refusals } => {
            refusals.first().map_or(programmed::LOAD_FAILED, |refusal| refusal.reason)
        }
        ApplyError::TooMany => accepted::LIMIT_EXCEEDED,
        ApplyError::Load { .. }
        | ApplyError::Kernel(_)
        | ApplyError::Scope(_)
        | ApplyError::Gate(_) => programmed::LOAD_FAILED,
    };
    let message = match named {
        Some(named) => format!("{named}: {error}"),
        None => error.to_string(),
    };
    Reason::new(word, message)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
