//! One look at everything: objects, accounts, what runs; and the next step.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use securitywatch_api::v1alpha1::conditions::reasons::programmed;
use securitywatch_api::v1alpha1::{
    NodePolicy, PolicyKind, SecurityWatchNodeStatus, ShippingReport,
};

use super::Kernel;
use crate::agent::Reason;
use crate::agent::judge::{Wish, judge};
use crate::agent::ledger::Past;
use crate::agent::node::follow_node;
use crate::agent::outputs::{Accounts, awaited, is_same};
use crate::agent::report::{self, Facts, Sight};
use crate::agent::shipping::{self, Shipping};
use crate::agent::state::{Gaps, State, Step, refusal};
use crate::agent::store::Objects;
use crate::agent::watch::{Cluster, PolicyFollowers, follow_watches};
use crate::alert::HIT_LOSSES;
use crate::capabilities::Capabilities;
use crate::cli::AgentArgs;
use crate::metrics::{CauseLabel, Metrics};
use crate::output::{EVENT_LOG, OutputControl, WatchOutput};
use crate::pods::Pods;
use crate::policy::PolicySet;
use crate::sensor::Loss;
use crate::trouble::Troubles;

/// What the agent knows between two looks.
pub(super) struct Round {
    cluster: Cluster,
    client: Option<Client>,
    /// The node's name, until its labels are followed.
    node: Option<String>,
    followers: PolicyFollowers,
    objects: Objects,
    /// The version of these.
    seen: u64,
    state: State,
    accounts: Accounts,
    /// As last given to the outputs.
    outputs: Vec<(usize, WatchOutput)>,
    refused: Vec<(usize, ShippingReport)>,
    shipping: Shipping,
    capabilities: Capabilities,
    sight: Sight,
    pods: Pods,
    /// Why no process's pod can be told.
    untold: Option<String>,
    metrics: Arc<Metrics>,
    /// The probe before this one, and when this one began.
    past: Option<(Past, Timestamp)>,
    troubles: Troubles,
}

impl Round {
    pub(super) fn new(
        args: &AgentArgs,
        node: &str,
        capabilities: Capabilities,
        own_namespace: String,
        kernel: &Kernel,
        pods: Pods,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (state, sight) = match kernel {
            Kernel::Seen(_) => (State::default(), Sight::Watching),
            Kernel::Blind(why) => {
                let reason = Reason::new(programmed::KERNEL_UNSUPPORTED, why.clone());
                (State::blind(reason), Sight::Blind(why.clone()))
            }
        };
        let untold = match kernel {
            Kernel::Seen(sensing) => sensing.pods.as_ref().err().cloned(),
            Kernel::Blind(_) => None,
        };
        let untold = untold.map(|why| format!("which pod a process is of cannot be told: {why}"));
        Self {
            cluster: Cluster::default(),
            client: None,
            node: Some(node.to_owned()),
            followers: PolicyFollowers::default(),
            objects: Objects::default(),
            seen: 0,
            state,
            accounts: Accounts::new(args.ingest_credentials.clone(), own_namespace),
            outputs: Vec::new(),
            refused: Vec::new(),
            shipping: Shipping::default(),
            capabilities,
            sight,
            pods,
            untold,
            metrics,
            past: None,
            troubles: Troubles::default(),
        }
    }

    /// From now on the report tells of the probe before this one.
    pub(super) fn tell_of(&mut self, past: Option<Past>) {
        self.past = past.map(|past| (past, Timestamp::now()));
    }

    /// From now on the report has these.
    pub(super) fn tell_troubles(&mut self, troubles: Troubles) {
        self.troubles = troubles;
    }

    /// Starts to follow the cluster's watches.
    pub(super) fn watch(&mut self, client: Client) {
        follow_watches(&client, &self.cluster);
        self.client = Some(client);
    }

