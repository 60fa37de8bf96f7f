#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::compile_policy;
use crate::field::FieldPath;
use crate::policy::{Action, HookTarget, Policy, Side, Test, TextPlace};
use crate::tracing_policy::TracingPolicySpec;

fn compile(spec: serde_json::Value) -> Result<Policy, Vec<String>> {
    let spec: TracingPolicySpec = serde_json::from_value(spec).expect("the spec parses");
    compile_policy("test", &FieldPath::root().field("spec"), &spec)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// A hook with one argument of each class and the given selectors.
fn with_selectors(selectors: serde_json::Value) -> Result<Policy, Vec<String>> {
    compile(json!({"kprobes": [{
        "call": "f", "syscall": false, "return": true,
        "args": [
            {"index": 0, "type": "file"}, {"index": 1, "type": "int"}, {"index": 2, "type": "sock"},
            {"index": 3, "type": "uint64"}, {"index": 4, "type": "string"}
        ],
        "returnArg": {"index": 0, "type": "int"},
        "selectors": selectors,
    }]}))
}

fn one_filter(filter: serde_json::Value) -> Result<Test, String> {
    match with_selectors(json!([{"matchArgs": [filter]}])) {
        Ok(policy) => Ok(policy.hooks[0].selectors[0].args[0].test.clone()),
        Err(errors) => {
            assert_eq!(errors.len(), 1, "{errors:?}");
            Err(errors[0].replace("spec.kprobes[0].selectors[0].matchArgs[0]", "@"))
        }
    }
}

fn int(operator: &str, values: &[&str]) -> Result<Test, String> {
    one_filter(json!({"index": 1, "operator": operator, "values": values}))
}

fn sock(operator: &str, values: &[&str]) -> Result<Test, String> {
    one_filter(json!({"index": 2, "operator": operator, "values": values}))
}

#[test]
fn syscall_is_true_when_absent_and_its_prefixes_go() {
    for call in ["sys_openat", "__x64_sys_openat", "__arm64_sys_openat"] {
        let policy = compile(json!({"kprobes": [{"call": call}]})).unwrap();
        assert_eq!(policy.hooks[0].target, HookTarget::Syscall("openat".to_owned()));
    }
    let policy = compile(json!({"kprobes": [{"call": "tcp_connect", "syscall": false}]})).unwrap();
    assert_eq!(policy.hooks[0].target, HookTarget::Function("tcp_connect".to_owned()));
    let errors = compile(json!({"kprobes": [{"call": "tcp_connect"}]})).unwrap_err();
    assert_eq!(
        errors,
        [
            r#"spec.kprobes[0].call: "tcp_connect" is not a syscall such as sys_openat: for a kernel function write syscall: false"#
        ]
    );
}

#[test]
fn what_is_not_built_is_refused_at_its_path() {
    let errors = compile(json!({
        "kprobes": [
            {"call": "list:dups"},
            {"call": "f", "syscall": false, "args": [{"index": 0, "type": "char_buf", "sizeArgIndex": 3}],
             "data": [{"index": 0, "type": "int"}], "returnArgAction": "TrackSock"},
        ],
        "tracepoints": [{"subsystem": "a", "event": "b"}],
        "loader": true,
        "hostSelector": {"matchLabels": {"a": "b"}},
        "options": [{"name": "policy-mode", "value": "monitor"}, {"name": "disable-kprobe-multi", "value": "1"}],
        "selectorsMacros": {"m": {}},
    }))
    .unwrap_err();
    let paths: Vec<_> =
        errors.iter().filter_map(|error| error.split_once(": ")).map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "spec.kprobes[0].call",
            "spec.kprobes[1].args[0].sizeArgIndex",
            "spec.kprobes[1].args[0].type",
            "spec.kprobes[1].data",
            "spec.kprobes[1].returnArgAction",
            "spec.tracepoints",
            "spec.loader",
            "spec.selectorsMacros",
            "spec.hostSelector",
            "spec.options[0].value",
        ]
    );
}

