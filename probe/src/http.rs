//! HTTP clients of the probe.

use std::sync::Once;

use reqwest::{Client, ClientBuilder};

/// A client that speaks for this probe and follows no redirects: an answer must come from where it was asked.
///
/// A machine without CA certificates still gets one; it reaches `http` targets, and refuses `https` ones.
///
/// # Errors
/// TLS cannot be set up at all.
pub fn client(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> reqwest::Result<Client> {
    let builder = || {
        configure(
            Client::builder()
                .user_agent(concat!("securitywatch-probe/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none()),
        )
    };
    builder().build().or_else(|_| {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(
                "This machine has no CA certificates: https targets cannot be reached until they are installed \
                 (package ca-certificates)"
            );
        });
        builder().tls_certs_only([]).build()
    })
}
