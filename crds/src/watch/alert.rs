//! `spec.alerts[]`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::alerting::ReceiverKind;
use crate::field::{FieldError, FieldPath};
use crate::rule::{self, Expr, Matcher, ParseError, Template};
use crate::secret::{Secret, SecretUrl};
use crate::v1alpha1::{
    AlertSpec, AlertTarget, AlertmanagerTarget, SecretKeyRef, SecretRef, Severity, WebhookTarget,
    rules,
};

/// Shortest and longest time between two calls.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// A rule over events, a message and whom to call when an event matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Where it stands in the document, for example `spec.alerts[0]`.
    pub path: FieldPath,
    /// Unique in the watch.
    pub name: String,
    /// `medium` when the document says nothing.
    pub severity: Severity,
    /// `{column}` stands for that column of the event.
    pub message: Template,
    /// When it fires.
    pub rule: Expr,
    /// At least one.
    pub targets: Vec<Target>,
}

/// One receiver, and how often it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it stands in the document, for example `spec.alerts[0].targets[0]`.
    pub path: FieldPath,
    /// Whom to call.
    pub receiver: Receiver,
    /// Calls after the first; `None`: there are none.
    pub repeat: Option<Repeat>,
}

/// Calls after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// From one call to the next.
    pub interval: Duration,
    /// How many, without the first call.
    pub times: u32,
}

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// Any HTTP endpoint.
    Webhook {
        /// Where.
        url: UrlSource,
        /// Sent with each call; valid as HTTP headers.
        headers: BTreeMap<String, Secret>,
        /// Accept any certificate.
        skip_tls_check: bool,
    },
    /// A Slack incoming webhook.
    Slack {
        /// Where.
        url: UrlSource,
    },
    /// A Prometheus Alertmanager.
    Alertmanager {
        /// Where.
        url: UrlSource,
        /// For a server that asks for them.
        login: Option<Login>,
        /// Accept any certificate.
        skip_tls_check: bool,
    },
}

impl Receiver {
    /// Which one it is.
    #[must_use]
    pub const fn kind(&self) -> ReceiverKind {
        match self {
            Self::Webhook { .. } => ReceiverKind::Webhook,
            Self::Slack { .. } => ReceiverKind::Slack,
            Self::Alertmanager { .. } => ReceiverKind::Alertmanager,
        }
    }
}

/// Where a receiver's URL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// A key of a Secret.
    Secret(SecretKeyRef),
    /// Written in a v1 alert document.
    Inline(SecretUrl),
}

/// Where a receiver's user name and password come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A Secret with keys `username` and `password`.
    Secret(SecretRef),
    /// Written in a v1 alert document.
    Inline {
        /// The user's name.
        username: String,
        /// The user's password.
        password: Secret,
    },
}

pub(super) fn check_all(
    list: &FieldPath,
    specs: &[AlertSpec],
    errors: &mut Vec<FieldError>,
) -> Vec<Alert> {
    let mut names = HashSet::new();
    let mut alerts = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let path = list.index(index);
        if !names.insert(spec.name.as_str()) {
            let message = format!("{:?} is taken by an earlier item of the list", spec.name);
            errors.push(FieldError::new(&path.field("name"), message));
        }
        alerts.extend(check(&path, spec, errors));
    }
    alerts
}

fn check(path: &FieldPath, spec: &AlertSpec, errors: &mut Vec<FieldError>) -> Option<Alert> {
    if !rules::ALERT_NAME.allows(&spec.name) {
        errors.push(FieldError::new(&path.field("name"), rules::ALERT_NAME.message));
    }
    if spec.targets.is_empty() {
        errors.push(FieldError::new(&path.field("targets"), "an alert needs at least one target"));
    }
    let message = message(&path.field("message"), &spec.message, errors);
    let rule = rule(&path.field("rule"), &spec.rule, errors);
    let list = path.field("targets");
    let targets = spec
        .targets
        .iter()
        .enumerate()
        .filter_map(|(index, target)| check_target(&list.index(index), target, errors))
        .collect();
    Some(Alert {
        path: path.clone(),
        name: spec.name.clone(),
        severity: spec.severity.unwrap_or_default(),
        message: message?,
        rule: rule?,
        targets,
    })
}

/// The one place where an alert's message gets its meaning.
pub(crate) fn message(
    path: &FieldPath,
    text: &str,
    errors: &mut Vec<FieldError>,
) -> Option<Template> {
    if text.trim().is_empty() {
        errors.push(FieldError::new(path, "the message is empty: say what happened"));
        return None;
    }
    Template::parse(text).map_err(|error| errors.push(pointed(path, &error))).ok()
}

