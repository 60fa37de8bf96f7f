#![allow(clippy::unwrap_used)]

use std::sync::Mutex as StdMutex;

use super::hold::Source as _;
use super::known::{Instance, KnownContainer};
use super::scope::ScopeSink;
use super::*;
use crate::cgroups::{ScopeBits, ScopeMapsError};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The bits as the kernel has them, by pod uid or cgroup.
#[derive(Debug, Clone, Default)]
struct Kernel(Arc<StdMutex<HashMap<String, ScopeBits>>>);

impl Kernel {
    fn has(&self, of: &str, bit: u32) -> bool {
        self.0.lock().unwrap().get(of).is_some_and(|bits| bits.has(bit))
    }

    fn put(&self, of: String, bits: Option<&ScopeBits>) -> Result<(), ScopeMapsError> {
        let mut known = self.0.lock().unwrap();
        match bits {
            Some(bits) => drop(known.insert(of, bits.clone())),
            None => drop(known.remove(&of)),
        }
        Ok(())
    }
}

impl ScopeSink for Kernel {
    fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.put(uid.to_owned(), Some(bits))
    }

    fn remove_pod(&self, uid: &str) -> Result<(), ScopeMapsError> {
        self.put(uid.to_owned(), None)
    }

    fn set_container(&self, cgroup: u64, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.put(cgroup.to_string(), Some(bits))
    }

    fn remove_container(&self, cgroup: u64) -> Result<(), ScopeMapsError> {
        self.put(cgroup.to_string(), None)
    }
}

fn facts(cgroup: u64, uid: &str) -> CgroupFacts {
    CgroupFacts {
        id: cgroup,
        pod_uid: uid.into(),
        container_cgroup: cgroup,
        container_id: Some(ID.into()),
        name: format!("cri-containerd-{ID}.scope").into(),
    }
}

fn pod(uid: &str, namespace: &str) -> KnownPod {
    KnownPod {
        uid: uid.into(),
        cgroup_uid: uid.into(),
        namespace: namespace.into(),
        name: "web-0".into(),
        workload: "web".into(),
        containers: vec![KnownContainer { name: "web".into(), ..KnownContainer::default() }],
        ..KnownPod::default()
    }
}

fn started(uid: &str, namespace: &str) -> KnownPod {
    let mut pod = pod(uid, namespace);
    pod.containers[0].instances =
        vec![Instance { id: format!("containerd://{ID}"), ..Instance::default() }];
    pod
}

fn record(uid: &str, namespace: &str) -> RuntimeRecord {
    RuntimeRecord {
        pod_uid: uid.into(),
        namespace: namespace.into(),
        pod_name: "web-0".into(),
        container_name: "web".into(),
        image_name: "nginx:1".into(),
        runtime: "containerd",
    }
}

fn of_namespace(namespace: &str) -> PodScope {
    PodScope { namespace: Some(namespace.into()), ..PodScope::default() }
}

#[test]
fn a_pod_is_in_scope_before_its_cgroups_are_made_and_as_long_as_they_are_there() {
    let (pods, kernel) = (Pods::default(), Kernel::default());
    pods.write_scopes(Box::new(kernel.clone()));
    pods.begin(3, &of_namespace("shop")).unwrap();
    pods.apply(Event::Apply(pod("a", "shop")));
    pods.apply(Event::Apply(pod("b", "bank")));
    assert!(kernel.has("a", 3) && !kernel.has("b", 3));
    pods.cgroup_made(&facts(7, "a"));
    pods.apply(Event::Delete(pod("a", "shop")));
    let later = Instant::now() + Duration::from_secs(3600);
    pods.tick(later);
    assert!(kernel.has("a", 3), "a process of it may run");
    pods.cgroup_gone(7);
    pods.tick(later);
    assert!(!kernel.has("a", 3));
}

#[test]
fn a_policy_that_comes_finds_the_pods_that_are_there_and_an_old_bit_means_nothing() {
    let (pods, kernel) = (Pods::default(), Kernel::default());
    pods.write_scopes(Box::new(kernel.clone()));
    pods.apply(Event::Apply(pod("a", "shop")));
    pods.begin(3, &of_namespace("shop")).unwrap();
    assert!(kernel.has("a", 3));
    pods.end(3);
    pods.begin(3, &of_namespace("bank")).unwrap();
    assert!(!kernel.has("a", 3));
}

