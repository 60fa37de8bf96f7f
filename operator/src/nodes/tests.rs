#![allow(clippy::unwrap_used)]

use securitywatch_api::v1alpha1::{
    NodePolicy, NodePolicyState, SecurityWatchNodeStatus, ShippingReport, ShippingState,
};

use super::*;

fn entry(uid: &str, generation: i64, state: NodePolicyState) -> NodePolicy {
    NodePolicy {
        uid: uid.into(),
        watch: None,
        generation: Some(generation),
        hash: Some("aa".into()),
        state: Some(state),
        reason: None,
        message: None,
        hooks: None,
        shipping: None,
    }
}

fn failed(uid: &str, reason: &str, message: &str) -> NodePolicy {
    NodePolicy {
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..entry(uid, 1, NodePolicyState::Failed)
    }
}

fn ships(state: ShippingState, reason: Option<&str>, dropped: i64) -> NodePolicy {
    NodePolicy {
        shipping: Some(ShippingReport {
            state,
            reason: reason.map(Into::into),
            message: reason.map(|reason| format!("{reason} it is")),
            dropped: Some(dropped),
            last_shipped_time: None,
        }),
        ..entry("w", 1, NodePolicyState::Loaded)
    }
}

fn report(policies: Vec<NodePolicy>) -> SecurityWatchNodeStatus {
    SecurityWatchNodeStatus { policies: Some(policies), ..Default::default() }
}

fn uids(touched: Vec<std::sync::Arc<str>>) -> Vec<String> {
    touched.iter().map(|uid| uid.to_string()).collect()
}

#[test]
fn reports_add_up_and_follow_changes() {
    let mut index = Index::default();
    assert_eq!(
        uids(index.apply(
            "a",
            Some(&report(vec![
                entry("w", 1, NodePolicyState::Loading),
                entry("v", 1, NodePolicyState::Loaded)
            ]))
        )),
        ["v", "w"]
    );
    index.apply("b", Some(&report(vec![failed("w", "FunctionNotFound", "no such function")])));
    index.apply("c", Some(&report(vec![entry("w", 1, NodePolicyState::Skipped)])));
    let reports = index.reports("w", 1, Some("aa"), 10);
    assert_eq!((reports.loaded, reports.loading, reports.failed, reports.skipped), (0, 1, 1, 1));
    assert_eq!(
        reports.failing,
        [NodeFailure {
            node: "b".into(),
            reason: "FunctionNotFound".into(),
            message: "no such function".into()
        }]
    );
    assert_eq!(
        uids(index.apply(
            "a",
            Some(&report(vec![
                entry("w", 1, NodePolicyState::Loaded),
                entry("v", 1, NodePolicyState::Loaded)
            ]))
        )),
        ["w"],
        "v did not change"
    );
    assert_eq!(index.reports("w", 1, Some("aa"), 10).loaded, 1);
}

#[test]
fn another_generation_or_policy_is_stale() {
    let mut index = Index::default();
    index.apply("a", Some(&report(vec![entry("w", 1, NodePolicyState::Loaded)])));
    index.apply("b", Some(&report(vec![entry("w", 2, NodePolicyState::Loaded)])));
    let counts = |generation, hash| {
        let reports = index.reports("w", generation, hash, 10);
        (reports.loaded, reports.stale)
    };
    assert_eq!(counts(2, Some("aa")), (1, 1));
    assert_eq!(counts(2, Some("bb")), (0, 2));
    assert_eq!(counts(2, None), (0, 2));
    assert_eq!(index.reports("other", 1, None, 10), Reports::default());
}

#[test]
fn a_node_that_goes_takes_its_counts_with_it() {
    let mut index = Index::default();
    let report = report(vec![failed("w", "NoBtf", "")]);
    index.apply("a", Some(&report));
    assert_eq!(uids(index.remove("a")), ["w"]);
    assert_eq!(index.reports("w", 1, Some("aa"), 10), Reports::default());
    assert!(index.is_empty());
    assert_eq!(uids(index.apply("b", Some(&report))), ["w"]);
    assert_eq!(index.reports("w", 1, Some("aa"), 10).failing[0].node, "b");
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let mut index = Index::default();
    let loaded = report(vec![entry("w", 1, NodePolicyState::Loaded)]);
    for node in ["a", "b"] {
        index.apply(node, Some(&loaded));
    }
    index.begin_list();
    assert!(index.apply("b", Some(&loaded)).is_empty());
    assert_eq!(uids(index.end_list()), ["w"]);
    assert_eq!((index.len(), index.reports("w", 1, Some("aa"), 10).loaded), (1, 1));
}

#[test]
fn the_commonest_cause_of_waiting_events_has_an_example() {
    let mut index = Index::default();
    for (node, reason) in [("a", "Unauthorized"), ("b", "TargetUnreachable"), ("c", "Unauthorized")]
    {
        index.apply(node, Some(&report(vec![ships(ShippingState::Failing, Some(reason), 5)])));
    }
    index.apply("d", Some(&report(vec![ships(ShippingState::Delivering, None, 0)])));
    let shipping = index.reports("w", 1, Some("aa"), 10).shipping;
    assert_eq!(
        (shipping.idle, shipping.delivering, shipping.failing, shipping.dropped),
        (0, 1, 3, 15)
    );
    let example = shipping.example.unwrap();
    assert_eq!((example.node.as_str(), example.message.as_str()), ("a", "Unauthorized it is"));
    index.apply("a", Some(&report(vec![ships(ShippingState::Delivering, None, 5)])));
    index.apply("c", Some(&report(vec![ships(ShippingState::Delivering, None, 5)])));
    let shipping = index.reports("w", 1, Some("aa"), 10).shipping;
    assert_eq!((shipping.delivering, shipping.dropped), (3, 15));
    assert_eq!(shipping.example.unwrap().node, "b");
}

#[test]
fn at_most_so_many_failing_nodes_are_named_and_all_are_counted() {
    let mut index = Index::default();
    for node in 0..30 {
        let why = if node < 20 { "FunctionNotFound" } else { "BackendUnavailable" };
        index.apply(&format!("n{node:02}"), Some(&report(vec![failed("w", why, why)])));
    }
    let reports = index.reports("w", 1, Some("aa"), 10);
    assert_eq!((reports.failed, reports.failing.len()), (30, 10));
    assert_eq!(reports.reasons["FunctionNotFound"], 20);
    assert_eq!(reports.reasons["BackendUnavailable"], 10);
}
