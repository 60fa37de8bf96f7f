//! Rules on texts, judged twice by the same pattern: by the API server as CEL, and by us where a file
//! is read without one.

use regex::Regex;
use serde_json::{Value, json};

/// A pattern a text must match, and what to say when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRule {
    /// A regular expression in the syntax that RE2 and the regex crate share.
    pub pattern: &'static str,
    /// A sentence with an example.
    pub message: &'static str,
}

impl TextRule {
    /// The value of `x-kubernetes-validations`.
    pub(super) fn validations(self) -> Value {
        json!([{"rule": format!("self.matches(r'{}')", self.pattern), "message": self.message}])
    }

    /// Whether `text` is as it must be.
    #[must_use]
    pub fn allows(self, text: &str) -> bool {
        Regex::new(self.pattern).is_ok_and(|pattern| pattern.is_match(text))
    }
}

/// `target.parseable.retention`.
pub const RETENTION: TextRule = TextRule {
    pattern: "^[0-9]+d$",
    message: "retention is a number of days, for example 30d",
};

/// `target.parseable.stream`.
pub const STREAM: TextRule = TextRule {
    pattern: "^[a-z][a-z0-9_]*$",
    message: "a stream's name has lower-case letters, digits and _ and begins with a letter, for example tetrademo",
};

/// `target.parseable.url`.
pub const URL: TextRule = TextRule {
    pattern: "^https?://[^ /?#@]+(/[^ ?#@]*)?$",
    message: "url begins with http:// or https:// and holds no user name, query or fragment, for example http://parseable.parseable.svc",
};

/// The name of a Secret or a policy.
pub const OBJECT_NAME: TextRule = TextRule {
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    message: "an object's name has lower-case letters, digits, - and . and begins and ends with a letter or digit",
};

/// A key of a Secret. Not `..` either: standalone, keys are file names.
pub const SECRET_KEY: TextRule = TextRule {
    pattern: "^[-_a-zA-Z0-9]([-._a-zA-Z0-9]*[-_a-zA-Z0-9])?$",
    message: "a Secret's key has letters, digits, -, _ and . and neither begins nor ends with a dot",
};

/// `alerts[].name`.
pub const ALERT_NAME: TextRule = TextRule {
    pattern: "^[^ \\t\\r\\n]([^\\r\\n]*[^ \\t\\r\\n])?$",
    message: "an alert's name is one line and neither begins nor ends with a blank",
};

/// The form of `repeat.interval`; its bounds are a rule of their own.
pub const INTERVAL: TextRule = TextRule {
    pattern: "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$",
    message: "interval is a time from 1s to 24h in hours, minutes and seconds, for example 10s or 1h30m",
};

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
