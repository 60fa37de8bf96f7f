//! What the nodes and their probes make of a status.

use super::*;

#[test]
fn one_node_of_three_that_fails_is_too_many() {
    let drawn = draw(&failing(1, 3));
    assert_eq!(summary(&drawn), ["Ready False LoadFailed", "Stalled True LoadFailed"]);
    assert_eq!(
        line(&drawn, "Programmed"),
        "Programmed False LoadFailed: 1 of 3 nodes cannot load the policy: worker-0: FunctionNotFound: kernel 5.10 has no function x"
    );
}

#[test]
fn one_node_of_thousands_that_fails_only_shows() {
    let drawn = draw(&failing(1, 4998));
    assert_eq!(summary(&drawn), ["Ready True AllReady"]);
    assert_eq!(
        line(&drawn, "Programmed"),
        "Programmed True LoadedOnMostNodes: 4997 of 4998 nodes; worker-0: FunctionNotFound"
    );
    assert_eq!(drawn.status.failing_nodes.unwrap()[0].name, "worker-0");
    assert_eq!(drawn.status.nodes.unwrap().failed, Some(1));
}

#[test]
fn one_percent_is_not_too_many_and_one_node_more_is() {
    assert_eq!(summary(&draw(&failing(50, 5000))), ["Ready True AllReady"]);
    assert_eq!(summary(&draw(&failing(51, 5000)))[0], "Ready False LoadFailed");
}

#[test]
fn many_failing_nodes_are_summed_up_by_reason() {
    let mut facts = failing(20, 100);
    facts.reports.reasons.insert("BackendUnavailable".into(), 5);
    facts.reports.failed = 25;
    facts.reports.loaded = 75;
    assert_eq!(
        failures(&facts),
        "FunctionNotFound on 20 nodes (worker-0, worker-1, …), BackendUnavailable on 5 nodes"
    );
    assert_eq!(draw(&facts).status.failing_nodes.unwrap().len(), 10);
}

#[test]
fn kernels_that_cannot_have_their_own_reason() {
    let mut facts = failing(3, 3);
    facts.reports.reasons = BTreeMap::from([("BackendUnavailable".to_owned(), 3)]);
    assert_eq!(summary(&draw(&facts))[0], "Ready False KernelUnsupported");
}

#[test]
fn a_node_that_starts_to_fail_flips_ready_after_a_while_only() {
    let before = draw(&well());
    let at_once = draw(&later(failing(1, 3), &before, 100));
    assert!(line(&at_once, "Programmed").starts_with("Programmed False LoadFailed"));
    assert_eq!(summary(&at_once), ["Ready True AllReady"]);
    assert_eq!(at_once.again_in.unwrap().as_secs(), 15);
    let soon = draw(&later(failing(1, 3), &at_once, 114));
    assert_eq!(summary(&soon), ["Ready True AllReady"]);
    let then = draw(&later(failing(1, 3), &soon, 115));
    assert_eq!(summary(&then), ["Ready False LoadFailed", "Stalled True LoadFailed"]);
}

#[test]
fn nobody_has_reported() {
    let drawn = draw(&Facts { reports: Reports::default(), ..well() });
    assert_eq!(
        line(&drawn, "Ready"),
        "Ready Unknown NodesUnreported: no report from 3 nodes yet: kubectl get securitywatchnodes, and the probe's pods, say more"
    );
}

#[test]
fn a_probe_that_does_not_run_does_not_count_as_loaded() {
    let before = draw(&well());
    let rollout = Some(Rollout { desired: 3, running: 2, counted: true });
    let down = || Facts { rollout, ..well() };
    let reboot = draw(&later(down(), &before, 10));
    assert_eq!(
        line(&reboot, "Programmed"),
        "Programmed Unknown RollingOut: 2 of 3 nodes; the probe does not run on 1 node"
    );
    assert_eq!(summary(&reboot), ["Ready True AllReady"], "a reboot is soon over");
    let gone = draw(&later(down(), &reboot, 140));
    assert_eq!(summary(&gone), ["Ready Unknown Progressing", "Reconciling True Progressing"]);
}

#[test]
fn no_node_at_all_is_a_failure() {
    let rollout = Some(Rollout { desired: 0, running: 0, counted: true });
    let drawn = draw(&Facts { rollout, reports: Reports::default(), ..well() });
    assert_eq!(summary(&drawn)[0], "Ready False NoEligibleNodes");
}

#[test]
fn nodes_that_skip_the_watch_are_not_missing() {
    let reports = Reports { loaded: 2, skipped: 1, ..well().reports };
    let drawn = draw(&Facts { reports, ..well() });
    assert_eq!(line(&drawn, "Programmed"), "Programmed True LoadedOnAllNodes: 2 of 2 nodes");
}