#[test]
fn a_container_is_in_scope_when_the_runtime_has_named_it() {
    use securitywatch_api::policy::{LabelSelector, LabelTest, Requirement};
    let (pods, kernel) = (Pods::default(), Kernel::default());
    pods.write_scopes(Box::new(kernel.clone()));
    let test = LabelTest::In(vec!["web".into()]);
    let containers = LabelSelector { requirements: vec![Requirement { key: "name".into(), test }] };
    pods.begin(3, &PodScope { containers, ..PodScope::default() }).unwrap();
    pods.apply(Event::Apply(pod("a", "shop")));
    pods.cgroup_made(&facts(7, "a"));
    assert!(!kernel.has("7", 3), "it may be the sandbox");
    pods.runtime_says(ID.into(), Ok(record("a", "shop")));
    assert!(kernel.has("7", 3) && !kernel.has("a", 3));
    pods.cgroup_gone(7);
    assert!(!kernel.has("7", 3));
}

#[test]
fn without_the_api_server_a_pod_is_in_its_namespaces_scope() {
    let (pods, kernel) = (Pods::default(), Kernel::default());
    pods.write_scopes(Box::new(kernel.clone()));
    pods.begin(3, &of_namespace("shop")).unwrap();
    pods.cgroup_made(&facts(7, "a"));
    assert!(!kernel.has("a", 3));
    pods.runtime_says(ID.into(), Ok(record("a", "shop")));
    assert!(kernel.has("a", 3));
}

#[test]
fn an_association_learns_once_something_is_known() {
    let pods = Pods::default();
    let mut associations = Associations::new(pods.clone());
    let facts = facts(7, "a");
    associations.made(&facts);
    let association = associations.of(&facts);
    assert!(Arc::ptr_eq(&association, &associations.of(&facts)), "shared by all processes");
    pods.learn(&association);
    assert!(association.pod().is_none());
    pods.apply(Event::Apply(pod("a", "shop")));
    pods.learn(&association);
    assert!(association.pod().is_none(), "which container, nobody knows");
    pods.runtime_says(ID.into(), Ok(record("a", "shop")));
    pods.learn(&association);
    assert_eq!(association.grade(), Some(Grade::Named));
    pods.apply(Event::Apply(started("a", "shop")));
    pods.learn(&association);
    assert_eq!(association.grade(), Some(Grade::Complete));
}

#[test]
fn what_is_given_up_goes_with_what_is_known_and_is_learnt_all_the_same() {
    let pods = Pods::default();
    let association = Associations::new(pods.clone()).of(&facts(7, "a"));
    pods.give_up(&association);
    let found = association.pod().unwrap();
    assert_eq!((&*found.uid, &*found.name), ("a", ""));
    assert_eq!(found.container.id, format!("containerd://{ID}"));
    pods.apply(Event::Apply(started("a", "shop")));
    pods.learn(&association);
    assert_eq!(association.pod().unwrap().name, "web-0");
}

#[test]
fn new_labels_are_those_of_new_processes() {
    let pods = Pods::default();
    pods.apply(Event::Apply(started("a", "shop")));
    let mut associations = Associations::new(pods.clone());
    let before = associations.of(&facts(7, "a"));
    pods.learn(&before);
    let mut labelled = started("a", "shop");
    labelled.labels = vec![("quarantine".into(), "yes".into())];
    pods.apply(Event::Apply(labelled));
    let after = associations.of(&facts(7, "a"));
    pods.learn(&after);
    assert!(before.pod().unwrap().labels.is_empty());
    assert_eq!(after.pod().unwrap().labels.len(), 1);
}

#[test]
fn a_gap_is_told_after_a_while_and_closed_by_a_list() {
    let (pods, now) = (Pods::default(), Instant::now());
    assert_eq!(pods.gap(false, now), None, "a start takes a moment");
    pods.cannot_follow("connection refused".into());
    let later = now + PATIENCE + Duration::from_secs(1);
    let gap = pods.gap(false, later).unwrap();
    assert!(gap.starts_with("pods of this node cannot be listed: connection refused"), "{gap}");
    pods.apply(Event::Init);
    assert!(pods.gap(false, later).is_some(), "a list that begins is only an attempt");
    pods.apply(Event::InitDone);
    assert_eq!(pods.gap(false, later), None);
    pods.cannot_follow("reset".into());
    let gap = pods.gap(false, later + PATIENCE).unwrap();
    assert!(gap.starts_with("changes of this node's pods cannot be followed: reset"), "{gap}");
}

#[test]
fn a_containers_selector_without_the_runtime_is_a_gap() {
    let (pods, now) = (Pods::default(), Instant::now());
    pods.apply(Event::InitDone);
    pods.runtime_says(ID.into(), Err(io::ErrorKind::PermissionDenied.into()));
    assert_eq!(pods.gap(false, now), None);
    let gap = pods.gap(true, now).unwrap();
    assert!(gap.contains("permission denied") && gap.contains("containerSelector"), "{gap}");
    pods.runtime_says(ID.into(), Ok(record("a", "shop")));
    assert_eq!(pods.gap(true, now), None);
}
