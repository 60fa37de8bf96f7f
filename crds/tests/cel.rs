//! The CEL rules of the CRDs and our own checks say the same, in the same words.
//!
//! The rules run in kube-cel, which evaluates them as the API server does; its cost limits are not
//! covered here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use securitywatch_api::crd;
use securitywatch_api::field::FieldPath;
use securitywatch_api::v1alpha1::SecurityWatchSpec;
use securitywatch_api::watch::check_watch;
use serde_json::{Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let [watch, ..] = crd::definitions();
    let version = watch.spec.versions.into_iter().next().unwrap();
    serde_json::to_value(version.schema.unwrap().open_api_v3_schema.unwrap()).unwrap()
});

fn valid() -> Value {
    json!({
        "tracingPolicy": {"spec": {"kprobes": [{
            "call": "tcp_connect", "syscall": false, "return": true,
            "returnArg": {"index": 0, "type": "int"},
            "selectors": [{"matchActions": [{"action": "Post"}]}],
        }]}},
        "target": {"parseable": {
            "url": "http://parseable.parseable.svc", "stream": "tetrademo", "retention": "30d",
            "credentials": {"secretName": "parseable-env-secret"},
        }},
        "alerts": [{
            "name": "Unauthorised access", "message": "m", "rule": "(a = \"b\")",
            "targets": [{
                "webhook": {"urlFrom": {"secretName": "oncall", "key": "url"}},
                "repeat": {"interval": "10s", "times": 5},
            }],
        }],
    })
}

/// Path and message of each broken rule.
fn by_cel(spec: &Value) -> Vec<(String, String)> {
    match Validator::new().validate(&SCHEMA, &json!({"spec": spec}), None) {
        Ok(()) => Vec::new(),
        Err(errors) => {
            errors.into_vec().into_iter().map(|error| (error.field_path, error.message)).collect()
        }
    }
}

fn by_us(spec: &Value) -> Vec<(String, String)> {
    let spec: SecurityWatchSpec = serde_json::from_value(spec.clone()).unwrap();
    match check_watch("test", None, &FieldPath::root().field("spec"), &spec) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            errors.into_iter().map(|error| (error.path.to_string(), error.message)).collect()
        }
    }
}

#[test]
fn every_rule_compiles() {
    fn walk(schema: &CompiledSchema, rules: &mut usize) {
        assert!(!schema.has_errors(), "{:?}", schema.compilation_errors());
        *rules += schema.validations.len();
        schema.properties.values().for_each(|property| walk(property, rules));
        schema
            .items
            .iter()
            .chain(&schema.additional_properties)
            .for_each(|inner| walk(inner, rules));
    }
    let mut rules = 0;
    walk(&compile_schema(&SCHEMA), &mut rules);
    println!("{rules} rules");
    assert!(rules > 20, "{rules} rules only");
}

#[test]
fn both_accept_what_is_right() {
    for (pointer, value) in [
        ("/suspend", json!(true)),
        ("/target/parseable/url", json!("https://p.example.org:8000/base/")),
        ("/target/parseable/retention", json!("1d")),
        ("/alerts/0/name", json!("x")),
        ("/alerts/0/targets/0/repeat/interval", json!("1h30m")),
        ("/alerts/0/targets/0/repeat/interval", json!("24h")),
        ("/alerts/0/targets/0/webhook/urlFrom/key", json!("_URL.v2")),
        ("/alerts/0/targets/0/webhook/urlFrom/secretName", json!("a.b-c")),
    ] {
        let spec = changed(pointer, value.clone());
        assert_eq!((by_cel(&spec), by_us(&spec)), (vec![], vec![]), "{pointer} {value}");
    }
}

#[test]
fn both_refuse_what_is_wrong_at_the_same_place_in_the_same_words() {
    let secret = json!({"urlFrom": {"secretName": "a", "key": "b"}});
    for (pointer, value) in [
        ("/tracingPolicy", json!({})),
        ("/tracingPolicy/ref", json!({"kind": "TracingPolicy", "name": "x"})),
        ("/target/parseable/url", json!("parseable:8000")),
        ("/target/parseable/url", json!("ftp://parseable")),
        ("/target/parseable/url", json!("http://user:pw@parseable")),
        ("/target/parseable/url", json!("http://parseable/?a=b")),
        ("/target/parseable/stream", json!("Tetra-Demo")),
        ("/target/parseable/stream", json!("1a")),
        ("/target/parseable/retention", json!("30h")),
        ("/target/parseable/retention", json!("1w2d")),
        ("/target/parseable/credentials/secretName", json!("../x")),
        ("/target/parseable/ingestCredentials", json!({"secretName": "a..b"})),
        ("/alerts/0/name", json!(" x")),
        ("/alerts/0/name", json!("two\nlines")),
        ("/alerts/0/targets/0/slack", secret.clone()),
        ("/alerts/0/targets/0", json!({"repeat": {"interval": "10s", "times": 1}})),
        (
            "/alerts/0/targets/0",
            json!({"webhook": secret, "slack": secret, "alertmanager": secret}),
        ),
        ("/alerts/0/targets/0/webhook/urlFrom/key", json!("..")),
        ("/alerts/0/targets/0/webhook/urlFrom/key", json!("a/b")),
        ("/alerts/0/targets/0/repeat/interval", json!("0s")),
        ("/alerts/0/targets/0/repeat/interval", json!("25h")),
        ("/alerts/0/targets/0/repeat/interval", json!("10 s")),
        ("/alerts/0/targets/0/repeat/interval", json!("10s5m")),
        ("/alerts/0/targets/0/repeat/interval", json!("500ms")),
    ] {
        let spec = changed(pointer, value.clone());
        let ours = by_us(&spec);
        assert_eq!(ours.len(), 1, "{pointer} {value}: {ours:?}");
        assert_eq!(by_cel(&spec), ours, "{pointer} {value}");
    }
}

/// Rules of the policy's own language, where our words say more than the rule can.
#[test]
fn both_refuse_the_same_policies() {
    let kprobe = "/tracingPolicy/spec/kprobes/0";
    for (pointer, value, place) in [
        (format!("{kprobe}/returnArg"), Value::Null, "spec.tracingPolicy.spec.kprobes[0]"),
        (
            format!("{kprobe}/selectors/0/matchActions/0"),
            json!({"action": "Override", "argNewSymbol": "f", "argNewAddr": 1}),
            "spec.tracingPolicy.spec.kprobes[0].selectors[0].matchActions[0]",
        ),
    ] {
        let spec = changed(&pointer, value);
        let (cel, ours) = (by_cel(&spec), by_us(&spec));
        assert_eq!(cel.len(), 1, "{cel:?}");
        assert_eq!(cel[0].0, place);
        assert!(ours.iter().any(|(path, _)| path.starts_with(place)), "{ours:?}");
    }
    let two_places = json!([{"path": "/bin/sh", "symbols": ["a"], "offsets": [1]}]);
    let cel = by_cel(&changed("/tracingPolicy/spec/uprobes", two_places));
    assert_eq!(cel[0].0, "spec.tracingPolicy.spec.uprobes[0]");
}

/// The valid spec with `value` at `pointer`; null removes the field.
fn changed(pointer: &str, value: Value) -> Value {
    let mut spec = valid();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = spec.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(fields), Value::Null) => drop(fields.remove(last)),
        (Value::Object(fields), value) => drop(fields.insert(last.to_owned(), value)),
        (Value::Array(items), value) => items[last.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer} is no field"),
    }
    spec
}