    /// Ends when some object has changed.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let cluster = self.cluster.clone();
        async move { cluster.changed().await }
    }

    pub(super) fn retry_failed(&mut self) {
        self.state.retry_failed();
    }

    /// Takes in what has changed, and gives the outputs what is asked of them.
    pub(super) fn look(&mut self, control: &mut OutputControl) {
        if let Some(objects) = self.cluster.newer_than(&mut self.seen) {
            self.objects = objects;
            self.judge();
        }
        self.exchange_outputs(control);
        self.pods.tick(Instant::now());
    }

    fn judge(&mut self) {
        self.follow_policies();
        // Before the first list nothing is known, and what is not known must not be unloaded later.
        if self.objects.are_listed() {
            let wishes: Vec<_> =
                self.objects.all_watches().map(|watch| judge(watch, &self.objects)).collect();
            self.follow_node(wishes.iter().any(Wish::asks_for_the_node));
            self.state.set(wishes, Instant::now());
        }
    }

    fn follow_policies(&mut self) {
        let named = self.objects.all_watches().filter_map(|watch| {
            let source = watch.spec.as_ref().ok()?.tracing_policy.as_ref()?;
            Some(source.reference.as_ref()?.kind)
        });
        let mut kinds: Vec<PolicyKind> = Vec::new();
        for kind in named {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if let Some(client) = &self.client {
            self.followers.follow(client, &self.cluster, &kinds);
        }
    }

    /// From the first policy on that selects nodes.
    fn follow_node(&mut self, asked: bool) {
        if let (true, Some(client)) = (asked, &self.client)
            && let Some(name) = self.node.take()
        {
            tokio::spawn(follow_node(client.clone(), self.cluster.clone(), name));
        }
    }

    fn exchange_outputs(&mut self, control: &mut OutputControl) {
        let wanted = self.accounts.outputs(&self.state);
        if is_same(&wanted, &self.outputs) {
            return;
        }
        let mut refused = Vec::new();
        for (number, error) in control.set(&wanted) {
            tracing::warn!("Events cannot be shipped: {error}");
            refused.push((number, shipping::refused(&error)));
        }
        (self.outputs, self.refused) = (wanted, refused);
    }

    /// Takes the next step in the kernel; `false` when there is none.
    pub(super) fn step(&mut self, policies: &mut PolicySet) -> bool {
        let Some(step) = self.state.next() else { return false };
        match step {
            Step::Unload { uid, title } => {
                match policies.remove(&uid) {
                    Ok(()) => tracing::info!(watch = title, "Policy unloaded"),
                    Err(error) => {
                        tracing::error!(watch = title, %error, "Policy unloaded, not cleanly")
                    }
                }
                self.state.unloaded(&uid, Instant::now());
            }
            Step::Load { uid, title, policy, named, number } => {
                let outcome = policies
                    .apply(&uid, &policy, number)
                    .map_err(|error| refusal(&error, named.as_deref()));
                if !self.state.loaded(&uid, outcome.clone()) {
                    return true;
                }
                match &outcome {
                    Ok(hooks) => {
                        tracing::info!(watch = title, hooks = hooks.len(), "Policy loaded");
                    }
                    Err(Reason { word, message }) => {
                        let reason = &**word;
                        tracing::warn!(
                            watch = title,
                            reason,
                            "This node cannot load the policy: {message}"
                        );
                    }
                }
            }
        }
        true
    }

    /// Whether the first list was handled.
    pub(super) fn is_settled(&self) -> bool {
        self.sight == Sight::Watching && self.objects.are_listed() && self.state.next().is_none()
    }

    /// What readiness waits for.
    pub(super) fn waits_for(&self) -> &'static str {
        match (&self.sight, self.objects.are_listed()) {
            (Sight::Blind(_), _) => "another kernel: this one cannot run the probe, see the log",
            (_, false) => {
                "the first list of watches: the API server, or the definitions of securitywatch.io"
            }
            (_, true) => "the policies of the first watches to be loaded",
        }
    }

    /// What is to be reported now; `None` before anything is known of the watches.
    pub(super) fn report(
        &mut self,
        control: &OutputControl,
        now: Timestamp,
    ) -> Option<SecurityWatchNodeStatus> {
        let known = self.objects.are_listed() || self.sight != Sight::Watching;
        known.then(|| self.status(control, self.sight.clone(), now))
    }

    /// The last report.
    pub(super) fn stopped(&mut self, control: &OutputControl) -> SecurityWatchNodeStatus {
        self.status(control, Sight::Stopped, Timestamp::now())
    }

    fn status(
        &mut self,
        control: &OutputControl,
        sight: Sight,
        now: Timestamp,
    ) -> SecurityWatchNodeStatus {
        let moment = Instant::now();
        let gaps = self.gaps(moment);
        let policies: Vec<NodePolicy> = self
            .state
            .entries()
            .map(|entry| {
                let number = entry.number;
                let shipping = match control.standing(number) {
                    Some(standing) => {
                        let awaited = awaited(&self.outputs, number);
                        Some(self.shipping.report(number, &standing, awaited, moment))
                    }
                    None => self.refused.iter().find(|(n, _)| *n == number).map(|(_, r)| r.clone()),
                };
                report::policy(entry, &gaps, shipping)
            })
            .collect();
        self.shipping.keep(|number| self.state.entries().any(|entry| entry.number == number));
        let lost = self.losses();
        let past = self.past.as_ref().map(|(past, since)| (past, *since));
        let troubles = self.troubles.sentences();
        let capabilities = &self.capabilities;
        let facts = Facts { capabilities, sight, policies, lost, past, troubles };
        report::status(facts, now)
    }

    fn gaps(&self, now: Instant) -> Gaps {
        let gap = |by_container| self.untold.clone().or_else(|| self.pods.gap(by_container, now));
        Gaps { pods: gap(false), containers: gap(true) }
    }

    fn losses(&self) -> Vec<(&'static str, u64)> {
        let causes = Loss::ALL.iter().map(|loss| loss.as_str());
        let causes = causes.chain(["undecodable", EVENT_LOG]).chain(HIT_LOSSES);
        causes
            .map(|cause| {
                let counter = self.metrics.lost.get(&CauseLabel { cause });
                (cause, counter.map_or(0, |counter| counter.get()))
            })
            .collect()
    }
}
