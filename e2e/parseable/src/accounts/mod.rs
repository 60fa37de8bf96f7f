//! Who may do what: the root user, users with roles, API keys.

pub(crate) mod handlers;
pub(crate) mod privilege;

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::Credentials;
use crate::answer::Answer;
use privilege::{Action, Privilege};

/// The root user and all that were made through the API.
#[derive(Debug)]
pub(crate) struct Accounts {
    pub(crate) root: Credentials,
    pub(crate) roles: BTreeMap<String, Vec<Privilege>>,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) keys: BTreeMap<Ulid, Key>,
}

pub(crate) struct User {
    password: String,
    pub(crate) roles: Vec<String>,
}

pub(crate) struct Key {
    secret: String,
    name: String,
    roles: Vec<String>,
    created_by: String,
    created: DateTime<Utc>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who sent a request; an extension of it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    privileges: Vec<Privilege>,
}

impl Caller {
    /// Whether it may do this to some stream.
    pub(crate) fn may(&self, action: Action) -> bool {
        self.privileges.iter().any(|privilege| privilege.allows(action))
    }

    pub(crate) fn may_on(&self, action: Action, stream: &str) -> bool {
        let allows = |p: &Privilege| p.allows(action) && p.covers(stream);
        self.privileges.iter().any(allows)
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.may(Action::Administer)
    }

    /// Whether every stream is in its reach, the missing ones too.
    pub(crate) fn sees_all_streams(&self) -> bool {
        self.privileges.iter().any(|p| p.allows(Action::Query) && p.covers_all())
    }

    /// Whom a dashboard belongs to.
    pub(crate) fn author(&self) -> String {
        hex(&Sha256::digest(self.name.as_bytes()))
    }
}

impl Accounts {
    pub(crate) fn new(root: Credentials) -> Self {
        Self { root, roles: BTreeMap::new(), users: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// The caller by a request's headers. An API key wins over Basic; wrong Basic is 403, none or unreadable
    /// Basic and a wrong key are 401.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Answer> {
        let caller = if let Some(key) = headers.get("x-api-key") {
            self.by_key(key.as_bytes()).ok_or_else(|| {
                Answer::Text(StatusCode::UNAUTHORIZED, "Invalid API key".to_owned())
            })?
        } else {
            let (username, password) = basic(headers).ok_or_else(|| {
                Answer::Text(
                    StatusCode::UNAUTHORIZED,
                    "Your session has expired or is no longer valid. Please re-authenticate to access this \
                     resource."
                        .to_owned(),
                )
            })?;
            self.by_password(&username, &password).ok_or_else(forbidden)?
        };
        // A server for one tenant refuses the header of one for many.
        if headers.contains_key("x-p-tenant") {
            return Err(Answer::bad_request("Header Error: Unexpected header found- x-p-tenant"));
        }
        Ok(caller)
    }

    fn by_key(&self, secret: &[u8]) -> Option<Caller> {
        let root = self.root.api_key.as_ref();
        if root.is_some_and(|known| !known.is_empty() && known.as_bytes() == secret) {
            return Some(self.root_caller());
        }
        let key = self.keys.values().find(|key| key.secret.as_bytes() == secret)?;
        Some(Caller { name: key.name.clone(), privileges: self.privileges(&key.roles) })
    }

    fn by_password(&self, username: &str, password: &str) -> Option<Caller> {
        if username == self.root.username {
            return (password == self.root.password).then(|| self.root_caller());
        }
        let user = self.users.get(username).filter(|user| user.password == password)?;
        Some(Caller { name: username.to_owned(), privileges: self.privileges(&user.roles) })
    }

    fn root_caller(&self) -> Caller {
        Caller { name: self.root.username.clone(), privileges: vec![Privilege::Admin] }
    }

    fn privileges(&self, roles: &[String]) -> Vec<Privilege> {
        let known = roles.iter().filter_map(|role| self.roles.get(role));
        known.flatten().cloned().collect()
    }

    /// A user with a role of its own.
    pub(crate) fn add(&mut self, username: &str, password: &str, privilege: Privilege) {
        let role = format!("{username}-role");
        self.roles.insert(role.clone(), vec![privilege]);
        let user = User { password: password.to_owned(), roles: vec![role] };
        self.users.insert(username.to_owned(), user);
    }

    fn unknown_roles(&self, roles: &[String]) -> Vec<String> {
        roles.iter().filter(|role| !self.roles.contains_key(*role)).cloned().collect()
    }
}

pub(crate) fn forbidden() -> Answer {
    Answer::Text(
        StatusCode::FORBIDDEN,
        "You don't have permission to access this resource. Please contact your administrator for assistance."
            .to_owned(),
    )
}

/// User and password of a request.
pub(crate) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// 32 characters nobody knows.
fn new_secret() -> String {
    let mut secret = hex(&Sha256::digest(format!("{}{}", Ulid::new(), Ulid::new())));
    secret.truncate(32);
    secret
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
