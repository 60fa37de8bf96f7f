//! An HTTP server on loopback that does what a test tells it, down to the connection: answers, resets, hangs.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// Number of the connection it came on.
    pub connection: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Value {
        let body = match self.header("content-encoding") {
            Some("zstd") => zstd::decode_all(self.body.as_slice()).unwrap(),
            _ => self.body.clone(),
        };
        serde_json::from_slice(&body).unwrap()
    }

    pub fn is_ingest(&self) -> bool {
        self.method == "POST" && self.path.starts_with("/api/v1/logstream/")
    }

    /// An ingest of events, not of the stream's seed.
    pub fn is_events(&self) -> bool {
        self.is_ingest() && self.json()[0]["event_type"] != "securitywatch.seed"
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16, &'static [(&'static str, &'static str)], String),
    /// Close without an answer, with a reset.
    Reset,
    /// Never answer.
    Hang,
}

impl Reply {
    pub fn ok() -> Self {
        Self::Status(200, &[], String::new())
    }

    pub fn status(code: u16, body: &str) -> Self {
        Self::Status(code, &[], body.to_owned())
    }
}

type Handler = Box<dyn FnMut(&Request) -> Reply + Send>;

pub struct Server {
    pub addr: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    /// Ends the connections that hang.
    hung_up: tokio::sync::Notify,
    requests: Mutex<Vec<Request>>,
    count: watch::Sender<usize>,
    handler: Mutex<Handler>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(handler: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), handler).await
    }

    pub async fn start_on(
        addr: SocketAddr,
        handler: impl FnMut(&Request) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            hung_up: tokio::sync::Notify::new(),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
            handler: Mutex::new(Box::new(handler)),
        });
        let task = tokio::spawn({
            let state = state.clone();
            async move {
                for connection in 0.. {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    tokio::spawn(serve(stream, connection, state.clone()));
                }
            }
        });
        Self { addr, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A client of the API server that this is.
    pub fn kubernetes(&self) -> kube::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = kube::Config::new(self.url().parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Closes every connection whose request gets no answer.
    pub fn hang_up(&self) {
        self.state.hung_up.notify_waiters();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Waits until `enough` is true of all requests so far.
    pub async fn wait_for(&self, enough: impl Fn(&[Request]) -> bool) {
        let mut count = self.state.count.subscribe();
        let wait = async {
            loop {
                count.borrow_and_update();
                if enough(&self.requests()) {
                    return;
                }
                count.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), wait).await.is_err() {
            let seen: Vec<_> =
                self.requests().iter().map(|r| format!("{} {}", r.method, r.path)).collect();
            panic!("not seen in 20 s: {seen:?}");
        }
    }
}

async fn serve(stream: TcpStream, connection: usize, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream, connection).await {
        // The request is on record before it is answered, so that who saw the answer finds it there.
        state.requests.lock().unwrap().push(request.clone());
        let reply = (state.handler.lock().unwrap())(&request);
        state.count.send_modify(|n| *n += 1);
        match reply {
            Reply::Status(code, headers, body) => {
                let mut text = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\r\n"));
                }
                text.push_str("\r\n");
                text.push_str(&body);
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Reset => {
                stream.get_ref().set_zero_linger().unwrap();
                return;
            }
            Reply::Hang => {
                state.hung_up.notified().await;
                return;
            }
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(n, _)| n == "content-length").map_or(0, |(_, v)| v.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { method, path, headers, body, at: Instant::now(), connection })
}

/// Decides on one ingest, or leaves it to the stream.
pub type Judge = Box<dyn FnMut(&Request, &[Value]) -> Option<Reply> + Send>;

/// A stream as the real server keeps it, as far as shipping can see, with faults to order.
#[derive(Default)]
pub struct Stream {
    pub exists: bool,
    pub retention: Value,
    pub seeded: usize,
    pub rows: Vec<Value>,
    /// Answered to the next ingests of events, one each.
    pub faults: VecDeque<Reply>,
    /// Looked at for each ingest of events after that.
    pub judge: Option<Judge>,
}

pub type Shared = Arc<Mutex<Stream>>;

/// A handler with the behaviour of [`Stream`].
pub fn parseable(stream: &Shared) -> impl FnMut(&Request) -> Reply + Send + use<> {
    let stream = stream.clone();
    move |request| answer(&mut stream.lock().unwrap(), request)
}

fn answer(stream: &mut Stream, request: &Request) -> Reply {
    let name = request.path.split('/').nth(4).unwrap_or_default().to_owned();
    let missing = Reply::status(404, &format!("Stream not found: {name}"));
    match (request.method.as_str(), request.path.split('/').nth(5)) {
        ("PUT", None) if stream.exists => Reply::status(
            400,
            &format!(
                "Logstream {name} already exists, please create a new log stream with unique name"
            ),
        ),
        ("PUT", None) => {
            stream.exists = true;
            stream.retention = json!([]);
            Reply::status(200, "Log stream created")
        }
        _ if !stream.exists => missing,
        ("GET", Some("schema")) => {
            Reply::Status(200, &[("content-type", "application/json")], schema(stream))
        }
        ("GET", Some("retention")) => Reply::Status(
            200,
            &[("content-type", "application/json")],
            stream.retention.to_string(),
        ),
        ("PUT", Some("retention")) => {
            stream.retention = request.json();
            Reply::ok()
        }
        ("POST", None) => ingest(stream, request),
        _ => Reply::status(405, ""),
    }
}

fn ingest(stream: &mut Stream, request: &Request) -> Reply {
    assert_eq!(request.header("content-type"), Some("application/json"));
    let rows = request.json();
    let rows = rows.as_array().expect("an array");
    assert!(!rows.is_empty(), "an empty array was sent");
    if rows[0]["event_type"] == "securitywatch.seed" {
        stream.seeded += 1;
        return Reply::ok();
    }
    if let Some(fault) = stream.faults.pop_front() {
        return fault;
    }
    if let Some(reply) = stream.judge.as_mut().and_then(|judge| judge(request, rows)) {
        return reply;
    }
    stream.rows.extend(rows.iter().cloned());
    Reply::ok()
}

fn schema(stream: &Stream) -> String {
    use securitywatch_probe::encode::flatten::{ColumnType, columns};
    let fields: Vec<Value> = if stream.seeded == 0 {
        Vec::new()
    } else {
        let arrow = |kind| match kind {
            ColumnType::Text => json!("Utf8"),
            ColumnType::Number => json!("Float64"),
            ColumnType::Bool => json!("Boolean"),
            ColumnType::Time => json!({"Timestamp": ["Millisecond", null]}),
        };
        columns().iter().map(|c| json!({"name": c.name, "data_type": arrow(c.kind)})).collect()
    };
    json!({"fields": fields, "metadata": {}}).to_string()
}
