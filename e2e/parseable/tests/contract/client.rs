//! A client as bare as the one that recorded: one connection a request, headers as given, no library that
//! retries or hides how a connection ends.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::recording::Request;

/// Far above what the slowest exchange (one event that becomes 38 416 rows) takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// None: the connection was closed without an answer.
pub async fn send(url: &str, request: &Request, body: &[u8]) -> Option<Answer> {
    let address = url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut bytes = head(address, request, body).into_bytes();
    bytes.extend_from_slice(body);
    // The server may answer and close before it has read everything: a failed write is no failure here.
    let writing = tokio::spawn(async move {
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let mut received = Vec::new();
    let read = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut received)).await;
    drop(read.expect("no answer in time"));
    writing.abort();
    parse(&received)
}

/// What no recording holds: asked by the root user, and answered 200.
pub async fn ask(url: &str, method: &str, path: &str, body: &Value) -> Value {
    let headers =
        [("Authorization", "Basic base64(admin:admin)"), ("Content-Type", "application/json")];
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: serde_json::value::to_raw_value(body).unwrap(),
    };
    let sent = if body.is_null() { String::new() } else { body.to_string() };
    let answer = send(url, &request, sent.as_bytes()).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{method} {path}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn head(address: &str, request: &Request, body: &[u8]) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n",
        request.method, request.path
    );
    let mut length_given = false;
    for (name, value) in &request.headers {
        let value = match value.strip_prefix("Basic base64(") {
            Some(symbolic) => {
                format!("Basic {}", BASE64_STANDARD.encode(symbolic.strip_suffix(')').unwrap()))
            }
            None => value.clone(),
        };
        length_given |= name.eq_ignore_ascii_case("content-length");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !length_given && (!body.is_empty() || request.method == "POST") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head
}

fn parse(received: &[u8]) -> Option<Answer> {
    if received.is_empty() {
        return None;
    }
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: received[end + 4..].to_vec() })
}
