#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use kube::runtime::watcher::Event;
use securitywatch_api::policy::{PodScope, Workloads};
use serde_json::{Value, json};

use super::*;
use crate::agent::store::{PolicyObject, Store};

fn watch(namespace: Option<&str>, spec: Value) -> Watched {
    Watched {
        uid: "u1".into(),
        namespace: namespace.map(str::to_owned),
        name: "egress".into(),
        generation: 3,
        leaving: false,
        spec: serde_json::from_value(spec).map_err(|error| error.to_string()),
    }
}

fn connect(action: Value) -> Value {
    json!({"kprobes": [{
        "call": "tcp_connect", "syscall": false,
        "args": [{"index": 0, "type": "sock"}],
        "selectors": [{"matchActions": [action]}]
    }]})
}

fn post() -> Value {
    connect(json!({"action": "Post"}))
}

fn listed_policies(policies: &[(Option<&str>, &str, Value)]) -> Store<PolicyObject> {
    let mut store = Store::default();
    store.apply(Event::Init);
    for (namespace, name, spec) in policies {
        store.apply(Event::InitApply(PolicyObject {
            namespace: namespace.map(str::to_owned),
            name: (*name).to_owned(),
            spec: serde_json::from_value(spec.clone()).map_err(|error| error.to_string()),
        }));
    }
    store.apply(Event::InitDone);
    store
}

