//! Who reports? A token says it, and the API server says whether the token is true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use securitywatch_api::alerting::wire::AUDIENCE;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use crate::error::within;
use crate::lock::lock;

/// The claim that names the node of the pod or node that a token is bound to.
const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";
/// How long an answer is believed: a token that is taken back is good for so much longer.
const BELIEVED: Duration = Duration::from_secs(60);
/// The same for a refusal: a flood of bad tokens must not become one of questions.
const DISBELIEVED: Duration = Duration::from_secs(10);
/// Answers that are remembered; a cluster has a token for each node.
const MAX_ANSWERS: usize = 16_384;
/// Questions at the same time.
const QUESTIONS: usize = 8;
/// No token is longer.
const MAX_TOKEN: usize = 16 << 10;

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody the API server knows, or not for us.
    #[error("the token is not valid for audience {AUDIENCE}")]
    Unauthenticated,
    /// Somebody else.
    #[error("the token is not of the probe's ServiceAccount")]
    NotAProbe,
    /// As who logs in by hand gets it.
    #[error("the token names no node: it must be bound to a pod or a node")]
    NoNode,
    /// Later perhaps.
    #[error("the API server did not say who this is")]
    Unanswered,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotAProbe | Self::NoNode => StatusCode::FORBIDDEN,
            Self::Unanswered => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

type Answer = Result<Arc<str>, Refusal>;

/// Lets the probes' tokens in.
pub struct Gatekeeper {
    reviews: Api<TokenReview>,
    /// The user name of the probes' ServiceAccount.
    user: String,
    answers: Mutex<HashMap<[u8; 32], (Answer, Instant)>>,
    questions: Semaphore,
}

impl std::fmt::Debug for Gatekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatekeeper").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Gatekeeper {
    /// For the ServiceAccount `namespace/account`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, account: &str) -> Self {
        Self {
            reviews: Api::all(client),
            user: format!("system:serviceaccount:{namespace}:{account}"),
            answers: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
        }
    }

    /// The node whose probe has this token.
    ///
    /// # Errors
    /// It is none.
    pub async fn node_of(&self, token: &str) -> Answer {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(Refusal::Unauthenticated);
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(answer) = self.known(&key) {
            return answer;
        }
        let _permit = self.questions.acquire().await;
        // Asked meanwhile by another report of the same node.
        if let Some(answer) = self.known(&key) {
            return answer;
        }
        let answer = self.ask(token).await;
        if answer != Err(Refusal::Unanswered) {
            self.remember(key, answer.clone());
        }
        answer
    }

    fn known(&self, key: &[u8; 32]) -> Option<Answer> {
        let answers = lock(&self.answers);
        let (answer, until) = answers.get(key)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    fn remember(&self, key: [u8; 32], answer: Answer) {
        let now = Instant::now();
        let until = now + if answer.is_ok() { BELIEVED } else { DISBELIEVED };
        let mut answers = lock(&self.answers);
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, (answer, until)| *until > now && answer.is_ok());
        }
        if answers.len() < MAX_ANSWERS {
            answers.insert(key, (answer, until));
        }
    }

    async fn ask(&self, token: &str) -> Answer {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        match within("review token", self.reviews.create(&PostParams::default(), &review)).await {
            Ok(reviewed) => judge(reviewed.status.as_ref(), &self.user),
            Err(error) => {
                warn!(%error, "Who reports hits cannot be told.");
                Err(Refusal::Unanswered)
            }
        }
    }
}

fn judge(status: Option<&TokenReviewStatus>, probe: &str) -> Answer {
    let status = status.ok_or(Refusal::Unanswered)?;
    // An API server that knows no audiences answers without them, for a token that may be anybody's.
    let is_for_us = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
    let user = status.user.as_ref().filter(|_| status.authenticated == Some(true) && is_for_us);
    let user = user.ok_or(Refusal::Unauthenticated)?;
    if user.username.as_deref() != Some(probe) {
        return Err(Refusal::NotAProbe);
    }
    match user.extra.as_ref().and_then(|extra| extra.get(NODE_CLAIM)).map(Vec::as_slice) {
        Some([node]) if !node.is_empty() => Ok(node.as_str().into()),
        _ => Err(Refusal::NoNode),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    const PROBE: &str = "system:serviceaccount:ns:probe";

    fn judged(status: Value) -> Answer {
        judge(Some(&serde_json::from_value(status).unwrap()), PROBE)
    }

    fn good() -> Value {
        json!({"authenticated": true, "audiences": [AUDIENCE],
               "user": {"username": PROBE, "extra": {NODE_CLAIM: ["n1"]}}})
    }

    #[test]
    fn a_probe_is_the_one_of_its_node() {
        assert_eq!(judged(good()).unwrap().as_ref(), "n1");
    }

    #[test]
    fn everybody_else_stays_out() {
        let changed = |change: fn(&mut Value)| {
            let mut status = good();
            change(&mut status);
            judged(status)
        };
        assert_eq!(changed(|s| s["authenticated"] = json!(false)), Err(Refusal::Unauthenticated));
        assert_eq!(
            changed(|s| s["audiences"] = json!(["https://kubernetes"])),
            Err(Refusal::Unauthenticated)
        );
        assert_eq!(changed(|s| s["audiences"] = Value::Null), Err(Refusal::Unauthenticated));
        assert_eq!(
            changed(|s| s["user"]["username"] = json!("system:serviceaccount:x:probe")),
            Err(Refusal::NotAProbe)
        );
        assert_eq!(changed(|s| s["user"]["extra"] = json!({})), Err(Refusal::NoNode));
        assert_eq!(
            changed(|s| s["user"]["extra"][NODE_CLAIM] = json!(["a", "b"])),
            Err(Refusal::NoNode)
        );
        assert_eq!(judge(None, PROBE), Err(Refusal::Unanswered));
    }
}
