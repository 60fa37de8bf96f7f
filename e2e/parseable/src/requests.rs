//! What was asked, so that a test can say what a client did and did not do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;

use crate::Shared;
use crate::accounts::basic;
use crate::answer::Ending;
use crate::counts::Counters;

/// So many are kept; the counts go on.
const KEPT: usize = 10_000;

/// Routes that are asked by POST and change nothing.
const READING_POSTS: [&str; 3] = [
    "POST /api/v1/query",
    "POST /api/v1/logstream/schema/detect",
    "POST /api/prism/v1/apikeys/validate",
];

/// One request under `/api/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    pub at: SystemTime,
    /// `PUT /api/v1/alerts/{id}`; a path that is no route stands as it is.
    pub route: String,
    /// With the query: `/api/v1/alerts/01M8...`.
    pub path: String,
    /// Of Basic authentication, right or wrong; none for an API key.
    pub user: Option<String>,
    /// 0: the connection was ended instead of an answer.
    pub status: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    last: VecDeque<Logged>,
    by_route: BTreeMap<String, u64>,
}

impl Requests {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn last(&self) -> Vec<Logged> {
        self.log().last.iter().cloned().collect()
    }

    pub(crate) fn by_route(&self) -> BTreeMap<String, u64> {
        self.log().by_route.clone()
    }

    /// Those that may have changed something, whether the server took them or not.
    pub(crate) fn writes(&self) -> BTreeMap<String, u64> {
        let mut counts = self.by_route();
        counts.retain(|route, _| {
            let reads = route.starts_with("GET ") || route.starts_with("HEAD ");
            !reads && !READING_POSTS.contains(&route.as_str())
        });
        counts
    }

    pub(crate) fn clear(&self) {
        *self.log() = Log::default();
    }

    fn add(&self, logged: Logged) {
        let mut log = self.log();
        *log.by_route.entry(logged.route.clone()).or_default() += 1;
        if log.last.len() == KEPT {
            log.last.pop_front();
        }
        log.last.push_back(logged);
    }
}

/// Counts and logs what goes through.
pub(crate) async fn watch(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    Counters::add(&shared.counts.requests, 1);
    // A sink is measured, and its requests are all alike.
    if shared.config.sink {
        return next.run(request).await;
    }
    let mut logged = Logged {
        at: shared.now().into(),
        route: route(request.method(), &request),
        path: request.uri().to_string(),
        user: basic(request.headers()).map(|(user, _)| user),
        status: 0,
    };
    let response = next.run(request).await;
    if response.extensions().get::<Ending>().is_none() {
        logged.status = response.status().as_u16();
    }
    shared.requests.add(logged);
    response
}

fn route(method: &Method, request: &Request) -> String {
    let path = match request.extensions().get::<MatchedPath>() {
        Some(route) => route.as_str(),
        None => request.uri().path(),
    };
    format!("{method} {path}")
}
