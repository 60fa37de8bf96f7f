//! Rules on texts, judged twice by the same pattern: by the API server as CEL, and by us where a file
//! is read without one.

use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Value, json};

/// A pattern a text must match, and what to say when it does not.
#[derive(Debug)]
pub struct TextRule {
    /// A regular expression in the syntax that RE2 and the regex crate share.
    pub pattern: &'static str,
    /// A sentence with an example.
    pub message: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl TextRule {
    const fn new(pattern: &'static str, message: &'static str) -> Self {
        Self { pattern, message, compiled: OnceLock::new() }
    }

    /// The value of `x-kubernetes-validations`.
    pub(super) fn validations(&self) -> Value {
        json!([{"rule": format!("self.matches(r'{}')", self.pattern), "message": self.message}])
    }

    /// Whether `text` is as it must be.
    #[must_use]
    pub fn allows(&self, text: &str) -> bool {
        let pattern = self.compiled.get_or_init(|| Regex::new(self.pattern).ok());
        pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    }
}

/// `target.parseable.retention`.
pub static RETENTION: TextRule =
    TextRule::new("^[0-9]+d$", "retention is a number of days, for example 30d");

/// `target.parseable.stream`.
pub static STREAM: TextRule = TextRule::new(
    "^[a-z][a-z0-9_]*$",
    "a stream's name has lower-case letters, digits and _ and begins with a letter, for example tetrademo",
);

/// `target.parseable.url`.
pub static URL: TextRule = TextRule::new(
    "^https?://[^ /?#@]+(/[^ ?#@]*)?$",
    "url begins with http:// or https:// and holds no user name, query or fragment, for example http://parseable.parseable.svc",
);

/// The name of a Secret or a policy.
pub static OBJECT_NAME: TextRule = TextRule::new(
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "an object's name has lower-case letters, digits, - and . and begins and ends with a letter or digit",
);

/// A key of a Secret. Not `..` either: standalone, keys are file names.
pub static SECRET_KEY: TextRule = TextRule::new(
    "^[-_a-zA-Z0-9]([-._a-zA-Z0-9]*[-_a-zA-Z0-9])?$",
    "a Secret's key has letters, digits, -, _ and . and neither begins nor ends with a dot",
);

/// `alerts[].name`.
pub static ALERT_NAME: TextRule = TextRule::new(
    "^[^ \\t\\r\\n]([^\\r\\n]*[^ \\t\\r\\n])?$",
    "an alert's name is one line and neither begins nor ends with a blank",
);

/// The form of `repeat.interval`; its bounds are a rule of their own.
pub static INTERVAL: TextRule = TextRule::new(
    "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
    "interval is a time from 1s to 24h in hours, minutes and seconds, for example 10s or 1h30m",
);

/// `repeat.interval` as CEL: the form, then the bounds.
pub(super) fn interval_validations() -> Value {
    let rule = format!(
        "self.matches(r'{}') && duration(self) >= duration('1s') && duration(self) <= duration('24h')",
        INTERVAL.pattern
    );
    json!([{"rule": rule, "message": INTERVAL.message}])
}

/// `tracingPolicy`.
pub const ONE_POLICY: &str =
    "tracingPolicy needs either spec (the policy itself) or ref (an existing object), not both";

/// `alerts[].targets[]`.
pub const ONE_RECEIVER: &str = "a target is exactly one of webhook, slack or alertmanager";
