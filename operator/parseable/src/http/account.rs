//! How a request comes in.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::failure::{Failure, FailureClass};
use crate::server::Credentials;

/// Headers to come in with, and how to call the account in a sentence.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) headers: HeaderMap,
    pub(super) name: String,
}

pub(super) fn account(credentials: &Credentials) -> Result<Account, Failure> {
    let mut headers = HeaderMap::new();
    let name = match credentials {
        Credentials::None => "without credentials".to_owned(),
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
            headers.insert(AUTHORIZATION, sensitive(&value)?);
            format!("for user {username:?}")
        }
        Credentials::ApiKey(key) => {
            headers.insert(HeaderName::from_static("x-api-key"), sensitive(key.expose().trim())?);
            "for the API key".to_owned()
        }
    };
    Ok(Account { headers, name })
}

fn sensitive(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        let message =
            "the credentials hold characters that cannot be sent: check the Secret for line ends";
        Failure::new(FailureClass::Unauthorized, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
