//! TLS in front of the receiver. Handshakes run beside each other, so that a silent peer holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::Identity;

/// A handshake must be over by then.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at the same time.
const HANDSHAKES: usize = 256;

type Shaken = (TlsStream<TcpStream>, SocketAddr);

/// Connections whose handshake is over.
#[derive(Debug)]
pub(super) struct TlsListener {
    shaken: mpsc::Receiver<Shaken>,
    address: SocketAddr,
    /// Ends with this.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, identity: &Identity) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(config(identity)?));
        let (done, shaken) = mpsc::channel(HANDSHAKES);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, acceptor, done));
        Ok(Self { shaken, address, _accepting: accepting })
    }
}

fn config(identity: &Identity) -> io::Result<ServerConfig> {
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("certificate: {error}"));
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&error))?;
    let key =
        PrivateKeyDer::from_pem_slice(identity.key().as_bytes()).map_err(|error| wrong(&error))?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&error))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, done: mpsc::Sender<Shaken>) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    let mut running = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "A connection could not be accepted.");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        while running.try_join_next().is_some() {}
        let (acceptor, done) = (acceptor.clone(), done.clone());
        running.spawn(async move {
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                // Fails only when the server has ended.
                Ok(Ok(stream)) => drop(done.send((stream, peer)).await),
                Ok(Err(error)) => debug!(%peer, %error, "No TLS."),
                Err(_) => debug!(%peer, "No TLS in time."),
            }
            drop(slot);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Shaken {
        match self.shaken.recv().await {
            Some(shaken) => shaken,
            // The task that accepts runs as long as this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
