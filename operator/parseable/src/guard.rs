//! Which addresses the operator calls on behalf of a watch.
//!
//! Whoever may create a watch chooses a URL that the operator, inside the trusted network, then calls. So the
//! URL is judged once as it is parsed, each address it resolves to is judged again, and the connection goes to a judged
//! address and no other: a name that answers differently the second time gains nothing.

mod address;
mod pattern;
mod resolver;

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use pattern::TargetPattern;
pub(crate) use resolver::GuardedResolver;

/// What is allowed beyond and below the built-in rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardPolicy {
    /// Plain http too. Inside a cluster most servers have nothing else.
    pub allow_http: bool,
    /// Hosts, with `*` for any characters and an optional port: `parseable.parseable.svc`, `*.example.org:443`.
    /// Empty: all.
    pub allowed_targets: Vec<String>,
    /// Networks or addresses that are never called: the API server's, the nodes'.
    pub denied_cidrs: Vec<String>,
    /// For tests and development on one machine: loopback addresses too.
    pub allow_loopback: bool,
}

impl Default for GuardPolicy {
    fn default() -> Self {
        Self {
            allow_http: true,
            allowed_targets: Vec::new(),
            denied_cidrs: Vec::new(),
            allow_loopback: false,
        }
    }
}

/// A policy that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GuardConfigError {
    /// Not a network.
    #[error("{0:?} is not a network; write it like 10.96.0.1/32 or fd00::/8")]
    Cidr(String),
    /// Not a pattern.
    #[error(
        "{0:?} is not a pattern of targets; write a host, with * for any characters and an optional port, like *.example.org:443"
    )]
    Pattern(String),
}

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetDenied {
    /// The URL's form.
    #[error("{0}")]
    Url(&'static str),
    /// Plain http.
    #[error("plain http is switched off for targets; use https")]
    Http,
    /// The list of allowed targets.
    #[error("{0} is not among the targets that the operator is allowed to call (--allowed-target)")]
    NotAllowed(String),
    /// An address that no target has a reason to be at.
    #[error("{host} is at {address}, {what}, which the operator never calls for a watch")]
    Address {
        /// As in the URL.
        host: String,
        /// Resolved.
        address: IpAddr,
        /// What kind of address that is.
        what: &'static str,
    },
}

/// Judges URLs and addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGuard {
    allow_http: bool,
    allowed: Vec<TargetPattern>,
    denied: Vec<IpNet>,
    allow_loopback: bool,
}

impl TargetGuard {
    /// Reads the patterns and networks once.
    ///
    /// # Errors
    /// The first one that cannot be understood.
    pub fn new(policy: GuardPolicy) -> Result<Self, GuardConfigError> {
        let network = |text: &String| {
            let text = text.trim();
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| GuardConfigError::Cidr(text.to_owned()))
        };
        let pattern = |text: &String| {
            TargetPattern::parse(text).ok_or_else(|| GuardConfigError::Pattern(text.clone()))
        };
        Ok(Self {
            allow_http: policy.allow_http,
            allowed: policy.allowed_targets.iter().map(pattern).collect::<Result<_, _>>()?,
            denied: policy.denied_cidrs.iter().map(network).collect::<Result<_, _>>()?,
            allow_loopback: policy.allow_loopback,
        })
    }

    /// Judges a URL as far as it can be without resolving its host.
    ///
    /// # Errors
    /// Why it is not called.
    pub fn check_url(&self, url: &Url) -> Result<(), TargetDenied> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetDenied::Url(
                "a user name does not belong into the URL; use a Secret",
            ));
        }
        if url.fragment().is_some() || url.query().is_some() {
            return Err(TargetDenied::Url("a query or fragment does not belong into the URL"));
        }
        self.check_receiver(url)
    }

    /// Judges the URL of an alert's receiver, which may carry anything behind its host.
    ///
    /// # Errors
    /// Why it is not called.
    pub fn check_receiver(&self, url: &Url) -> Result<(), TargetDenied> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(TargetDenied::Http),
            _ => return Err(TargetDenied::Url("the URL is neither http nor https")),
        }
        self.check_host(url)
    }

    /// The host of a URL, and its address when it is written as one.
    fn check_host(&self, url: &Url) -> Result<(), TargetDenied> {
        let port = url.port_or_known_default().unwrap_or_default();
        let (name, address) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_lowercase(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::from(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::from(address))),
            None => return Err(TargetDenied::Url("the URL names no host")),
        };
        if !self.allowed.is_empty()
            && !self.allowed.iter().any(|pattern| pattern.matches(&name, port))
        {
            return Err(TargetDenied::NotAllowed(name));
        }
        address.map_or(Ok(()), |address| self.check_address(&name, address))
    }

    /// Judges an address that `host` resolves to.
    ///
    /// # Errors
    /// Why it is not called.
    pub fn check_address(&self, host: &str, address: IpAddr) -> Result<(), TargetDenied> {
        let address = address::canonical(address);
        let refused = match address::special(address) {
            Some(address::LOOPBACK) if self.allow_loopback => None,
            Some(what) => Some(what),
            None if self.denied.iter().any(|network| network.contains(&address)) => {
                Some("in a denied network")
            }
            None => None,
        };
        match refused {
            None => Ok(()),
            Some(what) => Err(TargetDenied::Address { host: host.to_owned(), address, what }),
        }
    }
}

#[cfg(test)]
mod tests;
