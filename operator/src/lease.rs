//! Leader election: of several replicas the holder of a Lease acts.
//!
//! Every write names the Lease's resource version, so two replicas cannot both take it. Who cannot renew
//! for ten seconds stops acting, five seconds before anybody else may start: that is the fence, and it
//! assumes only that clocks run at the same speed, not that they agree. The process then ends; a fresh one
//! holds no state of its past.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use crate::error::{Error, within};

/// Nobody else takes the Lease for so long after its last renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up when it could not renew for so long.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// From one attempt to the next.
pub const RETRY: Duration = Duration::from_secs(2);

/// One replica's part in the election.
#[derive(Debug, Clone)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    /// Unique to this process: a restarted one must not take itself for its predecessor.
    identity: String,
}

/// What a look at the Lease says.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// Somebody holds it, and this is the state of it.
    Held(Option<String>),
    /// It can be taken.
    Free,
    /// We hold it.
    Ours,
}

/// The Lease as it was seen last, and since when: other clocks do not matter.
#[derive(Debug, Default)]
struct Observer {
    version: Option<String>,
    since: Option<Instant>,
}

impl Observer {
    fn judge(&mut self, lease: &Lease, identity: &str, now: Instant) -> Sight {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        if self.version != lease.metadata.resource_version || self.since.is_none() {
            self.version.clone_from(&lease.metadata.resource_version);
            self.since = Some(now);
        }
        match holder {
            None => Sight::Free,
            Some(holder) if holder == identity => Sight::Ours,
            Some(holder) => {
                let lasts = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
                let lasts = lasts.map_or(DURATION, Duration::from_secs);
                let quiet = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
                if quiet > lasts { Sight::Free } else { Sight::Held(Some(holder)) }
            }
        }
    }
}

impl Candidate {
    /// Takes part in the election for the Lease `namespace/name`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, pod: &str) -> Self {
        let identity = format!("{pod}_{:08x}", fastrand::u32(..));
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), identity }
    }

    /// Waits until the Lease is ours. Returns the Lease as we wrote it.
    pub async fn acquire(&self) -> Lease {
        let mut observer = Observer::default();
        let mut told = None;
        loop {
            match self.try_acquire(&mut observer).await {
                Ok(Ok(lease)) => {
                    info!(identity = self.identity, "This replica acts now.");
                    return lease;
                }
                Ok(Err(holder)) => {
                    if told != holder {
                        info!(holder, "Another replica acts; waiting.");
                        told = holder;
                    }
                }
                Err(error) if error.is_conflict() => debug!("Another replica was faster."),
                Err(error) => warn!(%error, "The Lease could not be read or taken; trying again."),
            }
            sleep(RETRY.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    async fn try_acquire(
        &self,
        observer: &mut Observer,
    ) -> Result<Result<Lease, Option<String>>, Error> {
        let Some(found) = within("get lease", self.api.get_opt(&self.name)).await? else {
            let lease = self.written(None);
            let params = PostParams::default();
            return Ok(Ok(within("create lease", self.api.create(&params, &lease)).await?));
        };
        match observer.judge(&found, &self.identity, Instant::now()) {
            Sight::Held(holder) => Ok(Err(holder)),
            Sight::Free | Sight::Ours => Ok(Ok(self.write(&found).await?)),
        }
    }

    /// Renews until that fails for too long: then this returns, and nothing may be written any more.
    pub async fn hold(&self, mut lease: Lease) {
        let mut renewed = Instant::now();
        loop {
            sleep(RETRY).await;
            // The time counts from before the request: it may have been heard late.
            let asked = Instant::now();
            match timeout_at(renewed + RENEW_DEADLINE, self.renew(&lease)).await {
                Ok(Ok(Some(written))) => {
                    lease = written;
                    renewed = asked;
                }
                Ok(Ok(None)) => {
                    warn!("Another replica took the Lease.");
                    return;
                }
                Ok(Err(error)) => warn!(%error, "The Lease could not be renewed; trying again."),
                Err(_) => {
                    warn!("The Lease could not be renewed in time.");
                    return;
                }
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                warn!("The Lease could not be renewed in time.");
                return;
            }
        }
    }

    /// `None`: somebody else has it.
    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, Error> {
        match self.write(lease).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.is_conflict() || error.is_not_found() => {
                // Somebody touched it, perhaps without taking it.
                match within("get lease", self.api.get_opt(&self.name)).await? {
                    Some(found) if holder(&found) == Some(&self.identity) => {
                        Ok(Some(self.write(&found).await?))
                    }
                    _ => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Lets go, so that the next replica need not wait for the Lease to run out.
    pub async fn release(&self) {
        let released = async {
            let Some(mut found) = within("get lease", self.api.get_opt(&self.name)).await? else {
                return Ok(());
            };
            if holder(&found) != Some(&self.identity) {
                return Ok(());
            }
            let spec = found.spec.get_or_insert_default();
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let params = PostParams::default();
            let replaced = self.api.replace(&self.name, &params, &found);
            within("release lease", replaced).await.map(|_| ())
        };
        match released.await {
            Ok(()) => info!("The Lease is released."),
            Err(error) => {
                let error: Error = error;
                warn!(%error, "The Lease could not be released; it runs out by itself.");
            }
        }
    }

    async fn write(&self, found: &Lease) -> Result<Lease, Error> {
        let lease = self.written(Some(found));
        let params = PostParams::default();
        within("write lease", self.api.replace(&self.name, &params, &lease)).await
    }

    /// The Lease in our hands, following what was found.
    fn written(&self, found: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let old = found.and_then(|found| found.spec.clone()).unwrap_or_default();
        let ours = old.holder_identity.as_ref() == Some(&self.identity);
        let transitions = old.lease_transitions.unwrap_or(0);
        Lease {
            metadata: found.map_or_else(
                || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                |found| found.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: old.acquire_time.filter(|_| ours).or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(if ours || found.is_none() {
                    transitions
                } else {
                    transitions + 1
                }),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_lease_runs_out_by_our_own_clock() {
        let mut observer = Observer::default();
        let start = Instant::now();
        let held = Sight::Held(Some("other".into()));
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(observer.judge(&lease("other", "1"), "me", start), held);
        assert_eq!(observer.judge(&lease("other", "1"), "me", after(15)), held);
        assert_eq!(observer.judge(&lease("other", "1"), "me", after(16)), Sight::Free);
    }

    #[test]
    fn a_renewal_starts_the_time_anew() {
        let mut observer = Observer::default();
        let start = Instant::now();
        let held = Sight::Held(Some("other".into()));
        observer.judge(&lease("other", "1"), "me", start);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(observer.judge(&lease("other", "2"), "me", after(14)), held);
        assert_eq!(observer.judge(&lease("other", "2"), "me", after(28)), held);
    }

    #[test]
    fn a_released_lease_is_free_at_once() {
        let mut observer = Observer::default();
        assert_eq!(observer.judge(&lease("", "1"), "me", Instant::now()), Sight::Free);
        assert_eq!(observer.judge(&lease("me", "1"), "me", Instant::now()), Sight::Ours);
    }
}
