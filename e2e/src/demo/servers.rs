//! The two servers on this machine's loop-back interface.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use super::{Error, http};

/// The Parseable stand-in, ended with the demo.
pub struct Parseable {
    process: Child,
    address: String,
    login: (String, String),
}

impl Parseable {
    pub fn start(program: &Path, user: &str, password: &str) -> Result<Self, Error> {
        let mut process = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--username", user, "--password", password])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line
            .trim()
            .rsplit_once("http://")
            .map(|(_, address)| address.trim_end_matches('/').to_owned());
        let Some(address) = address else {
            let _ = process.kill();
            return Err(format!("the Parseable stand-in did not start: {line:?}").into());
        };
        Ok(Self { process, address, login: (user.to_owned(), password.to_owned()) })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// The rows an SQL query selects.
    pub fn query(&self, sql: &str) -> Result<Vec<Value>, Error> {
        let body =
            serde_json::json!({"query": sql, "startTime": "1h", "endTime": "now"}).to_string();
        let login = (self.login.0.as_str(), self.login.1.as_str());
        match http::post(&self.address, "/api/v1/query", login, &body)? {
            (200, text) => Ok(serde_json::from_str(&text)?),
            (status, text) => Err(format!("query answered {status}: {text}\n{sql}").into()),
        }
    }
}

impl Drop for Parseable {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A webhook that keeps what it gets.
pub struct Webhook {
    port: u16,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Webhook {
    pub fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&bodies);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if let Ok(body) = http::receive(connection) {
                    keep.lock().unwrap_or_else(PoisonError::into_inner).push(body);
                }
            }
        });
        Ok(Self { port, bodies })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Bodies in the order they came.
    pub fn received(&self) -> Vec<String> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
