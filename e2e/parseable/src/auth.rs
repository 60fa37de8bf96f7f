//! Who may come in.

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::Credentials;
use crate::answer::Answer;

/// Checks a request's credentials. The API key wins over Basic; wrong Basic is 403, none or unreadable 401.
pub(crate) fn check(credentials: &Credentials, headers: &HeaderMap) -> Result<(), Answer> {
    if let Some(key) = headers.get("x-api-key") {
        let known = credentials
            .api_key
            .as_ref()
            .is_some_and(|known| !known.is_empty() && key.as_bytes() == known.as_bytes());
        return if known {
            no_tenant(headers)
        } else {
            Err(Answer::Text(StatusCode::UNAUTHORIZED, "Invalid API key".to_owned()))
        };
    }
    match basic(headers) {
        None => Err(Answer::Text(
            StatusCode::UNAUTHORIZED,
            "Your session has expired or is no longer valid. Please re-authenticate to access this resource."
                .to_owned(),
        )),
        Some((username, password))
            if username == credentials.username && password == credentials.password =>
        {
            no_tenant(headers)
        }
        Some(_) => Err(Answer::Text(
            StatusCode::FORBIDDEN,
            "You don't have permission to access this resource. Please contact your administrator for \
             assistance."
                .to_owned(),
        )),
    }
}

/// A server for one tenant refuses the header of one for many.
fn no_tenant(headers: &HeaderMap) -> Result<(), Answer> {
    if headers.contains_key("x-p-tenant") {
        return Err(Answer::bad_request("Header Error: Unexpected header found- x-p-tenant"));
    }
    Ok(())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = BASE64_STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}
