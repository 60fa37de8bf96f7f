//! Bodies of calls; see the module documentation of [`super`] for their fields.

use serde_json::{Map, Value, json};

use super::call::Call;

/// The fields that are there, in the order given.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Of a webhook.
#[must_use]
pub fn webhook(call: &Call) -> Value {
    let (facts, hit) = (&call.facts, &call.hit);
    object([
        ("alert", Some(json!(facts.name))),
        ("severity", Some(json!(facts.severity))),
        ("watch", Some(json!(facts.watch))),
        ("stream", facts.stream.as_ref().map(|s| json!(s))),
        ("message", Some(json!(hit.message))),
        ("rule", Some(json!(facts.rule))),
        ("node", Some(json!(hit.node))),
        ("time", Some(json!(hit.time_text))),
        ("event_type", Some(json!(hit.event_type))),
        ("event_id", Some(json!(hit.event_id))),
        ("namespace", hit.namespace.as_ref().map(|v| json!(v))),
        ("pod", hit.pod.as_ref().map(|v| json!(v))),
        ("binary", hit.binary.as_ref().map(|v| json!(v))),
        ("call", Some(json!(call.number))),
        ("hits", Some(json!(call.hits))),
    ])
}

/// Of a Slack incoming webhook.
#[must_use]
pub fn slack(call: &Call) -> Value {
    let (facts, hit) = (&call.facts, &call.hit);
    let mut text = format!(
        "*{}* ({})\n{}\nnode {}, {}, watch {}",
        slack_text(&facts.name),
        facts.severity,
        slack_text(&hit.message),
        slack_text(&hit.node),
        hit.time_text,
        slack_text(&facts.watch)
    );
    if let Some(stream) = &facts.stream {
        text.push_str(&format!(
            ", stream {}, event {}",
            slack_text(stream),
            slack_text(&hit.event_id)
        ));
    }
    if call.number > 1 {
        text.push_str(&format!("\ncall {}, {} events since the last", call.number, call.hits));
    }
    json!({ "text": text })
}

/// Slack reads `<…>` as links and mentions: what a process chose must not ring a channel.
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Of an Alertmanager.
#[must_use]
pub fn alertmanager(call: &Call) -> Value {
    let (facts, hit) = (&call.facts, &call.hit);
    let labels = object([
        ("alertname", Some(json!(facts.name))),
        ("severity", Some(json!(facts.severity))),
        ("watch", Some(json!(facts.watch))),
        ("stream", facts.stream.as_ref().map(|s| json!(s))),
        ("node", Some(json!(hit.node))),
        ("namespace", hit.namespace.as_ref().map(|v| json!(v))),
        ("pod", hit.pod.as_ref().map(|v| json!(v))),
        ("binary", hit.binary.as_ref().map(|v| json!(v))),
    ]);
    let annotations = object([
        ("message", Some(json!(hit.message))),
        ("rule", Some(json!(facts.rule))),
        ("event_id", Some(json!(hit.event_id))),
        ("hits", Some(json!(call.hits.to_string()))),
    ]);
    json!([{ "labels": labels, "annotations": annotations, "startsAt": hit.time_text }])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alerting::{AlertFacts, Hit};

    fn call() -> Call {
        Call {
            facts: Arc::new(AlertFacts {
                watch: "egress".into(),
                stream: Some("tetrademo".into()),
                name: "wget_command".into(),
                severity: "high",
                rule: "(a = \"b\")".into(),
            }),
            hit: Hit {
                message: "wget from <!channel> & web-0".into(),
                time_text: "2026-11-22T02:35:12.5Z".into(),
                node: "n1".into(),
                event_type: "process_exec".into(),
                event_id: "r1-7".into(),
                pod: Some("web-0".into()),
                ..Hit::default()
            },
            number: 2,
            hits: 7,
            at_once: false,
        }
    }

    #[test]
    fn a_webhook_gets_every_field_and_none_that_is_empty() {
        assert_eq!(
            webhook(&call()),
            json!({
                "alert": "wget_command", "severity": "high", "watch": "egress", "stream": "tetrademo",
                "message": "wget from <!channel> & web-0", "rule": "(a = \"b\")", "node": "n1",
                "time": "2026-11-22T02:35:12.5Z", "event_type": "process_exec", "event_id": "r1-7",
                "pod": "web-0", "call": 2, "hits": 7
            })
        );
    }

    #[test]
    fn slack_cannot_be_made_to_mention_a_channel() {
        let body = slack(&call());
        let text = body["text"].as_str().unwrap_or_default();
        assert!(text.contains("wget from &lt;!channel&gt; &amp; web-0"), "{text}");
        assert!(
            text.starts_with("*wget_command* (high)\n") && text.contains("7 events since"),
            "{text}"
        );
    }

    #[test]
    fn an_alertmanager_gets_labels_that_say_which_one() {
        let body = alertmanager(&call());
        assert_eq!(
            body,
            json!([{
                "labels": {"alertname": "wget_command", "severity": "high", "watch": "egress", "stream": "tetrademo",
                           "node": "n1", "pod": "web-0"},
                "annotations": {"message": "wget from <!channel> & web-0", "rule": "(a = \"b\")", "event_id": "r1-7",
                                "hits": "7"},
                "startsAt": "2026-11-22T02:35:12.5Z"
            }])
        );
    }
}
