//! Secrets that a watch names: which, whether they hold what they should, and what is in them.

mod book;
mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use securitywatch_api::cluster::AccountPart;
use securitywatch_api::secret::{Secret, SecretUrl};
use securitywatch_api::v1alpha1::conditions::reasons::resolved_refs;
use securitywatch_api::v1alpha1::{SecretKeyRef, SecretRef};
use securitywatch_api::watch::{CheckedWatch, Login, Receiver, UrlSource};

pub use book::{Account, Book};
pub use read::read;

/// What became of reading a Secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// It is there.
    Data(BTreeMap<String, Vec<u8>>),
    /// It is not.
    Absent,
    /// The operator may not read it.
    Forbidden,
    /// The API server did not answer; what was known stays known.
    Unanswered,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(data) => f.debug_tuple("Data").field(&data.keys()).finish(),
            Self::Absent => f.write_str("Absent"),
            Self::Forbidden => f.write_str("Forbidden"),
            Self::Unanswered => f.write_str("Unanswered"),
        }
    }
}

/// One thing wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A reason of `ResolvedRefs`.
    pub reason: &'static str,
    /// What is wrong and what to do; never anything out of a Secret.
    pub message: String,
}

impl Problem {
    /// Whether it cannot be told if the reference is right.
    #[must_use]
    pub fn unclear(&self) -> bool {
        self.reason == resolved_refs::FORBIDDEN
    }
}

/// What a watch's Secrets give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The Secrets by name, those that could be read.
    pub book: Book,
    /// The account that manages the stream; `None` where the spec names none.
    pub account: Option<Account>,
    /// The account that nodes ship with.
    pub ingest: Option<Account>,
    /// What is wrong, worst first.
    pub problems: Vec<Problem>,
    /// Whether a Secret could not be asked for: then nothing here is final.
    pub unanswered: bool,
}

/// The names of the Secrets a watch refers to.
#[must_use]
pub fn names(checked: &CheckedWatch) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for_each(checked, &mut |reference| {
        names.insert(reference.secret().to_owned());
    });
    names
}

enum Reference<'a> {
    Account { path: String, secret: &'a SecretRef },
    Login { path: String, secret: &'a SecretRef },
    Url { path: String, key: &'a SecretKeyRef },
}

impl Reference<'_> {
    fn secret(&self) -> &str {
        match self {
            Self::Account { secret, .. } | Self::Login { secret, .. } => &secret.secret_name,
            Self::Url { key, .. } => &key.secret_name,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Account { path, .. } | Self::Login { path, .. } | Self::Url { path, .. } => path,
        }
    }
}

fn for_each(checked: &CheckedWatch, visit: &mut dyn FnMut(&Reference<'_>)) {
    let account = |field: &str| format!("spec.target.parseable.{field}");
    let target = checked.parseable.as_ref();
    if let Some(secret) = target.and_then(|target| target.credentials.as_ref()) {
        visit(&Reference::Account { path: account("credentials"), secret });
    }
    if let Some(secret) = target.and_then(|target| target.ingest_credentials.as_ref()) {
        visit(&Reference::Account { path: account("ingestCredentials"), secret });
    }
    for target in checked.alerts.iter().flat_map(|alert| &alert.targets) {
        let (kind, url) = match &target.receiver {
            Receiver::Webhook { url, .. } => ("webhook", url),
            Receiver::Slack { url } => ("slack", url),
            Receiver::Alertmanager { url, login, .. } => {
                if let Some(Login::Secret(secret)) = login {
                    let path = format!("{}.alertmanager.credentials", target.path);
                    visit(&Reference::Login { path, secret });
                }
                ("alertmanager", url)
            }
        };
        if let UrlSource::Secret(key) = url {
            visit(&Reference::Url { path: format!("{}.{kind}.urlFrom", target.path), key });
        }
    }
}

/// Judges the Secrets of `namespace` that the watch refers to.
#[must_use]
pub fn resolve(
    namespace: &str,
    checked: &CheckedWatch,
    secrets: &BTreeMap<String, Found>,
) -> Resolved {
    let mut resolved = Resolved::default();
    let mut problems = Vec::new();
    for_each(checked, &mut |reference| {
        let name = reference.secret();
        let title = format!("secret {namespace}/{name}");
        match secrets.get(name).unwrap_or(&Found::Unanswered) {
            Found::Unanswered => resolved.unanswered = true,
            Found::Absent => problems.push(Problem {
                reason: resolved_refs::SECRET_NOT_FOUND,
                message: format!("{}: {title} does not exist", reference.path()),
            }),
            Found::Forbidden => problems.push(Problem {
                reason: resolved_refs::FORBIDDEN,
                message: format!(
                    "{}: the operator may not read {title}: add namespace {namespace} to watchNamespaces of the chart",
                    reference.path()
                ),
            }),
            Found::Data(data) => {
                resolved.book.insert(name, data.clone());
                problems.extend(check(reference, &title, &resolved.book));
            }
        }
    });
    problems.sort_by_key(|problem| rank(problem.reason));
    problems.dedup();
    resolved.problems = problems;
    let target = checked.parseable.as_ref();
    let account = |secret: Option<&SecretRef>, book: &Book| book.account(&secret?.secret_name).ok();
    resolved.account =
        account(target.and_then(|target| target.credentials.as_ref()), &resolved.book);
    resolved.ingest =
        account(target.and_then(|target| target.shipping_credentials()), &resolved.book);
    resolved
}

fn rank(reason: &str) -> u8 {
    match reason {
        resolved_refs::SECRET_NOT_FOUND => 0,
        resolved_refs::SECRET_KEY_MISSING => 1,
        resolved_refs::SECRET_INVALID => 2,
        _ => 3,
    }
}

fn check(reference: &Reference<'_>, title: &str, book: &Book) -> Option<Problem> {
    let (reason, what) = match reference {
        Reference::Account { secret, .. } => {
            (resolved_refs::SECRET_KEY_MISSING, book.account(&secret.secret_name).err()?)
        }
        Reference::Login { secret, .. } => {
            (resolved_refs::SECRET_KEY_MISSING, book.login(&secret.secret_name).err()?)
        }
        Reference::Url { key, .. } => match book.text(&key.secret_name, &key.key) {
            None => (resolved_refs::SECRET_KEY_MISSING, format!("has no key {:?}", key.key)),
            Some(text) => {
                let what = SecretUrl::parse(&text).err()?;
                (resolved_refs::SECRET_INVALID, format!("key {:?} holds {what}", key.key))
            }
        },
    };
    Some(Problem { reason, message: format!("{}: {title} {what}", reference.path()) })
}

/// The parts of an account, under the names of the ingest Secret.
#[must_use]
pub fn account_parts(account: &Account) -> Vec<(AccountPart, Secret)> {
    match account {
        Account::Basic { username, password } => vec![
            (AccountPart::Username, Secret::new(username.clone())),
            (AccountPart::Password, password.clone()),
        ],
        Account::ApiKey(key) => vec![(AccountPart::ApiKey, key.clone())],
    }
}
