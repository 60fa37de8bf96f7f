//! What delivery does about a failure: tells of it and waits, no longer than the failure asks for.

use super::client::Answer;
use super::link::Link;
use super::stats::Obstacle;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// While held, how often changed credentials are looked for.
const CREDENTIAL_POLL: Duration = Duration::from_secs(1);
/// The longest wait when the process is about to end.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

impl Link {
    /// Tells of the failure and waits as it asks for.
    pub(super) async fn wait_out(&self, answer: Answer, failures: u32) {
        self.window.store(1, Relaxed);
        let base = self.client.base();
        let delay = self.backoff.delay(failures, None);
        match answer {
            Answer::Unauthorized(why) => {
                self.stats.retried("unauthorized");
                self.stats.held(Obstacle::Unauthorized, &why.after(base));
                self.pause_for_credentials(delay).await;
            }
            Answer::NoAccount(why) => {
                self.stats.retried("unauthorized");
                // Nobody need mend anything yet: it is on its way.
                self.stats.retrying(Obstacle::Unauthorized, &why);
                self.pause_for_credentials(delay).await;
            }
            Answer::Refused(why) => {
                self.stats.retried("refused");
                self.stats.held(Obstacle::Rejected, &why.after(base));
                self.pause(delay).await;
            }
            Answer::NotYet(why) => {
                self.stats.retried("no_stream");
                self.stats.retrying(Obstacle::Rejected, &why.after(base));
                self.pause(delay).await;
            }
            Answer::Retry { cause, why, after } => {
                self.stats.retried(cause);
                self.stats.retrying(Obstacle::Unreachable, &why.after(base));
                self.pause(self.backoff.delay(failures, after)).await;
            }
            Answer::Reset(why) => {
                self.stats.retried("reset");
                self.stats.retrying(Obstacle::Unreachable, &why.after(base));
                self.pause(delay).await;
            }
            Answer::Accepted | Answer::NoStream | Answer::TooLarge(_) | Answer::Rejected { .. } => {
                self.stats.retried("other");
                let why = format!("{base} gave an unexpected answer: {answer:?}");
                self.stats.held(Obstacle::Rejected, &why.into());
                self.pause(delay).await;
            }
        }
    }

    /// A stream that somebody else is to create.
    pub(super) fn not_yet(&self) -> Answer {
        let stream = self.client.stream();
        Answer::NotYet(
            format!(
                "has no stream \"{stream}\" yet: the operator creates it, see the watch's status"
            )
            .into(),
        )
    }

    async fn pause(&self, delay: Duration) {
        let mut draining = self.draining.clone();
        if *draining.borrow_and_update() {
            tokio::time::sleep(delay.min(DRAIN_PAUSE)).await;
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = draining.changed() => {}
        }
    }

    /// Ends early when a secret was mended.
    async fn pause_for_credentials(&self, delay: Duration) {
        let mut left = delay;
        loop {
            let step = left.min(CREDENTIAL_POLL);
            self.pause(step).await;
            left -= step;
            if self.client.refresh_credentials() || left.is_zero() || *self.draining.borrow() {
                return;
            }
        }
    }
}