#[test]
fn actions_boil_down_and_others_are_refused() {
    let policy = with_selectors(json!([
        {"matchActions": [{"action": "Post"}, {"action": "Sigkill", "argError": -1}]},
        {"matchActions": [{"action": "NoPost"}], "matchReturnArgs": [{"index": 0, "operator": "GT", "values": ["0"]}],
         "matchReturnActions": [{"action": "Sigkill"}]},
    ]))
    .unwrap();
    let selectors = &policy.hooks[0].selectors;
    assert_eq!(selectors[0].action, Action { sigkill: true, no_post: false });
    assert_eq!(selectors[1].action, Action { sigkill: false, no_post: true });
    assert_eq!(selectors[1].return_action, Action { sigkill: true, no_post: false });

    let errors = with_selectors(json!([
        {},
        {"matchActions": [{"action": "GetUrl", "argUrl": "http://x"}, {"action": "Post", "rateLimit": "5m", "kernelStackTrace": true}]},
    ]))
    .unwrap_err();
    assert!(
        errors[0].starts_with(
            "spec.kprobes[0].selectors[1].matchActions[0].action: GetUrl is not supported"
        ),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("spec.kprobes[0].selectors[1].matchActions[1].rateLimit: "),
        "{errors:?}"
    );
    assert!(
        errors[2].starts_with("spec.kprobes[0].selectors[1].matchActions[1].kernelStackTrace: "),
        "{errors:?}"
    );
    assert_eq!(errors.len(), 3);
}

#[test]
fn every_selector_block_that_is_not_built_is_refused() {
    let blocks = json!({
        "label": "x",
        "macros": ["m"],
        "matchData": [{"index": 0, "operator": "Equal", "values": ["1"]}],
        "matchPIDs": [{"operator": "In", "values": [1]}],
        "matchParentBinaries": [{"operator": "In", "values": ["/bin/sh"]}],
        "matchNamespaces": [{"namespace": "Pid", "operator": "In", "values": ["host_ns"]}],
        "matchNamespaceChanges": [{"operator": "In", "values": ["Pid"]}],
        "matchCapabilities": [{"operator": "In", "values": ["CAP_CHOWN"]}],
        "matchCapabilityChanges": [{"operator": "In", "values": ["CAP_CHOWN"]}],
        "matchWorkloads": [{"podSelector": {}}],
    });
    for (block, value) in blocks.as_object().unwrap() {
        let errors = with_selectors(json!([{block.as_str(): value}])).unwrap_err();
        assert_eq!(
            errors,
            [format!("spec.kprobes[0].selectors[0].{block}: {block} is not supported")]
        );
    }
}

