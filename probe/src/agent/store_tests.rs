#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use securitywatch_api::v1alpha1::{ClusterSecurityWatch, SecurityWatch};
use serde_json::{Value, json};

use super::*;

fn watch(name: &str, generation: i64) -> Watched {
    Watched {
        uid: format!("uid-{name}"),
        namespace: Some("shop".into()),
        name: name.into(),
        generation,
        leaving: false,
        spec: Ok(SecurityWatchSpec::default()),
    }
}

fn names(store: &Store<Watched>) -> Vec<(&str, i64)> {
    store.all().map(|watch| (watch.name.as_str(), watch.generation)).collect()
}

#[test]
fn a_list_takes_effect_when_it_is_complete() {
    let mut store = Store::default();
    assert_eq!(store.known(), Known::NotYet);
    assert!(!store.apply(Event::Init));
    assert!(!store.apply(Event::InitApply(watch("a", 1))));
    assert_eq!(store.known(), Known::NotYet);
    assert!(store.apply(Event::InitDone));
    assert!(store.apply(Event::Apply(watch("b", 1))));
    // The API server was away: until the next list is complete, all that was known stays.
    assert!(!store.apply(Event::Init));
    assert_eq!(names(&store), [("a", 1), ("b", 1)]);
    assert!(!store.apply(Event::Init), "the list began anew");
    assert!(!store.apply(Event::InitApply(watch("b", 2))));
    assert!(store.apply(Event::InitDone));
    assert_eq!(names(&store), [("b", 2)]);
}

#[test]
fn what_changes_nothing_wakes_nobody() {
    let mut store = Store::default();
    store.apply(Event::Init);
    assert!(store.apply(Event::InitDone), "an empty list is news, once");
    store.apply(Event::Init);
    assert!(!store.apply(Event::InitDone));
    assert!(store.apply(Event::Apply(watch("a", 1))));
    assert!(!store.apply(Event::Apply(watch("a", 1))), "only its status changed");
    assert!(store.apply(Event::Apply(Watched { leaving: true, ..watch("a", 1) })));
    assert!(store.apply(Event::Delete(watch("a", 9))));
    assert!(!store.apply(Event::Delete(watch("a", 9))));
}

#[test]
fn a_definition_may_come_and_go() {
    let mut store = Store::default();
    assert!(store.no_such_kind());
    assert!(!store.no_such_kind());
    store.apply(Event::Init);
    store.apply(Event::InitApply(watch("a", 1)));
    store.apply(Event::InitDone);
    assert_eq!((store.known(), names(&store).len()), (Known::All, 1));
    for _ in 1..DENIALS {
        assert!(!store.no_such_kind(), "an API server that starts is not believed at once");
    }
    assert_eq!(names(&store).len(), 1);
    assert!(store.no_such_kind());
    assert_eq!(names(&store), []);
}

#[test]
fn a_malformed_object_is_read_as_far_as_it_goes() {
    let text = json!({
        "apiVersion": "securitywatch.io/v1alpha1", "kind": "SecurityWatch",
        "metadata": {"name": "w", "namespace": "shop", "uid": "u", "generation": 4},
        "spec": {"suspend": "yes"}
    });
    let object: DeserializeGuard<SecurityWatch> = serde_json::from_value(text).unwrap();
    let read = Watched::read(object);
    assert_eq!((read.title().as_str(), read.generation), ("SecurityWatch/shop/w", 4));
    assert!(read.spec.unwrap_err().contains("boolean"));
    let text = json!({
        "apiVersion": "securitywatch.io/v1alpha1", "kind": "ClusterSecurityWatch",
        "metadata": {"name": "w", "uid": "u", "deletionTimestamp": "2026-11-22T01:02:03Z"},
        "spec": {"suspend": true}
    });
    let object: DeserializeGuard<ClusterSecurityWatch> = serde_json::from_value(text).unwrap();
    let read = Watched::read(object);
    assert_eq!((read.title().as_str(), read.leaving), ("ClusterSecurityWatch/w", true));
    assert_eq!(read.spec.unwrap().suspend, Some(true));
}

#[test]
fn a_policy_that_is_not_understood_says_why() {
    let read = |spec: Value| {
        let text = json!({
            "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy",
            "metadata": {"name": "p"}, "spec": spec
        });
        PolicyObject::read(serde_json::from_value(text).unwrap())
    };
    let good = read(json!({"kprobes": [{"call": "tcp_connect"}]}));
    assert_eq!((good.namespace, good.name.as_str(), good.spec.is_ok()), (None, "p", true));
    let newer = read(json!({"tomorrow": []})).spec.unwrap_err();
    assert!(newer.contains("unknown field `tomorrow`"), "{newer}");
    assert_eq!(
        read(Value::Null).spec.unwrap_err(),
        "spec: invalid type: null, expected struct TracingPolicySpec"
    );
}
