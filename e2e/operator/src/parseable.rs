//! The Parseable stand-in as a process, and its controls.

use std::process::Stdio;
use std::time::Duration;

use securitywatch_e2e::built;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Result;

/// A running stand-in; it ends when dropped.
#[derive(Debug)]
pub struct Parseable {
    pub url: String,
    _process: Child,
    client: reqwest::Client,
}

/// The account it takes.
pub const USER: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "admin";

impl Parseable {
    /// Starts one on a free port, with more options of its program.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(options: &[&str]) -> Result<Self> {
        let mut process = Command::new(built::program("parseable-standin")?)
            .args(["--listen", "127.0.0.1:0", "--username", USER, "--password", PASSWORD])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the stand-in has no output")?;
        let line = BufReader::new(stdout).lines().next_line().await?.unwrap_or_default();
        let url = line.strip_prefix("listening on ").ok_or("the stand-in did not start")?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(1))
            .build()?;
        Ok(Self { url: url.to_owned(), _process: process, client })
    }

    /// The answer of a GET with the account: status and JSON, `null` where it is none.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        self.call(reqwest::Method::GET, path, None).await
    }

    /// The same for another method, with a body.
    ///
    /// # Errors
    /// No answer.
    pub async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .basic_auth(USER, Some(PASSWORD));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// The alerts it lists.
    ///
    /// # Errors
    /// No answer, or not a list.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let (status, list) = self.get("/api/v1/alerts?limit=1000").await?;
        match list {
            Value::Array(alerts) => Ok(alerts),
            _ => Err(format!("the list of alerts answered {status}").into()),
        }
    }
}
