//! What differs in every run: ids the server makes, passwords, keys, ports. Recorded ones stand for those of
//! this run in requests, and the other way round in answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::Answer;
use crate::recording::{Exchange, Request};

const PASSWORD: &str = "<generated password, 32 characters>";
const API_KEY: &str = "<api key, UUID>";
/// How the recorded list shows the one key there was.
const MASKED_API_KEY: &str = "****79a8";

/// Names of what the server makes an identifier for.
const MADE: [&str; 3] = ["id", "dashboardId", "keyId"];

#[derive(Debug, Default)]
pub struct Session {
    /// Recorded and actual.
    pairs: Vec<(String, String)>,
    /// By user, the latest last.
    passwords: BTreeMap<String, Vec<String>>,
}

impl Session {
    pub fn pair(&mut self, recorded: &str, actual: &str) {
        self.pairs.push((recorded.to_owned(), actual.to_owned()));
    }

    pub fn actual(&self, recorded: &str) -> String {
        let mut text = recorded.to_owned();
        for (recorded, actual) in &self.pairs {
            text = text.replace(recorded, actual);
        }
        text
    }

    pub fn recorded(&self, actual: &str) -> String {
        let mut text = actual.to_owned();
        for (recorded, actual) in &self.pairs {
            text = text.replace(actual, recorded);
        }
        text
    }

    /// The request with the values of this run.
    pub fn request(&self, exchange: &Exchange, request: &Request) -> Request {
        let headers = request.headers.iter().map(|(name, value)| {
            let value = match self.password(exchange, value) {
                Some(password) => value.replace(PASSWORD, password),
                None => self.actual(value),
            };
            (name.clone(), value)
        });
        Request {
            method: request.method.clone(),
            path: self.actual(&request.path),
            headers: headers.collect(),
            body: request.body.clone(),
        }
    }

    /// The password in `Basic base64(user:<generated ...>)`.
    fn password(&self, exchange: &Exchange, header: &str) -> Option<&str> {
        let (user, _) =
            header.strip_prefix("Basic base64(")?.split_once(&format!(":{PASSWORD})"))?;
        let mut passwords = self.passwords.get(user)?.iter().rev();
        let latest = passwords.next()?;
        let is_old = exchange.name == "old password after rotation";
        if is_old { passwords.next() } else { Some(latest) }.map(String::as_str)
    }

    /// Remembers what the server made, and gives the answer as it would have been recorded.
    pub fn answer(&mut self, request: &Request, expected: &Value, mut answer: Answer) -> Answer {
        let Ok(text) = String::from_utf8(answer.body.clone()) else {
            return answer;
        };
        if *expected == PASSWORD {
            let user = request.path.split('/').nth(4).unwrap_or_default();
            assert_eq!(text.len(), 32, "a generated password");
            self.passwords.entry(user.to_owned()).or_default().push(text);
            answer.body = PASSWORD.into();
            return answer;
        }
        if request.method == "POST"
            && let Ok(got) = serde_json::from_str::<Value>(&text)
        {
            for name in MADE {
                if let (Some(recorded), Some(actual)) =
                    (expected[name].as_str(), got[name].as_str())
                    && recorded != actual
                {
                    assert_eq!(actual.len(), 26, "an identifier");
                    self.pair(recorded, actual);
                }
            }
            if expected["apiKey"] == API_KEY {
                let key = got["apiKey"].as_str().unwrap();
                self.pair(API_KEY, key);
                self.pair(MASKED_API_KEY, &format!("****{}", &key[key.len() - 4..]));
            }
        }
        answer.body = self.recorded(&text).into_bytes();
        answer
    }
}
