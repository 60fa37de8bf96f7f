//! Requests to one server with one account: deadlines, bounded answers, no redirects, judged addresses.

mod account;
mod call;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::Url;

use account::{Account, account};
use call::LIST_BYTES;
pub(crate) use call::{Call, Reply};

use crate::failure::{Failure, FailureClass};
use crate::guard::{TargetDenied, TargetGuard};
use crate::outbound::{denial, guarded_client, root_cause};
use crate::server::{Credentials, Timeouts};

/// The server closes connections that were idle for 5 s; one that it closes while we write looks like a failure.
const POOL_IDLE: Duration = Duration::from_secs(3);

/// One server and one account.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    guard: Arc<TargetGuard>,
    base: Url,
    account: Account,
    timeouts: Timeouts,
}

impl Http {
    pub(crate) fn new(
        guard: Arc<TargetGuard>,
        base: &Url,
        credentials: &Credentials,
        timeouts: Timeouts,
    ) -> Result<Self, Failure> {
        let client = guarded_client(&guard, |builder| {
            builder
                .connect_timeout(timeouts.connect)
                .timeout(timeouts.total)
                .pool_idle_timeout(POOL_IDLE)
                .http1_only()
        })
        .map_err(|error| {
            let why = root_cause(&error);
            Failure::new(FailureClass::Unreachable, format!("cannot set up HTTP: {why}"))
        })?;
        Ok(Self { client, guard, base: base.clone(), account: account(credentials)?, timeouts })
    }

    /// The server, for a sentence.
    pub(crate) fn who(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    pub(crate) const fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn guard(&self) -> &Arc<TargetGuard> {
        &self.guard
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// There is no answer. An answer of any status is none.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply, Failure> {
        self.in_time(async {
            let response = self.send(&call).await?;
            let status = response.status().as_u16();
            let html = is_html(&response);
            let body = self.read(response, call.limit).await?;
            Ok(Reply { status, body, html })
        })
        .await
    }

    /// The rest of the first line of a text that begins with `prefix`. The answer is not kept: some list every route and
    /// stream.
    pub(crate) async fn find_line(
        &self,
        path: &str,
        prefix: &str,
    ) -> Result<(u16, Option<String>), Failure> {
        let scan = async {
            let call = Call::get(path);
            let mut response = self.send(&call).await?;
            let status = response.status().as_u16();
            let mut line = Vec::new();
            let mut total = 0;
            while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
                total += chunk.len();
                for byte in chunk {
                    if byte != b'\n' {
                        line.push(byte);
                    } else if let Some(rest) = line.strip_prefix(prefix.as_bytes()) {
                        return Ok((status, Some(String::from_utf8_lossy(rest).trim().to_owned())));
                    } else {
                        line.clear();
                    }
                }
                if total > LIST_BYTES {
                    break;
                }
            }
            Ok((status, None))
        };
        self.in_time(scan).await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        // The client's own deadline is for one attempt.
        match tokio::time::timeout(self.timeouts.total, work).await {
            Ok(result) => result,
            Err(_) => Err(self.too_late()),
        }
    }

    /// A connection that the server closes as we write is tried a second time, on a new connection.
    async fn send(&self, call: &Call) -> Result<Response, Failure> {
        self.guard.check_url(&self.base).map_err(denied)?;
        let first = match self.request(call).send().await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        if first.is_timeout() || first.is_connect() || first.is_builder() || !call.repeatable {
            return Err(self.broken(&first));
        }
        self.request(call).send().await.map_err(|error| self.broken(&error))
    }

    fn request(&self, call: &Call) -> RequestBuilder {
        let url = format!("{}/api/v1{}", self.who(), call.path);
        let mut request =
            self.client.request(call.method.clone(), url).headers(self.account.headers.clone());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        match &call.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => request,
        }
    }

    async fn read(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > limit {
                let message = format!(
                    "{} sent an answer of more than {} KiB, which no Parseable server does: check the URL",
                    self.who(),
                    limit / 1024
                );
                return Err(Failure::new(FailureClass::ServerError, message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The answer as JSON.
    ///
    /// # Errors
    /// Another status than success, by [`Http::refused`]; or something else than was expected.
    pub(crate) fn expect<T: DeserializeOwned>(
        &self,
        reply: &Reply,
        otherwise: FailureClass,
        doing: &str,
    ) -> Result<T, Failure> {
        if !reply.is_success() {
            return Err(self.refused(reply, otherwise, doing));
        }
        reply.json().ok_or_else(|| {
            let who = self.who();
            let message = format!(
                "{who} gave an answer that is not understood to {doing}: its version may be unknown"
            );
            Failure::new(FailureClass::ServerError, message)
        })
    }

    /// Why an answer is no success. `doing`: "the request for the list of alerts"; `otherwise` is the class of a
    /// plain refusal.
    pub(crate) fn refused(&self, reply: &Reply, otherwise: FailureClass, doing: &str) -> Failure {
        let (who, status) = (self.who(), reply.status);
        if reply.html || (300..400).contains(&status) {
            let message = format!(
                "{who} answered {status} with a page, not as a Parseable server: check the URL"
            );
            return Failure::new(FailureClass::ServerError, message);
        }
        match status {
            401 | 403 => self.unauthorized(status, doing),
            500 if reply.contains("does not have access to stream") => {
                self.unauthorized(status, doing)
            }
            408 | 429 | 500.. => Failure::new(
                FailureClass::ServerError,
                format!("{who} answered {status} to {doing}"),
            ),
            _ => Failure::new(otherwise, format!("{who} answered {status} to {doing}")),
        }
    }

    fn unauthorized(&self, status: u16, doing: &str) -> Failure {
        let (who, name) = (self.who(), &self.account.name);
        let message = match status {
            401 => format!(
                "{who} answered 401 {name} to {doing}; check the Secret with the credentials"
            ),
            // Wrong passwords and missing rights look the same.
            _ => format!(
                "{who} answered {status} {name} to {doing}; check the password in the Secret and the account's role"
            ),
        };
        Failure::new(FailureClass::Unauthorized, message)
    }

    fn too_late(&self) -> Failure {
        let message =
            format!("{} did not answer within {} s", self.who(), self.timeouts.total.as_secs());
        Failure::new(FailureClass::Unreachable, message)
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        if let Some(why) = denial(error) {
            return denied(why.clone());
        }
        if error.is_timeout() {
            return self.too_late();
        }
        let (who, why) = (self.who(), root_cause(error));
        let message = if error.is_connect() {
            format!("{who} is not reachable: {why}")
        } else {
            format!("{who} closed the connection: {why}")
        };
        Failure::new(FailureClass::Unreachable, message)
    }
}

pub(crate) fn denied(why: TargetDenied) -> Failure {
    Failure::new(FailureClass::TargetDenied, format!("the target is not called: {why}"))
}

/// A web page where an API should be.
fn is_html(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v.starts_with("text/html"))
}
