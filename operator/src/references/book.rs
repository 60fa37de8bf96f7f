//! The content of Secrets; its `Debug` shows keys and no values.

use std::collections::BTreeMap;
use std::fmt;

use securitywatch_api::cluster::AccountPart;
use securitywatch_api::secret::{Secret, SecretUrl};
use sha2::{Digest as _, Sha256};

/// Secrets of one namespace by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Book(BTreeMap<String, BTreeMap<String, Vec<u8>>>);

/// An account of a Parseable server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// A user.
    Basic {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret,
    },
    /// A key instead of a user.
    ApiKey(Secret),
}

impl Book {
    pub(super) fn insert(&mut self, name: &str, data: BTreeMap<String, Vec<u8>>) {
        self.0.insert(name.to_owned(), data);
    }

    /// A value without the line end that many Secrets carry; `None` if it is absent, empty or no text.
    #[must_use]
    pub fn text(&self, secret: &str, key: &str) -> Option<String> {
        let text = std::str::from_utf8(self.0.get(secret)?.get(key)?).ok()?;
        let text = text.trim_end_matches(['\r', '\n']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A receiver's URL.
    #[must_use]
    pub fn url(&self, secret: &str, key: &str) -> Option<SecretUrl> {
        SecretUrl::parse(&self.text(secret, key)?).ok()
    }

    /// A Parseable account.
    ///
    /// # Errors
    /// What the Secret lacks, as the end of a sentence.
    pub fn account(&self, secret: &str) -> Result<Account, String> {
        if let Some(key) = self.text(secret, AccountPart::ApiKey.key()) {
            return Ok(Account::ApiKey(Secret::new(key)));
        }
        let (username, password) = self.login(secret).map_err(|missing| {
            if missing.contains(" and ") {
                "has neither username and password nor apiKey".to_owned()
            } else {
                missing
            }
        })?;
        Ok(Account::Basic { username, password })
    }

    /// A user's name and password.
    ///
    /// # Errors
    /// What the Secret lacks, as the end of a sentence.
    pub fn login(&self, secret: &str) -> Result<(String, Secret), String> {
        let part = |part: AccountPart| self.text(secret, part.key());
        match (part(AccountPart::Username), part(AccountPart::Password)) {
            (Some(username), Some(password)) => Ok((username, Secret::new(password))),
            (None, Some(_)) => Err("has no key \"username\"".to_owned()),
            (Some(_), None) => Err("has no key \"password\"".to_owned()),
            (None, None) => Err("has no keys \"username\" and \"password\"".to_owned()),
        }
    }

    /// Tells one content from another without showing it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (name, data) in &self.0 {
            add(name.as_bytes());
            for (key, value) in data {
                add(key.as_bytes());
                add(value);
            }
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, data)| (name, data.keys().collect::<Vec<_>>())))
            .finish()
    }
}
