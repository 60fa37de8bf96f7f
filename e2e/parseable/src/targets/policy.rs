//! The outbound policy: where targets may point.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::StatusCode;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::{Host, Url};

use super::{Kind, Target};
use crate::answer::Answer;

/// Never sent by a target, whatever the policy.
const FORBIDDEN_HEADERS: [&str; 6] =
    ["host", "cookie", "content-length", "transfer-encoding", "connection", "upgrade"];

/// Hosts a Slack target may have.
const SLACK_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];

/// `/alert-target-policy`. All fields are required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    pub allow_private: bool,
    pub allowed_domains: Vec<String>,
    pub allowed_cidrs: Vec<String>,
    pub denied_domains: Vec<String>,
    pub denied_cidrs: Vec<String>,
    pub allow_invalid_tls: bool,
}

/// Names with addresses that the server can resolve, beside `localhost`. No other name is looked up: a test
/// must not depend on the machine's name service, and the recorded server had none.
pub(crate) type Hosts = Vec<(String, IpAddr)>;

/// Why a target may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("unsupported URL scheme:{0}")]
    Scheme(String),
    #[error("Slack alert target must use HTTPS")]
    SlackPlain,
    #[error("invalid slack host: {0}")]
    SlackHost(String),
    #[error("skipTlsCheck is disabled by server policy")]
    SkipTls,
    #[error("custom header is not allowed:{0}")]
    Header(String),
    // The words of the C library, fixed so that they are the same on every machine.
    #[error(
        "failed to resolve target host {0} :failed to lookup address information: Name or service not known"
    )]
    Unresolved(String),
    #[error("private target requires allowPrivate=true and an allowlist match:{0}")]
    Private(IpAddr),
    #[error("target is denied by outbound policy:{0}")]
    Denied(String),
    #[error("invalid outbound policy CIDR{0}:invalid IP address syntax")]
    Cidr(String),
    #[error("allow and deny CIDR lists conflict on: {0}")]
    CidrConflict(String),
    #[error("allow and deny domain lists conflict on: {0}")]
    DomainConflict(String),
}

impl Refusal {
    /// What the list of targets says.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Private(_) => "Private target is not allowed by outbound policy".to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Json(
            StatusCode::BAD_REQUEST,
            json!({
                "error": "Alert target blocked by outbound security policy",
                "message": format!("Alert target outbound policy rejected request:{refusal}"),
                "hint": "Ask admin to allow this destination using the alert target policy.",
            }),
        )
    }
}

impl Policy {
    /// Judges the policy itself.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let allowed = cidrs(&self.allowed_cidrs)?;
        let denied = cidrs(&self.denied_cidrs)?;
        let overlaps = |a: &IpNet| denied.iter().any(|d| d.contains(a) || a.contains(d));
        if let Some(conflict) = allowed.iter().find(|net| overlaps(net)) {
            return Err(Refusal::CidrConflict(conflict.to_string()));
        }
        let denied = &self.denied_domains;
        match self.allowed_domains.iter().find(|domain| denied.contains(domain)) {
            Some(conflict) => Err(Refusal::DomainConflict(conflict.clone())),
            None => Ok(()),
        }
    }

    /// Judges a target; the address it may be called at.
    pub(crate) fn judge(&self, target: &Target, hosts: &Hosts) -> Result<IpAddr, Refusal> {
        let url = target.endpoint();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        if matches!(target.kind, Kind::Slack { .. }) {
            if url.scheme() != "https" {
                return Err(Refusal::SlackPlain);
            }
            if !SLACK_HOSTS.contains(&host) {
                return Err(Refusal::SlackHost(host.to_owned()));
            }
        }
        if target.skip_tls_check() && !self.allow_invalid_tls {
            return Err(Refusal::SkipTls);
        }
        let forbidden = |name: &str| {
            let name = name.to_ascii_lowercase();
            FORBIDDEN_HEADERS.contains(&name.as_str()) || name.starts_with("proxy-")
        };
        if let Some(name) = target.headers().find(|name| forbidden(name)) {
            return Err(Refusal::Header(name.to_owned()));
        }
        let address = resolve(url, hosts).ok_or_else(|| Refusal::Unresolved(host.to_owned()))?;
        self.judge_destination(target, host, address)?;
        Ok(address)
    }

    fn judge_destination(
        &self,
        target: &Target,
        host: &str,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let within = |list: &[String]| {
            list.iter().any(|net| net.parse::<IpNet>().is_ok_and(|net| net.contains(&address)))
        };
        let named = |list: &[String]| list.iter().any(|domain| is_within(host, domain));
        if within(&self.denied_cidrs) || named(&self.denied_domains) {
            return Err(Refusal::Denied(host.to_owned()));
        }
        let allowed = within(&self.allowed_cidrs) || named(&self.allowed_domains);
        if is_private(address) && !(self.allow_private && allowed) {
            return Err(Refusal::Private(address));
        }
        // Credentials go to destinations only that somebody has named.
        if target.has_credentials() && !allowed {
            return Err(Refusal::Header("Authorization".to_owned()));
        }
        Ok(())
    }
}

fn cidrs(list: &[String]) -> Result<Vec<IpNet>, Refusal> {
    list.iter().map(|text| text.parse().map_err(|_| Refusal::Cidr(text.clone()))).collect()
}

fn is_within(host: &str, domain: &str) -> bool {
    host.eq_ignore_ascii_case(domain)
        || host
            .len()
            .checked_sub(domain.len() + 1)
            .and_then(|at| host.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(&format!(".{domain}")))
}

fn resolve(url: &Url, hosts: &Hosts) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain("localhost") => Some(Ipv4Addr::LOCALHOST.into()),
        Host::Domain(name) => hosts.iter().find(|(known, _)| known == name).map(|(_, ip)| *ip),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6 == Ipv6Addr::UNSPECIFIED
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                // 6to4 and Teredo carry v4 addresses inside.
                || v6.segments()[0] == 0x2002
                || v6.segments()[..2] == [0x2001, 0]
        }
    }
}
