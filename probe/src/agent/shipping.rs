//! How a watch's shipping stands, calm enough for a report. Pure.
//!
//! A short trouble is none: a server that is restarted must not make every node of a cluster write twice.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::conditions::reasons::{accepted, node_policy, shipping};
use securitywatch_api::v1alpha1::{ShippingReport, ShippingState};

use super::report::{cut, rounded};
use crate::output::OutputError;
use crate::ship::{Obstacle, Standing, TargetError};

/// A trouble that may pass by itself is told when it has lasted this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kubelet brings a new account within about a minute and a half; until then nothing is wrong.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(120);
/// For how long lost rows are told after the last loss.
const LOSS_ECHO: Duration = Duration::from_secs(120);

/// What was seen of each stream's losses, by watch number.
#[derive(Debug, Default)]
pub struct Shipping {
    seen: HashMap<usize, Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    no_room: u64,
    lost_at: Option<Instant>,
    awaited_since: Option<Instant>,
}

impl Shipping {
    /// The report on the watch with this number. `awaited` is what to look at while there is no account to ship
    /// with.
    pub fn report(
        &mut self,
        watch: usize,
        standing: &Standing,
        awaited: Option<&str>,
        now: Instant,
    ) -> ShippingReport {
        let seen = self.seen.entry(watch).or_default();
        let Some(look_at) = awaited else {
            seen.awaited_since = None;
            return seen.standing(standing, now);
        };
        let since = *seen.awaited_since.get_or_insert(now);
        let is_late = now.saturating_duration_since(since) >= ACCOUNT_PATIENCE;
        let (state, reason) = if is_late {
            (ShippingState::Failing, shipping::UNAUTHORIZED)
        } else {
            (ShippingState::Idle, node_policy::AWAITING_ACCOUNT)
        };
        ShippingReport {
            state,
            reason: Some(reason.to_owned()),
            message: Some(cut(look_at, 1024)),
            ..seen.standing(standing, now)
        }
    }

    /// Forgets watches that are gone.
    pub fn keep(&mut self, is_there: impl Fn(usize) -> bool) {
        self.seen.retain(|watch, _| is_there(*watch));
    }
}

impl Seen {
    fn standing(&mut self, standing: &Standing, now: Instant) -> ShippingReport {
        let seen = self;
        if standing.no_room > seen.no_room {
            seen.lost_at = Some(now);
        }
        seen.no_room = standing.no_room;
        let loses = seen.lost_at.is_some_and(|at| now.saturating_duration_since(at) < LOSS_ECHO);
        let lasting = standing.held || now.saturating_duration_since(standing.since) >= PATIENCE;
        let trouble = match &standing.obstacle {
            Some((obstacle, why)) if lasting => Some((reason(*obstacle), why.clone())),
            _ if loses => {
                let why =
                    "events come faster than the target takes them, and the oldest are dropped";
                Some((shipping::BACKPRESSURE, why.to_owned()))
            }
            _ => None,
        };
        let state = match (&trouble, standing.last_shipped) {
            (Some(_), _) => ShippingState::Failing,
            (None, Some(_)) => ShippingState::Delivering,
            (None, None) => ShippingState::Idle,
        };
        let (reason, message) = trouble.unzip();
        ShippingReport {
            state,
            reason: reason.map(str::to_owned),
            message: message.map(|message| cut(&message, 1024)),
            dropped: (standing.dropped > 0).then(|| rounded(standing.dropped)),
            last_shipped_time: standing.last_shipped.and_then(to_the_minute),
        }
    }
}

/// A watch whose stream cannot even be started.
#[must_use]
pub fn refused(error: &OutputError) -> ShippingReport {
    let too_many = matches!(
        error,
        OutputError::Target { source, .. } if matches!(**source, TargetError::TooManyStreams(_))
    );
    let reason = if too_many { accepted::LIMIT_EXCEEDED } else { shipping::STREAM_REJECTED };
    ShippingReport {
        state: ShippingState::Failing,
        reason: Some(reason.to_owned()),
        message: Some(cut(&error.to_string(), 1024)),
        dropped: None,
        last_shipped_time: None,
    }
}

