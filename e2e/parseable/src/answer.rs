//! Answers that are not plain success.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What a handler says when it does not answer with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A plain text, as the server writes errors and confirmations.
    Text(StatusCode, String),
    /// The few errors that are JSON.
    Json(StatusCode, serde_json::Value),
    /// The connection is closed without an answer, as where the real server's handler panics.
    HangUp,
    /// The same with a TCP reset.
    Reset,
}

/// How a connection ends instead of an answer; rides on the response to the connection's loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Close,
    Reset,
}

pub(crate) type Reply = Result<Response, Answer>;

impl Answer {
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::Text(StatusCode::BAD_REQUEST, text.into())
    }

    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::Text(StatusCode::INTERNAL_SERVER_ERROR, text.into())
    }

    pub(crate) fn no_stream(name: &str) -> Self {
        Self::Text(StatusCode::NOT_FOUND, format!("Stream not found: {name}"))
    }

    /// The recordings do not say what the real server does.
    pub(crate) fn not_recorded(what: &str) -> Self {
        Self::Text(
            StatusCode::NOT_IMPLEMENTED,
            format!("stand-in: no exchange with a real server was recorded for {what}"),
        )
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_, text) => f.write_str(text),
            Self::Json(_, value) => value.fmt(f),
            Self::HangUp | Self::Reset => f.write_str("no answer"),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let ending = match self {
            Self::Text(status, text) => return (status, text).into_response(),
            Self::Json(status, value) => {
                let mut response = json_bytes(value.to_string().into_bytes());
                *response.status_mut() = status;
                return response;
            }
            Self::HangUp => Ending::Close,
            Self::Reset => Ending::Reset,
        };
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(ending);
        response
    }
}

/// 200 with a text.
pub(crate) fn text(text: impl Into<String>) -> Reply {
    Err(Answer::Text(StatusCode::OK, text.into()))
}

/// 200 with JSON.
pub(crate) fn json(value: &serde_json::Value) -> Reply {
    Ok(json_bytes(value.to_string().into_bytes()))
}

pub(crate) fn json_bytes(bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
