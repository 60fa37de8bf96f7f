//! Targets: written, refused or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use url::Host;

use super::{Pass, ends_the_pass};
use crate::failure::{Failure, FailureClass};
use crate::guard::GuardedResolver;
use crate::http::Call;
use crate::plan::policy;
use crate::plan::target::{self, Applied, Cause, TargetSpec};
use crate::report::{Change, ChangeKind};
use crate::wire::{ListedTarget, OutboundPolicy, StoredTarget};

/// For the names of all receivers of a watch; those that take longer are left to an admin.
const RESOLVE_ALL: Duration = Duration::from_secs(5);

/// The targets of a watch after they were looked after.
#[derive(Debug, Default)]
pub(super) struct Targets {
    specs: BTreeMap<String, TargetSpec>,
    /// All of the server.
    found: Vec<StoredTarget>,
    /// Keys of targets that are there, so that an alert can name them.
    there: BTreeSet<String>,
    failures: BTreeMap<String, Failure>,
}

impl Targets {
    /// The id to name a target by.
    pub(super) fn id(&self, key: &str) -> Option<String> {
        self.there.contains(key).then(|| self.specs.get(key).map(|spec| spec.id.to_string()))?
    }

    pub(super) fn failure(&self, key: &str) -> Option<&Failure> {
        self.failures.get(key)
    }
}

