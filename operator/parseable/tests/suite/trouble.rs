//! Servers that do not answer, answer something else, or must not be called.

use std::time::{Duration, Instant};

use parseable_standin::Config;
use securitywatch_api::secret::Secret;
use securitywatch_parseable::{
    Credentials, FailureClass, GuardPolicy, Server, ServerConfig, Servers, TargetGuard, Timeouts,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::lab::{Lab, basic, provide_tls, sync};

const SHORT: Timeouts =
    Timeouts { connect: Duration::from_millis(500), total: Duration::from_millis(800) };

fn impatient(url: &str) -> Server {
    provide_tls();
    let policy = GuardPolicy { allow_loopback: true, ..GuardPolicy::default() };
    let servers = Servers::with_timeouts(TargetGuard::new(policy).unwrap(), SHORT);
    servers
        .get(&ServerConfig {
            url: Url::parse(url).unwrap(),
            credentials: basic("admin", "pa55word"),
            manage_outbound_policy: false,
        })
        .unwrap()
}

/// A server that does the same with each connection.
async fn scripted<F, Fut>(serve: F) -> String
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, number).await;
            number += 1;
        }
    });
    url
}

async fn answer(mut stream: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

async fn failure_of(server: &Server) -> (FailureClass, String) {
    let lab = Lab::with(Config::default()).await;
    let report = server.sync(&lab.watch("egress"), &[]).await;
    let failure = report.stream.unwrap_err();
    assert_eq!(report.alerts[0].failure.as_ref(), Some(&failure));
    assert!(!failure.message.contains("pa55word"));
    (failure.class, failure.message)
}

#[tokio::test]
async fn nobody_listens() {
    let lab = Lab::with(Config::default()).await;
    let (server, watch) = (lab.server(), lab.watch("egress"));
    sync(&server, &watch).await;
    lab.standin().stop_listening().await;
    let server = impatient(&lab.url);
    let (class, message) = failure_of(&server).await;
    assert_eq!(class, FailureClass::Unreachable);
    assert!(
        message.starts_with(&format!("{} is not reachable: Connection refused", lab.url)),
        "{message}"
    );
    assert!(server.check_restart().await.is_err());
    assert!(server.remove(&watch.owner, &watch.stream).await.is_err());
    lab.standin().listen_again().await;
    sync(&lab.server(), &watch).await;
}

#[tokio::test]
async fn one_that_never_answers_costs_one_deadline() {
    let url = scripted(|stream, _| async move {
        tokio::spawn(async move {
            let _open = stream;
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
    })
    .await;
    let server = impatient(&url);
    let lab = Lab::with(Config::default()).await;
    let begun = Instant::now();
    // Ten watches wait for the same answer.
    let waits = (0..10).map(|number| {
        let (server, watch) = (server.clone(), lab.watch(&format!("w{number}")));
        tokio::spawn(async move { server.sync(&watch, &[]).await })
    });
    for wait in waits.collect::<Vec<_>>() {
        let failure = wait.await.unwrap().stream.unwrap_err();
        assert_eq!(failure.class, FailureClass::Unreachable);
        assert!(failure.message.contains("did not answer within"), "{failure}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn wrong_credentials() {
    let lab = Lab::with(Config::default()).await;
    for (credentials, expected) in [
        (
            basic("admin", "pa55word"),
            "answered 403 for user \"admin\" to the request for its version; check the password in the Secret and the account's role",
        ),
        (
            Credentials::None,
            "answered 401 without credentials to the request for its version; check the Secret with the credentials",
        ),
        (
            Credentials::ApiKey(Secret::new("pa55word".to_owned())),
            "answered 401 for the API key to the request for its version; check the Secret with the credentials",
        ),
    ] {
        let config = ServerConfig { credentials, ..lab.config() };
        let (class, message) = failure_of(&lab.servers.get(&config).unwrap()).await;
        assert_eq!(class, FailureClass::Unauthorized);
        assert_eq!(message, format!("{} {expected}", lab.url));
    }
    let wrong = ServerConfig { credentials: basic("admin", "two\nlines"), ..lab.config() };
    assert!(lab.servers.get(&wrong).is_ok());
    let wrong = ServerConfig {
        credentials: Credentials::ApiKey(Secret::new("two\nlines".to_owned())),
        ..lab.config()
    };
    let failure = lab.servers.get(&wrong).unwrap_err();
    assert_eq!(failure.class, FailureClass::Unauthorized);
}

#[tokio::test]
async fn with_nothing_to_manage_a_refused_account_is_the_nodes_affair() {
    let lab = Lab::with(Config::default()).await;
    let config = ServerConfig { credentials: basic("admin", "pa55word"), ..lab.config() };
    let mut watch = lab.watch("egress");
    watch.alerts.clear();
    watch.retention_days = None;
    let report = lab.servers.get(&config).unwrap().sync(&watch, &[]).await;
    assert_eq!(report.stream, Ok(()));
}

#[tokio::test]
async fn something_that_is_no_parseable() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let url = scripted(|stream, _| answer(stream, page)).await;
    let (class, message) = failure_of(&impatient(&url)).await;
    assert_eq!(class, FailureClass::ServerError);
    assert!(message.contains("with a page, not as a Parseable server: check the URL"), "{message}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let victim = scripted(|_, _| async { panic!("the redirect was followed") }).await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: {victim}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let redirect: &'static [u8] = Box::leak(redirect.into_bytes().into_boxed_slice());
    let url = scripted(move |stream, _| answer(stream, redirect)).await;
    let (class, message) = failure_of(&impatient(&url)).await;
    assert_eq!(class, FailureClass::ServerError);
    assert!(message.contains("answered 302 with a page"), "{message}");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let url = scripted(|mut stream, _| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n",
            )
            .await;
        let chunk = vec![b' '; 64 * 1024];
        while stream.write_all(&chunk).await.is_ok() {}
    })
    .await;
    let (class, message) = failure_of(&impatient(&url)).await;
    assert_eq!(class, FailureClass::ServerError);
    assert!(message.contains("an answer of more than 64 KiB"), "{message}");
}

#[tokio::test]
async fn a_connection_that_breaks_once_is_tried_again() {
    let about = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let url = scripted(move |mut stream, number| async move {
        if number == 0 {
            // Closed with the request read and not answered.
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
        } else {
            answer(stream, about).await;
        }
    })
    .await;
    assert_eq!(failure_of(&impatient(&url)).await.0, FailureClass::Unauthorized);
}

#[tokio::test]
async fn addresses_that_are_never_called() {
    provide_tls();
    let servers = Servers::new(TargetGuard::new(GuardPolicy::default()).unwrap());
    let config = |url: &str| ServerConfig {
        url: Url::parse(url).unwrap(),
        credentials: Credentials::None,
        manage_outbound_policy: false,
    };
    for url in ["http://127.0.0.1:8000", "http://169.254.169.254", "http://[::ffff:127.0.0.1]"] {
        assert_eq!(
            servers.get(&config(url)).unwrap_err().class,
            FailureClass::TargetDenied,
            "{url}"
        );
    }
    // A name is judged by what it resolves to; nothing is sent.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = servers.get(&config(&format!("http://localhost:{port}"))).unwrap();
    let (class, message) = failure_of(&server).await;
    assert_eq!(class, FailureClass::TargetDenied);
    assert!(
        message.contains("localhost is at") && message.contains("a loopback address"),
        "{message}"
    );
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err());
}
