//! Running counters: a report changes only the counters of what changed in it.
//!
//! Five thousand nodes with hundreds of watches each are held, so an entry has 24 bytes and every text
//! is kept once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::{
    NodePolicy, NodePolicyState, SecurityWatchNodeStatus, ShippingState,
};

use super::intern::Interner;
use super::{NodeFailure, Reports, Shipping};

/// Most distinct texts kept; a node that puts its own name into every message must not fill the memory.
const MAX_TEXTS: usize = 8192;

/// What a report speaks about: a watch in one generation with one policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Version {
    uid: Arc<str>,
    generation: i64,
    hash: Option<Arc<str>>,
}

/// A reason and its message.
type Words = (Arc<str>, Arc<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    version: u32,
    state: NodePolicyState,
    shipping: Option<ShippingState>,
    /// Why it is not loaded; `u32::MAX`: it is.
    why: u32,
    /// Why its events wait; `u32::MAX`: they do not.
    why_waiting: u32,
    /// Kept to 32 bits, as more would be no other news.
    dropped: u32,
    /// Minutes since 1970; 0: never.
    last_shipped: u32,
}

const NO_WORDS: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Tally {
    states: [u32; 4],
    shipping: [u32; 3],
    dropped: u64,
    last_shipped: u32,
    failing: BTreeSet<u32>,
    why: BTreeMap<u32, u32>,
    why_waiting: BTreeMap<u32, BTreeSet<u32>>,
}

/// A node's name, and what it says of each watch.
type Reported = (Arc<str>, Box<[Entry]>);

/// Every node's report, added up.
#[derive(Debug, Default)]
pub struct Index {
    numbers: HashMap<Arc<str>, u32>,
    nodes: Vec<Option<Reported>>,
    free: Vec<u32>,
    versions: Interner<Version>,
    words: Interner<Words>,
    tallies: HashMap<u32, Tally>,
    of_watch: HashMap<Arc<str>, Vec<u32>>,
    /// The nodes named since a list began; what is not among them at its end is gone.
    listed: Option<HashSet<u32>>,
}

impl Index {
    /// Takes a node's report; returns the uids of the watches for which something changed.
    pub fn apply(&mut self, node: &str, status: Option<&SecurityWatchNodeStatus>) -> Vec<Arc<str>> {
        let number = self.number(node);
        if let Some(listed) = &mut self.listed {
            listed.insert(number);
        }
        let policies = status.and_then(|status| status.policies.as_deref()).unwrap_or_default();
        let mut entries: Vec<_> = policies.iter().map(|policy| self.entry(policy)).collect();
        // One entry a version: a second one would be counted twice and be found once.
        entries.sort_by_key(|entry| entry.version);
        self.replace(number, entries)
    }

    /// Forgets a node; returns the uids of the watches for which something changed.
    pub fn remove(&mut self, node: &str) -> Vec<Arc<str>> {
        let Some(number) = self.numbers.remove(node) else { return Vec::new() };
        let touched = self.replace(number, Vec::new());
        self.nodes[number as usize] = None;
        self.free.push(number);
        touched
    }

