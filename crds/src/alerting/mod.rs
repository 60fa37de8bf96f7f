//! Alerts at once: what a hit is, when it becomes a call, what a receiver gets, and what travels from a probe to the
//! operator. The probe of a single machine calls receivers itself; in a cluster it reports hits and the operator calls.
//!
//! ## Firing and repeating
//! A *firing* is one alert's message, as rendered, at one target: hits of one rule with another pod in the
//! message are another firing. Its first hit calls the target at once. Hits after that are folded: while they keep
//! coming, the target is called again every `repeat.interval`, at most `repeat.times` more times, and
//! each call says how many hits it stands for since the one before. A firing ends when for `interval` ×
//! `times` no hit came and no call was made; the next hit calls at once again. Without `repeat` a firing is
//! called once, and ends after a minute without a hit.
//!
//! ## What a webhook gets
//! `POST`, `Content-Type: application/json`:
//!
//! | key | value |
//! |---|---|
//! | `alert`, `severity` | name and `critical`, `high`, `medium` or `low` |
//! | `watch` | the watch that holds the alert |
//! | `stream` | the watch's stream; absent without one |
//! | `message` | the alert's message, columns filled in |
//! | `rule` | the rule as text, without needless parentheses |
//! | `node`, `time` | where, and when the kernel saw it (RFC 3339, UTC) |
//! | `event_type`, `event_id` | of the event, as in the stream: look it up by `event_id` |
//! | `namespace`, `pod`, `binary` | of the event's process; absent when it has none |
//! | `call` | 1 is the first call of a firing |
//! | `hits` | events this call stands for, the one described being the first |
//!
//! Slack gets `{"text": …}`. An Alertmanager gets one alert with labels `alertname`, `severity`, `watch`, `stream`,
//! `node`, `namespace`, `pod`, `binary` and annotations `message`, `rule`, `event_id`, `hits`; a URL
//! without a path means its `/api/v2/alerts`.

mod body;
mod call;
mod firings;
mod receiver;
pub mod wire;

pub use call::{AlertFacts, Call, Hit};
pub use firings::{Due, Firings, Kept};
pub use receiver::{ReceiverKind, Verdict};
