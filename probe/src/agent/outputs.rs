//! What the running watches ask of the outputs, with the accounts that are there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use securitywatch_api::watch::Parseable;

use super::accounts;
use super::state::{Entry, State};
use crate::alert::Reported;
use crate::output::{Scope, WatchOutput};
use crate::ship::{Account, Credentials, Keeper, Target};

/// The accounts of the running watches.
#[derive(Debug)]
pub struct Accounts {
    dir: PathBuf,
    /// The namespace that a `ClusterSecurityWatch`'s Secrets live in.
    own_namespace: String,
    /// By uid, as last read, with the place it was read for.
    known: HashMap<String, (Place, Account)>,
}

/// Server and stream.
type Place = (String, String);

impl Accounts {
    /// Accounts in the files of `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, own_namespace: String) -> Self {
        Self { dir, own_namespace, known: HashMap::new() }
    }

    /// What each running watch asks for, by number. Reads the files.
    pub fn outputs(&mut self, state: &State) -> Vec<(usize, WatchOutput)> {
        self.known.retain(|uid, _| state.entries().any(|entry| entry.wish.uid == *uid));
        state
            .entries()
            .filter_map(|entry| {
                let running = entry.running.as_ref()?;
                let target = running.target.as_ref().map(|target| self.target(entry, target));
                let (name, scope) = (entry.wish.title.clone(), entry.wish.scope.clone());
                let reported = Reported {
                    uid: entry.wish.uid.clone(),
                    generation: running.generation,
                    alerts: running.alerts.clone(),
                };
                let reported = (!reported.alerts.is_empty()).then_some(reported);
                let silent = WatchOutput::silent(name);
                Some((entry.number, WatchOutput { target, scope, reported, ..silent }))
            })
            .collect()
    }

    fn target(&mut self, entry: &Entry, parseable: &Parseable) -> Target {
        let url = parseable.url.as_str().trim_end_matches('/').to_owned();
        let place = (url.clone(), parseable.stream.clone());
        let credentials = match parseable.shipping_credentials() {
            None => Credentials::None,
            Some(secret) => {
                let namespace = match &entry.wish.scope {
                    Scope::Namespace(namespace) => namespace,
                    Scope::Everything => self.own_namespace.as_str(),
                };
                let secret = format!("{namespace}/{}", secret.secret_name);
                self.credentials(&entry.wish.uid, place, secret)
            }
        };
        Target {
            url,
            stream: parseable.stream.clone(),
            retention_days: None,
            credentials,
            management: None,
            keeper: Keeper::Operator,
        }
    }

    /// An account that is there, or that was there for the same place: a Secret that is lost must not stop what
    /// still works.
    fn credentials(&mut self, uid: &str, place: Place, secret: String) -> Credentials {
        match accounts::read(&self.dir, uid) {
            Ok(account) => {
                self.known.insert(uid.to_owned(), (place, account.clone()));
                Credentials::Given { account, secret }
            }
            Err(error) => match self.known.get(uid) {
                Some((of, account)) if *of == place => {
                    Credentials::Given { account: account.clone(), secret }
                }
                _ => Credentials::Awaited(look_at(&self.dir, &secret, &error.to_string())),
            },
        }
    }
}

/// Whether two answers of [`Accounts::outputs`] ask for the same.
#[must_use]
pub fn is_same(a: &[(usize, WatchOutput)], b: &[(usize, WatchOutput)]) -> bool {
    let asked = |(number, output): &(usize, WatchOutput)| {
        (*number, output.scope.clone(), output.target.clone())
    };
    let reported =
        |a: &(usize, WatchOutput), b: &(usize, WatchOutput)| a.1.reported == b.1.reported;
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| asked(a) == asked(b) && reported(a, b))
}

/// What to look at while the watch with this number has no account to ship with.
#[must_use]
pub fn awaited(outputs: &[(usize, WatchOutput)], number: usize) -> Option<&str> {
    let (_, output) = outputs.iter().find(|(of, _)| *of == number)?;
    match &output.target.as_ref()?.credentials {
        Credentials::Awaited(look_at) => Some(look_at),
        _ => None,
    }
}

