#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::agent::judge::Task;
use crate::output::Scope;
use securitywatch_api::policy::{
    LabelSelector, LabelTest, PodScope, Requirement, Scope as PolicyScope, Workloads,
};

fn policy(function: &str) -> Policy {
    Policy { name: function.into(), scope: PolicyScope::default(), hooks: Vec::new() }
}

fn target(stream: &str) -> Option<Parseable> {
    Some(Parseable {
        url: "http://p.example".parse().unwrap(),
        stream: stream.into(),
        retention_days: None,
        credentials: None,
        ingest_credentials: None,
    })
}

fn wish(uid: &str, generation: i64, verdict: Verdict) -> Wish {
    let (uid, title) = (uid.to_owned(), format!("ClusterSecurityWatch/{uid}"));
    Wish { uid, title, generation, hash: None, scope: Scope::Everything, verdict }
}

fn run(policy: Option<Policy>, target: Option<Parseable>) -> Verdict {
    let (alerts, node) = (Vec::new(), NodeChoice::Unasked);
    Verdict::Run(Box::new(Task { policy, named: None, target, alerts, node }))
}

fn refused() -> Verdict {
    Verdict::Refused(Reason::new("InvalidPolicy", "spec.x: is wrong"))
}

/// A state with one watch `a` of generation 1 whose policy `f` is loaded.
fn loaded() -> State {
    let mut state = State::default();
    state.set(vec![wish("a", 1, run(Some(policy("f")), target("s")))], Instant::now());
    assert_eq!(step(&state), "load a f");
    state.loaded("a", Ok(vec![HookReport { function: "f".into(), backend: None, kills: false }]));
    assert_eq!(step(&state), "");
    state
}

fn step(state: &State) -> String {
    match state.next() {
        None => String::new(),
        Some(Step::Load { uid, policy, .. }) => format!("load {uid} {}", policy.name),
        Some(Step::Unload { uid, .. }) => format!("unload {uid}"),
    }
}

fn entry<'a>(state: &'a State, uid: &str) -> &'a Entry {
    state.entries().find(|entry| entry.wish.uid == uid).unwrap()
}

fn says(state: &State, uid: &str) -> (NodePolicyState, String) {
    let (standing, reason) = entry(state, uid).standing(&Gaps::default());
    (standing, reason.map_or_else(String::new, |r| format!("{}: {}", r.word, r.message)))
}

fn runs(state: &State, uid: &str) -> Option<(i64, Option<String>, Option<String>)> {
    let running = entry(state, uid).running.clone()?;
    Some((running.generation, running.policy.map(|p| p.name), running.target.map(|t| t.stream)))
}

#[test]
fn a_watch_is_loaded_once_and_unloaded_when_it_is_gone() {
    let mut state = loaded();
    assert_eq!(says(&state, "a"), (NodePolicyState::Loaded, String::new()));
    assert_eq!(entry(&state, "a").hooks().len(), 1);
    state.set(vec![wish("a", 1, run(Some(policy("f")), target("s")))], Instant::now());
    assert_eq!(step(&state), "", "nothing changed");
    state.set(vec![], Instant::now());
    assert_eq!(step(&state), "unload a");
    state.unloaded("a", Instant::now());
    assert_eq!((step(&state).as_str(), state.entries().count()), ("", 0));
}

#[test]
fn a_new_target_needs_no_new_hooks() {
    let mut state = loaded();
    state.set(vec![wish("a", 2, run(Some(policy("f")), target("t")))], Instant::now());
    assert_eq!(step(&state), "");
    assert_eq!(runs(&state, "a"), Some((2, Some("f".into()), Some("t".into()))));
    assert_eq!(says(&state, "a").0, NodePolicyState::Loaded);
}

#[test]
fn a_bad_generation_leaves_the_last_good_one_running() {
    let mut state = loaded();
    state.set(vec![wish("a", 2, refused())], Instant::now());
    assert_eq!(step(&state), "");
    assert_eq!(runs(&state, "a"), Some((1, Some("f".into()), Some("s".into()))));
    let told = "InvalidPolicy: spec.x: is wrong; generation 1 goes on";
    assert_eq!(says(&state, "a"), (NodePolicyState::Failed, told.into()));

    state.set(vec![wish("a", 3, run(Some(policy("g")), target("t")))], Instant::now());
    assert_eq!(says(&state, "a").0, NodePolicyState::Loading);
    assert_eq!(step(&state), "load a g");
    state.loaded("a", Err(Reason::new("FunctionNotFound", "no g")));
    assert_eq!(runs(&state, "a"), Some((1, Some("f".into()), Some("s".into()))));
    let told = "FunctionNotFound: no g; generation 1 goes on";
    assert_eq!(says(&state, "a"), (NodePolicyState::Failed, told.into()));
    assert_eq!(step(&state), "", "not tried again at once");

    state.set(vec![wish("a", 4, run(Some(policy("f")), target("u")))], Instant::now());
    assert_eq!(step(&state), "", "what still runs need not be loaded again");
    assert_eq!(says(&state, "a"), (NodePolicyState::Loaded, String::new()));
    assert_eq!(runs(&state, "a"), Some((4, Some("f".into()), Some("u".into()))));
}

