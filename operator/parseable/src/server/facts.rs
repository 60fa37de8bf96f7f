//! What a server is: its generation, its process, its data.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use super::Site;
use crate::failure::{Failure, FailureClass};
use crate::http::{Call, Http};
use crate::report::Generation;
use crate::wire::About;

/// How long facts stay good. Long enough that a storm of watches asks once; a failure is kept as long, so that those who
/// waited for it do not wait again.
const FRESH: Duration = Duration::from_secs(5);

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// As the server writes it.
    pub(crate) version: Option<String>,
    /// Alone; otherwise rows become visible to queries minutes later.
    pub(crate) standalone: bool,
    /// Of the data.
    pub(crate) deployment: Option<String>,
    /// When the process started, in seconds since 1970, by the server's clock; `None` when the account may not know.
    pub(crate) started: Option<i64>,
    pub(crate) generation: Generation,
}

/// The last answer, for this account.
#[derive(Debug, Default)]
pub(crate) struct FactsCache(Mutex<Option<Seen>>);

#[derive(Debug)]
struct Seen {
    when: Instant,
    /// Of the site: what was seen before a restart is of no use after it, whichever account noticed it.
    epoch: u64,
    result: Result<Facts, Failure>,
}

impl Seen {
    async fn now(http: &Http, site: &Site) -> Self {
        let epoch = site.epoch();
        Self { result: observe(http, site).await, when: Instant::now(), epoch }
    }
}

impl FactsCache {
    /// Facts that are a few seconds old at most.
    pub(crate) async fn get(&self, http: &Http, site: &Site) -> Result<Facts, Failure> {
        let mut cached = self.0.lock().await;
        let fresh = cached
            .as_ref()
            .filter(|seen| seen.when.elapsed() < FRESH && seen.epoch == site.epoch());
        if let Some(seen) = fresh {
            return seen.result.clone();
        }
        cached.insert(Seen::now(http, site).await).result.clone()
    }

    /// Facts of now.
    pub(crate) async fn renew(&self, http: &Http, site: &Site) -> Result<Facts, Failure> {
        let mut cached = self.0.lock().await;
        cached.insert(Seen::now(http, site).await).result.clone()
    }

    /// Something was not as the facts say.
    pub(crate) async fn doubt(&self, site: &Site) {
        *self.0.lock().await = None;
        site.forget_generation();
    }
}

async fn observe(http: &Http, site: &Site) -> Result<Facts, Failure> {
    let doing = "the request for its version";
    let reply = http.call(Call::get("/about")).await?;
    let about: About = match reply.status {
        404 => About::default(),
        _ => http.expect(&reply, FailureClass::ServerError, doing)?,
    };
    let started = started(http).await?;
    let known = site.generation_of(about.version.as_deref(), about.deployment_id.as_deref());
    let generation = match known {
        Some(generation) => generation,
        None => {
            let generation = detect(http, about.version.as_deref()).await?;
            site.learn_generation(
                about.version.as_deref(),
                about.deployment_id.as_deref(),
                generation,
            );
            generation
        }
    };
    Ok(Facts {
        standalone: about.mode.as_deref().is_none_or(|mode| mode == "Standalone"),
        version: about.version,
        deployment: about.deployment_id,
        started,
        generation,
    })
}

/// `None` when the account may not read it, or there is no such route.
async fn started(http: &Http) -> Result<Option<i64>, Failure> {
    let (status, value) = http.find_line("/metrics", "process_start_time_seconds ").await?;
    if status != 200 {
        return Ok(None);
    }
    let seconds: Option<f64> = value.and_then(|text| text.parse().ok());
    #[allow(clippy::cast_possible_truncation)] // Seconds of our era.
    let whole = seconds.filter(|seconds| (1.0..1e12).contains(seconds)).map(|s| s as i64);
    Ok(whole)
}

/// What a route answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// A list, as it should.
    List,
    /// There is such a route, and this account may not use it.
    Denied,
    /// There is no such route.
    Missing,
    Other,
}

