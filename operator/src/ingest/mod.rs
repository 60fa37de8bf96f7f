//! The Secret from which nodes ship: one, in the operator's namespace, with an account for each watch.
//!
//! Nodes read no Secret by themselves: whoever takes over a node gets these accounts and no others.

mod control;

use std::collections::BTreeMap;

use securitywatch_api::cluster::{AccountPart, ingest_key};

use crate::references::{Account, account_parts};

pub use control::Desk;

/// What is known of a watch's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingest {
    /// Its Secrets were not read yet, or could not be: what nodes have stays.
    Unknown,
    /// It has none.
    None,
    /// It has this one.
    Account(Account),
}

/// What the Secret should hold, given what it holds and all watches there are.
#[must_use]
pub fn wanted(
    present: &BTreeMap<String, Vec<u8>>,
    watches: &BTreeMap<String, Ingest>,
) -> BTreeMap<String, Vec<u8>> {
    let mut wanted = BTreeMap::new();
    for (uid, ingest) in watches {
        match ingest {
            Ingest::None => {}
            Ingest::Unknown => {
                for key in AccountPart::ALL.map(|part| ingest_key(uid, part)) {
                    if let Some(value) = present.get(&key) {
                        wanted.insert(key, value.clone());
                    }
                }
            }
            Ingest::Account(account) => {
                for (part, value) in account_parts(account) {
                    wanted.insert(ingest_key(uid, part), value.expose().as_bytes().to_vec());
                }
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use securitywatch_api::secret::Secret;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect()
    }

    fn watches(all: &[(&str, Ingest)]) -> BTreeMap<String, Ingest> {
        all.iter().map(|(uid, ingest)| ((*uid).to_owned(), ingest.clone())).collect()
    }

    fn user(name: &str) -> Ingest {
        let password = Secret::new("p".into());
        Ingest::Account(Account::Basic { username: name.into(), password })
    }

    #[test]
    fn each_watch_has_its_account() {
        let key = Ingest::Account(Account::ApiKey(Secret::new("k".into())));
        assert_eq!(
            wanted(
                &BTreeMap::new(),
                &watches(&[("u1", user("a")), ("u2", key), ("u3", Ingest::None)])
            ),
            map(&[("u1.username", "a"), ("u1.password", "p"), ("u2.apiKey", "k")])
        );
    }

    #[test]
    fn an_account_goes_with_its_watch_or_its_secret() {
        let present = map(&[("u1.username", "a"), ("u1.password", "p"), ("u2.apiKey", "k")]);
        assert_eq!(wanted(&present, &watches(&[("u2", Ingest::None)])), BTreeMap::new());
    }

    #[test]
    fn what_is_not_known_yet_stays() {
        let present = map(&[("u1.username", "a"), ("u1.password", "p"), ("gone.apiKey", "k")]);
        assert_eq!(
            wanted(&present, &watches(&[("u1", Ingest::Unknown)])),
            map(&[("u1.username", "a"), ("u1.password", "p")])
        );
    }

    #[test]
    fn a_user_that_became_a_key_leaves_nothing_behind() {
        let present = map(&[("u1.username", "a"), ("u1.password", "p")]);
        let key = Ingest::Account(Account::ApiKey(Secret::new("k".into())));
        assert_eq!(wanted(&present, &watches(&[("u1", key)])), map(&[("u1.apiKey", "k")]));
    }
}
