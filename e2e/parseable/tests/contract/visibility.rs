//! The observation "visibility over time": which windows see two rows, in their minute and after it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use parseable_standin::Standin;
use serde_json::{Value, json};

use crate::client;
use crate::recording::Exchange;

/// A minute's start, on the day of the recording.
const MINUTE: u64 = 1_795_312_200;

pub async fn replay(standin: &Standin, exchange: &Exchange) -> Result<(), String> {
    let at =
        |seconds: f64| UNIX_EPOCH + Duration::from_secs(MINUTE) + Duration::from_secs_f64(seconds);
    standin.set_clock(at(20.0));
    client::ask(&standin.url, "PUT", "/api/v1/logstream/vis", &Value::Null).await;
    let rows = json!([{"n": 1}, {"n": 2}]);
    client::ask(&standin.url, "POST", "/api/v1/logstream/vis", &rows).await;
    let (Some(same), Some(next)) = (&exchange.same_minute, &exchange.next_minute) else {
        return Err("one of the two tables is missing".to_owned());
    };
    for (samples, expected) in [([20.0, 45.0, 59.8], same), ([61.2, 70.0, 80.0], next)] {
        for seconds in samples {
            standin.set_clock(at(seconds));
            let seen = seen(standin, at(seconds), expected.keys()).await;
            if seen != *expected {
                return Err(format!("second {seconds}: {seen:?}, expected {expected:?}"));
            }
        }
    }
    Ok(())
}

async fn seen(
    standin: &Standin,
    now: SystemTime,
    windows: impl Iterator<Item = &String>,
) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for name in windows {
        let (start, end) = window(name, now.into());
        let body = json!({"query": "SELECT COUNT(*) AS \"n\" FROM \"vis\"", "startTime": start, "endTime": end});
        let rows = client::ask(&standin.url, "POST", "/api/v1/query", &body).await;
        seen.insert(name.clone(), rows[0]["n"].as_u64().unwrap());
    }
    seen
}

/// The windows by their names in the recording.
fn window(name: &str, now: DateTime<Utc>) -> (String, String) {
    let minutes = |minutes: i64| {
        (now + chrono::Duration::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    match name {
        "1m to now" => ("1m".to_owned(), "now".to_owned()),
        "10m to now" => ("10m".to_owned(), "now".to_owned()),
        "start -10m, end = current full minute" => (minutes(-10), minutes(0)),
        "start -10m, end +2m" => (minutes(-10), minutes(2)),
        "start -10m, end -5m" => (minutes(-10), minutes(-5)),
        "start -1d, end -1h" => (minutes(-24 * 60), minutes(-60)),
        "start +1m, end +5m" => (minutes(1), minutes(5)),
        other => panic!("what window is {other:?}?"),
    }
}