async fn detect(http: &Http, version: Option<&str>) -> Result<Generation, Failure> {
    let alerts = probe(http, "/alerts?limit=1").await?;
    let targets = match alerts {
        Probe::Missing => Probe::Missing,
        _ => probe(http, "/targets").await?,
    };
    let version = version.and_then(parse_version);
    let document = match (version, alerts) {
        // The old server says something about a stream that is not there; others know no such route.
        (None, Probe::Missing) => {
            let reply = http.call(Call::get("/logstream/securitywatch_probe/alert")).await?;
            reply.status == 200 || !reply.text().trim().is_empty()
        }
        _ => false,
    };
    let generation = decide(version, alerts, targets, document);
    tracing::info!(server = http.who(), ?version, ?generation, "Found out the server's alert API");
    Ok(generation)
}

async fn probe(http: &Http, path: &str) -> Result<Probe, Failure> {
    let reply = http.call(Call::get(path).long()).await?;
    Ok(match reply.status {
        200 if reply.is_success() => {
            let list: Result<Vec<Value>, _> = http.expect(&reply, FailureClass::ServerError, "");
            list.map_or(Probe::Other, |_| Probe::List)
        }
        // A page: what is outside of the API shows the user interface.
        200 | 404 | 405 => Probe::Missing,
        401 | 403 => Probe::Denied,
        500.. => {
            return Err(http.refused(&reply, FailureClass::ServerError, "the request for alerts"));
        }
        _ => Probe::Other,
    })
}

fn decide(
    version: Option<(u64, u64, u64)>,
    alerts: Probe,
    targets: Probe,
    document: bool,
) -> Generation {
    let has = |probe| matches!(probe, Probe::List | Probe::Denied);
    match version {
        Some((1, 7, 4..) | (1, 8.., _) | (2, 0..=3, _) | (2, 4, 0)) => Generation::Unsupported,
        Some(version) if version < (1, 7, 4) && alerts == Probe::Missing => Generation::Document,
        Some(version) if version < (1, 7, 4) => Generation::Unsupported,
        _ if has(alerts) && has(targets) => Generation::Sql,
        None if alerts == Probe::Missing && document => Generation::Document,
        _ => Generation::Unsupported,
    }
}

/// `v2.9.5`, `2.9.5-12-g7fe859f9`, `3.0`.
fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let core = text.split(['-', '+', ' ']).next()?;
    let mut parts = core.split('.');
    let major = parts.next()?.parse().ok()?;
    let mut next = || parts.next().map_or(Some(0), |part| part.parse().ok());
    Some((major, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_the_wild() {
        for (text, expected) in [
            ("v2.9.5", Some((2, 9, 5))),
            ("2.9.5-12-g7fe859f9", Some((2, 9, 5))),
            ("v3", Some((3, 0, 0))),
            ("development", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn generations() {
        use Generation::{Document, Sql, Unsupported};
        use Probe::{Denied, List, Missing, Other};
        for (version, alerts, targets, document, expected) in [
            ("v0.9.0", Missing, Missing, false, Document),
            ("v1.7.3", Missing, Missing, false, Document),
            ("v1.7.4", List, Missing, false, Unsupported),
            ("v2.0.0", List, Missing, false, Unsupported),
            ("v2.4.0", List, List, false, Unsupported),
            ("v2.4.1", List, List, false, Sql),
            ("v2.9.5", List, List, false, Sql),
            ("v2.9.5", Denied, Denied, false, Sql),
            ("v2.9.5", Missing, Missing, false, Unsupported),
            ("v3.1.0", List, List, false, Sql),
            ("v3.1.0", Other, Missing, false, Unsupported),
            ("", List, List, false, Sql),
            ("", List, Missing, false, Unsupported),
            ("", Missing, Missing, true, Document),
            ("", Missing, Missing, false, Unsupported),
        ] {
            let decided = decide(parse_version(version), alerts, targets, document);
            assert_eq!(decided, expected, "{version} {alerts:?} {targets:?}");
        }
    }
}
