//! Holds back the passes until what they judge by is known.
//!
//! A replica that takes over knows nothing at first. A pass by then would find that no node has reported and
//! that there are no probes, and write that into the status of every watch, only to take it back.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

/// A part that cannot be had, for want of rights perhaps, does not hold up the others for longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// What must be known first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The nodes' reports.
    Reports,
    /// The probe's DaemonSet.
    Rollout,
}

/// Opens when everything is known.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<[bool; 2]>);

impl Gate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new([false; 2]))
    }

    /// This part is known now.
    pub(super) fn known(&self, part: Part) {
        self.0.send_if_modified(|known| !std::mem::replace(&mut known[part as usize], true));
    }

    /// Waits until everything is known, but not for ever.
    pub(super) fn open(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut known = self.0.subscribe();
        async move {
            let all = known.wait_for(|known| known.iter().all(|known| *known));
            match timeout(PATIENCE, all).await {
                // Closed: the process ends.
                Ok(Ok(_) | Err(_)) => {}
                Err(_) => warn!(
                    "The nodes' reports or the probe's DaemonSet cannot be read; going on without."
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_opens_when_all_is_known() {
        let gate = Gate::new();
        let mut open = Box::pin(gate.open());
        gate.known(Part::Reports);
        assert!((&mut open).now_or_never().is_none());
        gate.known(Part::Rollout);
        open.await;
    }
}
