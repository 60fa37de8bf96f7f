#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use super::{Document, Kind, load, load_all};
use crate::v1alpha1::Severity;
use crate::watch::{Receiver, UrlSource};

/// The errors as a user sees them, without the closing count.
fn errors(text: &str) -> Vec<String> {
    let errors = load("a.yaml", text).expect_err("the file is refused");
    errors.errors.iter().map(ToString::to_string).collect()
}

fn one(text: &str) -> Document {
    let mut documents = load("a.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

const POLICY: &str = r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: connect
spec:
  kprobes:
  - call: tcp_connect
    syscall: false
    args:
    - {index: 0, type: sock}
    selectors:
    - matchArgs:
      - index: 0
        operator: NotDAddr
        values:
        - 127.0.0.1
        - "${PODCIDR}"
"#;

fn policy() -> String {
    POLICY.replace("${PODCIDR}", "10.244.0.0/16")
}

#[test]
fn a_placeholder_is_reported_at_its_line_and_column() {
    assert_eq!(
        errors(POLICY),
        [
            "a.yaml:17:11  spec.kprobes[0].selectors[0].matchArgs[0].values[1]\n   \"${PODCIDR}\" is not a network: replace the placeholder, for example with 10.244.0.0/16"
        ]
    );
    let shown = load("a.yaml", POLICY).unwrap_err().to_string();
    assert!(shown.ends_with("\nrefused: 1 error"), "{shown}");
}

#[test]
fn a_policy_is_read_from_yaml_and_from_json() {
    let document = one(&policy());
    assert_eq!(
        (document.kind, document.title().as_str()),
        (Kind::TracingPolicy, "TracingPolicy/connect")
    );
    assert_eq!(document.policy.as_ref().unwrap().hooks.len(), 1);
    let json = r#"{"apiVersion":"cilium.io/v1alpha1","kind":"TracingPolicyNamespaced",
	"metadata":{"name":"p","namespace":"shop"},
	"spec":{"kprobes":[{"call":"sys_openat","message":"\ud83d\ude80 \/"}]}}"#;
    let document = one(json);
    assert_eq!(document.title(), "TracingPolicyNamespaced/shop/p");
    assert_eq!(document.policy.unwrap().hooks[0].message.as_deref(), Some("🚀 /"));
}

#[test]
fn shape_mistakes_are_all_reported_with_what_to_write() {
    let text = r#"apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: x}
spec:
  kprobe: []
  kprobes:
    call: f
  options:
  - {name: disable-kprobe-multi, value: 1}
  tracepoints:
  - subsystem: raw_syscalls
    args: [{index: "0", type: in}]
  lsmhooks:
  - hook: f
    selectors:
    - matchArgs:
      - {index: 99, operator: Equals, value: ["1"]}
      - {index: 1, operator: true}
"#;
    let expected = [
        "a.yaml:5:3  spec.kprobe\n   unknown field \"kprobe\": did you mean kprobes?",
        "a.yaml:7:5  spec.kprobes\n   a map is given, a list is expected: begin each item with \"- \"",
        "a.yaml:9:41  spec.options[0].value\n   1 is a number, a string is expected: write \"1\"",
        "a.yaml:11:5  spec.tracepoints[0].event\n   event is missing",
        "a.yaml:12:20  spec.tracepoints[0].args[0].index\n   \"0\" is a string, a number is expected: write 0",
        "a.yaml:12:31  spec.tracepoints[0].args[0].type\n   \"in\" is not known: did you mean int?",
        "a.yaml:17:17  spec.lsmhooks[0].selectors[0].matchArgs[0].index\n   99 is out of range: 0 to 31",
        "a.yaml:17:31  spec.lsmhooks[0].selectors[0].matchArgs[0].operator\n   \"Equals\" is not known: did you mean Equal?",
        "a.yaml:17:39  spec.lsmhooks[0].selectors[0].matchArgs[0].value\n   unknown field \"value\": did you mean values?",
        "a.yaml:18:30  spec.lsmhooks[0].selectors[0].matchArgs[1].operator\n   true is a boolean, a string is expected: write \"true\"",
    ];
    assert_eq!(errors(text), expected);
}

#[test]
fn envelope_mistakes() {
    for (text, expected) in [
        (
            "",
            "a.yaml:1:1\n   the file holds no document: write a SecurityWatch, a ClusterSecurityWatch or a TracingPolicy",
        ),
        (
            "# nothing\n---\n---\n",
            "a.yaml:1:1\n   the file holds no document: write a SecurityWatch, a ClusterSecurityWatch or a TracingPolicy",
        ),
        ("- a", "a.yaml:1:1\n   a document is a map with apiVersion, kind, metadata and spec"),
        (
            "a: [",
            "a.yaml:2:1\n   this is not YAML: while parsing a node, did not find expected node content",
        ),
        (
            "kind: SecurityWach",
            "a.yaml:1:7  kind\n   \"SecurityWach\" is not known: did you mean SecurityWatch?",
        ),
        (
            "kind: Pod",
            "a.yaml:1:7  kind\n   \"Pod\" cannot be read here: one of SecurityWatch, ClusterSecurityWatch, TracingPolicy, TracingPolicyNamespaced",
        ),
        ("a: 1\nb: 2\na: 3", "a.yaml:3:1\n   \"a\" stands twice in the same map: remove one"),
        (
            "{apiVersion: v1, kind: SecurityWatch, metadata: {name: a}, spec: {}}",
            "a.yaml:1:14  apiVersion\n   v1 has no kind SecurityWatch: write securitywatch.io/v1alpha1",
        ),
        (
            "{apiVersion: cilium.io/v1alpha1, kind: TracingPolicy, metadata: {name: A_b}, spec: {}}",
            "a.yaml:1:72  metadata.name\n   an object's name has lower-case letters, digits, - and . and begins and ends with a letter or digit",
        ),
        (
            "{apiVersion: cilium.io/v1alpha1, kind: TracingPolicy, metadata: {name: a}, spec: {}, sped: 1}",
            "a.yaml:1:86  sped\n   unknown field \"sped\": did you mean spec?",
        ),
    ] {
        assert_eq!(errors(text)[0], expected, "{text}");
    }
}

#[test]
fn several_documents_and_several_files() {
    let two = format!("{}---\n{}", policy(), policy().replace("name: connect", "name: other"));
    assert_eq!(load("a.yaml", &two).unwrap().len(), 2);
    let twins = format!("{}---\n{}", policy(), policy());
    assert_eq!(
        errors(&twins),
        [
            "a.yaml:22:9  metadata.name\n   TracingPolicy/connect was defined before, at a.yaml:1: rename or remove one"
        ]
    );
    let both =
        load_all([("a.yaml", policy().as_str()), ("b.yaml", policy().as_str())]).unwrap_err();
    assert_eq!(both.errors[0].file, "b.yaml");
    // What stands before a syntax error is still judged.
    let broken = format!("{POLICY}---\na: [");
    assert_eq!(errors(&broken).len(), 2);
}

const WATCH: &str = r#"apiVersion: securitywatch.io/v1alpha1
kind: ClusterSecurityWatch
metadata: {name: egress}
spec:
  target:
    parseable:
      url: https://parseable.example.org/base/
      stream: tetrademo
      retention: 30d
      credentials: {secretName: admin}
      ingestCredentials: {secretName: ingest}
  alerts:
  - name: curl_command
    severity: high
    message: "curl in {process_exec_process_pod_name}"
    rule: (process_exec_process_binary =% "/usr/bin/curl")
    targets:
    - webhook: {urlFrom: {secretName: oncall, key: url}, headers: {X-Team: blue}, skipTlsCheck: true}
      repeat: {interval: 1m30s, times: 5}
    - slack: {urlFrom: {secretName: oncall, key: slack}}
    - alertmanager: {urlFrom: {secretName: oncall, key: am}, credentials: {secretName: am}}
"#;

#[test]
fn a_watch_without_policy_is_read_in_full() {
    let document = one(WATCH);
    assert_eq!(document.policy, None);
    assert!(!document.suspended);
    let parseable = document.parseable.unwrap();
    assert_eq!(parseable.url.as_str(), "https://parseable.example.org/base");
    assert_eq!((parseable.stream.as_str(), parseable.retention_days), ("tetrademo", Some(30)));
    assert_eq!(parseable.shipping_credentials().unwrap().secret_name, "ingest");
    let alert = &document.alerts[0];
    assert_eq!((alert.name.as_str(), alert.severity), ("curl_command", Severity::High));
    assert_eq!(alert.path.as_str(), "spec.alerts[0]");
    let repeat = alert.targets[0].repeat.unwrap();
    assert_eq!((repeat.interval, repeat.times), (Duration::from_secs(90), 5));
    assert!(
        matches!(&alert.targets[0].receiver, Receiver::Webhook { skip_tls_check: true, headers, .. } if headers["X-Team"].expose() == "blue")
    );
    assert_eq!(alert.targets[1].repeat, None);
    assert!(matches!(alert.targets[2].receiver, Receiver::Alertmanager { login: Some(_), .. }));
    let suspended = WATCH.replace("spec:\n", "spec:\n  suspend: true\n");
    assert!(one(&suspended).suspended);
}

#[test]
fn the_rules_of_the_crd_hold_for_files_too() {
    for (from, to, expected) in [
        (
            "retention: 30d",
            "retention: 30h",
            "a.yaml:9:18  spec.target.parseable.retention\n   retention is a number of days, for example 30d",
        ),
        (
            "retention: 30d",
            "retention: 0d",
            "a.yaml:9:18  spec.target.parseable.retention\n   retention is from 1d to 36500d",
        ),
        (
            "stream: tetrademo",
            "stream: tetra-demo",
            "a.yaml:8:15  spec.target.parseable.stream\n   a stream's name has lower-case letters, digits and _ and begins with a letter, for example tetrademo",
        ),
        (
            "https://parseable.example.org/base/",
            "https://me:pw@example.org",
            "a.yaml:7:12  spec.target.parseable.url\n   url begins with http:// or https:// and holds no user name, query or fragment, for example http://parseable.parseable.svc",
        ),
        (
            "secretName: admin",
            "secretName: ../admin",
            "a.yaml:10:33  spec.target.parseable.credentials.secretName\n   an object's name has lower-case letters, digits, - and . and begins and ends with a letter or digit",
        ),
        (
            "key: slack",
            "key: ..",
            "a.yaml:20:50  spec.alerts[0].targets[1].slack.urlFrom.key\n   a Secret's key has letters, digits, -, _ and . and neither begins nor ends with a dot",
        ),
        (
            "interval: 1m30s",
            "interval: 25h",
            "a.yaml:19:26  spec.alerts[0].targets[0].repeat.interval\n   interval is a time from 1s to 24h in hours, minutes and seconds, for example 10s or 1h30m",
        ),
        (
            "interval: 1m30s",
            "interval: 0s",
            "a.yaml:19:26  spec.alerts[0].targets[0].repeat.interval\n   interval is a time from 1s to 24h in hours, minutes and seconds, for example 10s or 1h30m",
        ),
        (
            "times: 5",
            "times: 0",
            "a.yaml:19:40  spec.alerts[0].targets[0].repeat.times\n   0 is out of range: 1 to 1000",
        ),
        (
            "(process_exec_process_binary =% \"/usr/bin/curl\")",
            "(process_exec_process_binary =~ \"/usr/bin/curl\")",
            "a.yaml:16:11  spec.alerts[0].rule\n   column 30: expected one of = != =% !% ~ < <= > >=, found \"=~\"; a regular expression is ~\n   (process_exec_process_binary =~ \"/usr/bin/curl\")\n                                ^^",
        ),
        (
            "{process_exec_process_pod_name}",
            "{process_exec_process_pod_name",
            "a.yaml:15:14  spec.alerts[0].message\n   column 9: expected a } after the column's name, found the end of the message; a brace itself is written {{\n   curl in {process_exec_process_pod_name\n           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        ),
        (
            "=% \"/usr/bin/curl\"",
            "~ \"(\"",
            "a.yaml:16:11  spec.alerts[0].rule\n   column process_exec_process_binary: the regular expression \"(\" is not valid: unclosed group",
        ),
        (
            "slack: {urlFrom: {secretName: oncall, key: slack}}",
            "repeat: {interval: 10s, times: 1}",
            "a.yaml:20:7  spec.alerts[0].targets[1]\n   a target is exactly one of webhook, slack or alertmanager",
        ),
        (
            "X-Team: blue",
            "X Team: blue",
            "a.yaml:18:76  spec.alerts[0].targets[0].webhook.headers.X Team\n   not a header's name: it has letters, digits and -",
        ),
        (
            "severity: high",
            "severity: bad",
            "a.yaml:14:15  spec.alerts[0].severity\n   \"bad\" is not known: one of critical, high, medium, low",
        ),
        (
            "spec:\n",
            "spec:\n  tracingPolicy: {ref: {kind: TracingPolicy, name: x}}\n",
            "a.yaml:5:24  spec.tracingPolicy.ref\n   ref names an object in a cluster, and a file is read without one: write the policy itself under spec",
        ),
        (
            "spec:\n",
            "spec:\n  tracingPolicy: {}\n",
            "a.yaml:5:18  spec.tracingPolicy\n   tracingPolicy needs either spec (the policy itself) or ref (an existing object), not both",
        ),
        (
            "spec:\n",
            "spec:\n  events: {deny: [{namespace: [x]}]}\n",
            "a.yaml:5:18  spec.events.deny\n   deny is not supported: every event in the watch's scope leaves the node as it is",
        ),
    ] {
        let text = WATCH.replace(from, to);
        assert_ne!(text, WATCH);
        assert_eq!(errors(&text), [expected], "{to}");
    }
    let (head, alert) = WATCH.split_at(WATCH.find("  - name").unwrap());
    let twice = format!("{head}{alert}{alert}");
    assert_eq!(
        errors(&twice),
        [
            "a.yaml:22:11  spec.alerts[1].name\n   \"curl_command\" is taken by an earlier item of the list"
        ]
    );
}

#[test]
fn yaml_subtleties() {
    // An anchor repeats a value; positions are those of the alias.
    let text = WATCH
        .replace("retention: 30d", "retention: &t 30d")
        .replace("stream: tetrademo", "stream: tetra");
    assert_eq!(one(&text).parseable.unwrap().retention_days, Some(30));
    let text = format!("{}  - &a a\n  - *a\n", WATCH);
    assert!(errors(&text)[1].contains("a.yaml:23:5  spec.alerts[2]\n"), "{:?}", errors(&text));
    // A null field is absent.
    assert!(
        one(&WATCH.replace("retention: 30d", "retention:"))
            .parseable
            .unwrap()
            .retention_days
            .is_none()
    );
    // Aliases cannot blow up, and depth is bounded.
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..30 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
    }
    assert!(errors(&bomb)[0].contains("more than 200000 values"), "{:?}", errors(&bomb));
    assert!(errors(&"[".repeat(70))[0].contains("nested"));
    assert!(errors(&"- ".repeat(70))[0].contains("nested"));
    assert!(errors(&"x".repeat(2 << 20))[0].contains("at most"));
    assert!(errors("a: !Ref x")[0].contains("means nothing here"));
    assert!(errors("? [a]\n: b")[0].contains("a field's name"));
    assert!(errors("a: *b")[0].contains("a.yaml:1:"));
    // A byte order mark and Windows line ends.
    let dos = format!("\u{feff}{}", policy().replace('\n', "\r\n"));
    assert_eq!(one(&dos).kind, Kind::TracingPolicy);
}

const V1: &str = r#"{
  "version": "v1",
  "alerts": [
    {
      "name": "wget_command",
      "message": "wget in {process_exit_process_pod_name}",
      "rule": {"type": "composite", "config": "(process_exit_process_binary =% \"/usr/bin/wget\")"},
      "targets": [
        {"type": "webhook", "endpoint": "https://hooks.example.org/T0KEN", "headers": {"A": "S3CRET"},
         "skip_tls_check": false, "repeat": {"interval": "10s", "times": 5}},
        {"type": "slack", "endpoint": "https://hooks.example.org/T0KEN"},
        {"type": "alertmanager", "endpoint": "http://am/T0KEN", "username": "u", "password": "S3CRET",
         "repeat": {"interval": "1m 30s", "times": 3}}
      ]
    }
  ]
}"#;

