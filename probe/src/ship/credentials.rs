//! Who we are to the server.

use crate::secrets::{SecretError, SecretFile, Secrets};
use reqwest::{RequestBuilder, StatusCode};
use securitywatch_api::secret::Secret;

/// How to authenticate; the files are followed when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    Basic {
        username: SecretFile,
        password: SecretFile,
    },
    ApiKey(SecretFile),
    /// Given by the operator and exchanged from outside.
    Given {
        account: Account,
        /// The user's Secret it was taken from, as `namespace/name`.
        secret: String,
    },
    /// Not there yet, with what to look at; nothing is sent until [`super::StreamView::set_credentials`].
    Awaited(String),
}

/// A user or a key by its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    User { username: String, password: Secret },
    ApiKey(Secret),
}

impl Credentials {
    /// From the keys of one secret: `apiKey` where there is one, else `username` and `password`.
    ///
    /// # Errors
    /// When a key is missing.
    pub fn from_secret(secrets: &Secrets, name: &str) -> Result<Self, SecretError> {
        if secrets.has(name, "apiKey") {
            return Ok(Self::ApiKey(secrets.get(name, "apiKey")?));
        }
        let (username, password) = (secrets.get(name, "username")?, secrets.get(name, "password")?);
        Ok(Self::Basic { username, password })
    }

    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None | Self::Awaited(_) => request,
            Self::Given { account: Account::User { username, password }, .. } => {
                request.basic_auth(username, Some(password.expose()))
            }
            Self::Given { account: Account::ApiKey(key), .. } => {
                request.header("X-API-KEY", key.expose())
            }
            Self::Basic { username, password } => {
                request.basic_auth(username.value().expose(), Some(password.value().expose()))
            }
            Self::ApiKey(key) => request.header("X-API-KEY", key.value().expose()),
        }
    }

    pub(super) fn refresh(&mut self) -> Result<bool, SecretError> {
        match self {
            Self::None | Self::Given { .. } | Self::Awaited(_) => Ok(false),
            Self::Basic { username, password } => {
                let username_changed = username.refresh()?;
                Ok(password.refresh()? || username_changed)
            }
            Self::ApiKey(key) => key.refresh(),
        }
    }

    /// What to look at while there are none.
    pub(super) fn missing(&self) -> Option<String> {
        match self {
            Self::Awaited(look_at) => Some(look_at.clone()),
            _ => None,
        }
    }

    /// Whether rows of two watches may go out in the name of one.
    #[must_use]
    pub fn is_same_account(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Given { account, .. }, Self::Given { account: other, .. }) => account == other,
            (Self::Awaited(look_at), Self::Awaited(other)) => look_at == other,
            // Files belong to whoever runs the probe, whichever they are.
            (Self::Basic { .. } | Self::ApiKey(_), Self::Basic { .. } | Self::ApiKey(_)) => true,
            _ => false,
        }
    }

    /// Who was refused, and which keys to look at.
    pub(super) fn blame(&self, status: StatusCode) -> String {
        let code = status.as_u16();
        match self {
            Self::None => format!(
                "answered {code} to a request without credentials; give target.parseable.credentials"
            ),
            Self::Awaited(look_at) => look_at.clone(),
            Self::Given { account: Account::User { username, .. }, secret } => format!(
                "answered {code} for user \"{username}\"; check keys username/password of secret {secret}"
            ),
            Self::Given { account: Account::ApiKey(_), secret } => {
                format!("answered {code} for the API key; check key apiKey of secret {secret}")
            }
            Self::Basic { username, password } => format!(
                "answered {code} for user \"{}\"; check keys {}/{} of secret {}",
                username.value().expose(),
                username.key(),
                password.key(),
                username.name()
            ),
            Self::ApiKey(key) => {
                format!(
                    "answered {code} for the API key; check key {} of secret {}",
                    key.key(),
                    key.name()
                )
            }
        }
    }
}