#[test]
fn a_node_without_hooks_still_ships_exec_and_exit() {
    let mut state = State::default();
    state.set(vec![wish("a", 1, run(Some(policy("f")), target("s")))], Instant::now());
    state.loaded("a", Err(Reason::new("BackendUnavailable", "no way")));
    assert_eq!(runs(&state, "a"), Some((1, None, Some("s".into()))));
    let told = "BackendUnavailable: no way; exec and exit events go on";
    assert_eq!(says(&state, "a"), (NodePolicyState::Failed, told.into()));
    state.set(vec![wish("a", 2, run(Some(policy("f")), target("t")))], Instant::now());
    assert_eq!(step(&state), "", "the same policy would fail again");
    assert_eq!(runs(&state, "a"), Some((2, None, Some("t".into()))));
    state.retry_failed();
    assert_eq!(step(&state), "load a f");
    assert_eq!(says(&state, "a").0, NodePolicyState::Failed, "a second try is not worth a report");
    assert!(!state.loaded("a", Err(Reason::new("BackendUnavailable", "no way"))), "no news");
    assert_eq!(step(&state), "");
    state.retry_failed();
    assert!(state.loaded("a", Ok(vec![])));
    assert_eq!(says(&state, "a").0, NodePolicyState::Loaded);
}

#[test]
fn a_watch_without_policy_needs_no_kernel() {
    let mut state = State::default();
    state.set(vec![wish("a", 1, run(None, target("s")))], Instant::now());
    assert_eq!((step(&state).as_str(), says(&state, "a").0), ("", NodePolicyState::Loaded));
    assert_eq!(runs(&state, "a"), Some((1, None, Some("s".into()))));
    state.set(vec![wish("a", 2, refused())], Instant::now());
    let told = "InvalidPolicy: spec.x: is wrong; exec and exit events go on";
    assert_eq!(says(&state, "a"), (NodePolicyState::Failed, told.into()));
}

#[test]
fn a_watch_of_some_pods_says_what_it_may_miss() {
    let mut by_container = policy("f");
    let containers = LabelSelector {
        requirements: vec![Requirement { key: "name".into(), test: LabelTest::Exists }],
    };
    let pods = Some(PodScope { containers, ..PodScope::default() });
    by_container.scope.workloads = Workloads::Some { host: false, pods };
    let of_shop = Scope::Namespace("shop".into());
    let mut state = State::default();
    let wishes = vec![
        Wish { scope: of_shop, ..wish("a", 1, run(None, target("s"))) },
        wish("b", 1, run(Some(by_container), target("s"))),
        wish("c", 1, run(Some(policy("g")), target("s"))),
    ];
    state.set(wishes, Instant::now());
    for uid in ["b", "c"] {
        state.loaded(uid, Ok(Vec::new()));
    }
    let gaps = Gaps { pods: Some("no list".into()), containers: Some("no bundle".into()) };
    let why = |uid, gaps| {
        let (standing, reason) = entry(&state, uid).standing(gaps);
        assert_eq!(standing, NodePolicyState::Loaded);
        reason.map(|reason| format!("{}: {}", reason.word, reason.message))
    };
    assert_eq!(why("a", &gaps).as_deref(), Some("PodsUnknown: no list"));
    assert_eq!(why("b", &gaps).as_deref(), Some("PodsUnknown: no bundle"));
    assert_eq!(why("c", &gaps), None, "it is about every process");
    let none = Gaps::default();
    for uid in ["a", "b", "c"] {
        assert_eq!(why(uid, &none), None);
    }
}

