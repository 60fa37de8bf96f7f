//! `AlertsSynced`: whether Parseable holds the alerts, and whether their calls arrive.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use securitywatch_api::v1alpha1::conditions::{reasons::alerts_synced, types};
use securitywatch_api::v1alpha1::{AlertCounts, AlertStatus};

use super::condition::{Draft, Effect, Truth, carried, cut};
use super::facts::{AlertOutcome, Cure, Facts, Sync, Trouble};
use super::shipping::from_trouble;

/// Longest text about calls that did not arrive.
const UNDELIVERED_CHARS: usize = 512;

pub(super) fn draft(facts: &Facts<'_>) -> Draft {
    let draft = kept(facts);
    match undelivered(facts) {
        Some(message) if draft.effect == Effect::Fine => Draft {
            truth: Truth::False,
            // Nothing to wait for: the next hit shows whether it is mended.
            ..Draft::fine(types::ALERTS_SYNCED, alerts_synced::NOT_DELIVERED, message)
        },
        _ => draft,
    }
}

/// Calls that did not arrive, in one sentence.
pub(super) fn undelivered(facts: &Facts<'_>) -> Option<String> {
    let statuses = statuses(facts).unwrap_or_default();
    let mut failing =
        statuses.iter().filter_map(|alert| Some((&alert.name, alert.undelivered.as_ref()?)));
    let (name, why) = failing.next()?;
    Some(match failing.count() {
        0 => format!("{name:?} fired in vain: {why}"),
        more => format!("{name:?} and {more} more fired in vain: {why}"),
    })
}

/// Whether Parseable holds them.
fn kept(facts: &Facts<'_>) -> Draft {
    if facts.alerts.is_empty() {
        return Draft::fine(types::ALERTS_SYNCED, alerts_synced::NO_ALERTS, "no alerts");
    }
    let Some(target) = &facts.target else {
        let message = format!(
            "no target: {} from the nodes and cannot be looked up in Parseable",
            if facts.alerts.len() == 1 {
                "1 alert fires".to_owned()
            } else {
                format!("{} alerts fire", facts.alerts.len())
            }
        );
        return Draft::fine(types::ALERTS_SYNCED, alerts_synced::NO_TARGET, message);
    };
    let Some(sync) = target.sync.as_ref() else {
        if let Some(draft) = carried(types::ALERTS_SYNCED, facts) {
            if draft.reason != alerts_synced::NOT_DELIVERED {
                return draft;
            }
            // All were in place, and whether calls arrive is told apart from that.
            let all = facts.alerts.len();
            return Draft::fine(
                types::ALERTS_SYNCED,
                alerts_synced::SYNCED,
                format!("{all} of {all}"),
            );
        }
        let alerts = plural(facts.alerts.len());
        let message = if facts.is_resolved() {
            format!("{alerts} not sent yet")
        } else {
            format!("{alerts} not sent: what ResolvedRefs misses comes first")
        };
        return Draft::pending(types::ALERTS_SYNCED, alerts_synced::PENDING, message);
    };
    if let Some(worst) = worst(facts, sync) {
        return from_trouble(types::ALERTS_SYNCED, &worst);
    }
    let synced = synced(facts, sync);
    if synced < facts.alerts.len() || !sync.current {
        let message = format!("{synced} of {}; the rest is being sent", facts.alerts.len());
        return Draft::pending(types::ALERTS_SYNCED, alerts_synced::PENDING, message);
    }
    let message = format!("{synced} of {}", facts.alerts.len());
    Draft::fine(types::ALERTS_SYNCED, alerts_synced::SYNCED, message)
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What hinders the alerts most: what a user must mend comes before what time cures.
fn worst(facts: &Facts<'_>, sync: &Sync) -> Option<Trouble> {
    let rank = |trouble: &Trouble| match trouble.cure {
        Cure::User => 0,
        Cure::Retry => 1,
        Cure::Wait => 2,
    };
    let failing: Vec<_> =
        wanted(facts, sync).filter_map(|alert| Some((alert, alert.trouble.as_ref()?))).collect();
    let Some((alert, trouble)) = failing.iter().min_by_key(|(_, trouble)| rank(trouble)) else {
        let trouble = sync.trouble.as_ref()?;
        // The server as a whole fails, and no alert was even tried.
        let unsent = synced(facts, sync) < facts.alerts.len();
        return (unsent || trouble.cure != Cure::User).then(|| of_alerts(trouble));
    };
    let alike = failing.iter().filter(|(_, other)| other.message == trouble.message).count();
    let message = if alike == facts.alerts.len() && alike > 1 {
        // What is wrong with all of them is wrong with the server.
        trouble.message.clone()
    } else if failing.len() == 1 {
        format!("{:?}: {}", alert.name, trouble.message)
    } else {
        format!(
            "{} of {} are not in place; {:?}: {}",
            failing.len(),
            plural(facts.alerts.len()),
            alert.name,
            trouble.message
        )
    };
    Some(Trouble { message, ..(*trouble).clone() })
}

/// The server's trouble in this condition's reasons.
fn of_alerts(trouble: &Trouble) -> Trouble {
    let own = [
        alerts_synced::TARGET_UNREACHABLE,
        alerts_synced::UNAUTHORIZED,
        alerts_synced::TARGET_REFUSED,
        alerts_synced::UNSUPPORTED,
    ];
    let reason =
        if own.contains(&trouble.reason) { trouble.reason } else { alerts_synced::PENDING };
    Trouble { reason, ..trouble.clone() }
}

fn wanted<'a>(facts: &'a Facts<'_>, sync: &'a Sync) -> impl Iterator<Item = &'a AlertOutcome> {
    facts.alerts.iter().filter_map(|name| sync.alerts.iter().find(|alert| alert.name == *name))
}

