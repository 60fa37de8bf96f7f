//! Who we are to the server.

use crate::secrets::{SecretError, SecretFile, Secrets};
use reqwest::{RequestBuilder, StatusCode};

/// How to authenticate; the files are followed when they change.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    #[default]
    None,
    Basic {
        username: SecretFile,
        password: SecretFile,
    },
    ApiKey(SecretFile),
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
            Self::None => request,
            Self::Basic { username, password } => {
                request.basic_auth(username.value().expose(), Some(password.value().expose()))
            }
            Self::ApiKey(key) => request.header("X-API-KEY", key.value().expose()),
        }
    }

    pub(super) fn refresh(&mut self) -> Result<bool, SecretError> {
        match self {
            Self::None => Ok(false),
            Self::Basic { username, password } => {
                let username_changed = username.refresh()?;
                Ok(password.refresh()? || username_changed)
            }
            Self::ApiKey(key) => key.refresh(),
        }
    }

    /// Who was refused, and which keys to look at.
    pub(super) fn blame(&self, status: StatusCode) -> String {
        let code = status.as_u16();
        match self {
            Self::None => format!(
                "answered {code} to a request without credentials; give target.parseable.credentials"
            ),
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