#[test]
fn a_policy_can_be_taken_out() {
    let mut state = loaded();
    state.set(vec![wish("a", 2, run(None, target("s")))], Instant::now());
    assert_eq!(
        (step(&state).as_str(), says(&state, "a").0),
        ("unload a", NodePolicyState::Loading)
    );
    state.unloaded("a", Instant::now());
    assert_eq!((step(&state).as_str(), says(&state, "a").0), ("", NodePolicyState::Loaded));
    assert_eq!(runs(&state, "a"), Some((2, None, Some("s".into()))));
}

#[test]
fn suspended_or_without_its_policy_nothing_runs() {
    let gone = Verdict::Gone(Reason::new("PolicyNotFound", "create it"));
    for (verdict, standing) in
        [(Verdict::Suspended, NodePolicyState::Skipped), (gone, NodePolicyState::Failed)]
    {
        let mut state = loaded();
        state.set(vec![wish("a", 2, verdict)], Instant::now());
        assert_eq!(step(&state), "unload a");
        state.unloaded("a", Instant::now());
        assert_eq!((step(&state).as_str(), says(&state, "a").0), ("", standing));
        assert_eq!(runs(&state, "a"), None);
        state.set(vec![wish("a", 3, run(Some(policy("f")), None))], Instant::now());
        assert_eq!(step(&state), "load a f");
    }
}

#[test]
fn what_is_only_awaited_changes_nothing() {
    let mut state = loaded();
    let waiting = Verdict::Waiting(Reason::new("AwaitingPolicy", "not known yet"));
    state.set(vec![wish("a", 1, waiting)], Instant::now());
    assert_eq!(step(&state), "");
    assert_eq!(says(&state, "a").0, NodePolicyState::Loading);
    assert!(runs(&state, "a").is_some());
}

#[test]
fn room_is_made_before_it_is_taken() {
    let mut state = loaded();
    let b = wish("b", 1, run(Some(policy("g")), None));
    state.set(vec![b, wish("c", 1, refused())], Instant::now());
    assert_eq!(step(&state), "unload a");
    state.unloaded("a", Instant::now());
    assert_eq!(step(&state), "load b g");
    state.loaded("b", Ok(vec![]));
    assert_eq!((step(&state).as_str(), says(&state, "b").0), ("", NodePolicyState::Loaded));
}

#[test]
fn a_number_rests_before_another_watch_gets_it() {
    let mut state = loaded();
    let start = Instant::now();
    let watch = |uid| wish(uid, 1, run(None, None));
    state.set(vec![watch("b")], start);
    state.unloaded("a", start);
    state.set(vec![watch("b"), watch("c")], start + NUMBER_REST / 2);
    assert_eq!([entry(&state, "b").number, entry(&state, "c").number], [1, 2]);
    state.set(vec![watch("b"), watch("c"), watch("d")], start + NUMBER_REST);
    assert_eq!(entry(&state, "d").number, 0);
}

#[test]
fn a_blind_node_tries_nothing_and_says_so() {
    let mut state = State::blind(Reason::new("KernelUnsupported", "no BTF"));
    state.set(
        vec![wish("a", 1, run(Some(policy("f")), None)), wish("b", 1, refused())],
        Instant::now(),
    );
    assert_eq!(step(&state), "");
    let told = "KernelUnsupported: no BTF".to_owned();
    assert_eq!(says(&state, "a"), (NodePolicyState::Failed, told));
    assert!(says(&state, "b").1.contains("spec.x"));
}

#[test]
fn a_node_that_is_not_selected_skips_the_policy_and_says_so() {
    let now = Instant::now();
    let on_node = |policy, node| {
        Verdict::Run(Box::new(Task {
            policy,
            named: None,
            target: target("s"),
            alerts: Vec::new(),
            node,
        }))
    };
    let mut state = State::default();
    state.set(vec![wish("a", 1, on_node(Some(policy("f")), NodeChoice::Unknown))], now);
    assert!(matches!(state.next(), Some(Step::Load { .. })), "not known is no reason to skip");
    state.loaded("a", Ok(Vec::new()));
    let standing = |state: &State| {
        let (standing, reason) = state.entries().next().unwrap().standing(&Gaps::default());
        (standing, reason.unwrap().word)
    };
    assert_eq!(standing(&state), (NodePolicyState::Loaded, "NodeUnknown".into()));
    state.set(vec![wish("a", 1, on_node(None, NodeChoice::NotSelected))], now);
    assert!(matches!(state.next(), Some(Step::Unload { .. })));
    state.unloaded("a", now);
    assert_eq!(standing(&state), (NodePolicyState::Skipped, "NodeNotSelected".into()));
    assert_eq!(state.next(), None);
}
