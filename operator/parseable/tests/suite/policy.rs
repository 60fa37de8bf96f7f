//! The server's outbound policy stands between an alert and its receiver.

use parseable_standin::{Policy, Privilege};
use securitywatch_parseable::{ChangeKind, FailureClass, ServerConfig};

use crate::lab::{Lab, basic, kinds, sync, webhook};

fn unmanaged(lab: &Lab) -> ServerConfig {
    ServerConfig { manage_outbound_policy: false, ..lab.config() }
}

#[tokio::test]
async fn a_refusal_is_explained_and_the_alert_is_there_all_the_same() {
    let Some(lab) = Lab::standin_only("a_refusal_is_explained").await else { return };
    let server = lab.servers.get(&unmanaged(&lab)).unwrap();
    let watch = lab.watch("egress");
    let report = server.sync(&watch, &[]).await;
    assert_eq!(report.stream, Ok(()));
    let outcome = &report.alerts[0];
    assert!(outcome.id.is_some());
    let failure = outcome.failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::OutboundPolicy);
    assert_eq!(
        failure.message,
        format!(
            "the outbound policy of {} blocks a target: the receiver is at a private address; an admin of the server must set allowPrivate \
             and add the receiver to allowedDomains or allowedCidrs of /api/v1/alert-target-policy (or let the operator do it: \
             --manage-outbound-policy and an admin account)",
            lab.url
        )
    );
    assert_eq!(lab.only_alert(&watch).await["targets"], serde_json::json!([]));
    // An admin follows the advice.
    lab.standin().set_policy(Policy {
        allow_private: true,
        allowed_cidrs: vec!["127.0.0.0/8".to_owned()],
        ..Policy::default()
    });
    assert_eq!(kinds(&sync(&server, &watch).await), [ChangeKind::AlertUpdated]);
    assert_eq!(lab.only_alert(&watch).await["targets"].as_array().unwrap().len(), 1);
    // And takes it back: the target is there, and the server does not call it.
    lab.standin().set_policy(Policy::default());
    let report = server.sync(&watch, &[]).await;
    assert_eq!(report.alerts[0].failure.clone().unwrap().class, FailureClass::OutboundPolicy);
    assert_eq!(report.changes, []);
}

#[tokio::test]
async fn where_it_is_managed_ours_is_added_to_what_others_have() {
    let Some(lab) = Lab::standin_only("where_it_is_managed").await else { return };
    let theirs = Policy {
        allowed_domains: vec!["alertmanager.example".to_owned()],
        denied_cidrs: vec!["10.9.0.0/16".to_owned()],
        ..Policy::default()
    };
    lab.standin().set_policy(theirs.clone());
    let (server, mut watch) = (lab.server(), lab.watch("egress"));
    // A name with a private address, an address that the operator itself would never call, and a public one.
    watch.alerts[0].targets.push(webhook("metadata", "http://169.254.169.254/"));
    let report = server.sync(&watch, &[]).await;
    assert_eq!(kinds(&report.changes)[2], ChangeKind::PolicyPut);
    let failure = report.alerts[0].failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::OutboundPolicy);
    let expected =
        Policy { allow_private: true, allowed_cidrs: vec!["127.0.0.1/32".to_owned()], ..theirs };
    assert_eq!(lab.standin().policy(), expected);
    watch.alerts[0].targets.pop();
    sync(&server, &watch).await;
    assert_eq!(lab.standin().policy(), expected);
}

#[tokio::test]
async fn an_account_that_is_no_admin_cannot_manage_it() {
    let Some(lab) = Lab::standin_only("an_account_that_is_no_admin").await else { return };
    lab.standin().add_account("swoperator", "swoperator", Privilege::Editor);
    let config = ServerConfig { credentials: basic("swoperator", "swoperator"), ..lab.config() };
    let server = lab.servers.get(&config).unwrap();
    let report = server.sync(&lab.watch("egress"), &[]).await;
    let failure = report.alerts[0].failure.clone().unwrap();
    assert_eq!(failure.class, FailureClass::OutboundPolicy);
    assert!(failure.message.contains("the account is no admin"), "{failure}");
    // Where nothing is blocked it does not matter.
    lab.standin().set_policy(Policy {
        allow_private: true,
        allowed_cidrs: vec!["127.0.0.1/32".to_owned()],
        ..Policy::default()
    });
    sync(&server, &lab.watch("egress")).await;
}
