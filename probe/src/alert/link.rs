//! The connection to the operator.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::http;
use crate::ship::root_cause;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, StatusCode, Url};
use securitywatch_api::alerting::wire::{HITS_PATH, HitAnswer, HitReport};

const CONNECT: Duration = Duration::from_secs(3);
/// The operator answers within a few seconds whatever its receivers do.
const ANSWER: Duration = Duration::from_secs(15);

/// Where the operator is and how a probe comes in.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub url: Url,
    /// Read for each report: the kubelet exchanges it.
    pub token: PathBuf,
    /// The one certificate that is trusted; `None`: the system's authorities.
    pub certificate: Option<PathBuf>,
}

/// Why a report was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody has seen it.
    Unseen(String),
    /// Perhaps somebody has; it may be taken later.
    Later(String),
    /// It will never be taken.
    Refused(String),
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    /// With the certificate it was made for.
    client: Mutex<Option<(Vec<u8>, Client)>>,
}

impl Link {
    pub const fn new(address: Address) -> Self {
        Self { address, client: Mutex::new(None) }
    }

    /// Reports hits.
    ///
    /// # Errors
    /// They were not taken.
    pub async fn report(&self, report: &HitReport) -> Result<HitAnswer, Failure> {
        let client = self.client().map_err(Failure::Unseen)?;
        let token = std::fs::read_to_string(&self.address.token).map_err(|error| {
            Failure::Unseen(format!("no token: {}: {error}", self.address.token.display()))
        })?;
        let body =
            serde_json::to_string(report).map_err(|error| Failure::Refused(error.to_string()))?;
        let mut url = self.address.url.clone();
        url.set_path(HITS_PATH);
        let request = client
            .post(url)
            .bearer_auth(token.trim())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let response = request.send().await.map_err(|error| broken(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| broken(&error))?;
        judge(status, &text)
    }

    fn client(&self) -> Result<Client, String> {
        let trusted = match &self.address.certificate {
            None => Vec::new(),
            Some(path) => std::fs::read(path).map_err(|error| {
                format!(
                    "the operator's certificate has not come to this node: {}: {error}",
                    path.display()
                )
            })?,
        };
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, client)) = &*known
            && *of == trusted
        {
            return Ok(client.clone());
        }
        let certificates = Certificate::from_pem_bundle(&trusted)
            .map_err(|error| format!("the operator's certificate is none: {error}"))?;
        let client = http::client(|builder| {
            let builder = builder.no_proxy().connect_timeout(CONNECT).timeout(ANSWER);
            match &self.address.certificate {
                Some(_) => builder.tls_certs_only(certificates.clone()),
                None => builder,
            }
        });
        let client = client.map_err(|error| format!("cannot set up HTTP: {error}"))?;
        *known = Some((trusted, client.clone()));
        Ok(client)
    }
}

fn broken(error: &reqwest::Error) -> Failure {
    let why = root_cause(error);
    if error.is_connect() {
        Failure::Unseen(format!("the operator is not reachable: {why}"))
    } else {
        Failure::Later(format!("the operator did not answer: {why}"))
    }
}

fn judge(status: StatusCode, text: &str) -> Result<HitAnswer, Failure> {
    let said = || {
        let line = text.lines().next().unwrap_or_default();
        format!(
            "the operator answered {}: {}",
            status.as_u16(),
            line.chars().take(200).collect::<String>()
        )
    };
    match status {
        StatusCode::OK => serde_json::from_str(text)
            .map_err(|error| Failure::Later(format!("the operator's answer is none: {error}"))),
        // It did not look at them.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Failure::Unseen(said()))
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Err(Failure::Refused(said())),
        _ => Err(Failure::Later(said())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let judge = |status: u16, text: &str| {
            StatusCode::from_u16(status).map_or_else(
                |_| Err(Failure::Later(String::new())),
                |status| super::judge(status, text),
            )
        };
        assert_eq!(judge(200, r#"{"pending":[2]}"#), Ok(HitAnswer { pending: vec![2] }));
        assert!(matches!(judge(200, "<html>"), Err(Failure::Later(_))));
        for status in [401, 403, 503] {
            assert!(matches!(judge(status, "no"), Err(Failure::Unseen(_))), "{status}");
        }
        let refused = Failure::Refused("the operator answered 400: no report".into());
        assert_eq!(judge(400, "no report\nmore"), Err(refused));
        assert!(matches!(judge(500, ""), Err(Failure::Later(_))));
    }
}
