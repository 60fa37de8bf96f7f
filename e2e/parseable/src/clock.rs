//! The server's clock: the machine's, or one that stands still until it is moved.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Clock {
    /// Stands still when set.
    still: watch::Sender<Option<SystemTime>>,
}

impl Clock {
    pub(crate) fn new(still: Option<SystemTime>) -> Self {
        Self { still: watch::Sender::new(still) }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        let still = *self.still.borrow();
        still.unwrap_or_else(SystemTime::now).into()
    }

    pub(crate) fn set(&self, time: SystemTime) {
        self.still.send_replace(Some(time));
    }

    /// Returns when the clock shows `due`: after a wait, or when somebody has moved it there.
    pub(crate) async fn wait_until(&self, due: DateTime<Utc>) {
        let mut moved = self.still.subscribe();
        loop {
            let still = moved.borrow_and_update().is_some();
            let Ok(left) = (due - self.now()).to_std() else {
                return;
            };
            if left.is_zero() {
                return;
            }
            // The sender is this clock's own and outlives the wait.
            if still {
                let _ = moved.changed().await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    _ = moved.changed() => {}
                }
            }
        }
    }
}