fn synced(facts: &Facts<'_>, sync: &Sync) -> usize {
    wanted(facts, sync).filter(|alert| alert.trouble.is_none()).count()
}

/// The counters of the status.
pub(super) fn counts(facts: &Facts<'_>) -> AlertCounts {
    let sync = facts.target.as_ref().and_then(|target| target.sync.as_ref());
    if sync.is_none()
        && facts.target.is_some()
        && let Some(known) = facts
            .previous
            .filter(|previous| previous.observed_generation == Some(facts.generation))
            .and_then(|previous| previous.alert_counts.clone())
    {
        return known;
    }
    let synced = match sync {
        Some(sync) => synced(facts, sync),
        // They fire all the same.
        None if facts.target.is_none() => facts.alerts.len(),
        None => 0,
    };
    let failed = sync.map_or(0, |sync| {
        let refused = |alert: &&AlertOutcome| {
            alert.trouble.as_ref().is_some_and(|trouble| trouble.cure == Cure::User)
        };
        wanted(facts, sync).filter(refused).count()
    });
    let number = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
    AlertCounts {
        desired: number(facts.alerts.len()),
        synced: number(synced),
        failed: number(failed),
        summary: Some(format!("{synced}/{}", facts.alerts.len())),
    }
}

/// The alerts of the status that something is known of; that stays while the server does not answer.
pub(super) fn statuses(facts: &Facts<'_>) -> Option<Vec<AlertStatus>> {
    let sync = facts.target.as_ref().and_then(|target| target.sync.as_ref());
    let before = facts.previous.and_then(|status| status.alerts.as_ref());
    let of = |name: &String| {
        let before = before.and_then(|alerts| alerts.iter().find(|alert| alert.name == *name));
        let synced = sync.and_then(|sync| sync.alerts.iter().find(|alert| alert.name == *name));
        let fired = facts.fired.get(name);
        if before.is_none() && synced.is_none() && fired.is_none() {
            return None;
        }
        let times = [
            fired.map(|fired| whole_second(fired.at)),
            synced.and_then(|alert| alert.last_fired),
            before.and_then(|alert| alert.last_fired.as_ref()).map(|time| time.0),
        ];
        let undelivered = match fired {
            Some(fired) => fired.undelivered.as_deref().map(|why| cut(why, UNDELIVERED_CHARS)),
            None => before.and_then(|alert| alert.undelivered.clone()),
        };
        Some(AlertStatus {
            name: name.clone(),
            parseable_id: match synced {
                Some(alert) => alert.id.clone(),
                None => before.and_then(|alert| alert.parseable_id.clone()),
            },
            state: match synced {
                Some(alert) => alert.state,
                None => before.and_then(|alert| alert.state),
            },
            last_fired: times.into_iter().flatten().max().map(Time),
            undelivered,
        })
    };
    let alerts: Vec<_> = facts.alerts.iter().filter_map(of).collect();
    (!alerts.is_empty()).then_some(alerts)
}

fn plural(alerts: usize) -> String {
    if alerts == 1 { "1 alert".to_owned() } else { format!("{alerts} alerts") }
}
