//! Errors of calls to the API server, each under a deadline.

use std::time::Duration;

/// No call to the API server may take longer: the client repeats by itself and would do so for minutes.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A call to the API server that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was answered by a refusal, or the connection failed.
    #[error("{what}: {}", short(.source))]
    Kube {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: kube::Error,
    },
    /// Nobody answered in time.
    #[error("{what}: no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// What was tried.
        what: &'static str,
    },
}

impl Error {
    /// A word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Deadline { .. } => "deadline",
            Self::Kube { source: kube::Error::Api(status), .. } => match status.code {
                403 => "forbidden",
                404 => "not_found",
                409 => "conflict",
                422 => "invalid",
                429 => "too_many_requests",
                500..=599 => "server_error",
                _ => "refused",
            },
            Self::Kube { .. } => "connection",
        }
    }

    /// Whether the object, as it is on the server, is newer than what was sent.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.class() == "conflict"
    }

    /// Whether the object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.class() == "not_found"
    }
}

/// Waits for an answer of the API server, but not for long.
///
/// # Errors
/// A refusal, a failed connection or silence.
pub async fn within<T>(
    what: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Kube { what, source }),
        Err(_) => Err(Error::Deadline { what }),
    }
}

/// An error and its causes on one line: the client's own text repeats each API answer in its debug form.
#[must_use]
pub fn short(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            return format!("{} {}", status.code, status.message);
        }
        let words = error.to_string();
        // Many errors repeat their cause.
        if !text.contains(&words) && !words.contains("ApiError") {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_in_its_own_words() {
        let status = kube::core::Status::failure("secrets \"a\" is forbidden", "Forbidden");
        let source = kube::Error::Api(status.with_code(403).boxed());
        let error = Error::Kube { what: "get secret", source };
        assert_eq!(error.to_string(), "get secret: 403 secrets \"a\" is forbidden");
        assert_eq!(error.class(), "forbidden");
    }
}
