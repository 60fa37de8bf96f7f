//! The port and its connections: below HTTP, so that a connection can end without an answer.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::answer::Ending;
use crate::counts::Counters;
use crate::{StartError, routes};

/// Between two attempts to take the port again.
const REBIND: Duration = Duration::from_millis(20);

/// The listener; ends when dropped, and its connections with it.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    port: Port,
    task: JoinHandle<()>,
}

/// Opens and closes a listener's port.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    wanted: Arc<watch::Sender<bool>>,
    actual: watch::Receiver<bool>,
}

impl Port {
    /// Returns when that is done.
    pub(crate) async fn set_listening(&self, listening: bool) {
        self.wanted.send_replace(listening);
        // An error means the listener's task is gone, as when its runtime ends: closed anyway.
        let _ = self.actual.clone().wait_for(|actual| *actual == listening).await;
    }
}

/// What every connection of a listener has.
#[derive(Clone)]
struct Common {
    router: axum::Router,
    counts: Arc<Counters>,
    keep_alive: Duration,
}

/// The peer's address, an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Wire {
    pub(crate) async fn start(
        address: SocketAddr,
        router: axum::Router,
        counts: Arc<Counters>,
        keep_alive: Duration,
    ) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (wanted, asked) = watch::channel(true);
        let (said, actual) = watch::channel(true);
        let common = Common { router, counts, keep_alive };
        let task = tokio::spawn(listen_while_asked(listener, address, common, asked, said));
        Ok(Self { address, port: Port { wanted: Arc::new(wanted), actual }, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> &Port {
        &self.port
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.port.wanted.send_replace(false);
    }
}

async fn listen_while_asked(
    first: TcpListener,
    address: SocketAddr,
    common: Common,
    mut asked: watch::Receiver<bool>,
    said: watch::Sender<bool>,
) {
    let mut listener = Some(first);
    loop {
        if let Some(listener) = listener.take() {
            said.send_replace(true);
            accept(&listener, &common, &mut asked).await;
        }
        said.send_replace(false);
        if asked.wait_for(|listening| *listening).await.is_err() {
            return;
        }
        while listener.is_none() {
            match TcpListener::bind(address).await {
                Ok(again) => listener = Some(again),
                Err(error) => {
                    tracing::warn!(%error, %address, "Cannot take the port again yet");
                    tokio::time::sleep(REBIND).await;
                }
            }
        }
    }
}

/// Accepts until the port shall be closed.
async fn accept(listener: &TcpListener, common: &Common, asked: &mut watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = asked.wait_for(|listening| !listening) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                Counters::add(&common.counts.connections, 1);
                tokio::spawn(serve(stream, peer, common.clone(), asked.clone()));
            }
            Err(error) => tracing::warn!(%error, "Failed to accept a connection"),
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    common: Common,
    mut asked: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "Failed to set TCP_NODELAY");
    }
    let Common { router, counts, keep_alive } = common;
    let marks = Arc::new(Marks::default());
    let io = TokioIo::new(Counted { stream, counts, marks: Arc::clone(&marks) });
    let of_requests = Arc::clone(&marks);
    let service =
        service_fn(move |request| answer(router.clone(), request, peer, Arc::clone(&of_requests)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let told_to_close = tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "A connection ended without an answer");
            }
            false
        }
        // An error is the end of the stand-in.
        _ = asked.wait_for(|listening| !listening) => true,
    };
    if told_to_close && marks.controls.load(Ordering::Relaxed) {
        // Who asked for the port to be closed gets an answer.
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(keep_alive, connection).await;
    }
}

/// What a connection's requests leave behind.
#[derive(Debug, Default)]
struct Marks {
    /// It ends by a reset.
    reset: AtomicBool,
    /// Its last request was to `/standin/`.
    controls: AtomicBool,
}

/// The connection ends here instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Ended;

async fn answer(
    mut router: axum::Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    marks: Arc<Marks>,
) -> Result<Response, Ended> {
    let mut request: Request = request.map(Body::new);
    marks.controls.store(request.uri().path().starts_with("/standin/"), Ordering::Relaxed);
    request.extensions_mut().insert(Peer(peer));
    let response: Result<Response, Infallible> =
        tower_service::Service::call(&mut router, request).await;
    let Ok(mut response) = response;
    routes::name_no_head(&mut response);
    match response.extensions().get::<Ending>() {
        None => Ok(response),
        Some(ending) => {
            marks.reset.store(*ending == Ending::Reset, Ordering::Relaxed);
            Err(Ended)
        }
    }
}

/// A connection that counts what is read from it, and ends by a reset when told to.
struct Counted {
    stream: TcpStream,
    counts: Arc<Counters>,
    marks: Arc<Marks>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.marks.reset.load(Ordering::Relaxed) {
            // A linger of zero makes the close a reset.
            let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            if let Err(error) = linger {
                tracing::warn!(%error, "Cannot reset the connection; it is closed");
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        Counters::add(&self.counts.wire_bytes, buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
