//! Values that must not show: no `Display`, and a `Debug` that says nothing.

use std::fmt;

use url::Url;

/// A password, a token or a header's value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value out of sight.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the request that needs it and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The URL of a receiver. Whoever knows such a URL may often post to it, so it is a secret itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Reads an http or https URL; surrounding blanks and line ends, which Secrets often carry, are
    /// ignored.
    ///
    /// # Errors
    /// A sentence that does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match Url::parse(text.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Self(url)),
            _ => Err(
                "not an http or https URL: write the receiver's address, for example https://example.org/hook",
            ),
        }
    }

    /// The URL itself, for the request that needs it and nothing else.
    #[must_use]
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret URL>")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let url = SecretUrl::parse(" https://hooks.example.org/T0/B0/token\n").unwrap();
        assert_eq!(
            format!("{url:?} {:?}", Secret::new("hunter2".to_owned())),
            "<secret URL> <secret>"
        );
        assert_eq!(url.expose().path(), "/T0/B0/token");
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for text in [
            "webhook.site_custom_endpoint",
            "ftp://example.org/token",
            "https:// /x",
            "",
            "mailto:a@b",
        ] {
            let message = SecretUrl::parse(text).unwrap_err();
            assert!(text.is_empty() || !message.contains(text), "{message}");
        }
    }
}
