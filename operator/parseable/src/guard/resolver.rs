//! Name resolution that gives judged addresses only.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{TargetDenied, TargetGuard};

/// Resolves by the system's resolver and keeps the addresses that may be called. The connector takes its
/// addresses from here and asks nobody else.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver {
    guard: Arc<TargetGuard>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<TargetGuard>) -> Self {
        Self { guard }
    }

    /// The addresses of `host` that may be called: at least one.
    pub(crate) async fn resolve(
        &self,
        host: &str,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
        allowed(&self.guard, host, found).map_err(Into::into)
    }
}

/// The addresses that may be called; with none left, why.
fn allowed(
    guard: &TargetGuard,
    host: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, TargetDenied> {
    let mut denied = None;
    let mut kept = Vec::with_capacity(found.len());
    for address in found {
        match guard.check_address(host, address.ip()) {
            Ok(()) => kept.push(address),
            Err(why) => denied = Some(why),
        }
    }
    match denied {
        Some(why) if kept.is_empty() => Err(why),
        _ => Ok(kept),
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = Self::resolve(&this, name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardPolicy;

    #[test]
    fn a_name_with_good_and_bad_addresses_keeps_the_good_ones() {
        let guard = TargetGuard::new(GuardPolicy::default()).unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let both = vec![address("169.254.169.254:0"), address("10.96.0.7:0")];
        assert_eq!(allowed(&guard, "rebind.example", both).unwrap(), [address("10.96.0.7:0")]);
        let denied =
            allowed(&guard, "rebind.example", vec![address("[::ffff:127.0.0.1]:0")]).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "rebind.example is at 127.0.0.1, a loopback address, which the operator never calls for a watch"
        );
    }
}