fn look_at(dir: &Path, secret: &str, error: &str) -> String {
    let file = error.replace(&format!("{}/", dir.display()), "");
    format!(
        "the account to ship with has not come to this node ({file}); check that secret {secret} has the keys username and password, or apiKey"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::agent::judge::judge;
    use crate::agent::store::{Objects, Watched};

    fn state(namespace: Option<&str>, stream: &str, credentials: Option<&str>) -> State {
        let mut parseable =
            json!({"url": "http://p.example/", "stream": stream, "retention": "3d"});
        if let Some(name) = credentials {
            parseable["credentials"] = json!({"secretName": name});
        }
        let watch = Watched {
            uid: "u".into(),
            namespace: namespace.map(str::to_owned),
            name: "w".into(),
            generation: 1,
            leaving: false,
            spec: Ok(serde_json::from_value(json!({"target": {"parseable": parseable}})).unwrap()),
        };
        let mut state = State::default();
        state.set(vec![judge(&watch, &Objects::default())], Instant::now());
        state
    }

    fn credentials(accounts: &mut Accounts, state: &State) -> Credentials {
        let (_, output) = accounts.outputs(state).remove(0);
        output.target.unwrap().credentials
    }

    #[test]
    fn a_stream_is_left_to_the_operator() {
        let mut accounts = Accounts::new("/nowhere".into(), "system".into());
        let (number, output) = accounts.outputs(&state(Some("shop"), "s", None)).remove(0);
        let target = output.target.unwrap();
        assert_eq!((number, output.scope), (0, Scope::Namespace("shop".into())));
        assert_eq!((target.url.as_str(), target.retention_days), ("http://p.example", None));
        assert_eq!(target.keeper, Keeper::Operator);
        assert!(matches!(target.credentials, Credentials::None));
    }

    #[test]
    fn alerts_go_with_the_generation_that_runs_and_a_change_of_them_is_one() {
        let alerts = |message: &str, generation: i64| {
            let watch = Watched {
                uid: "u".into(),
                namespace: Some("shop".into()),
                name: "w".into(),
                generation,
                leaving: false,
                spec: Ok(serde_json::from_value(json!({"alerts": [{
                    "name": "a", "message": message, "rule": "process_exec_process_uid = 0",
                    "targets": [{"slack": {"urlFrom": {"secretName": "s", "key": "k"}}}]
                }]}))
                .unwrap()),
            };
            let mut state = State::default();
            state.set(vec![judge(&watch, &Objects::default())], Instant::now());
            Accounts::new("/nowhere".into(), "system".into()).outputs(&state)
        };
        let before = alerts("one", 3);
        let reported = before[0].1.reported.as_ref().unwrap();
        assert_eq!((reported.uid.as_str(), reported.generation), ("u", 3));
        assert_eq!(reported.alerts[0].name, "a");
        assert!(is_same(&before, &alerts("one", 3)));
        assert!(!is_same(&before, &alerts("two", 3)) && !is_same(&before, &alerts("one", 4)));
    }

    #[test]
    fn an_account_that_is_not_there_is_awaited_and_then_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut accounts = Accounts::new(dir.path().to_owned(), "system".into());
        let one = state(None, "s", Some("parseable"));
        let Credentials::Awaited(why) = credentials(&mut accounts, &one) else { unreachable!() };
        assert_eq!(
            why,
            "the account to ship with has not come to this node (u.username is not there); check that secret \
             system/parseable has the keys username and password, or apiKey"
        );
        std::fs::write(dir.path().join("u.apiKey"), "key").unwrap();
        let is_key = |credentials| matches!(credentials, Credentials::Given { account: Account::ApiKey(key), .. } if key.expose() == "key");
        assert!(is_key(credentials(&mut accounts, &one)));
        std::fs::remove_file(dir.path().join("u.apiKey")).unwrap();
        assert!(is_key(credentials(&mut accounts, &one)), "what still works goes on");
        let moved = state(None, "t", Some("parseable"));
        let now = credentials(&mut accounts, &moved);
        assert!(matches!(now, Credentials::Awaited(_)), "an old account is for its place only");
    }
}
