//! From the checked document to an alert that can be judged: the rule compiled, the secrets read.

use super::{Alert, Endpoint, Login, Receiver, Target};
use crate::encode::flatten;
use crate::secrets::{SecretError, Secrets};
use securitywatch_api::alerting::AlertFacts;
use securitywatch_api::field::FieldPath;
use securitywatch_api::nearest::nearest;
use securitywatch_api::rule::{CompileError, Matcher, Template};
use securitywatch_api::secret::SecretUrl;
use securitywatch_api::watch;
use std::sync::Arc;

/// Why an alert cannot be used; each message names the field and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    #[error("{path}: {source}")]
    Compile { path: FieldPath, source: Box<CompileError> },
    #[error("{path}: no event has a column \"{column}\"{}", did_you_mean(column))]
    NoColumn { path: FieldPath, column: String },
    #[error("{path}: {source}")]
    Secret { path: FieldPath, source: SecretError },
    #[error("{path}: key {key} of secret {name} is {problem}")]
    Url { path: FieldPath, name: String, key: String, problem: &'static str },
}

impl ArmError {
    /// The field it is about.
    #[must_use]
    pub const fn path(&self) -> &FieldPath {
        match self {
            Self::Compile { path, .. }
            | Self::NoColumn { path, .. }
            | Self::Secret { path, .. }
            | Self::Url { path, .. } => path,
        }
    }

    /// What is wrong with it and what to do, without the field.
    #[must_use]
    pub fn problem(&self) -> String {
        let text = self.to_string();
        let prefix = format!("{}: ", self.path());
        text.strip_prefix(&prefix).unwrap_or(&text).to_owned()
    }
}

fn did_you_mean(column: &str) -> String {
    let names = flatten::columns().iter().map(|c| c.name);
    nearest(column, names).map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default()
}

/// Compiles one alert of `watch` and reads what its targets need from `secrets`.
///
/// # Errors
/// The first thing that is wrong.
pub fn arm(watch: &str, alert: &watch::Alert, secrets: &Secrets) -> Result<Alert, ArmError> {
    let (matcher, message) = judge(alert)?;
    let targets = alert.targets.iter().map(|t| target(t, secrets)).collect::<Result<_, _>>()?;
    Ok(Alert {
        facts: Arc::new(AlertFacts::new(watch.to_owned(), None, alert)),
        message,
        matcher,
        targets,
    })
}

/// The part that needs no secrets: whether rule and message have a meaning for our events.
///
/// # Errors
/// The first thing that is wrong.
pub fn judge(alert: &watch::Alert) -> Result<(Matcher, Template), ArmError> {
    let path = alert.path.field("rule");
    known(&path, alert.rule.columns())?;
    let matcher = Matcher::compile(&alert.rule)
        .map_err(|e| ArmError::Compile { path: path.clone(), source: Box::new(e) })?;
    let path = alert.path.field("message");
    known(&path, alert.message.columns())?;
    Ok((matcher, alert.message.clone()))
}

/// A rule on a column that no event has would be silent for ever.
fn known<'a>(path: &FieldPath, columns: impl IntoIterator<Item = &'a str>) -> Result<(), ArmError> {
    match columns.into_iter().find(|name| flatten::column(name).is_none()) {
        Some(column) => Err(ArmError::NoColumn { path: path.clone(), column: column.to_owned() }),
        None => Ok(()),
    }
}

fn target(target: &watch::Target, secrets: &Secrets) -> Result<Target, ArmError> {
    let endpoint = |url: &watch::UrlSource| endpoint(&target.path, url, secrets);
    let receiver = match &target.receiver {
        watch::Receiver::Webhook { url, headers, skip_tls_check } => Receiver::Webhook {
            url: endpoint(url)?,
            headers: headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
            skip_tls_check: *skip_tls_check,
        },
        watch::Receiver::Slack { url } => Receiver::Slack { url: endpoint(url)? },
        watch::Receiver::Alertmanager { url, login: account, skip_tls_check } => {
            Receiver::Alertmanager {
                url: endpoint(url)?,
                login: account.as_ref().map(|a| login(&target.path, a, secrets)).transpose()?,
                skip_tls_check: *skip_tls_check,
            }
        }
    };
    Ok(Target { receiver, repeat: target.repeat })
}

fn endpoint(
    path: &FieldPath,
    url: &watch::UrlSource,
    secrets: &Secrets,
) -> Result<Endpoint, ArmError> {
    let reference = match url {
        watch::UrlSource::Inline(url) => return Ok(Endpoint::Fixed(url.clone())),
        watch::UrlSource::Secret(reference) => reference,
    };
    let file = secrets
        .get(&reference.secret_name, &reference.key)
        .map_err(|source| ArmError::Secret { path: path.clone(), source })?;
    match SecretUrl::parse(file.value().expose()) {
        Ok(_) => Ok(Endpoint::File(file)),
        Err(problem) => Err(ArmError::Url {
            path: path.clone(),
            name: reference.secret_name.clone(),
            key: reference.key.clone(),
            problem,
        }),
    }
}

fn login(path: &FieldPath, login: &watch::Login, secrets: &Secrets) -> Result<Login, ArmError> {
    let reference = match login {
        watch::Login::Inline { username, password } => {
            return Ok(Login::Fixed { username: username.clone(), password: password.clone() });
        }
        watch::Login::Secret(reference) => reference,
    };
    let get = |key| {
        secrets
            .get(&reference.secret_name, key)
            .map_err(|source| ArmError::Secret { path: path.clone(), source })
    };
    Ok(Login::File { username: get("username")?, password: get("password")? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use securitywatch_api::v1alpha1::Severity;

    fn alert(rule: &str, message: &str) -> watch::Alert {
        watch::Alert {
            path: FieldPath::root().field("spec").field("alerts").index(1),
            name: "a".into(),
            severity: Severity::High,
            message: Template::parse(message).unwrap(),
            rule: securitywatch_api::rule::parse(rule).unwrap(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn mistakes_name_their_field() {
        for (rule, message, says) in [
            (
                "process_exec_proces_binary = \"x\"",
                "m",
                "spec.alerts[1].rule: no event has a column \"process_exec_proces_binary\"; did you mean \
                 \"process_exec_process_binary\"?",
            ),
            (
                "process_exec_process_binary ~ \"(\"",
                "m",
                "spec.alerts[1].rule: column process_exec_process_binary",
            ),
            (
                "process_exec_process_uid = 0",
                "{pod}",
                "spec.alerts[1].message: no event has a column \"pod\"",
            ),
        ] {
            let error = judge(&alert(rule, message)).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