    /// A complete list follows.
    pub fn begin_list(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// The list is complete: forgets the nodes that were not in it.
    pub fn end_list(&mut self) -> Vec<Arc<str>> {
        let Some(listed) = self.listed.take() else { return Vec::new() };
        let gone: Vec<_> = self
            .numbers
            .iter()
            .filter(|(_, number)| !listed.contains(number))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        gone.iter().flat_map(|name| self.remove(name)).collect()
    }

    /// How many nodes have a report.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether no node has a report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// What the nodes say about the watch `uid`, wanted in this generation and with this policy. At most
    /// `most_failing` of the failing nodes are named.
    #[must_use]
    pub fn reports(
        &self,
        uid: &str,
        generation: i64,
        hash: Option<&str>,
        most_failing: usize,
    ) -> Reports {
        let wanted = self.of_watch.get(uid).and_then(|versions| {
            versions.iter().copied().find(|version| {
                self.versions.get(*version).is_some_and(|version| {
                    version.generation == generation && version.hash.as_deref() == hash
                })
            })
        });
        let stale = self
            .of_watch
            .get(uid)
            .into_iter()
            .flatten()
            .filter(|version| Some(**version) != wanted)
            .filter_map(|version| self.tallies.get(version))
            .map(|tally| tally.states.iter().sum::<u32>())
            .sum();
        let Some(tally) = wanted.and_then(|version| self.tallies.get(&version)) else {
            return Reports { stale, ..Reports::default() };
        };
        let [loaded, loading, failed, skipped] = tally.states;
        Reports {
            loaded,
            loading,
            failed,
            skipped,
            stale,
            failing: self.failing(tally, wanted.unwrap_or(NO_WORDS), most_failing),
            reasons: self.reasons(tally),
            shipping: self.shipping(tally),
        }
    }

    fn failing(&self, tally: &Tally, version: u32, most: usize) -> Vec<NodeFailure> {
        let mut failing: Vec<_> = tally
            .failing
            .iter()
            .take(most)
            .filter_map(|node| {
                let (name, entries) = self.nodes.get(*node as usize)?.as_ref()?;
                let entry = entries.iter().find(|entry| entry.version == version)?;
                Some(self.failure(name, entry.why))
            })
            .collect();
        failing.sort_by(|a, b| a.node.cmp(&b.node));
        failing
    }

    fn failure(&self, node: &str, words: u32) -> NodeFailure {
        let (reason, message) = self.words.get(words).map_or(("Unknown", ""), |(a, b)| (a, b));
        NodeFailure { node: node.to_owned(), reason: reason.into(), message: message.into() }
    }

    fn reasons(&self, tally: &Tally) -> BTreeMap<String, u32> {
        let mut reasons = BTreeMap::new();
        for (words, nodes) in &tally.why {
            let reason = self.words.get(*words).map_or("Unknown", |(reason, _)| reason);
            *reasons.entry(reason.to_owned()).or_default() += nodes;
        }
        reasons
    }

    fn shipping(&self, tally: &Tally) -> Shipping {
        let [idle, delivering, failing] = tally.shipping;
        let most = tally.why_waiting.iter().max_by_key(|(_, nodes)| nodes.len());
        let example = most.and_then(|(words, nodes)| {
            let (name, _) = self.nodes.get(*nodes.first()? as usize)?.as_ref()?;
            Some(self.failure(name, *words))
        });
        let last_shipped = i64::from(tally.last_shipped) * 60;
        Shipping {
            idle,
            delivering,
            failing,
            example,
            dropped: tally.dropped,
            last_shipped: (last_shipped > 0)
                .then(|| Timestamp::from_second(last_shipped).ok())
                .flatten(),
        }
    }

    fn number(&mut self, node: &str) -> u32 {
        if let Some(number) = self.numbers.get(node) {
            return *number;
        }
        let name: Arc<str> = node.into();
        let slot = Some((Arc::clone(&name), Box::default()));
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = slot;
                number
            }
            None => {
                self.nodes.push(slot);
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(name, number);
        number
    }

    fn entry(&mut self, policy: &NodePolicy) -> Entry {
        let uid = match self.of_watch.get_key_value(policy.uid.as_str()) {
            Some((uid, _)) => Arc::clone(uid),
            None => policy.uid.as_str().into(),
        };
        let version = Version {
            uid,
            generation: policy.generation.unwrap_or(0),
            hash: policy.hash.as_deref().map(Into::into),
        };
        let state = policy.state.unwrap_or(NodePolicyState::Loading);
        let why = if state == NodePolicyState::Failed {
            self.words(policy.reason.as_deref(), policy.message.as_deref())
        } else {
            NO_WORDS
        };
        let shipping = policy.shipping.as_ref();
        let why_waiting = match shipping {
            Some(report) if report.state == ShippingState::Failing => {
                self.words(report.reason.as_deref(), report.message.as_deref())
            }
            _ => NO_WORDS,
        };
        let minutes = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| {
            u32::try_from(time.0.as_second() / 60).unwrap_or(0)
        };
        Entry {
            version: self.versions.take(version),
            state,
            shipping: shipping.map(|report| report.state),
            why,
            why_waiting,
            dropped: shipping
                .and_then(|report| report.dropped)
                .map_or(0, |dropped| u32::try_from(dropped.max(0)).unwrap_or(u32::MAX)),
            last_shipped: shipping
                .and_then(|report| report.last_shipped_time.as_ref())
                .map_or(0, minutes),
        }
    }

    fn words(&mut self, reason: Option<&str>, message: Option<&str>) -> u32 {
        let reason: Arc<str> = reason.unwrap_or("Unknown").into();
        let words = (Arc::clone(&reason), message.unwrap_or_default().into());
        if self.words.len() >= MAX_TEXTS && self.words.number(&words).is_none() {
            return self.words.take((reason, "".into()));
        }
        self.words.take(words)
    }

    /// Exchanges a node's entries; equal ones are not counted anew.
    fn replace(&mut self, node: u32, entries: Vec<Entry>) -> Vec<Arc<str>> {
        let Some(Some((_, slot))) = self.nodes.get_mut(node as usize) else { return Vec::new() };
        let old = std::mem::replace(slot, entries.clone().into_boxed_slice());
        let mut touched: Vec<Arc<str>> = Vec::new();
        for entry in old.iter().filter(|entry| !holds(&entries, entry)) {
            self.count(node, entry, false, &mut touched);
        }
        for entry in entries.iter().filter(|entry| !holds(&old, entry)) {
            self.count(node, entry, true, &mut touched);
        }
        // The new entries took their words and versions before: now the old ones give theirs back.
        for entry in &old {
            self.release(entry);
        }
        touched.sort();
        touched.dedup();
        touched
    }

    fn count(&mut self, node: u32, entry: &Entry, add: bool, touched: &mut Vec<Arc<str>>) {
        let Some(version) = self.versions.get(entry.version) else { return };
        touched.push(Arc::clone(&version.uid));
        if add && !self.tallies.contains_key(&entry.version) {
            self.of_watch.entry(Arc::clone(&version.uid)).or_default().push(entry.version);
        }
        let tally = self.tallies.entry(entry.version).or_default();
        tally.count(node, entry, add);
        if tally.states.iter().all(|nodes| *nodes == 0) {
            self.tallies.remove(&entry.version);
            if let Some(versions) = self.of_watch.get_mut(&version.uid) {
                versions.retain(|version| *version != entry.version);
                if versions.is_empty() {
                    self.of_watch.remove(&version.uid);
                }
            }
        }
    }

    fn release(&mut self, entry: &Entry) {
        self.versions.release(entry.version);
        for words in [entry.why, entry.why_waiting] {
            if words != NO_WORDS {
                self.words.release(words);
            }
        }
    }
}

impl Tally {
    fn count(&mut self, node: u32, entry: &Entry, add: bool) {
        let step = |counter: &mut u32| {
            *counter = if add { *counter + 1 } else { counter.saturating_sub(1) };
        };
        step(&mut self.states[state_column(entry.state)]);
        if let Some(shipping) = entry.shipping {
            step(&mut self.shipping[shipping_column(shipping)]);
        }
        if add {
            self.dropped += u64::from(entry.dropped);
            self.last_shipped = self.last_shipped.max(entry.last_shipped);
        } else {
            self.dropped = self.dropped.saturating_sub(entry.dropped.into());
        }
        if entry.why != NO_WORDS {
            let nodes = self.why.entry(entry.why).or_default();
            step(nodes);
            if *nodes == 0 {
                self.why.remove(&entry.why);
            }
            if add {
                self.failing.insert(node)
            } else {
                self.failing.remove(&node)
            };
        }
        if entry.why_waiting != NO_WORDS {
            let nodes = self.why_waiting.entry(entry.why_waiting).or_default();
            if add {
                nodes.insert(node)
            } else {
                nodes.remove(&node)
            };
            if nodes.is_empty() {
                self.why_waiting.remove(&entry.why_waiting);
            }
        }
    }
}

/// Whether `entries`, ordered by version, hold exactly `entry`.
fn holds(entries: &[Entry], entry: &Entry) -> bool {
    entries
        .binary_search_by_key(&entry.version, |other| other.version)
        .is_ok_and(|place| entries[place] == *entry)
}

const fn state_column(state: NodePolicyState) -> usize {
    match state {
        NodePolicyState::Loaded => 0,
        NodePolicyState::Loading => 1,
        NodePolicyState::Failed => 2,
        NodePolicyState::Skipped => 3,
    }
}

const fn shipping_column(state: ShippingState) -> usize {
    match state {
        ShippingState::Idle => 0,
        ShippingState::Delivering => 1,
        ShippingState::Failing => 2,
    }
}