/// The one place where a rule's text gets its meaning.
pub(crate) fn rule(path: &FieldPath, text: &str, errors: &mut Vec<FieldError>) -> Option<Expr> {
    let expr = rule::parse(text).map_err(|error| errors.push(pointed(path, &error))).ok()?;
    judged(path, expr, errors)
}

/// A rule that can be judged in-process; one that merely parses may hold a wrong regular expression.
pub(crate) fn judged(path: &FieldPath, expr: Expr, errors: &mut Vec<FieldError>) -> Option<Expr> {
    match Matcher::compile(&expr) {
        Ok(_) => Some(expr),
        Err(error) => {
            errors.push(FieldError::new(path, error.to_string()));
            None
        }
    }
}

/// A mistake in a text, with the text and carets below the place.
fn pointed(path: &FieldPath, error: &ParseError) -> FieldError {
    FieldError::new(path, format!("{error}\n{}", error.snippet("")))
}

fn check_target(
    path: &FieldPath,
    spec: &AlertTarget,
    errors: &mut Vec<FieldError>,
) -> Option<Target> {
    let receiver = match (&spec.webhook, &spec.slack, &spec.alertmanager) {
        (Some(webhook), None, None) => check_webhook(&path.field("webhook"), webhook, errors),
        (None, Some(slack), None) => {
            check_key(&path.field("slack").field("urlFrom"), &slack.url_from, errors);
            Receiver::Slack { url: UrlSource::Secret(slack.url_from.clone()) }
        }
        (None, None, Some(manager)) => {
            check_alertmanager(&path.field("alertmanager"), manager, errors)
        }
        _ => {
            errors.push(FieldError::new(path, rules::ONE_RECEIVER));
            return None;
        }
    };
    let repeat = match &spec.repeat {
        None => None,
        Some(repeat) => {
            let path = path.field("repeat");
            let form = rules::INTERVAL.allows(&repeat.interval);
            let interval =
                if form { check_interval(&repeat.interval) } else { Err(rules::INTERVAL.message) };
            let times = u32::try_from(repeat.times).ok().filter(|times| *times > 0);
            if let Err(message) = interval {
                errors.push(FieldError::new(&path.field("interval"), message));
            }
            if times.is_none() {
                errors.push(FieldError::new(&path.field("times"), "times is at least 1"));
            }
            Some(Repeat { interval: interval.ok()?, times: times? })
        }
    };
    Some(Target { path: path.clone(), receiver, repeat })
}

fn check_webhook(path: &FieldPath, spec: &WebhookTarget, errors: &mut Vec<FieldError>) -> Receiver {
    check_key(&path.field("urlFrom"), &spec.url_from, errors);
    let mut headers = BTreeMap::new();
    for (name, value) in spec.headers.iter().flatten() {
        if let Err(message) = check_header(name, value) {
            errors.push(FieldError::new(&path.field("headers").field(name), message));
        }
        headers.insert(name.clone(), Secret::new(value.clone()));
    }
    Receiver::Webhook {
        url: UrlSource::Secret(spec.url_from.clone()),
        headers,
        skip_tls_check: spec.skip_tls_check.unwrap_or(false),
    }
}

fn check_alertmanager(
    path: &FieldPath,
    spec: &AlertmanagerTarget,
    errors: &mut Vec<FieldError>,
) -> Receiver {
    check_key(&path.field("urlFrom"), &spec.url_from, errors);
    if let Some(secret) = &spec.credentials {
        check_secret(&path.field("credentials"), &secret.secret_name, errors);
    }
    Receiver::Alertmanager {
        url: UrlSource::Secret(spec.url_from.clone()),
        login: spec.credentials.clone().map(Login::Secret),
        skip_tls_check: spec.skip_tls_check.unwrap_or(false),
    }
}

fn check_key(path: &FieldPath, reference: &SecretKeyRef, errors: &mut Vec<FieldError>) {
    check_secret(path, &reference.secret_name, errors);
    if !rules::SECRET_KEY.allows(&reference.key) {
        errors.push(FieldError::new(&path.field("key"), rules::SECRET_KEY.message));
    }
}

pub(super) fn check_secret(path: &FieldPath, name: &str, errors: &mut Vec<FieldError>) {
    if !rules::OBJECT_NAME.allows(name) {
        errors.push(FieldError::new(&path.field("secretName"), rules::OBJECT_NAME.message));
    }
}

/// Whether `name: value` can be sent as an HTTP header. The message does not repeat the value.
pub(crate) fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err("not a header's name: it has letters, digits and -");
    }
    if !value.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()) {
        return Err("not a header's value: it is one line of ASCII");
    }
    Ok(())
}

/// A time between two calls, in humantime's words.
pub(crate) fn check_interval(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(interval) if INTERVALS.contains(&interval) => Ok(interval),
        _ => Err(rules::INTERVAL.message),
    }
}
