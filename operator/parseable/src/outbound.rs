//! The HTTP client for addresses that a watch chose: judged ones only, and no other way around them.

use std::error::Error;
use std::sync::Arc;

use reqwest::{Client, ClientBuilder};

use crate::guard::{GuardedResolver, TargetDenied, TargetGuard};

/// A client that speaks for the operator: it connects to addresses that `guard` allows, follows no redirect and
/// takes no proxy. A machine without CA certificates still gets one; it reaches `http` servers, and refuses
/// `https` ones. A URL whose host is written as an address is not resolved: judge it with the guard first.
///
/// # Errors
/// TLS cannot be set up at all.
pub fn guarded_client(
    guard: &Arc<TargetGuard>,
    configure: impl Fn(ClientBuilder) -> ClientBuilder,
) -> reqwest::Result<Client> {
    let resolver = Arc::new(GuardedResolver::new(Arc::clone(guard)));
    let builder = || {
        configure(
            Client::builder()
                .user_agent(concat!("securitywatch-operator/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::clone(&resolver))
                .no_proxy(),
        )
    };
    builder().build().or_else(|_| {
        tracing::warn!(
            "This machine has no CA certificates: https targets cannot be reached until they are installed"
        );
        builder().tls_certs_only([]).build()
    })
}

/// The guard's word, where it is the reason of an error.
#[must_use]
pub fn denial(error: &reqwest::Error) -> Option<&TargetDenied> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(why) = inner.downcast_ref::<TargetDenied>() {
            return Some(why);
        }
        source = inner.source();
    }
    None
}

/// The innermost error says what happened; the outer ones repeat the URL.
#[must_use]
pub fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
