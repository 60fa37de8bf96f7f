//! Failures on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Reply};
use crate::{Shared, body};

/// How one request fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Spec", into = "Spec")]
pub enum Fault {
    /// This status and text, nothing stored.
    Status(u16, String),
    /// The connection is reset (RST) before the body is read.
    Reset,
    /// The connection is closed after the body is read, nothing stored, no answer.
    Close,
    /// The connection is reset when the first piece of the body has come.
    DropMidBody,
    /// What was asked is done, then the connection is closed without the answer: a retry does it again.
    StoreThenClose,
    /// What was asked is done at once, and answered this much later.
    Delay(Duration),
}

/// The JSON form: `{"kind":"status","status":503,"text":"..."}`, `{"kind":"delay","ms":200}`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Spec {
    Status {
        status: u16,
        #[serde(default)]
        text: String,
    },
    Reset,
    Close,
    DropMidBody,
    StoreThenClose,
    Delay {
        ms: u64,
    },
}

impl From<Spec> for Fault {
    fn from(spec: Spec) -> Self {
        match spec {
            Spec::Status { status, text } => Self::Status(status, text),
            Spec::Reset => Self::Reset,
            Spec::Close => Self::Close,
            Spec::DropMidBody => Self::DropMidBody,
            Spec::StoreThenClose => Self::StoreThenClose,
            Spec::Delay { ms } => Self::Delay(Duration::from_millis(ms)),
        }
    }
}

impl From<Fault> for Spec {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Status(status, text) => Self::Status { status, text },
            Fault::Reset => Self::Reset,
            Fault::Close => Self::Close,
            Fault::DropMidBody => Self::DropMidBody,
            Fault::StoreThenClose => Self::StoreThenClose,
            Fault::Delay(delay) => Self::Delay { ms: delay.as_millis() as u64 },
        }
    }
}

/// What goes wrong next, in the order it was asked for.
#[derive(Debug, Default)]
pub struct Faults {
    ingests: Mutex<VecDeque<(u64, Fault)>>,
    requests: Mutex<VecDeque<Rule>>,
}

/// What fails, how often, and how.
#[derive(Debug)]
struct Rule {
    pattern: String,
    left: u64,
    fault: Fault,
}

impl Faults {
    /// The next `count` ingests fail so, after those already asked for. The credentials are not looked at.
    pub fn next_ingests(&self, count: u64, fault: Fault) {
        if count > 0 {
            self.queue().push_back((count, fault));
        }
    }

    /// The next `count` requests that fit `pattern` fail so. A pattern is a method and a path; `*` is any
    /// method, and at the end of a path anything that follows: `"POST /api/v1/alerts"`, `"* /api/v1/alerts*"`,
    /// `"* *"`. The credentials are not looked at. Patterns are tried in the order they were given.
    pub fn next_requests(&self, pattern: &str, count: u64, fault: Fault) {
        if count > 0 {
            self.rules().push_back(Rule { pattern: pattern.to_owned(), left: count, fault });
        }
    }

    /// The same until [`Faults::clear`].
    pub fn all_requests(&self, pattern: &str, fault: Fault) {
        self.next_requests(pattern, u64::MAX, fault);
    }

    /// Everything works again.
    pub fn clear(&self) {
        self.queue().clear();
        self.rules().clear();
    }

    /// Ingests that are still to fail.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.queue().iter().map(|(count, _)| count).sum()
    }

    pub(crate) fn take(&self) -> Option<Fault> {
        let mut queue = self.queue();
        let (count, fault) = queue.front_mut()?;
        let fault = fault.clone();
        *count -= 1;
        if *count == 0 {
            queue.pop_front();
        }
        Some(fault)
    }

    fn take_for(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.rules();
        let rule = rules.iter_mut().find(|rule| fits(&rule.pattern, method.as_str(), path))?;
        let fault = rule.fault.clone();
        rule.left = rule.left.saturating_sub(1);
        rules.retain(|rule| rule.left > 0);
        Some(fault)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(u64, Fault)>> {
        self.ingests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, VecDeque<Rule>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fits(pattern: &str, method: &str, path: &str) -> bool {
    let (wanted_method, wanted_path) = pattern.split_once(' ').unwrap_or(("*", pattern));
    let path_fits = match wanted_path.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == wanted_path,
    };
    path_fits && (wanted_method == "*" || wanted_method.eq_ignore_ascii_case(method))
}

/// Fails the requests that shall fail, before anything else looks at them.
pub(crate) async fn inject(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let fault = shared.faults.take_for(request.method(), request.uri().path());
    let limit = shared.config.max_body_bytes;
    fail(fault, request, limit, |request| async move { Ok(next.run(request).await) })
        .await
        .into_response()
}

/// Does `work`, or fails in its place or after it.
pub(crate) async fn fail<W, F>(
    fault: Option<Fault>,
    request: Request,
    limit: usize,
    work: W,
) -> Reply
where
    W: FnOnce(Request) -> F,
    F: Future<Output = Reply>,
{
    match fault {
        None => work(request).await,
        Some(Fault::Status(status, text)) => {
            drain(request, limit).await;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Err(Answer::Text(status, text))
        }
        Some(Fault::Reset) => Err(Answer::Reset),
        Some(Fault::Close) => {
            drain(request, limit).await;
            Err(Answer::HangUp)
        }
        Some(Fault::DropMidBody) => {
            drop(http_body_util::BodyExt::frame(&mut request.into_body()).await);
            Err(Answer::Reset)
        }
        Some(Fault::StoreThenClose) => {
            work(request).await?;
            Ok(Answer::HangUp.into_response())
        }
        Some(Fault::Delay(delay)) => {
            let reply = work(request).await;
            tokio::time::sleep(delay).await;
            reply
        }
    }
}

/// Only the body's bytes have to come off the wire; whatever is wrong with them does not matter.
async fn drain(request: Request, limit: usize) {
    drop(body::read(request, limit).await);
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, method, path, expected) in [
            ("POST /a", "POST", "/a", true),
            ("POST /a", "GET", "/a", false),
            ("POST /a", "POST", "/a/b", false),
            ("* /a*", "DELETE", "/a/b", true),
            ("* *", "GET", "/", true),
            ("/a", "GET", "/a", true),
        ] {
            assert_eq!(fits(pattern, method, path), expected, "{pattern}: {method} {path}");
        }
    }
}