#[track_caller]
fn reason(verdict: Verdict, word: &str, says: &str) {
    match verdict {
        Verdict::Gone(reason) | Verdict::Refused(reason) | Verdict::Waiting(reason) => {
            assert_eq!(reason.word, word);
            assert!(reason.message.contains(says), "{}", reason.message);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_watch_runs_under_its_uid_and_hash() {
    let spec = json!({
        "tracingPolicy": {"spec": post()},
        "target": {"parseable": {"url": "http://p.example", "stream": "s"}}
    });
    let wish = judge(&watch(Some("shop"), spec.clone()), &Objects::default());
    assert_eq!((wish.uid.as_str(), wish.generation), ("u1", 3));
    assert_eq!(wish.title, "SecurityWatch/shop/egress");
    assert_eq!(wish.scope, Scope::Namespace(Arc::from("shop")));
    let hash = policy_hash(&serde_json::from_value(post()).unwrap());
    assert_eq!(wish.hash, Some(hash));
    let Verdict::Run(task) = wish.verdict else { panic!("{:?}", wish.verdict) };
    assert_eq!(task.policy.unwrap().name, "egress");
    assert_eq!(task.target.unwrap().stream, "s");
    assert_eq!(judge(&watch(None, spec), &Objects::default()).scope, Scope::Everything);
}

#[test]
fn exec_and_exit_need_no_policy() {
    let wish = judge(&watch(None, json!({})), &Objects::default());
    assert_eq!(wish.hash, None);
    assert!(matches!(wish.verdict, Verdict::Run(task) if task.policy.is_none()));
}

#[test]
fn mistakes_name_their_fields() {
    let wrong = json!({"tracingPolicy": {"spec": {"kprobes": [{"call": ""}], "loader": true}}});
    let verdict = judge(&watch(None, wrong), &Objects::default()).verdict;
    reason(verdict, "InvalidPolicy", "spec.tracingPolicy.spec.loader: loader is not supported");
    let unreadable = judge(&watch(None, json!({"suspend": 1})), &Objects::default()).verdict;
    reason(unreadable, "InvalidPolicy", "cannot be read: invalid type");
}

#[test]
fn a_suspended_watch_is_suspended_whatever_it_names() {
    let named = json!({
        "suspend": true, "tracingPolicy": {"ref": {"kind": "TracingPolicy", "name": "nosuch"}}
    });
    for spec in [json!({"suspend": true}), named] {
        assert_eq!(judge(&watch(None, spec), &Objects::default()).verdict, Verdict::Suspended);
    }
}

fn scope_of(verdict: Verdict) -> Workloads {
    let Verdict::Run(task) = verdict else { panic!("{verdict:?}") };
    task.policy.expect("a policy").scope.workloads
}

fn of_namespace(namespace: &str) -> Workloads {
    let pods = PodScope { namespace: Some(namespace.into()), ..PodScope::default() };
    Workloads::Some { host: false, pods: Some(pods) }
}

#[test]
fn a_policy_reaches_no_further_than_the_namespace_of_its_watch() {
    let spec = json!({"tracingPolicy": {"spec": connect(json!({"action": "Sigkill"}))}});
    let judged = |namespace, spec: &Value| {
        judge(&watch(namespace, spec.clone()), &Objects::default()).verdict
    };
    assert_eq!(scope_of(judged(Some("shop"), &spec)), of_namespace("shop"));
    assert_eq!(scope_of(judged(None, &spec)), Workloads::Everything);

    let mut on_host = spec;
    on_host["tracingPolicy"]["spec"]["hostSelector"] = json!({});
    let says = "spec.tracingPolicy.spec.hostSelector: host processes belong to no namespace";
    reason(judged(Some("shop"), &on_host), "InvalidPolicy", says);
    assert_eq!(scope_of(judged(None, &on_host)), Workloads::Some { host: true, pods: None });
}

#[test]
fn a_named_policy_is_confined_as_well() {
    let named = json!({"tracingPolicy": {"ref": {"kind": "TracingPolicy", "name": "connects"}}});
    let policies = listed_policies(&[(None, "connects", post())]);
    let mut objects = Objects { policies, ..Objects::default() };
    let verdict = judge(&watch(Some("shop"), named.clone()), &objects).verdict;
    assert_eq!(scope_of(verdict), of_namespace("shop"));

    let mut on_host = post();
    on_host["hostSelector"] = json!({});
    objects.policies = listed_policies(&[(None, "connects", on_host)]);
    let says = "TracingPolicy/connects: spec.hostSelector: host processes belong to no namespace";
    reason(judge(&watch(Some("shop"), named), &objects).verdict, "InvalidPolicy", says);
}

#[test]
fn a_named_policy_is_followed() {
    let named = |kind: &str| json!({"tracingPolicy": {"ref": {"kind": kind, "name": "connects"}}});
    let mut objects = Objects::default();
    let cluster = |objects: &Objects| judge(&watch(None, named("TracingPolicy")), objects);
    reason(cluster(&objects).verdict, "AwaitingPolicy", "has not come");
    objects.policies.no_such_kind();
    reason(cluster(&objects).verdict, "PolicyKindMissing", "install their definition");
    objects.policies = listed_policies(&[]);
    reason(cluster(&objects).verdict, "PolicyNotFound", "TracingPolicy/connects does not exist");
    objects.policies = listed_policies(&[(None, "connects", post())]);
    let wish = cluster(&objects);
    assert_eq!(wish.hash, Some(policy_hash(&serde_json::from_value(post()).unwrap())));
    let Verdict::Run(task) = wish.verdict else { panic!("{:?}", wish.verdict) };
    assert_eq!(task.policy.unwrap().name, "connects", "events carry the name of the policy");
    objects.policies = listed_policies(&[(None, "connects", json!({"uprobes": [{}]}))]);
    assert!(matches!(cluster(&objects).verdict, Verdict::Refused(_)));

    let namespaced = |namespace, objects: &Objects| {
        judge(&watch(namespace, named("TracingPolicyNamespaced")), objects).verdict
    };
    reason(namespaced(None, &objects), "RefNotPermitted", "name a TracingPolicy");
    objects.namespaced_policies = listed_policies(&[(Some("bank"), "connects", post())]);
    let message = "TracingPolicyNamespaced/shop/connects does not exist";
    reason(namespaced(Some("shop"), &objects), "PolicyNotFound", message);
    assert!(matches!(namespaced(Some("bank"), &objects), Verdict::Run(_)));
}

#[test]
fn a_policy_is_for_the_nodes_it_selects() {
    let mut spec = post();
    spec["nodeSelector"] = json!({"matchLabels": {"pool": "gpu"}});
    let spec = json!({"tracingPolicy": {"spec": spec}});
    let judged = |labels: Option<&[(&str, &str)]>, spec: &Value| {
        let node = labels.map(|labels| {
            Arc::new(labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
        });
        let objects = Objects { node, ..Objects::default() };
        let wish = judge(&watch(None, spec.clone()), &objects);
        let asks = wish.asks_for_the_node();
        let Verdict::Run(task) = wish.verdict else { panic!("{:?}", wish.verdict) };
        (task.node, task.policy.is_some(), asks)
    };
    assert_eq!(judged(None, &spec), (NodeChoice::Unknown, true, true));
    assert_eq!(judged(Some(&[("pool", "gpu")]), &spec), (NodeChoice::Selected, true, true));
    assert_eq!(judged(Some(&[("pool", "cpu")]), &spec), (NodeChoice::NotSelected, false, true));
    let everywhere = json!({"tracingPolicy": {"spec": post()}});
    assert_eq!(judged(Some(&[]), &everywhere), (NodeChoice::Unasked, true, false));
}
