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
use crate::{Shared, StartError, routes};

/// Between two attempts to take the port again.
const REBIND: Duration = Duration::from_millis(20);

/// The listener; ends when dropped, and its connections with it.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    wanted: watch::Sender<bool>,
    actual: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// The peer's address, an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Wire {
    pub(crate) async fn start(shared: Arc<Shared>) -> Result<Self, StartError> {
        let address = shared.config.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (wanted, asked) = watch::channel(true);
        let (said, actual) = watch::channel(true);
        let task = tokio::spawn(listen_while_asked(listener, address, shared, asked, said));
        Ok(Self { address, wanted, actual, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens or closes the port; returns when that is done.
    pub(crate) async fn set_listening(&self, listening: bool) {
        self.wanted.send_replace(listening);
        // An error means the listener's task is gone, as when its runtime ends: closed anyway.
        let _ = self.actual.clone().wait_for(|actual| *actual == listening).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.wanted.send_replace(false);
    }
}

async fn listen_while_asked(
    first: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut asked: watch::Receiver<bool>,
    said: watch::Sender<bool>,
) {
    let mut listener = Some(first);
    let router = routes::router(Arc::clone(&shared));
    loop {
        if let Some(listener) = listener.take() {
            said.send_replace(true);
            accept(&listener, &router, &shared, &mut asked).await;
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
async fn accept(
    listener: &TcpListener,
    router: &axum::Router,
    shared: &Arc<Shared>,
    asked: &mut watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = asked.wait_for(|listening| !listening) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                Counters::add(&shared.counts.connections, 1);
                tokio::spawn(serve(
                    stream,
                    peer,
                    router.clone(),
                    Arc::clone(shared),
                    asked.clone(),
                ));
            }
            Err(error) => tracing::warn!(%error, "Failed to accept a connection"),
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: axum::Router,
    shared: Arc<Shared>,
    mut asked: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "Failed to set TCP_NODELAY");
    }
    let keep_alive = shared.config.keep_alive;
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Counted { stream, shared, reset: Arc::clone(&reset) });
    let service =
        service_fn(move |request| answer(router.clone(), request, peer, Arc::clone(&reset)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive)
        .serve_connection(io, service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "A connection ended without an answer");
            }
        }
        // An error is the end of the stand-in.
        _ = asked.wait_for(|listening| !listening) => {}
    }
}

/// The connection ends here instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Ended;

async fn answer(
    mut router: axum::Router,
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    reset: Arc<AtomicBool>,
) -> Result<Response, Ended> {
    let mut request: Request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response: Result<Response, Infallible> =
        tower_service::Service::call(&mut router, request).await;
    let Ok(mut response) = response;
    routes::name_no_head(&mut response);
    match response.extensions().get::<Ending>() {
        None => Ok(response),
        Some(ending) => {
            reset.store(*ending == Ending::Reset, Ordering::Relaxed);
            Err(Ended)
        }
    }
}

/// A connection that counts what is read from it, and ends by a reset when told to.
struct Counted {
    stream: TcpStream,
    shared: Arc<Shared>,
    reset: Arc<AtomicBool>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
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
        Counters::add(&self.shared.counts.wire_bytes, buffer.filled().len() - before);
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
