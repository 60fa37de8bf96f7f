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

    /// The keys the Secret should have.
    fn keys(&self) -> String {
        match self {
            Self::Account { .. } => "the keys username and password, or apiKey".to_owned(),
            Self::Login { .. } => "the keys username and password".to_owned(),
            Self::Url { key, .. } => format!("the key {} (an http or https URL)", key.key),
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
    let mut faults = Faults::default();
    for_each(checked, &mut |reference| {
        let name = reference.secret();
        match secrets.get(name).unwrap_or(&Found::Unanswered) {
            Found::Unanswered => resolved.unanswered = true,
            Found::Absent => {
                faults.add(reference, resolved_refs::SECRET_NOT_FOUND, "does not exist")
            }
            Found::Forbidden => faults.add(reference, resolved_refs::FORBIDDEN, ""),
            Found::Data(data) => {
                resolved.book.insert(name, data.clone());
                if let Some((reason, what)) = check(reference, &resolved.book) {
                    faults.add(reference, reason, &what);
                }
            }
        }
    });
    resolved.problems = faults.problems(namespace);
    let target = checked.parseable.as_ref();
    let account = |secret: Option<&SecretRef>, book: &Book| book.account(&secret?.secret_name).ok();
    resolved.account =
        account(target.and_then(|target| target.credentials.as_ref()), &resolved.book);
    resolved.ingest =
        account(target.and_then(|target| target.shipping_credentials()), &resolved.book);
    resolved
}

/// What is wrong, and all fields it is wrong for: one Secret is often named by every alert of a watch.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    secret: String,
    reason: &'static str,
    what: String,
    paths: Vec<String>,
    keys: BTreeSet<String>,
}

impl Faults {
    fn add(&mut self, reference: &Reference<'_>, reason: &'static str, what: &str) {
        let same = |fault: &&mut Fault| {
            fault.secret == reference.secret() && fault.reason == reason && fault.what == what
        };
        let path = reference.path().to_owned();
        let keys = reference.keys();
        if let Some(fault) = self.0.iter_mut().find(same) {
            fault.paths.push(path);
            fault.keys.insert(keys);
        } else {
            self.0.push(Fault {
                secret: reference.secret().to_owned(),
                reason,
                what: what.to_owned(),
                paths: vec![path],
                keys: BTreeSet::from([keys]),
            });
        }
    }

    fn problems(mut self, namespace: &str) -> Vec<Problem> {
        self.0.sort_by_key(|fault| rank(fault.reason));
        let told = self.0.iter().map(|fault| {
            let secret = format!("secret {namespace}/{}", fault.secret);
            let message = match fault.reason {
                resolved_refs::SECRET_NOT_FOUND => {
                    let keys: Vec<_> = fault.keys.iter().map(String::as_str).collect();
                    format!(
                        "{secret} does not exist ({}): create it with {}",
                        paths(&fault.paths),
                        keys.join("; ")
                    )
                }
                resolved_refs::FORBIDDEN => format!(
                    "the operator may not read {secret} ({}): add namespace {namespace} to watchNamespaces of the chart",
                    paths(&fault.paths)
                ),
                _ => format!("{secret} {} ({})", fault.what, paths(&fault.paths)),
            };
            Problem { reason: fault.reason, message }
        });
        told.collect()
    }
}

fn paths(paths: &[String]) -> String {
    match paths {
        [] => String::new(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

fn rank(reason: &str) -> u8 {
    match reason {
        resolved_refs::SECRET_NOT_FOUND => 0,
        resolved_refs::SECRET_KEY_MISSING => 1,
        resolved_refs::SECRET_INVALID => 2,
        _ => 3,
    }
}

/// A reason, and what is wrong as the end of a sentence.
fn check(reference: &Reference<'_>, book: &Book) -> Option<(&'static str, String)> {
    let missing = resolved_refs::SECRET_KEY_MISSING;
    match reference {
        Reference::Account { secret, .. } => {
            Some((missing, book.account(&secret.secret_name).err()?))
        }
        Reference::Login { secret, .. } => Some((missing, book.login(&secret.secret_name).err()?)),
        Reference::Url { key, .. } => match book.text(&key.secret_name, &key.key) {
            None => Some((missing, format!("has no key {:?}", key.key))),
            Some(text) => {
                let what = SecretUrl::parse(&text).err()?;
                Some((resolved_refs::SECRET_INVALID, format!("key {:?}: {what}", key.key)))
            }
        },
    }
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
