//! One stream of one Parseable server over HTTP: requests out, answers sorted by what to do about them.

use super::credentials::Credentials;
use super::words::Words;
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a watch's events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Base URL of the server: `http://parseable.parseable.svc`.
    pub url: String,
    pub stream: String,
    /// Whole days, at least 1; set on the stream where given.
    pub retention_days: Option<u32>,
    /// For sending events.
    pub credentials: Credentials,
    /// For looking at the stream, creating it and its retention; `None` uses the others for that too.
    pub management: Option<Credentials>,
    pub keeper: Keeper,
}

/// Who makes the stream ready: creates it, types its columns, sets its retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeper {
    #[default]
    Probe,
    /// In a cluster: thousands of nodes are not to do what one operator does.
    Operator,
}

/// A target that cannot be used as it is written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(
        "target.parseable.url: \"{0}\" is not an http or https URL, for example http://parseable.parseable.svc"
    )]
    Url(String),
    #[error(
        "target.parseable.url: a URL with user and password would show them in every log; put them into the credentials secret"
    )]
    UserInUrl,
    #[error(
        "target.parseable.stream: \"{0}\" cannot be a stream: letters, digits, '-' and '_' only"
    )]
    Stream(String),
    #[error("target.parseable.retention: {0} days is outside 1 to 36500")]
    Retention(u32),
    #[error(
        "target.parseable: this node ships to {0} streams already, the most it can; let watches share streams"
    )]
    TooManyStreams(usize),
    #[error("cannot set up HTTP: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot set up compression: {0}")]
    Zstd(std::io::Error),
}

/// What an answer means for the batch.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted,
    /// Try again later: the server or the way to it is in trouble.
    Retry {
        cause: &'static str,
        why: Words,
        after: Option<Duration>,
    },
    /// The stream is to be created by somebody else.
    NotYet(Words),
    /// The connection broke under the request.
    Reset(Words),
    /// Too large as it is.
    TooLarge(String),
    /// Something in it is refused.
    Rejected {
        status: StatusCode,
        text: String,
    },
    /// The stream does not exist.
    NoStream,
    /// Nothing will be accepted until somebody changes something; says what.
    Refused(Words),
    /// The same, and credentials are the reason.
    Unauthorized(Words),
    /// Nothing was sent, for the credentials are not there yet.
    NoAccount(Words),
}

/// How the body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Zstd,
    Identity,
}

/// Waits that differ between a test and a node.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    /// From sending to the end of the answer.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(30) }
    }
}

/// The server closes connections that were idle for 5 s; one that it closes while we write looks like a failure.
const POOL_IDLE: Duration = Duration::from_secs(3);

/// What connections are made with; streams share one, as each knows every certificate authority.
#[derive(Debug, Clone)]
pub struct HttpClient(reqwest::Client);

impl HttpClient {
    /// A client with this patience.
    ///
    /// # Errors
    /// TLS cannot be set up at all.
    pub fn new(timeouts: Timeouts) -> Result<Self, TargetError> {
        let client = crate::http::client(|builder| {
            builder
                .connect_timeout(timeouts.connect)
                .timeout(timeouts.request)
                .pool_idle_timeout(POOL_IDLE)
                .http1_only()
        })?;
        Ok(Self(client))
    }
}

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    stream: String,
    credentials: Mutex<Credentials>,
    management: Option<Mutex<Credentials>>,
    /// The credentials were replaced since they were last looked at.
    replaced: AtomicBool,
}

/// Which account a request is made with.
#[derive(Debug, Clone, Copy)]
enum Account {
    Ingest,
    Management,
}