#[test]
fn v1_alerts_are_converted_and_keep_their_secrets() {
    let documents = load("dir/egress-alerts.json", V1).unwrap();
    let [document] = documents.as_slice() else { panic!("one document") };
    assert_eq!(document.title(), "v1 alerts/egress-alerts");
    let targets = &document.alerts[0].targets;
    let repeats: Vec<_> = targets
        .iter()
        .map(|target| target.repeat.map(|r| (r.interval.as_secs(), r.times)))
        .collect();
    assert_eq!(repeats, [Some((10, 5)), Some((200, 5)), Some((90, 3))]);
    assert!(
        matches!(&targets[0].receiver, Receiver::Webhook { url: UrlSource::Inline(url), .. } if url.expose().path() == "/T0KEN")
    );
    let shown = format!("{document:?}");
    assert!(
        !shown.contains("T0KEN") && !shown.contains("S3CRET") && !shown.contains("hooks.example"),
        "{shown}"
    );
}

#[test]
fn v1_rules_come_as_text_as_a_tree_or_as_one_comparison() {
    let text =
        r#"{"type": "composite", "config": "(process_exit_process_binary =% \"/usr/bin/wget\")"}"#;
    let rule = |rule: &str| one(&V1.replace(text, rule)).alerts[0].rule.to_text().unwrap();
    let written = rule(text);
    assert_eq!(written, r#"process_exit_process_binary =% "/usr/bin/wget""#);
    let tree = r#"{"type": "composite", "config": {"string":
        {"column": "process_exit_process_binary", "operator": "=%", "value": "/usr/bin/wget"}}}"#;
    assert_eq!(rule(tree), written);
    let column = r#"{"type": "column", "config":
        {"column": "process_exit_process_binary", "value": "/usr/bin/wget", "repeats": 1}}"#;
    assert_eq!(rule(column), written);
}

