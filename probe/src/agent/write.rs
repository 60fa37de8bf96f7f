//! Brings the report to the API server: on change only, spread over time, and never in the way of events.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use securitywatch_api::cluster::PROBE_MANAGER;
use securitywatch_api::v1alpha1::{SecurityWatchNode, SecurityWatchNodeStatus};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::pace::Pace;
use super::report::{Change, change, keep_times};

/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// What is to be written.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `None` before there is anything to say.
    pub status: Option<SecurityWatchNodeStatus>,
    /// The last one: written at once, and then no more.
    pub last: bool,
}

/// Why a report did not arrive; each says what to check.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(
        "the API server has no node \"{0}\": check --node-name, which must be the name of this node's Node object"
    )]
    NoNode(String),
    #[error(
        "the API server refuses {what} (403): {message}; check the ClusterRole of the probe's ServiceAccount, and that its token is bound to this node"
    )]
    Forbidden { what: &'static str, message: String },
    #[error(
        "the API server has no kind SecurityWatchNode (404): install the definitions of securitywatch.io"
    )]
    NoKind,
    #[error(
        "somebody else changed SecurityWatchNode/{0} at the same moment (409): check that no second probe reports for this node"
    )]
    Conflict(String),
    #[error("{what}: {message}")]
    Other { what: &'static str, message: String },
    #[error("{0}: no answer in time")]
    Late(&'static str),
}

/// Writes the report of one node.
#[derive(Debug)]
pub struct Writer {
    reports: Api<SecurityWatchNode>,
    nodes: Api<Node>,
    node: String,
    written: Option<SecurityWatchNodeStatus>,
    /// The object is there, ours, and its status is known.
    known: bool,
    complaint: Option<(String, Instant)>,
}

impl Writer {
    /// For the node of that name.
    #[must_use]
    pub fn new(client: &Client, node: String) -> Self {
        Self {
            reports: Api::all(client.clone()),
            nodes: Api::all(client.clone()),
            node,
            written: None,
            known: false,
            complaint: None,
        }
    }

    /// Writes what is wanted until the last one is written or has failed.
    pub async fn run(mut self, mut wanted: watch::Receiver<Wanted>, jitter: Duration) {
        let mut pace = Pace::new(jitter, Instant::now());
        loop {
            let Wanted { status, last } = wanted.borrow_and_update().clone();
            let Some(status) = status else {
                if last || wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if last {
                self.try_to_write(&status).await;
                return;
            }
            let change = self.written.as_ref().map_or(Change::State, |old| change(old, &status));
            let Some(due) = pace.due(change, Instant::now()) else {
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                () = sleep_until(due.into()) => {
                    let done = self.try_to_write(&status).await;
                    pace.wrote(done, Instant::now());
                }
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn try_to_write(&mut self, status: &SecurityWatchNodeStatus) -> bool {
        match self.write(status).await {
            Ok(()) => {
                if self.complaint.take().is_some() {
                    tracing::info!("This node's report is written again");
                }
                true
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    /// Told once, and again each few minutes.
    fn complain(&mut self, error: &WriteError) {
        const AGAIN: Duration = Duration::from_secs(300);
        let text = error.to_string();
        let told =
            self.complaint.as_ref().is_some_and(|(t, at)| *t == text && at.elapsed() < AGAIN);
        if !told {
            tracing::warn!("This node's report is not written: {text}; it is tried again");
            self.complaint = Some((text, Instant::now()));
        }
    }

    async fn write(&mut self, status: &SecurityWatchNodeStatus) -> Result<(), WriteError> {
        if !self.known {
            self.establish().await?;
            self.known = true;
        }
        let mut status = status.clone();
        if let Some(written) = &self.written {
            keep_times(&mut status, written);
            if change(written, &status) == Change::Nothing {
                return Ok(());
            }
        }
        let body = json!({
            "apiVersion": SecurityWatchNode::api_version(&()),
            "kind": SecurityWatchNode::kind(&()),
            "metadata": {"name": self.node},
            "status": status,
        });
        let params = PatchParams::apply(PROBE_MANAGER).force();
        let patch = Patch::Apply(&body);
        let request = self.reports.patch_status(&self.node, &params, &patch);
        let written = self.ask("writing the status", request).await;
        if written.is_err() {
            // It may be gone: then it is to be made anew.
            self.known = false;
        }
        written?;
        self.written = Some(status);
        Ok(())
    }

    /// Makes sure that the object is there and goes when the node goes, and reads what it says.
    async fn establish(&mut self) -> Result<(), WriteError> {
        let node =
            self.ask("reading this node's Node object", self.nodes.get_opt(&self.node)).await?;
        let uid = node
            .and_then(|node| node.uid())
            .ok_or_else(|| WriteError::NoNode(self.node.clone()))?;
        let reading = self.reports.get_opt(&self.node);
        let there = self.ask("reading the report", reading).await?;
        let owned = there
            .as_ref()
            .is_some_and(|report| report.owner_references().iter().any(|owner| owner.uid == uid));
        if !owned {
            let body = json!({
                "apiVersion": SecurityWatchNode::api_version(&()),
                "kind": SecurityWatchNode::kind(&()),
                "metadata": {
                    "name": self.node,
                    "ownerReferences": [
                        {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}
                    ],
                },
            });
            let params = PatchParams::apply(PROBE_MANAGER).force();
            let patch = Patch::Apply(&body);
            let request = self.reports.patch(&self.node, &params, &patch);
            self.ask("creating the report", request).await?;
        }
        self.written = there.and_then(|report| report.status);
        Ok(())
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        let error = match timeout(REQUEST, request).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(WriteError::Late(what)),
        };
        Err(match error {
            kube::Error::Api(status) => match status.code {
                403 => WriteError::Forbidden { what, message: status.message },
                404 => WriteError::NoKind,
                409 => WriteError::Conflict(self.node.clone()),
                _ => WriteError::Other { what, message: status.message },
            },
            error => WriteError::Other { what, message: crate::ship::root_cause(&error) },
        })
    }
}
