//! What is remembered of one server. All of it can be lost without harm: it saves requests and tells drift from news.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Mutex as AsyncMutex;
use ulid::Ulid;

use super::Facts;
use crate::plan::target::Applied;
use crate::report::{Generation, Restart};

/// More entries than any watch list makes; beyond them the memory starts anew.
const MAX_REMEMBERED: usize = 20_000;

/// One server, whatever the account.
#[derive(Debug, Default)]
pub(crate) struct Site {
    memory: Mutex<Memory>,
    /// One writer at a time for a stream's document, which is read, changed and written as a whole.
    streams: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    /// One writer at a time for the outbound policy.
    pub(crate) policy: AsyncMutex<()>,
    /// Grows with each restart that is noticed.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    generation: Option<(Option<String>, Option<String>, Generation)>,
    /// Of [`Site::compare`].
    compared: Option<(Option<String>, Option<i64>)>,
    /// Whose data all the following is about.
    deployment: Option<String>,
    /// Targets by id.
    pub(crate) applied: HashMap<Ulid, Applied>,
    /// Alerts by id: the start of the process that they were created in. Clocks may be set, this stays true.
    pub(crate) births: HashMap<String, i64>,
    /// The start of a process that was found to evaluate alerts older than itself.
    pub(crate) survived: Option<i64>,
    /// Alerts by id: when it was last looked whether they should have fired.
    pub(crate) judged: HashMap<String, Instant>,
    /// The stream whose document holds a watch's alerts, by uid.
    pub(crate) documents: HashMap<String, String>,
}

impl Site {
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while a stream is changed.
    pub(crate) fn stream(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() > MAX_REMEMBERED {
            streams.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(streams.entry(name.to_owned()).or_default())
    }

    pub(crate) fn generation_of(
        &self,
        version: Option<&str>,
        deployment: Option<&str>,
    ) -> Option<Generation> {
        match &self.memory().generation {
            Some((v, d, generation)) if v.as_deref() == version && d.as_deref() == deployment => {
                Some(*generation)
            }
            _ => None,
        }
    }

    pub(crate) fn learn_generation(
        &self,
        version: Option<&str>,
        deployment: Option<&str>,
        generation: Generation,
    ) {
        let key = (version.map(str::to_owned), deployment.map(str::to_owned), generation);
        self.memory().generation = Some(key);
    }

    pub(crate) fn forget_generation(&self) {
        self.memory().generation = None;
    }

    /// What is remembered about other data than the server has now goes.
    pub(crate) fn is_now(&self, facts: &Facts) {
        let mut memory = self.memory();
        let size = memory.applied.len() + memory.births.len() + memory.judged.len();
        let replaced = facts.deployment.is_some() && memory.deployment != facts.deployment;
        if replaced || size > MAX_REMEMBERED {
            memory.applied.clear();
            memory.births.clear();
            memory.judged.clear();
            memory.survived = None;
        }
        memory.deployment.clone_from(&facts.deployment);
        // From the first sync on a restart can be told, not only from the first comparison on.
        memory.compared.get_or_insert_with(|| (facts.deployment.clone(), facts.started));
    }

    /// What happened since this was last asked, or since the first sync.
    pub(crate) fn compare(&self, facts: &Facts) -> Restart {
        let now = (facts.deployment.clone(), facts.started);
        let before = self.memory().compared.replace(now.clone());
        let Some(before) = before else { return Restart::No };
        let seen = match (before, now) {
            ((Some(before), _), (Some(now), _)) if before != now => Restart::Replaced,
            ((_, Some(before)), (_, Some(now))) if before != now => Restart::Restarted,
            ((_, Some(_)), (_, Some(_))) => Restart::No,
            _ => Restart::Unknown,
        };
        if matches!(seen, Restart::Restarted | Restart::Replaced) {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        seen
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(deployment: &str, started: Option<i64>) -> Facts {
        Facts {
            version: None,
            standalone: true,
            deployment: Some(deployment.to_owned()),
            started,
            generation: Generation::Sql,
        }
    }

    #[test]
    fn restarts_are_told_apart() {
        let site = Site::default();
        for (facts, expected) in [
            (facts("a", Some(1)), Restart::No),
            (facts("a", Some(1)), Restart::No),
            (facts("a", Some(2)), Restart::Restarted),
            (facts("a", Some(2)), Restart::No),
            (facts("b", Some(3)), Restart::Replaced),
            (facts("b", None), Restart::Unknown),
        ] {
            assert_eq!(site.compare(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_restart_between_the_first_sync_and_the_first_comparison_is_seen() {
        let site = Site::default();
        site.is_now(&facts("a", Some(1)));
        assert_eq!(site.compare(&facts("a", Some(2))), Restart::Restarted);
        site.is_now(&facts("a", Some(2)));
        assert_eq!(site.compare(&facts("a", Some(2))), Restart::No);
    }
}