const fn reason(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Unreachable => shipping::TARGET_UNREACHABLE,
        Obstacle::Unauthorized => shipping::UNAUTHORIZED,
        Obstacle::Rejected => shipping::STREAM_REJECTED,
    }
}

fn to_the_minute(time: SystemTime) -> Option<Time> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() / 60 * 60;
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn standing(since: Instant) -> Standing {
        Standing { obstacle: None, held: false, since, last_shipped: None, dropped: 0, no_room: 0 }
    }

    fn shipped() -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(119))
    }

    #[test]
    fn delivered_is_told_to_the_minute() {
        let now = Instant::now();
        let mut shipping = Shipping::default();
        let idle = shipping.report(0, &standing(now), None, now);
        assert_eq!(
            (idle.state, idle.dropped, idle.last_shipped_time),
            (ShippingState::Idle, None, None)
        );
        let delivering = Standing { last_shipped: shipped(), ..standing(now) };
        let report = shipping.report(0, &delivering, None, now);
        assert_eq!(report.state, ShippingState::Delivering);
        assert_eq!(report.last_shipped_time.unwrap().0.as_second(), 60);
    }

    #[test]
    fn a_short_trouble_is_none_and_a_wrong_password_is_told_at_once() {
        let start = Instant::now();
        let mut shipping = Shipping::default();
        let trouble = |obstacle, why: &str| Some((obstacle, why.to_owned()));
        let away = Standing {
            obstacle: trouble(Obstacle::Unreachable, "http://p is not reachable"),
            last_shipped: shipped(),
            ..standing(start)
        };
        assert_eq!(shipping.report(0, &away, None, start).state, ShippingState::Delivering);
        let report = shipping.report(0, &away, None, start + PATIENCE);
        assert_eq!(report.state, ShippingState::Failing);
        assert_eq!(report.reason.as_deref(), Some("TargetUnreachable"));
        assert_eq!(report.message.as_deref(), Some("http://p is not reachable"));
        let refused = Standing {
            obstacle: trouble(Obstacle::Unauthorized, "http://p answered 403"),
            held: true,
            ..standing(start)
        };
        let report = shipping.report(0, &refused, None, start);
        assert_eq!(report.reason.as_deref(), Some("Unauthorized"));
    }

    #[test]
    fn an_account_may_take_a_moment() {
        let start = Instant::now();
        let mut shipping = Shipping::default();
        let held = Standing {
            obstacle: Some((Obstacle::Unauthorized, "x".into())),
            held: true,
            ..standing(start)
        };
        let mut told = |awaited, at| {
            let report = shipping.report(0, &held, awaited, at);
            (report.state, report.reason.unwrap(), report.message.unwrap())
        };
        let look = |state, reason: &str| (state, reason.to_owned(), "look at it".to_owned());
        let soon = look(ShippingState::Idle, "AwaitingAccount");
        assert_eq!(told(Some("look at it"), start), soon);
        let late = look(ShippingState::Failing, "Unauthorized");
        assert_eq!(told(Some("look at it"), start + ACCOUNT_PATIENCE), late);
        assert_eq!(told(None, start + ACCOUNT_PATIENCE).2, "x");
        assert_eq!(told(Some("look at it"), start + ACCOUNT_PATIENCE * 2), soon);
    }

    #[test]
    fn lost_rows_are_told_for_a_while_and_counted_roughly() {
        let start = Instant::now();
        let mut shipping = Shipping::default();
        let lossy = |no_room| Standing {
            last_shipped: shipped(),
            dropped: no_room + 5,
            no_room,
            ..standing(start)
        };
        let report = shipping.report(3, &lossy(1234), None, start);
        assert_eq!((report.state, report.dropped), (ShippingState::Failing, Some(1000)));
        assert_eq!(report.reason.as_deref(), Some("Backpressure"));
        let later = start + LOSS_ECHO;
        assert_eq!(shipping.report(3, &lossy(1234), None, later).state, ShippingState::Delivering);
        assert_eq!(shipping.report(3, &lossy(1235), None, later).state, ShippingState::Failing);
        shipping.keep(|watch| watch != 3);
        assert!(shipping.seen.is_empty());
    }
}
