//! A server, a watch, and a person with an admin account who does things by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parseable_standin::{Config, Standin};
use reqwest::Method;
use securitywatch_api::rule::{self, Template};
use securitywatch_api::secret::{Secret, SecretUrl};
use securitywatch_api::v1alpha1::Severity;
use securitywatch_parseable::{
    Change, ChangeKind, Credentials, Desired, DesiredAlert, DesiredTarget, Destination,
    GuardPolicy, KnownAlert, Owner, Server, ServerConfig, Servers, SyncReport, TargetGuard,
    Timeouts,
};
use serde_json::{Value, json};
use url::Url;

/// Part of every receiver's URL; must be seen nowhere.
pub const TOKEN: &str = "T0KEN-of-the-receiver";
/// The password of the operator's account, where it is not the server's default.
pub const WGET: &str = r#"process_exec_process_binary =% "/usr/bin/wget""#;

/// One server and what a test needs of it.
pub struct Lab {
    pub url: String,
    pub username: String,
    pub password: String,
    /// `None`: a real server.
    pub standin: Option<Arc<Standin>>,
    pub servers: Servers,
    /// Of this test alone, also on a server that others use.
    pub mark: String,
    person: reqwest::Client,
}

impl Lab {
    /// The server under test.
    pub async fn start() -> Self {
        match std::env::var("PARSEABLE_URL") {
            Ok(url) => {
                let of = |name: &str| std::env::var(name).unwrap_or_else(|_| "admin".to_owned());
                let (user, password) = (of("PARSEABLE_USERNAME"), of("PARSEABLE_PASSWORD"));
                Self::new(url.trim_end_matches('/').to_owned(), user, password, None)
            }
            Err(_) => Self::with(Config::default()).await,
        }
    }

    /// A stand-in, whatever the environment says.
    pub async fn with(config: Config) -> Self {
        let (user, password) =
            (config.credentials.username.clone(), config.credentials.password.clone());
        let standin = Arc::new(Standin::start(config).await.unwrap());
        Self::new(standin.url.clone(), user, password, Some(standin))
    }

    /// For a test that needs the stand-in's controls.
    pub async fn standin_only(test: &str) -> Option<Self> {
        if std::env::var("PARSEABLE_URL").is_ok() {
            println!("skipped: {test} needs the stand-in's controls");
            return None;
        }
        Some(Self::with(Config::default()).await)
    }

    fn new(url: String, username: String, password: String, standin: Option<Arc<Standin>>) -> Self {
        provide_tls();
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let mark = format!("{now}{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let person = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { url, username, password, standin, servers: servers(), mark, person }
    }

    pub fn standin(&self) -> &Standin {
        self.standin.as_deref().expect("a test of the stand-in")
    }

    pub fn config(&self) -> ServerConfig {
        ServerConfig {
            url: Url::parse(&self.url).unwrap(),
            credentials: basic(&self.username, &self.password),
            manage_outbound_policy: true,
        }
    }

    pub fn server(&self) -> Server {
        self.servers.get(&self.config()).unwrap()
    }

    /// An operator that has just started.
    pub fn restarted_operator(&mut self) -> Server {
        self.servers = servers();
        self.server()
    }

    /// What a watch called `name` wants: one stream, one alert.
    pub fn watch(&self, name: &str) -> Desired {
        Desired {
            owner: Owner {
                cluster_id: format!("cluster-{}", self.mark),
                uid: format!("uid-{name}-{}", self.mark),
                title: format!("SecurityWatch/shop/{name}"),
                created_ms: 1_795_312_441_395,
            },
            stream: format!("sw_{}", self.mark),
            retention_days: Some(30),
            alerts: vec![alert("wget_command", WGET)],
        }
    }

    /// Everything is over: a real server is left as it was.
    pub async fn clean(&self, watches: &[&Desired]) {
        for watch in watches {
            self.server().remove(&watch.owner, &watch.stream).await.unwrap();
            self.by_hand(Method::DELETE, &format!("/logstream/{}", watch.stream), Value::Null)
                .await;
        }
    }

    /// A request that a person makes: status and body.
    pub async fn by_hand(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let mut request = self
            .person
            .request(method, format!("{}/api/v1{path}", self.url))
            .basic_auth(&self.username, Some(&self.password));
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.by_hand(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// The watch's alerts, as the server shows them.
    pub async fn alerts(&self, watch: &Desired) -> Vec<Value> {
        let tag = format!("sw-uid:{}", watch.owner.uid);
        let list = self.get(&format!("/alerts?tags={tag}&limit=1000")).await;
        let mut alerts = Vec::new();
        for item in list.as_array().unwrap() {
            alerts.push(self.get(&format!("/alerts/{}", item["id"].as_str().unwrap())).await);
        }
        alerts
    }

    pub async fn only_alert(&self, watch: &Desired) -> Value {
        let alerts = self.alerts(watch).await;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        alerts.into_iter().next().unwrap()
    }

    /// The watch's targets.
    pub async fn targets(&self, watch: &Desired) -> Vec<Value> {
        let list = self.get("/targets").await;
        let is_ours = |target: &&Value| {
            target["name"].as_str().unwrap().ends_with(&format!("/{}]", watch.owner.uid))
        };
        let targets = list.as_array().unwrap().iter().map(|item| &item["target"]);
        targets.filter(is_ours).cloned().collect()
    }

    /// A row as a node ships it.
    pub async fn ship(&self, stream: &str, row: Value) {
        let (status, body) =
            self.by_hand(Method::POST, &format!("/logstream/{stream}"), json!([row])).await;
        assert_eq!(status, 200, "{body}");
    }
}

pub fn servers() -> Servers {
    provide_tls();
    let policy = GuardPolicy { allow_loopback: true, ..GuardPolicy::default() };
    Servers::with_timeouts(TargetGuard::new(policy).unwrap(), Timeouts::default())
}

pub fn provide_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

pub fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) }
}

pub fn alert(name: &str, rule: &str) -> DesiredAlert {
    let message = "wget was executed from the pod: {process_exec_process_pod_name}";
    DesiredAlert {
        name: name.to_owned(),
        severity: Severity::High,
        message: Template::parse(message).unwrap(),
        rule: rule::parse(rule).unwrap(),
        targets: vec![webhook(&format!("{name}/0"), "http://127.0.0.1:9/")],
    }
}

pub fn webhook(key: &str, base: &str) -> DesiredTarget {
    let destination = Destination::Webhook {
        url: SecretUrl::parse(&format!("{base}{TOKEN}")).unwrap(),
        headers: [("X-Team".to_owned(), Secret::new(format!("header-{TOKEN}")))].into(),
        skip_tls_check: false,
    };
    DesiredTarget { key: key.to_owned(), destination, repeat: None }
}

/// A pass in which nothing fails and no secret shows.
pub async fn sync(server: &Server, watch: &Desired) -> Vec<Change> {
    let report = server.sync(watch, &[]).await;
    assert_eq!(report.stream, Ok(()));
    for outcome in &report.alerts {
        assert_eq!(outcome.failure, None, "{report:?}");
        assert!(outcome.id.is_some(), "{report:?}");
    }
    shows_no_secret(&report);
    report.changes
}

pub fn shows_no_secret(report: &SyncReport) {
    let shown = format!("{report:?}");
    assert!(!shown.contains(TOKEN), "{shown}");
}

pub fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(|change| change.kind).collect()
}

pub fn known(name: &str, alert: &Value) -> Vec<KnownAlert> {
    vec![KnownAlert { name: name.to_owned(), id: alert["id"].as_str().unwrap().to_owned() }]
}
