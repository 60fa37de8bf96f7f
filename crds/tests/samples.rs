//! The samples work as they stand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shared;

use std::time::Duration;

use securitywatch_api::document::{Document, Kind, load};
use securitywatch_api::policy::{Side, Test};
use securitywatch_api::watch::{Receiver, Repeat, UrlSource};

fn sample(name: &str) -> Document {
    let text =
        std::fs::read_to_string(shared::workspace().join("config/samples").join(name)).unwrap();
    let mut documents = load(name, &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn check_delivery(document: &Document) {
    let parseable = document.parseable.as_ref().unwrap();
    assert_eq!(parseable.url.as_str(), "http://parseable.parseable.svc/");
    assert_eq!(parseable.stream, "tetrademo");
    assert_eq!(parseable.shipping_credentials().unwrap().secret_name, "parseable-env-secret");
    for alert in &document.alerts {
        let [target] = alert.targets.as_slice() else { panic!("one target") };
        let Receiver::Webhook { url: UrlSource::Secret(url), .. } = &target.receiver else {
            panic!("a webhook from a Secret")
        };
        assert_eq!((url.secret_name.as_str(), url.key.as_str()), ("oncall", "url"));
        assert_eq!(target.repeat, Some(Repeat { interval: Duration::from_secs(10), times: 5 }));
    }
}

/// The walk-through's alerts, by name, with message and rule, as the sample must hold them.
fn check_walkthrough_alerts(document: &Document, file: &str) {
    let Some(folder) = shared::shared("walkthroughs") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let text = text.replace("webhook.site_custom_endpoint", "https://example.test/hook");
    for published in &load(file, &text).unwrap()[0].alerts {
        let ours = document.alerts.iter().find(|alert| alert.name == published.name).unwrap();
        assert_eq!((&ours.message, &ours.rule), (&published.message, &published.rule));
    }
}

#[test]
fn egress() {
    let document = sample("egress.yaml");
    assert_eq!(
        (document.kind, document.title().as_str()),
        (Kind::SecurityWatch, "SecurityWatch/default/egress")
    );
    let hooks = &document.policy.as_ref().unwrap().hooks;
    assert_eq!(hooks.len(), 1);
    let Test::Addr { side: Side::Destination, negate: true, networks } =
        &hooks[0].selectors[0].args[0].test
    else {
        panic!("NotDAddr")
    };
    let networks: Vec<_> = networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["127.0.0.0/8", "::1/128", "10.244.0.0/16", "10.96.0.0/12"]);
    let names: Vec<_> = document.alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(
        names,
        ["wget_command", "curl_command", "wget_command_started", "curl_command_started"]
    );
    check_delivery(&document);
    check_walkthrough_alerts(&document, "egress-alerts.json");
}

#[test]
fn sensitive_files() {
    let document = sample("sensitive-files.yaml");
    assert_eq!(document.title(), "ClusterSecurityWatch/sensitive-files");
    let ours = document.policy.as_ref().unwrap();
    assert_eq!(ours.hooks.len(), 3);
    assert!(ours.hooks.iter().all(|hook| hook.returns.is_some()));
    check_delivery(&document);
    check_walkthrough_alerts(&document, "sensitive-files-alerts.json");
    let Some(folder) = shared::shared("walkthroughs") else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("sensitive-files-policy.yaml")).unwrap();
    let published = load("policy", &text).unwrap().remove(0).policy.unwrap();
    for (ours, published) in ours.hooks.iter().zip(&published.hooks) {
        let mut ours = ours.clone();
        ours.path = published.path.clone();
        assert_eq!(ours, *published);
    }
}

#[test]
fn enforcement() {
    for (name, title, hooks) in [
        ("egress-enforce.yaml", "SecurityWatch/default/egress-enforce", 1),
        ("files-enforce.yaml", "SecurityWatch/default/files-enforce", 3),
    ] {
        let document = sample(name);
        assert_eq!(document.title(), title, "of a namespace: the host and other pods go on");
        let policy = document.policy.as_ref().unwrap();
        assert_eq!(policy.hooks.len(), hooks);
        assert!(policy.hooks.iter().all(|h| h.selectors.iter().all(|s| s.action.sigkill)));
        assert!(policy.kills());
        check_delivery(&document);
    }
    assert!(!sample("egress.yaml").policy.unwrap().kills());
}
