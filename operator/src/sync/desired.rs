//! What a watch wants of its server, with its secrets filled in.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use securitywatch_api::watch::{Alert, CheckedWatch, Login, Parseable, Receiver, UrlSource};
use securitywatch_parseable as parseable;
use securitywatch_parseable::{
    Credentials, Desired, DesiredAlert, DesiredTarget, Destination, Owner, ServerConfig,
};

use crate::key::WatchKey;
use crate::references::{Account, Book, Resolved};

/// The server and the account of a watch.
#[must_use]
pub fn config(
    target: &Parseable,
    resolved: &Resolved,
    manage_outbound_policy: bool,
) -> ServerConfig {
    let credentials = match resolved.account.clone() {
        None => Credentials::None,
        Some(Account::Basic { username, password }) => Credentials::Basic { username, password },
        Some(Account::ApiKey(key)) => Credentials::ApiKey(key),
    };
    ServerConfig { url: target.url.clone(), credentials, manage_outbound_policy }
}

/// The mark of what belongs to a watch.
#[must_use]
pub fn owner(cluster_id: &str, key: &WatchKey, meta: &ObjectMeta) -> Owner {
    let created = meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond());
    Owner {
        cluster_id: cluster_id.to_owned(),
        uid: meta.uid.clone().unwrap_or_default(),
        title: key.to_string(),
        created_ms: u64::try_from(created).unwrap_or(0),
    }
}

/// Everything a watch wants; `None` while a receiver's Secret lacks something. The server calls receivers only where
/// `calls` says so: the operator calls them at once, and both would ring twice for one event.
#[must_use]
pub fn desired(
    owner: Owner,
    target: &Parseable,
    checked: &CheckedWatch,
    resolved: &Resolved,
    calls: bool,
) -> Option<Desired> {
    let alerts = checked.alerts.iter().map(|alert| desired_alert(alert, &resolved.book, calls));
    Some(Desired {
        owner,
        stream: target.stream.clone(),
        retention_days: target.retention_days,
        alerts: alerts.collect::<Option<_>>()?,
    })
}

fn desired_alert(alert: &Alert, book: &Book, calls: bool) -> Option<DesiredAlert> {
    let called = if calls { alert.targets.as_slice() } else { &[] };
    let targets = called.iter().enumerate().map(|(index, target)| {
        Some(DesiredTarget {
            key: format!("{}/{index}", alert.name),
            destination: destination(&target.receiver, book)?,
            repeat: target.repeat,
        })
    });
    Some(DesiredAlert {
        name: alert.name.clone(),
        severity: alert.severity,
        message: alert.message.clone(),
        rule: alert.rule.clone(),
        targets: targets.collect::<Option<_>>()?,
    })
}

/// Where a receiver is, with its secrets; `None` while its Secret lacks something.
#[must_use]
pub fn destination(receiver: &Receiver, book: &Book) -> Option<Destination> {
    let address = |source: &UrlSource| match source {
        UrlSource::Secret(key) => book.url(&key.secret_name, &key.key),
        UrlSource::Inline(url) => Some(url.clone()),
    };
    Some(match receiver {
        Receiver::Webhook { url, headers, skip_tls_check } => Destination::Webhook {
            url: address(url)?,
            headers: headers.clone(),
            skip_tls_check: *skip_tls_check,
        },
        Receiver::Slack { url } => Destination::Slack { url: address(url)? },
        Receiver::Alertmanager { url, login, skip_tls_check } => Destination::Alertmanager {
            url: address(url)?,
            login: match login {
                None => None,
                Some(Login::Inline { username, password }) => Some(parseable::Login {
                    username: username.clone(),
                    password: password.clone(),
                }),
                Some(Login::Secret(secret)) => {
                    let (username, password) = book.login(&secret.secret_name).ok()?;
                    Some(parseable::Login { username, password })
                }
            },
            skip_tls_check: *skip_tls_check,
        },
    })
}
