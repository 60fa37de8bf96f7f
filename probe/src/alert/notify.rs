//! Calls a receiver: one task for each target, so that a dead one delays no other.

use super::call::{AlertReport, Outcome};
use super::engine::ReportHook;
use super::{Endpoint, Login, Receiver};
use crate::http;
use crate::metrics::{Metrics, NotificationLabel};
use crate::ship::{Backoff, root_cause};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use securitywatch_api::alerting::{Call, Verdict};
use securitywatch_api::secret::SecretUrl;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// How receivers are called.
#[derive(Debug, Clone, Copy)]
pub struct NotifySettings {
    pub connect_timeout: Duration,
    /// From sending to the end of the answer's head.
    pub timeout: Duration,
    pub attempts: u32,
    pub backoff: Backoff,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            attempts: 5,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(10)),
        }
    }
}

/// HTTP could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP for alerts: {0}")]
pub struct NotifyError(#[from] reqwest::Error);

/// The two ways to look at certificates.
#[derive(Debug, Clone)]
pub(super) struct HttpClients {
    checking: reqwest::Client,
    trusting: reqwest::Client,
}

impl HttpClients {
    pub fn new(settings: &NotifySettings) -> Result<Self, NotifyError> {
        let shared = |builder: reqwest::ClientBuilder| {
            builder
                .connect_timeout(settings.connect_timeout)
                .timeout(settings.timeout)
                .pool_idle_timeout(Duration::from_secs(3))
        };
        Ok(Self {
            checking: http::client(shared)?,
            trusting: http::client(|b| shared(b).tls_danger_accept_invalid_certs(true))?,
        })
    }
}

/// Calls waiting for one target. A dead receiver and a message that differs every time could fill any queue.
pub(super) const QUEUE: usize = 256;
/// Calls to one target at a time.
const IN_FLIGHT: usize = 4;

/// One target's end of the wire.
pub(super) struct Notifier {
    pub receiver: Mutex<Receiver>,
    /// Counts changes of the receiver's secrets.
    pub secrets: AtomicU64,
    pub http: HttpClients,
    pub settings: NotifySettings,
    pub metrics: Arc<Metrics>,
    pub on_report: ReportHook,
}

/// What an attempt came to.
enum Attempt {
    Done(StatusCode),
    /// May work later.
    Again {
        reason: String,
        after: Option<Duration>,
    },
    /// Will not work with this URL, body and login.
    Hopeless(String),
}

/// Makes calls until the engine lets go of the other end.
pub(super) async fn run(notifier: Arc<Notifier>, mut calls: mpsc::Receiver<Call>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut running = JoinSet::new();
    while let Some(call) = calls.recv().await {
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        while running.try_join_next().is_some() {}
        let notifier = notifier.clone();
        running.spawn(async move {
            notifier.make(&call).await;
            drop(slot);
        });
    }
    while running.join_next().await.is_some() {}
}

impl Notifier {
    async fn make(&self, call: &Call) {
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            let secrets = self.secrets.load(Relaxed);
            let (reason, after) = match self.attempt(call).await {
                Attempt::Done(status) => {
                    break Outcome::Sent {
                        status: status.as_u16(),
                        latency: since(call.hit.time_ns),
                    };
                }
                Attempt::Hopeless(reason) if attempts > 1 || !self.are_others_than(secrets) => {
                    break Outcome::Failed { reason, attempts };
                }
                Attempt::Hopeless(_) => continue,
                Attempt::Again { reason, after } => (reason, after),
            };
            if attempts >= self.settings.attempts {
                break Outcome::Failed { reason, attempts };
            }
            self.metrics.notification_retries.get_or_create(&self.label(call)).inc();
            tokio::time::sleep(self.settings.backoff.delay(attempts, after)).await;
            self.refresh();
        };
        self.tell(call, outcome);
    }

    async fn attempt(&self, call: &Call) -> Attempt {
        let request = match self.request(call) {
            Ok(request) => request,
            Err(problem) => {
                return Attempt::Hopeless(format!("has no usable URL: it is {problem}"));
            }
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Again { reason: failure(error), after: None },
        };
        let status = response.status();
        let reason = format!("answered {}", status.as_u16());
        match Verdict::of(status.as_u16()) {
            Verdict::Delivered => return Attempt::Done(status),
            Verdict::Refused => return Attempt::Hopeless(reason),
            Verdict::Later => {}
        }
        let after =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        Attempt::Again { reason, after: after.map(Duration::from_secs) }
    }

    fn request(&self, call: &Call) -> Result<RequestBuilder, &'static str> {
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let url = match receiver.url() {
            Endpoint::Fixed(url) => url.expose().clone(),
            Endpoint::File(file) => SecretUrl::parse(file.value().expose())?.expose().clone(),
        };
        let http =
            if receiver.skips_tls_check() { &self.http.trusting } else { &self.http.checking };
        let kind = receiver.kind();
        let request = http.post(kind.endpoint(url));
        let request = match &*receiver {
            Receiver::Webhook { headers, .. } => {
                headers.iter().fold(request, |r, (name, value)| r.header(name, value.expose()))
            }
            Receiver::Slack { .. } => request,
            Receiver::Alertmanager { login, .. } => {
                login.iter().fold(request, |request, login| login.apply(request))
            }
        };
        let body = kind.body(call).to_string();
        Ok(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    /// Reads the secrets again.
    fn refresh(&self) {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        if receiver.refresh() {
            self.secrets.fetch_add(1, Relaxed);
        }
    }

    /// Whether the secrets are others than those of this number; another call may have read them.
    fn are_others_than(&self, secrets: u64) -> bool {
        self.refresh();
        self.secrets.load(Relaxed) != secrets
    }

    fn tell(&self, call: &Call, outcome: Outcome) {
        let label = self.label(call);
        match &outcome {
            Outcome::Sent { latency, .. } => {
                self.metrics.notifications.get_or_create(&label).inc();
                if call.at_once {
                    self.metrics.alert_latency.get_or_create(&label).observe(latency.as_secs_f64());
                }
            }
            Outcome::Failed { reason, attempts } => {
                self.metrics.notification_failures.get_or_create(&label).inc();
                let who = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).describe();
                let (alert, watch) = (&call.facts.name, &call.facts.watch);
                tracing::error!(
                    alert,
                    watch,
                    attempts,
                    "An alert was not delivered: {who} {reason}"
                );
            }
        }
        (self.on_report)(&AlertReport {
            watch: call.facts.watch.clone(),
            alert: call.facts.name.clone(),
            severity: call.facts.severity,
            message: call.hit.message.clone(),
            target: label.target,
            call: call.number,
            hits: call.hits,
            outcome,
        });
    }

    fn label(&self, call: &Call) -> NotificationLabel {
        let target = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).kind().as_str();
        NotificationLabel {
            watch: call.facts.watch.clone(),
            alert: call.facts.name.clone(),
            target,
        }
    }
}

impl Receiver {
    fn refresh(&mut self) -> bool {
        let (url, login) = match self {
            Self::Webhook { url, .. } | Self::Slack { url } => (url, None),
            Self::Alertmanager { url, login, .. } => (url, login.as_mut()),
        };
        let mut changed = match url {
            // A file that cannot be read now leaves the old value in use.
            Endpoint::File(file) => file.refresh().unwrap_or(false),
            Endpoint::Fixed(_) => false,
        };
        if let Some(Login::File { username, password }) = login {
            changed |= username.refresh().unwrap_or(false);
            changed |= password.refresh().unwrap_or(false);
        }
        changed
    }
}

impl Login {
    fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::File { username, password } => {
                request.basic_auth(username.value().expose(), Some(password.value().expose()))
            }
            Self::Fixed { username, password } => {
                request.basic_auth(username, Some(password.expose()))
            }
        }
    }
}

/// Without the URL, which is a secret.
fn failure(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        "did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("is not reachable: {}", root_cause(&error))
    } else {
        format!("closed the connection: {}", root_cause(&error))
    }
}

fn since(time_ns: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(time_ns).unwrap_or(0)))
}
