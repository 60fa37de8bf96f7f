//! The server restarts, or comes back empty.

use parseable_standin::{Policy, Privilege, Resource};
use securitywatch_parseable::{ChangeKind, Restart, ServerConfig};
use serde_json::Value;

use crate::lab::{Lab, basic, kinds, sync};

#[tokio::test]
async fn after_a_restart_every_alert_is_made_again() {
    let Some(lab) = Lab::standin_only("after_a_restart").await else { return };
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    assert_eq!(server.check_restart().await, Ok(Restart::No));
    let dead = lab.only_alert(&watch).await;
    lab.standin().restart().await;
    assert!(!lab.standin().alerts()[0].is_evaluated);
    assert_eq!(lab.standin().policy(), Policy::default());

    assert_eq!(server.check_restart().await, Ok(Restart::Restarted));
    assert_eq!(server.check_restart().await, Ok(Restart::No));
    let changes = sync(&server, &watch).await;
    assert_eq!(kinds(&changes), [ChangeKind::PolicyPut, ChangeKind::AlertRecreated]);
    assert!(
        changes[1]
            .message
            .contains("has restarted, after which it evaluates none of its older alerts"),
        "{}",
        changes[1].message
    );
    let alert = lab.only_alert(&watch).await;
    assert_ne!(alert["id"], dead["id"]);
    for field in ["title", "query", "targets", "tags"] {
        assert_eq!(alert[field], dead[field], "{field}");
    }
    assert!(lab.standin().alerts()[0].is_evaluated);
    assert!(lab.standin().policy().allow_private);
    assert_eq!(sync(&server, &watch).await, []);
}

#[tokio::test]
async fn an_operator_that_was_not_there_finds_the_dead_alerts() {
    let Some(mut lab) = Lab::standin_only("an_operator_that_was_not_there").await else { return };
    let watch = lab.watch("egress");
    sync(&lab.server(), &watch).await;
    lab.standin().restart().await;
    let server = lab.restarted_operator();
    assert_eq!(
        kinds(&sync(&server, &watch).await),
        [ChangeKind::PolicyPut, ChangeKind::AlertRecreated]
    );
    assert!(lab.standin().alerts()[0].is_evaluated);
    // And one that was not there, with nothing to heal, changes nothing.
    let server = lab.restarted_operator();
    assert_eq!(sync(&server, &watch).await, []);
}

#[tokio::test]
async fn an_account_that_may_not_read_the_metrics_finds_them_too() {
    let Some(lab) = Lab::standin_only("an_account_that_may_not_read_the_metrics").await else {
        return;
    };
    let watch = lab.watch("egress");
    sync(&lab.server(), &watch).await;
    let everywhere = Privilege::Writer { resource: Some(Resource::Stream("*".to_owned())) };
    lab.standin().add_account("swwriter", "swwriter", everywhere);
    let config = ServerConfig {
        credentials: basic("swwriter", "swwriter"),
        manage_outbound_policy: false,
        ..lab.config()
    };
    let server = lab.servers.get(&config).unwrap();
    assert_eq!(sync(&server, &watch).await, []);
    let before = lab.only_alert(&watch).await;
    let evaluations = lab.standin().alerts()[0].evaluations;
    assert_eq!(sync(&server, &watch).await, []);
    // Being asked whether it lives has neither changed nor started it.
    assert_eq!(lab.only_alert(&watch).await, before);
    assert_eq!(lab.standin().alerts()[0].evaluations, evaluations);

    assert_eq!(server.check_restart().await, Ok(Restart::Unknown));
    lab.standin().restart().await;
    assert_eq!(server.check_restart().await, Ok(Restart::Unknown));
    let report = server.sync(&watch, &[]).await;
    assert_eq!(kinds(&report.changes), [ChangeKind::AlertRecreated]);
    assert!(lab.standin().alerts()[0].is_evaluated);
}

#[tokio::test]
async fn an_emptied_server_gets_everything_again() {
    let Some(lab) = Lab::standin_only("an_emptied_server").await else { return };
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    let target = lab.targets(&watch).await[0]["id"].clone();
    assert_eq!(server.check_restart().await, Ok(Restart::No));
    lab.standin().empty().await;
    assert_eq!(lab.get("/alerts").await, Value::Array(Vec::new()));
    assert_eq!(server.check_restart().await, Ok(Restart::Replaced));
    assert_eq!(
        kinds(&sync(&server, &watch).await),
        [
            ChangeKind::StreamCreated,
            ChangeKind::RetentionSet,
            ChangeKind::PolicyPut,
            ChangeKind::AlertCreated
        ]
    );
    assert_eq!(lab.targets(&watch).await[0]["id"], target);
    assert_eq!(sync(&server, &watch).await, []);
}

#[tokio::test]
async fn a_restart_that_one_account_notices_is_known_to_the_others() {
    let Some(lab) = Lab::standin_only("a_restart_that_one_account_notices").await else { return };
    lab.standin().add_account("swoperator", "swoperator", Privilege::Editor);
    lab.standin().set_policy(Policy {
        allow_private: true,
        allowed_cidrs: vec!["127.0.0.1/32".to_owned()],
        ..Policy::default()
    });
    let config = ServerConfig {
        credentials: basic("swoperator", "swoperator"),
        manage_outbound_policy: false,
        ..lab.config()
    };
    let (mine, theirs) = (lab.server(), lab.servers.get(&config).unwrap());
    let watch = lab.watch("egress");
    sync(&theirs, &watch).await;
    assert_eq!(mine.check_restart().await, Ok(Restart::No));
    lab.standin().restart().await;
    assert_eq!(mine.check_restart().await, Ok(Restart::Restarted));
    // What the other account saw a moment ago is not trusted.
    let report = theirs.sync(&watch, &[]).await;
    assert_eq!(kinds(&report.changes), [ChangeKind::AlertRecreated]);
}