impl Pass<'_> {
    pub(super) async fn targets(&mut self) -> Result<Targets, Failure> {
        let specs = target::specs(&self.desired.owner, &self.desired.alerts);
        let (mut found, mut disabled) = split(self.listed_targets().await?);
        let mut failures = BTreeMap::new();
        if self.server.manage_outbound_policy && !specs.is_empty() {
            match self.allow(&specs).await {
                Ok(false) => {}
                // What was disabled may be enabled now.
                Ok(true) => (found, disabled) = split(self.listed_targets().await?),
                Err(failure) if ends_the_pass(&failure) => return Err(failure),
                Err(failure) => {
                    failures.extend(specs.keys().map(|key| (key.clone(), failure.clone())))
                }
            }
        }
        let mut targets = Targets { specs, found, there: BTreeSet::new(), failures };
        let mut refused = self.write_targets(&mut targets).await?;
        for (key, spec) in &targets.specs {
            if let Some(error) = disabled.get(&spec.id.to_string())
                && !refused.contains_key(key)
            {
                let why = policy::explain(error, self.server.manage_outbound_policy);
                refused.insert(key.clone(), self.policy_failure(why));
            }
        }
        // A policy that could not be read or written matters only where it stands in the way.
        targets.failures.retain(|key, _| refused.contains_key(key));
        for (key, failure) in refused {
            targets.failures.entry(key).or_insert(failure);
        }
        Ok(targets)
    }

    async fn listed_targets(&self) -> Result<Vec<ListedTarget>, Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::get("/targets").long()).await?;
        http.expect(&reply, FailureClass::AlertRejected, "the request for the list of targets")
    }

    /// Writes what is to be written, and says what was refused.
    async fn write_targets(
        &mut self,
        targets: &mut Targets,
    ) -> Result<BTreeMap<String, Failure>, Failure> {
        let writes: Vec<(TargetSpec, Cause)> = {
            let mut memory = self.server.site.memory();
            for spec in targets.specs.values() {
                if let Some(applied) = memory.applied.get_mut(&spec.id) {
                    applied.age = applied.age.saturating_add(1);
                }
            }
            let writes = target::writes(targets.specs.values(), &targets.found, &memory.applied);
            writes.into_iter().map(|(spec, cause)| (spec.clone(), cause)).collect()
        };
        let mut refused = BTreeMap::new();
        for (spec, cause) in writes {
            match self.write_target(&spec).await {
                Ok(()) => self.target_written(&spec, cause, targets),
                Err(failure) if ends_the_pass(&failure) => return Err(failure),
                Err(failure) => drop(refused.insert(spec.key, failure)),
            }
        }
        for (key, spec) in &targets.specs {
            let id = spec.id.to_string();
            if targets.found.iter().any(|target| target.id == id) {
                targets.there.insert(key.clone());
            }
        }
        Ok(refused)
    }

    async fn write_target(&self, spec: &TargetSpec) -> Result<(), Failure> {
        let http = &self.server.http;
        let reply = http.call(Call::post("/targets").upsert().json(spec.body.clone())).await?;
        if reply.is_success() {
            return Ok(());
        }
        let text = reply.text();
        if policy::is_refusal(&text) {
            return Err(
                self.policy_failure(policy::explain(&text, self.server.manage_outbound_policy))
            );
        }
        Err(http.refused(&reply, FailureClass::AlertRejected, &format!("target {}", spec.key)))
    }

    fn target_written(&mut self, spec: &TargetSpec, cause: Cause, targets: &mut Targets) {
        targets.there.insert(spec.key.clone());
        let applied = Applied { digest: spec.digest.clone(), age: 0 };
        self.server.site.memory().applied.insert(spec.id, applied);
        if cause == Cause::Drift {
            let message = format!(
                "target {} had been changed or deleted on the server and was written again",
                spec.key
            );
            self.changes.push(Change::new(ChangeKind::TargetRepaired, message));
        }
    }

    fn policy_failure(&self, why: &str) -> Failure {
        let who = self.server.http.who();
        let message = format!("the outbound policy of {who} blocks a target: {why}");
        Failure::new(FailureClass::OutboundPolicy, message)
    }

    /// Lets the policy allow the private addresses of our receivers; whether something changed.
    async fn allow(&mut self, specs: &BTreeMap<String, TargetSpec>) -> Result<bool, Failure> {
        let addresses = self.receivers(specs).await;
        if addresses.is_empty() {
            return Ok(false);
        }
        let server = self.server;
        let _one_at_a_time = server.site.policy.lock().await;
        let http = &server.http;
        let reply = http.call(Call::get("/alert-target-policy").long()).await?;
        match reply.status {
            // An older server: there is no policy, and nothing is blocked.
            404 => return Ok(false),
            401 | 403 => {
                return Err(self.policy_failure(
                    "the operator is to manage it (--manage-outbound-policy), but the account is no admin",
                ));
            }
            _ => {}
        }
        let doing = "the request for its outbound policy";
        let current: OutboundPolicy = http.expect(&reply, FailureClass::OutboundPolicy, doing)?;
        let Some(merged) = policy::merge(&current, &addresses) else { return Ok(false) };
        let body = serde_json::to_value(&merged).unwrap_or_default();
        let reply = http.call(Call::put("/alert-target-policy").json(body)).await?;
        if !reply.is_success() {
            let text = reply.text();
            return Err(match reply.status {
                401 | 403 => self.policy_failure(
                    "the operator is to manage it (--manage-outbound-policy), but the account is no admin",
                ),
                _ if policy::is_refusal(&text) => self.policy_failure(policy::explain(&text, true)),
                _ => http.refused(&reply, FailureClass::OutboundPolicy, "a change of its outbound policy"),
            });
        }
        let message = format!(
            "the outbound policy of {} allows the private receivers of this watch's alerts",
            http.who()
        );
        self.changes.push(Change::new(ChangeKind::PolicyPut, message));
        Ok(true)
    }

    /// The addresses of the receivers, as far as they resolve here and the operator itself would call them: a watch must
    /// not open the server's way to instance metadata.
    async fn receivers(&self, specs: &BTreeMap<String, TargetSpec>) -> Vec<IpAddr> {
        let guard = self.server.http.guard();
        let resolver = GuardedResolver::new(std::sync::Arc::clone(guard));
        let end = tokio::time::Instant::now() + RESOLVE_ALL;
        let mut addresses = Vec::new();
        for spec in specs.values() {
            match spec.url.expose().host() {
                Some(Host::Ipv4(address)) => addresses.push(IpAddr::from(address)),
                Some(Host::Ipv6(address)) => addresses.push(IpAddr::from(address)),
                Some(Host::Domain(name)) => {
                    let found = tokio::time::timeout_at(end, resolver.resolve(name)).await;
                    let found = found.ok().and_then(Result::ok).unwrap_or_default();
                    addresses.extend(found.iter().map(std::net::SocketAddr::ip));
                }
                None => {}
            }
        }
        addresses.retain(|address| guard.check_address("a receiver", *address).is_ok());
        addresses
    }

    /// Removes targets of this watch that no alert needs any more. One that an alert still names, perhaps somebody else's, stays
    /// until the next pass.
    pub(super) async fn remove_unused_targets(&self, targets: &Targets) -> Result<(), Failure> {
        for id in target::unused(&self.desired.owner, &targets.specs, &targets.found) {
            super::remove::delete_target(self.server, &id).await?;
        }
        Ok(())
    }
}

/// Targets, and the ids of those that the server does not call, with its reason.
fn split(listed: Vec<ListedTarget>) -> (Vec<StoredTarget>, BTreeMap<String, String>) {
    let mut disabled = BTreeMap::new();
    let targets = listed
        .into_iter()
        .map(|listed| {
            let (target, refusal) = listed.parts();
            if let Some(error) = refusal {
                disabled.insert(target.id.clone(), error);
            }
            target
        })
        .collect();
    (targets, disabled)
}
