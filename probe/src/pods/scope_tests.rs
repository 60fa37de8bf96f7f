#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use securitywatch_api::policy::{LabelSelector, LabelTest, Requirement};

use super::*;

fn selector(key: &str, test: LabelTest) -> LabelSelector {
    LabelSelector { requirements: vec![Requirement { key: key.into(), test }] }
}

fn is(value: &str) -> LabelTest {
    LabelTest::In(vec![value.into()])
}

fn selecting() -> Selecting {
    let all = PodScope::default;
    BTreeMap::from([
        (1, all()),
        (2, PodScope { namespace: Some("shop".into()), ..all() }),
        (3, PodScope { labels: selector("app", is("web")), ..all() }),
        (4, PodScope { labels: selector("app", LabelTest::DoesNotExist), ..all() }),
        (5, PodScope { containers: selector("name", is("web")), ..all() }),
        (
            6,
            PodScope {
                namespace: Some("shop".into()),
                containers: selector("repo", is("docker.io/library/nginx")),
                ..all()
            },
        ),
        (1087, PodScope { labels: selector(POD_NAMESPACE_LABEL, is("shop")), ..all() }),
    ])
}

fn set(bits: &ScopeBits) -> Vec<u32> {
    (0..1088).filter(|bit| bits.has(*bit)).collect()
}

#[test]
fn a_pod_is_in_the_scopes_that_select_all_of_it() {
    let labels = [("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "x".to_owned())];
    let web = PodView { namespace: "shop", labels: Some(&labels) };
    assert_eq!(set(&pod_bits(&selecting(), web)), [1, 2, 3, 1087]);
    let other = PodView { namespace: "bank", labels: Some(&[]) };
    assert_eq!(set(&pod_bits(&selecting(), other)), [1, 4]);
}

#[test]
fn a_container_is_in_the_scopes_that_select_it() {
    let web = PodView { namespace: "shop", labels: Some(&[]) };
    let bits = |pod, name, image| set(&container_bits(&selecting(), pod, name, image));
    assert_eq!(bits(web, "web", "docker.io/library/nginx:1"), [5, 6]);
    assert_eq!(bits(web, "side", "docker.io/library/nginx:1"), [6]);
    let bank = PodView { namespace: "bank", labels: Some(&[]) };
    assert_eq!(bits(bank, "side", "docker.io/library/nginx:1"), [0; 0]);
}

#[test]
fn a_pod_without_known_labels_is_selected_by_its_namespace_alone() {
    let young = PodView { namespace: "shop", labels: None };
    assert_eq!(set(&pod_bits(&selecting(), young)), [1, 2, 1087], "not by what it may not have");
    assert_eq!(set(&container_bits(&selecting(), young, "web", "")), [5]);
}

#[derive(Debug, Clone, Default)]
struct Written {
    log: Arc<Mutex<Vec<String>>>,
    full: Arc<Mutex<bool>>,
}

impl Written {
    fn say(&self, what: String) -> Result<(), ScopeMapsError> {
        if *self.full.lock().unwrap() {
            return Err(ScopeMapsError::Uid(what));
        }
        self.log.lock().unwrap().push(what);
        Ok(())
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl ScopeSink for Written {
    fn set_pod(&self, uid: &str, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.say(format!("{uid}: {:?}", set(bits)))
    }

    fn remove_pod(&self, uid: &str) -> Result<(), ScopeMapsError> {
        self.say(format!("{uid} gone"))
    }

    fn set_container(&self, cgroup: u64, bits: &ScopeBits) -> Result<(), ScopeMapsError> {
        self.say(format!("{cgroup}: {:?}", set(bits)))
    }

    fn remove_container(&self, cgroup: u64) -> Result<(), ScopeMapsError> {
        self.say(format!("{cgroup} gone"))
    }
}

fn with(bit: u32) -> ScopeBits {
    let mut bits = ScopeBits::default();
    bits.set(bit);
    bits
}

#[test]
fn only_what_changes_is_written() {
    let written = Written::default();
    let mut scopes = Scopes::default();
    scopes.write_to(Box::new(written.clone()));
    scopes.set_pod("a", ScopeBits::default());
    scopes.remove_pod("a");
    assert!(written.said().is_empty(), "no policy, no entry");
    scopes.set_pod("a", with(1));
    scopes.set_pod("a", with(1));
    scopes.set_container("a", 7, with(2));
    scopes.set_pod("a", ScopeBits::default());
    scopes.remove_pod("a");
    scopes.remove_container(7);
    assert_eq!(written.said(), ["a: [1]", "7: [2]", "a: []", "a gone", "7 gone"]);
}

#[test]
fn what_the_kernel_did_not_take_is_told_and_tried_again() {
    let written = Written::default();
    let mut scopes = Scopes::default();
    scopes.write_to(Box::new(written.clone()));
    *written.full.lock().unwrap() = true;
    scopes.set_pod("a", with(1));
    let failure = scopes.failure().unwrap();
    assert!(failure.starts_with("the scope of 1 pods is not in the kernel"), "{failure}");
    *written.full.lock().unwrap() = false;
    assert_eq!(scopes.take_failed(), ["a"]);
    scopes.set_pod("a", with(1));
    assert_eq!((written.said(), scopes.failure()), (vec!["a: [1]".to_owned()], None));
}
