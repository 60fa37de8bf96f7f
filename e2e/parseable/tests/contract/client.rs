//! A client as bare as the one that recorded: one connection a request, headers as given, no library that
//! retries or hides how a connection ends.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
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
