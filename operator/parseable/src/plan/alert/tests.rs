use securitywatch_api::rule::{self, Template};
use securitywatch_api::v1alpha1::Severity;
use serde_json::json;

use super::*;

fn owner() -> Owner {
    Owner {
        cluster_id: "c1".into(),
        uid: "u1".into(),
        title: "SecurityWatch/shop/egress".into(),
        created_ms: 1,
    }
}

fn desired(name: &str) -> DesiredAlert {
    DesiredAlert {
        name: name.into(),
        severity: Severity::High,
        message: Template::parse("wget in\n {pod}").unwrap(),
        rule: rule::parse("a = 1").unwrap(),
        targets: Vec::new(),
    }
}

fn body_of(name: &str) -> AlertBody {
    body(&owner(), &desired(name), "SELECT 1".into(), "3m", ["T2".to_owned(), "T1".to_owned()])
}

fn wanted(name: &str) -> Wanted<'_> {
    Wanted { name, body: Some(body_of(name)) }
}

/// The alert as the server shows it after it was written.
fn stored(id: &str, body: &AlertBody) -> StoredAlert {
    let mut shown = serde_json::to_value(body).unwrap();
    shown["id"] = json!(id);
    shown["state"] = json!("not-triggered");
    shown["created"] = json!("2026-11-22T01:54:01.395819133Z");
    shown["lastTriggeredAt"] = json!(null);
    serde_json::from_value(shown).unwrap()
}

fn found(id: &str, name: &str) -> Found {
    Found { alert: stored(id, &body_of(name)), dead: false }
}

fn only(steps: Vec<Step>) -> Step {
    assert_eq!(steps.len(), 1, "{steps:?}");
    steps.into_iter().next().unwrap()
}

#[test]
fn what_is_right_is_left_alone() {
    let mut there = found("1", "a");
    // Order means nothing, and the server writes some things its own way.
    there.alert.targets.reverse();
    there.alert.severity = "High".into();
    there.alert.query.push(' ');
    there.alert.eval_config.rolling_window.eval_end = String::new();
    let step = only(plan(&[wanted("a")], &[there.clone()], &[]));
    assert_eq!(step, Step::Keep { index: 0, alert: there.alert });
}

#[test]
fn what_is_missing_is_created() {
    assert_eq!(
        only(plan(&[wanted("a")], &[], &[KnownAlert { name: "a".into(), id: "gone".into() }])),
        Step::Create { index: 0, body: body_of("a") }
    );
}

#[test]
fn each_field_that_somebody_changed_is_repaired() {
    let changes: [fn(&mut StoredAlert); 9] = [
        |alert| alert.title.push('x'),
        |alert| alert.severity = "low".into(),
        |alert| alert.query = "SELECT 2".into(),
        |alert| alert.threshold_config.value = 1000.0,
        |alert| alert.threshold_config.operator = "<".into(),
        |alert| alert.eval_config.rolling_window.eval_frequency = 60,
        |alert| alert.eval_config.rolling_window.eval_start = "1m".into(),
        |alert| alert.notification_config.interval = 2,
        |alert| alert.targets.clear(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut there = found("1", "a");
        change(&mut there.alert);
        let step = only(plan(&[wanted("a")], &[there], &[]));
        let expected =
            Step::Update { index: 0, id: "1".into(), body: body_of("a"), cause: Cause::Drift };
        assert_eq!(step, expected, "change {number}");
    }
}

#[test]
fn a_changed_spec_is_no_drift() {
    let mut old = desired("a");
    old.severity = Severity::Low;
    let old = body(&owner(), &old, "SELECT 1".into(), "3m", []);
    let step = only(plan(&[wanted("a")], &[Found { alert: stored("1", &old), dead: false }], &[]));
    assert!(matches!(step, Step::Update { cause: Cause::Spec, .. }), "{step:?}");
}

#[test]
fn tags_of_others_stay_and_lost_ones_of_ours_come_back() {
    let mut there = found("1", "a");
    let tags = there.alert.tags.as_mut().unwrap();
    tags.push("team-a".into());
    assert!(matches!(only(plan(&[wanted("a")], &[there.clone()], &[])), Step::Keep { .. }));
    let tags = there.alert.tags.as_mut().unwrap();
    *tags = vec!["team-a".into()];
    let known = [KnownAlert { name: "a".into(), id: "1".into() }];
    let Step::Update { id, body, cause, .. } = only(plan(&[wanted("a")], &[there], &known)) else {
        panic!("no update");
    };
    assert_eq!((id.as_str(), cause), ("1", Cause::Drift));
    assert_eq!(body.tags[..5], body_of("a").tags[..]);
    assert_eq!(body.tags[5], "team-a");
}

#[test]
fn of_duplicates_the_living_and_then_the_oldest_stays() {
    let mut dead = found("0", "a");
    dead.dead = true;
    let steps = plan(&[wanted("a")], &[found("2", "a"), dead, found("1", "a")], &[]);
    let kinds: Vec<(&str, &str)> = steps
        .iter()
        .map(|step| match step {
            Step::Keep { alert, .. } => ("keep", alert.id.as_str()),
            Step::Delete { id, why: Surplus::Duplicate, .. } => ("delete", id.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [("keep", "1"), ("delete", "2"), ("delete", "0")]);
}

#[test]
fn a_dead_alert_is_made_again() {
    let mut there = found("1", "a");
    there.dead = true;
    assert_eq!(
        only(plan(&[wanted("a")], &[there], &[])),
        Step::Replace { index: 0, id: "1".into(), body: body_of("a") }
    );
}

#[test]
fn a_disabled_alert_is_enabled_and_a_muted_one_is_not_touched() {
    let mut there = found("1", "a");
    there.alert.state = "disabled".into();
    let steps = plan(&[wanted("a")], &[there], &[]);
    assert_eq!(steps[1], Step::Enable { index: 0, id: "1".into() });
    assert!(matches!(&steps[..1], [Step::Keep { .. }]));
}

#[test]
fn what_the_spec_no_longer_has_goes() {
    let steps = plan(&[wanted("b")], &[found("1", "a"), found("2", "b")], &[]);
    assert!(matches!(&steps[0], Step::Keep { index: 0, alert } if alert.id == "2"));
    assert!(
        matches!(&steps[1], Step::Delete { id, why: Surplus::NotInSpec, .. } if id == "1"),
        "{steps:?}"
    );
}

#[test]
fn an_alert_that_cannot_be_written_now_keeps_what_it_has() {
    let waiting = Wanted { name: "a", body: None };
    assert_eq!(plan(std::slice::from_ref(&waiting), &[], &[]), []);
    let step = only(plan(&[waiting], &[found("1", "a")], &[]));
    assert!(matches!(step, Step::Keep { .. }));
}

#[test]
fn a_stale_memory_does_not_steal_another_alert() {
    // The status says that alert 1 is a; its own tag says b.
    let known = [KnownAlert { name: "a".into(), id: "1".into() }];
    let steps = plan(&[wanted("a"), wanted("b")], &[found("1", "b")], &known);
    assert!(matches!(&steps[0], Step::Create { index: 0, .. }));
    assert!(matches!(&steps[1], Step::Keep { index: 1, .. }));
}

#[test]
fn titles_are_one_line_and_bounded() {
    assert_eq!(body_of("wget").title, "wget (shop/egress): wget in {pod}");
    let mut long = desired("wget");
    long.message = Template::parse(&"ä".repeat(2000)).unwrap();
    let title = body(&owner(), &long, String::new(), "3m", []).title;
    assert_eq!(title.chars().count(), MAX_TITLE + 1);
}