#[test]
fn numbers_are_read_in_every_form_and_checked_against_their_type() {
    let equal = |value| Ok(Test::Range { negate: false, ranges: vec![value..=value] });
    assert_eq!(int("Equal", &["4"]), equal(4));
    assert_eq!(int("Equal", &["0x1F"]), equal(31));
    assert_eq!(int("Equal", &["017"]), equal(15));
    assert_eq!(int("Equal", &["-1"]), equal(-1));
    assert_eq!(
        int("GT", &["0"]),
        Ok(Test::Range { negate: false, ranges: vec![1..=i128::from(i32::MAX)] })
    );
    assert_eq!(
        int("LessThan", &["0"]),
        Ok(Test::Range { negate: false, ranges: vec![i128::from(i32::MIN)..=-1] })
    );
    assert_eq!(
        int("NotInRange", &["1:3", "0x10:0x20"]),
        Ok(Test::Range { negate: true, ranges: vec![1..=3, 16..=32] })
    );
    assert_eq!(int("Mask", &["2", "0x40"]), Ok(Test::Mask { masks: vec![0x42] }));
    let wide =
        one_filter(json!({"index": 3, "operator": "Mask", "values": ["0xffffffffffffffff"]}));
    assert_eq!(wide, Ok(Test::Mask { masks: vec![u64::MAX] }));

    for (operator, values, message) in [
        (
            "Equal",
            &["2147483648"][..],
            r#"@.values[0]: "2147483648" is out of range for int: -2147483648 to 2147483647"#,
        ),
        (
            "Equal",
            &["1", "x"],
            r#"@.values[1]: "x" is not a number: write it in decimal, as 0x1f or as 017"#,
        ),
        (
            "Equal",
            &["--1"],
            r#"@.values[0]: "--1" is not a number: write it in decimal, as 0x1f or as 017"#,
        ),
        (
            "Equal",
            &["089"],
            r#"@.values[0]: "089" is not a number: write it in decimal, as 0x1f or as 017"#,
        ),
        ("Equal", &[], "@: values is missing: list what the argument is compared with"),
        ("GT", &["2147483647"], "@.values[0]: no int is greater than 2147483647"),
        ("GT", &["1", "2"], "@.values[1]: this operator takes one value"),
        ("InRange", &["7"], r#"@.values[0]: "7" is not a range: write min:max, for example 1:10"#),
        (
            "InRange",
            &["7:3"],
            r#"@.values[0]: "7:3" is an empty range: its first number is the larger one"#,
        ),
        ("Mask", &["0"], r#"@.values[0]: "0" has no bit set and would never match"#),
        (
            "DPort",
            &["80"],
            "@.operator: DPort does not apply to an argument of type int, which takes Equal, NotEqual, GT, LT, InRange, NotInRange or Mask",
        ),
        (
            "InMap",
            &["1"],
            "@.operator: InMap is not supported; an argument of type int takes Equal, NotEqual, GT, LT, InRange, NotInRange or Mask",
        ),
    ] {
        assert_eq!(int(operator, values), Err(message.to_owned()));
    }
    let many: Vec<_> = (0..17).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(int("Equal", &many).unwrap_err().starts_with("@.values: 17 values, at most 16"));
}

#[test]
fn text_loses_its_trailing_zero_for_strings_only() {
    let string =
        one_filter(json!({"index": 4, "operator": "Equal", "values": ["/etc/passwd\u{0}"]}));
    let values = vec!["/etc/passwd".to_owned()];
    assert_eq!(string, Ok(Test::Text { place: TextPlace::Equal, negate: false, values }));
    let file = one_filter(json!({"index": 0, "operator": "Equal", "values": ["/etc/passwd\u{0}"]}));
    assert_eq!(
        file.unwrap_err(),
        r#"@.values[0]: "/etc/passwd\0" holds a zero byte, which no path or string has: remove it"#
    );
    let long = "x".repeat(128);
    let postfix = one_filter(json!({"index": 0, "operator": "NotPostfix", "values": ["/a", long]}));
    assert_eq!(
        postfix.unwrap_err(),
        "@.values[1]: the value has 128 bytes, at most 127 are possible here"
    );
    assert!(one_filter(json!({"index": 0, "operator": "Prefix", "values": [""]})).is_err());
    assert!(one_filter(json!({"index": 0, "operator": "Mask", "values": ["1"]})).is_err());
}

#[test]
fn networks_may_be_addresses_but_not_placeholders() {
    let networks = vec![
        "127.0.0.1/32".parse().unwrap(),
        "10.0.0.0/8".parse().unwrap(),
        "::1/128".parse().unwrap(),
    ];
    assert_eq!(
        sock("NotDAddr", &["127.0.0.1", "10.1.2.3/8", "::1"]),
        Ok(Test::Addr { side: Side::Destination, negate: true, networks })
    );
    assert_eq!(
        sock("SAddr", &["10.0.0.0/8", "${PODCIDR}"]).unwrap_err(),
        r#"@.values[1]: "${PODCIDR}" is not a network: replace the placeholder, for example with 10.244.0.0/16"#
    );
    assert!(sock("SAddr", &["10.0.0.0/33"]).is_err());
}

#[test]
fn ports_and_names_of_sockets() {
    let port = |side, negate, ranges| Ok(Test::Port { side, negate, ranges });
    assert_eq!(
        sock("DPort", &["80", "8000:8080"]),
        port(Side::Destination, false, vec![80..=80, 8000..=8080])
    );
    assert_eq!(sock("NotSPortPriv", &[]), port(Side::Source, true, vec![0..=1023]));
    assert_eq!(
        sock("Family", &["AF_INET6", "2"]),
        Ok(Test::Family { values: vec![10..=10, 2..=2] })
    );
    assert_eq!(sock("Protocol", &["IPPROTO_TCP"]), Ok(Test::Protocol { values: vec![6..=6] }));
    assert_eq!(sock("State", &["TCP_SYN_SENT"]), Ok(Test::State { values: vec![2..=2] }));
    assert_eq!(
        sock("Protocol", &["IPPROTO_TPC"]).unwrap_err(),
        r#"@.values[0]: "IPPROTO_TPC" is no protocol: write its number or its name, for example IPPROTO_TCP"#
    );
    assert!(sock("DPort", &["65536"]).is_err());
    assert!(sock("DPortPriv", &["80"]).is_err());
    assert!(sock("State", &["13"]).is_err());
    assert!(
        sock("Equal", &["1"])
            .unwrap_err()
            .starts_with("@.operator: Equal does not apply to an argument of type sock")
    );
}

#[test]
fn filters_find_their_argument_by_index_or_by_position() {
    let policy = compile(json!({"kprobes": [{
        "call": "f", "syscall": false,
        "args": [{"index": 3, "type": "string"}, {"index": 1, "type": "nop"}, {"index": 0, "type": "int"}],
        "selectors": [{"matchArgs": [
            {"index": 0, "operator": "Equal", "values": ["1"]},
            {"args": [0], "index": 9, "operator": "Prefix", "values": ["/x"]},
        ]}],
    }]}))
    .unwrap();
    let filters = &policy.hooks[0].selectors[0].args;
    assert_eq!((filters[0].arg, filters[1].arg), (2, 0));

    let errors = with_selectors(json!([{"matchArgs": [
        {"index": 5, "operator": "Equal", "values": ["1"]},
        {"args": [5], "operator": "Equal", "values": ["1"]},
        {"args": [0, 1], "operator": "Equal", "values": ["1"]},
        {"operator": "Equal", "values": ["1"]},
    ]}]))
    .unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].contains("matchArgs[0].index: the hook records no argument 5"));
}