#[test]
fn v1_mistakes_do_not_repeat_secrets() {
    for (from, to, expected) in [
        (
            "https://hooks.example.org/T0KEN\", \"h",
            "webhook.site_custom_endpoint\", \"h",
            "a.yaml:9:41  alerts[0].targets[0].endpoint\n   not an http or https URL: write the receiver's address, for example https://example.org/hook",
        ),
        (
            "\"S3CRET\",\n",
            "12345,\n",
            "a.yaml:12:94  alerts[0].targets[2].password\n   a number is given, a string is expected",
        ),
        (
            "\"version\": \"v1\"",
            "\"version\": \"v2\"",
            "a.yaml:2:14  version\n   \"v2\" is not known: one of v1",
        ),
        (
            "\"slack\",",
            "\"slack\", \"username\": \"x\",",
            "a.yaml:11:39  alerts[0].targets[1].username\n   a target of this type has no username",
        ),
        (
            "=% \\\"/usr",
            "=~ \\\"/usr",
            "a.yaml:7:47  alerts[0].rule.config\n   column 30: expected one of = != =% !% ~ < <= > >=, found \"=~\"; a regular expression is ~\n   (process_exit_process_binary =~ \"/usr/bin/wget\")\n                                ^^",
        ),
        (
            r#"{"type": "composite", "config": "(process_exit_process_binary =% \"/usr/bin/wget\")"}"#,
            r#"{"type": "column", "config": {"column": "a", "value": "b", "repeats": 2}}"#,
            "a.yaml:7:85  alerts[0].rule.config.repeats\n   2 consecutive matches are not supported, each event is judged alone; use 1",
        ),
        (
            "\"type\": \"composite\"",
            "\"type\": \"colum\"",
            "a.yaml:7:24  alerts[0].rule.type\n   unknown variant `colum`, expected `column` or `composite`",
        ),
        (
            ", \"times\": 3",
            "",
            "a.yaml:13:20  alerts[0].targets[2].repeat.times\n   without times this target would be called for ever: say how often",
        ),
        (
            "skip_tls_check",
            "skipTlsCheck",
            "a.yaml:10:10  alerts[0].targets[0].skipTlsCheck\n   unknown field \"skipTlsCheck\": did you mean skip_tls_check?",
        ),
    ] {
        let text = V1.replace(from, to);
        assert_ne!(text, V1, "{from}");
        assert_eq!(errors(&text), [expected]);
    }
}

#[test]
fn a_field_is_found_again_in_the_text() {
    use super::{Position, locate};

    let text = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: a}\nspec:\n  kprobes:\n  - call: tcp_connect\n    syscall: false\n---\napiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: b}\nspec:\n  kprobes: [{call: tcp_close, syscall: false}]\n";
    let documents = load("a.yaml", text).unwrap();
    let call =
        crate::field::FieldPath::root().field("spec").field("kprobes").index(0).field("call");
    let places: Vec<_> = documents.iter().map(|document| locate(text, document, &call)).collect();
    assert_eq!(places, [Position { line: 6, column: 11 }, Position { line: 13, column: 20 }]);
    assert_eq!(locate("", &documents[1], &call), documents[1].position);
}