impl Client {
    pub fn new(target: &Target, http: HttpClient) -> Result<Self, TargetError> {
        check(target)?;
        Ok(Self {
            http: http.0,
            base: target.url.trim_end_matches('/').to_owned(),
            stream: target.stream.clone(),
            credentials: Mutex::new(target.credentials.clone()),
            management: target.management.clone().map(Mutex::new),
            replaced: AtomicBool::new(false),
        })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Ingests with these from now on.
    pub fn set_credentials(&self, credentials: Credentials) {
        *self.account(Account::Ingest) = credentials;
        self.replaced.store(true, Relaxed);
    }

    /// Reads the credentials' files again; `true` when they are others now.
    pub fn refresh_credentials(&self) -> bool {
        let replaced = self.replaced.swap(false, Relaxed);
        let accounts = [Some(&self.credentials), self.management.as_ref()];
        let refresh = |account: &Mutex<Credentials>| {
            let mut account = account.lock().unwrap_or_else(PoisonError::into_inner);
            account.refresh().unwrap_or_else(|error| {
                tracing::debug!(%error, "Credentials are not readable; the old ones stay");
                false
            })
        };
        // Both are looked at, whatever the first one says.
        accounts.into_iter().flatten().map(refresh).fold(replaced, |any, changed| any | changed)
    }

    fn account(&self, account: Account) -> MutexGuard<'_, Credentials> {
        let credentials = match (account, &self.management) {
            (Account::Management, Some(management)) => management,
            _ => &self.credentials,
        };
        credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ingests one batch. `body` is a JSON array with at least one row: an empty one can end the server's process.
    pub async fn ingest(&self, body: Bytes, encoding: Encoding) -> Answer {
        let account = Account::Ingest;
        if let Some(missing) = self.account(account).missing() {
            return Answer::NoAccount(missing.into());
        }
        let mut request =
            self.request(account, Method::POST, "").header(CONTENT_TYPE, "application/json");
        if encoding == Encoding::Zstd {
            request = request.header(CONTENT_ENCODING, "zstd");
        }
        match request.body(body).send().await {
            Ok(response) => self.sort(account, response).await,
            Err(error) => transport(&error),
        }
    }

    /// Creates the stream; one that exists is as good.
    pub async fn create(&self) -> Answer {
        match self.request(Account::Management, Method::PUT, "").send().await {
            Ok(response) => match self.sort(Account::Management, response).await {
                Answer::Rejected { text, .. } if text.contains("already exists") => {
                    Answer::Accepted
                }
                answer => answer,
            },
            Err(error) => transport(&error),
        }
    }

    /// The stream's schema as the server tells it.
    pub async fn schema(&self) -> Result<serde_json::Value, Answer> {
        self.get("/schema").await
    }

    /// The stream's retention as the server tells it.
    pub async fn retention(&self) -> Result<serde_json::Value, Answer> {
        self.get("/retention").await
    }

    pub async fn put_retention(&self, days: u32) -> Answer {
        let body = serde_json::json!([{
            "description": format!("delete after {days} days"),
            "action": "delete",
            "duration": format!("{days}d"),
        }]);
        let request = self
            .request(Account::Management, Method::PUT, "/retention")
            .header(CONTENT_TYPE, "application/json");
        match request.body(body.to_string()).send().await {
            Ok(response) => self.sort(Account::Management, response).await,
            Err(error) => transport(&error),
        }
    }

    async fn get(&self, path: &str) -> Result<serde_json::Value, Answer> {
        let response = self
            .request(Account::Management, Method::GET, path)
            .send()
            .await
            .map_err(|e| transport(&e))?;
        if response.status() == StatusCode::OK && !is_html(&response) {
            return response.json().await.map_err(|error| transport(&error));
        }
        Err(self.sort(Account::Management, response).await)
    }

    fn request(&self, account: Account, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1/logstream/{}{path}", self.base, self.stream);
        self.account(account).apply(self.http.request(method, url))
    }

    async fn sort(&self, account: Account, response: Response) -> Answer {
        let status = response.status();
        let after = retry_after(&response);
        if status.is_success() && !is_html(&response) {
            return Answer::Accepted;
        }
        if status.is_success() || status.is_redirection() {
            let code = status.as_u16();
            return Answer::Refused(
                format!("answered {code} with a page, not as a Parseable server: check target.parseable.url")
                    .into(),
            );
        }
        let text = excerpt(response).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Answer::Unauthorized(self.account(account).blame(status).into())
            }
            StatusCode::NOT_FOUND => Answer::NoStream,
            StatusCode::PAYLOAD_TOO_LARGE => Answer::TooLarge(text),
            StatusCode::BAD_REQUEST
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::UNSUPPORTED_MEDIA_TYPE => Answer::Rejected { status, text },
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Answer::Retry { cause: "throttled", why: said(status, &text), after }
            }
            _ if status.is_server_error() => {
                Answer::Retry { cause: "server_error", why: said(status, &text), after }
            }
            _ => Answer::Refused(said(status, &text)),
        }
    }
}

fn check(target: &Target) -> Result<(), TargetError> {
    let url = Url::parse(&target.url).map_err(|_| TargetError::Url(target.url.clone()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::UserInUrl);
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(TargetError::Url(target.url.clone()));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if target.stream.is_empty() || !target.stream.chars().all(fits) {
        return Err(TargetError::Stream(target.stream.clone()));
    }
    match target.retention_days {
        Some(days) if !(1..=36_500).contains(&days) => Err(TargetError::Retention(days)),
        _ => Ok(()),
    }
}

fn said(status: StatusCode, text: &str) -> Words {
    Words::with(format!("answered {}", status.as_u16()), text)
}

/// A web page where an API should be: the user interface, or some other server's greeting.
fn is_html(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v.starts_with("text/html"))
}

/// Seconds only: the other form, a date, would need both clocks to agree.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

const EXCERPT_BYTES: usize = 300;

/// The start of an error text, on one line. An answer that does not end is cut, not awaited.
async fn excerpt(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < EXCERPT_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body.truncate(EXCERPT_BYTES);
    let text = String::from_utf8_lossy(&body);
    text.trim_end_matches('\u{fffd}').split_whitespace().collect::<Vec<_>>().join(" ")
}

fn transport(error: &reqwest::Error) -> Answer {
    let why = root_cause(error);
    if error.is_timeout() {
        Answer::Retry { cause: "timeout", why: "did not answer in time".into(), after: None }
    } else if error.is_connect() {
        let why = format!("is not reachable: {why}").into();
        Answer::Retry { cause: "unreachable", why, after: None }
    } else {
        Answer::Reset(format!("closed the connection: {why}").into())
    }
}

/// The innermost error says what happened; the outer ones repeat the URL.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