#[test]
fn return_filters_need_a_return_value() {
    let errors = compile(json!({"kprobes": [{
        "call": "f", "syscall": false,
        "selectors": [{"matchReturnArgs": [{"index": 0, "operator": "Equal", "values": ["0"]}]}],
    }]}))
    .unwrap_err();
    assert_eq!(
        errors,
        [
            "spec.kprobes[0].selectors[0].matchReturnArgs[0]: matchReturnArgs needs return: true and a returnArg in the hook"
        ]
    );
    let errors =
        compile(json!({"kprobes": [{"call": "f", "syscall": false, "return": true}]})).unwrap_err();
    assert!(errors[0].starts_with("spec.kprobes[0].return: return: true needs returnArg"));
}

#[test]
fn a_message_is_cut_at_256_bytes_between_characters() {
    let message = "ä".repeat(200);
    let policy = compile(
        json!({"kprobes": [{"call": "f", "syscall": false, "message": format!("x{message}")}]}),
    )
    .unwrap();
    let cut = policy.hooks[0].message.as_ref().unwrap();
    assert_eq!(cut.len(), 255);
    assert!(cut.ends_with('ä'));
}

#[test]
fn an_empty_policy_is_refused() {
    assert!(compile(json!({})).unwrap_err()[0].starts_with("spec: the policy has no hook"));
}
