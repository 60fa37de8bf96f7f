//! The certificate that probes know the operator by.
//!
//! Nobody outside of the cluster is asked: the operator makes a key of its own, keeps it in a Secret that no pod mounts, and
//! hands the certificate to the nodes beside their accounts. A probe trusts this one certificate and no authority.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use rcgen::{CertificateParams, KeyPair};
use securitywatch_api::cluster::{ALERTS_SECRET, OPERATOR_MANAGER};
use serde_json::json;
use tracing::info;

use crate::error::{Error, within};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
/// What is read of a certificate stands beside it, so that none has to be parsed.
const NOT_AFTER: &str = "securitywatch.io/not-after";
const HOST: &str = "securitywatch.io/host";
/// How long a certificate is good for, and how much of that is left when the next one is made.
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
const RENEWAL: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Nodes' clocks may be late by so much.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// PEM.
    pub certificate: String,
    /// PEM, a secret.
    key: String,
    /// The name it is for.
    host: String,
    not_after: Timestamp,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("host", &self.host)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The Secret cannot be read or written.
    #[error(transparent)]
    Api(#[from] Error),
    /// No key, or a host that cannot stand in a certificate.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl Identity {
    /// A new one for `host`, a name or an address.
    ///
    /// # Errors
    /// No key can be made, or the host cannot stand in a certificate.
    pub fn make(host: &str, now: Timestamp) -> Result<Self, rcgen::Error> {
        let (key, not_after) = (KeyPair::generate()?, now + LIFE);
        let mut params = CertificateParams::new(vec![host.trim_matches(['[', ']']).to_owned()])?;
        let ((year, month, first), (end_year, end_month, last)) = (day(now - SKEW), day(not_after));
        params.not_before = rcgen::date_time_ymd(year, month, first);
        params.not_after = rcgen::date_time_ymd(end_year, end_month, last);
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, "securitywatch-operator");
        params.distinguished_name = name;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem(), host: host.to_owned(), not_after })
    }

    /// PEM, for the listener alone.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it can be used for `host` for a while.
    #[must_use]
    pub fn is_good(&self, host: &str, now: Timestamp) -> bool {
        self.host == host && now < self.not_after - RENEWAL
    }

    fn read(secret: &Secret) -> Option<Self> {
        let text = |key: &str| String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok();
        let note = |name: &str| secret.metadata.annotations.as_ref()?.get(name);
        Some(Self {
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
            host: note(HOST)?.clone(),
            not_after: note(NOT_AFTER)?.parse().ok()?,
        })
    }

    fn secret(&self) -> serde_json::Value {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": ALERTS_SECRET,
                "labels": {"app.kubernetes.io/managed-by": "securitywatch-operator"},
                "annotations": {HOST: self.host, NOT_AFTER: self.not_after.to_string()},
            },
            "type": "kubernetes.io/tls",
            "data": {CERTIFICATE: bytes(&self.certificate), KEY: bytes(&self.key)},
        })
    }
}

/// To the day, which is all that a certificate here needs.
fn day(time: Timestamp) -> (i32, u8, u8) {
    let day = time.to_zoned(TimeZone::UTC).date();
    let part = |part: i8| u8::try_from(part).unwrap_or(1);
    (day.year().into(), part(day.month()), part(day.day()))
}

/// The certificate for `host` out of its Secret, made anew where it is not there, is for another host or is about to run
/// out.
///
/// # Errors
/// The API server refuses or does not answer.
pub(super) async fn keep(
    client: &Client,
    namespace: &str,
    host: &str,
) -> Result<Identity, CertificateError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = within("get secret", api.get_opt(ALERTS_SECRET)).await?;
    let now = Timestamp::now();
    if let Some(identity) = found.as_ref().and_then(Identity::read).filter(|i| i.is_good(host, now))
    {
        return Ok(identity);
    }
    let identity = Identity::make(host, now)?;
    let params = PatchParams::apply(OPERATOR_MANAGER).force();
    within("apply secret", api.patch(ALERTS_SECRET, &params, &Patch::Apply(identity.secret())))
        .await?;
    info!(host, not_after = %identity.not_after, "Made a certificate for the reports of probes.");
    Ok(identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_made_anew_in_time_and_for_another_host() {
        let now = Timestamp::now();
        let identity = Identity::make("operator.ns.svc", now).unwrap();
        assert!(identity.is_good("operator.ns.svc", now));
        assert!(!identity.is_good("other.ns.svc", now));
        assert!(identity.is_good("operator.ns.svc", now + SignedDuration::from_hours(300 * 24)));
        assert!(!identity.is_good("operator.ns.svc", now + SignedDuration::from_hours(306 * 24)));
    }

    #[test]
    fn what_the_secret_holds_is_the_same_certificate() {
        let identity = Identity::make("10.96.0.7", Timestamp::now()).unwrap();
        let secret: Secret = serde_json::from_value(identity.secret()).unwrap();
        assert_eq!(Identity::read(&secret), Some(identity.clone()));
        assert!(!format!("{identity:?}").contains("PRIVATE"), "a key in {identity:?}");
    }
}
