#![allow(clippy::unwrap_used)]

use securitywatch_api::field::FieldPath;
use securitywatch_api::v1alpha1::SecurityWatchSpec;
use securitywatch_api::watch::check_watch;
use serde_json::{Value, json};

use super::*;

fn checked(spec: Value) -> CheckedWatch {
    let spec: SecurityWatchSpec = serde_json::from_value(spec).unwrap();
    check_watch("w", None, &FieldPath::root().field("spec"), &spec).unwrap()
}

fn shipping() -> CheckedWatch {
    checked(json!({"target": {"parseable": {
        "url": "http://p", "stream": "s", "credentials": {"secretName": "admin"},
        "ingestCredentials": {"secretName": "ingest"}
    }}}))
}

fn alerting() -> CheckedWatch {
    checked(json!({"alerts": [{
        "name": "a", "message": "m", "rule": "(x = \"y\")",
        "targets": [{"webhook": {"urlFrom": {"secretName": "oncall", "key": "url"}}}]
    }]}))
}

fn data(pairs: &[(&str, &str)]) -> Found {
    Found::Data(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect())
}

fn secrets(found: &[(&str, Found)]) -> BTreeMap<String, Found> {
    found.iter().map(|(name, found)| ((*name).to_owned(), found.clone())).collect()
}

fn problems(checked: &CheckedWatch, found: &[(&str, Found)]) -> Vec<(&'static str, String)> {
    let resolved = resolve("shop", checked, &secrets(found));
    resolved.problems.into_iter().map(|problem| (problem.reason, problem.message)).collect()
}

#[test]
fn nodes_get_the_ingest_account_and_the_operator_the_other() {
    let user = [("username", "admin"), ("password", "secret\n")];
    let found = [("admin", data(&user)), ("ingest", data(&[("apiKey", "k")]))];
    let resolved = resolve("shop", &shipping(), &secrets(&found));
    let password = Secret::new("secret".into());
    assert_eq!(resolved.account, Some(Account::Basic { username: "admin".into(), password }));
    assert_eq!(resolved.ingest, Some(Account::ApiKey(Secret::new("k".into()))));
    assert_eq!(resolved.problems, []);
    assert_eq!(names(&shipping()).into_iter().collect::<Vec<_>>(), ["admin", "ingest"]);
}

#[test]
fn a_missing_secret_is_named_with_the_field_that_wants_it() {
    assert_eq!(
        problems(&shipping(), &[("admin", Found::Absent), ("ingest", data(&[("apiKey", "k")]))]),
        [(
            "SecretNotFound",
            "secret shop/admin does not exist (spec.target.parseable.credentials): create it with the keys username and password, or apiKey".to_owned()
        )]
    );
}

#[test]
fn a_missing_key_is_named() {
    let found = [("admin", data(&[("username", "admin")])), ("ingest", data(&[("user", "x")]))];
    assert_eq!(
        problems(&shipping(), &found),
        [
            (
                "SecretKeyMissing",
                "secret shop/admin has no key \"password\" (spec.target.parseable.credentials)"
                    .to_owned()
            ),
            (
                "SecretKeyMissing",
                "secret shop/ingest has neither username and password nor apiKey (spec.target.parseable.ingestCredentials)"
                    .to_owned()
            )
        ]
    );
}

#[test]
fn what_is_no_url_is_said_without_showing_it() {
    assert_eq!(
        problems(&alerting(), &[("oncall", data(&[("url", "hooks.example.org/T0KEN")]))]),
        [(
            "SecretInvalid",
            "secret shop/oncall key \"url\": not an http or https URL: write the receiver's address, for example https://example.org/hook (spec.alerts[0].targets[0].webhook.urlFrom)"
                .to_owned()
        )]
    );
}

#[test]
fn a_secret_that_many_fields_name_is_told_once() {
    let alert = |name: &str| {
        json!({
            "name": name, "message": "m", "rule": "(x = \"y\")",
            "targets": [{"webhook": {"urlFrom": {"secretName": "oncall", "key": "url"}}}]
        })
    };
    let watch = checked(json!({"alerts": [alert("a"), alert("b"), alert("c")]}));
    assert_eq!(
        problems(&watch, &[("oncall", Found::Absent)]),
        [(
            "SecretNotFound",
            "secret shop/oncall does not exist (spec.alerts[0].targets[0].webhook.urlFrom and 2 more): create it with the key url (an http or https URL)"
                .to_owned()
        )]
    );
}

#[test]
fn a_forbidden_secret_tells_the_chart_value() {
    let problems = problems(&alerting(), &[("oncall", Found::Forbidden)]);
    assert_eq!(problems[0].0, "Forbidden");
    assert!(problems[0].1.contains("add namespace shop to watchNamespaces"), "{problems:?}");
}

#[test]
fn silence_of_the_api_server_is_no_verdict() {
    let resolved = resolve("shop", &alerting(), &secrets(&[("oncall", Found::Unanswered)]));
    assert!(resolved.unanswered);
    assert_eq!(resolved.problems, []);
}

#[test]
fn debug_shows_no_value() {
    let found = secrets(&[("oncall", data(&[("url", "https://hooks.example.org/T0KEN")]))]);
    let resolved = resolve("shop", &alerting(), &found);
    let text = format!("{found:?} {resolved:?}");
    assert!(!text.contains("T0KEN") && text.contains("url"), "{text}");
}

#[test]
fn a_fingerprint_tells_contents_apart() {
    let print = |value| {
        let found = secrets(&[("oncall", data(&[("url", value)]))]);
        resolve("shop", &alerting(), &found).book.fingerprint()
    };
    assert_eq!(print("https://a"), print("https://a"));
    assert_ne!(print("https://a"), print("https://b"));
}
