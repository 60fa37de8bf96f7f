//! A request and its answer, as values.

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What an ordinary answer may have.
const ANSWER_BYTES: usize = 64 * 1024;
/// What a list, a schema or an alert with a long query may have.
pub(super) const LIST_BYTES: usize = 8 * 1024 * 1024;

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) limit: usize,
    /// Doing it twice does what doing it once does.
    pub(super) repeatable: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let (path, body, headers) = (path.into(), None, Vec::new());
        Self { method, path, body, headers, limit: ANSWER_BYTES, repeatable: true }
    }

    /// `path` is below `/api/v1`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Something new with each call, unless [`Call::upsert`].
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self { repeatable: false, ..Self::new(Method::POST, path) }
    }

    /// A POST that may be made twice.
    pub(crate) fn upsert(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer may be long.
    pub(crate) fn long(mut self) -> Self {
        self.limit = LIST_BYTES;
        self
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Never shown: it may hold secrets.
    pub(super) body: Vec<u8>,
    pub(super) html: bool,
}

impl Reply {
    /// 2xx, and not the page of some other server.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && !self.html
    }

    /// To recognise known errors by; never to show.
    pub(crate) fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    pub(crate) fn contains(&self, words: &str) -> bool {
        self.text().contains(words)
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}
