//! Accepted connections: listening, TLS handshakes beside the accept loop, who called.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::grpc_metrics::OpenConnection;
use crate::identity::describe;
use crate::patience::Opening;
use crate::server::ServerTls;

/// How long a client may take for its TLS handshake, and again to begin its first request.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at once on one port; more callers wait in the kernel's queue.
const HANDSHAKES: usize = 512;
/// Finished handshakes that wait for the server to take them.
const READY: usize = 64;
/// Pause after the system refused to hand out a connection (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listens on `host:port`; a missing host (`:7051`) means all interfaces, port 0 a free one.
///
/// # Errors
/// If the address cannot be resolved or bound; the message names it.
pub async fn listen(addr: &str) -> io::Result<TcpListener> {
    let full = match addr.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => addr.to_owned(),
    };
    TcpListener::bind(&full)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}")))
}

/// Who is at the other end of an accepted connection; tonic puts it into request extensions.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The caller's address.
    pub remote: SocketAddr,
    /// The certificate whose key the caller proved to hold (leaf, DER), if it showed one.
    pub certificate: Option<Bytes>,
    /// SHA-256 of the certificate (leaf, DER) that the server showed on this connection.
    pub own_certificate_hash: Option<[u8; 32]>,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// An accepted connection, after its TLS handshake if the port has TLS.
pub struct Connection {
    stream: Io,
    opening: Opening,
    info: ConnectionInfo,
    /// Present on connections of a gRPC server; held for its drop.
    counted: Option<OpenConnection>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Who is at the other end.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Gives the caller this long, from now, to begin its first request.
    pub(crate) fn allow_opening(&mut self, patience: Duration) {
        self.opening = Opening::new(patience);
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

/// The certificate (leaf, DER) that the caller of a gRPC request proved to hold.
///
/// `None` without TLS, or if the caller showed none. With [`crate::ClientAuth::Request`] its
/// chain was not checked.
pub fn client_certificate<T>(request: &tonic::Request<T>) -> Option<Bytes> {
    request
        .extensions()
        .get::<ConnectionInfo>()?
        .certificate
        .clone()
}

/// SHA-256 of the certificate (leaf, DER) that the server showed to the caller of a gRPC request:
/// not the current one where it was renewed since.
pub fn own_certificate_hash<T>(request: &tonic::Request<T>) -> Option<[u8; 32]> {
    request
        .extensions()
        .get::<ConnectionInfo>()?
        .own_certificate_hash
}

/// The address of the caller of a gRPC request that came over [`incoming`].
pub fn remote_address<T>(request: &tonic::Request<T>) -> Option<SocketAddr> {
    Some(request.extensions().get::<ConnectionInfo>()?.remote)
}

/// Connections ready to be served, see [`incoming`].
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
}

impl Incoming {
    /// The next connection, or `None` when the listener is gone.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // gRPC servers take their connections as a stream; others accept them one by one.
        self.ready.poll_recv(cx).map(|next| {
            next.map(|mut connection| {
                connection.counted = Some(OpenConnection::count());
                Ok(connection)
            })
        })
    }
}

/// Accepts connections, with `TCP_NODELAY`, and finishes their TLS handshakes in tasks of their
/// own, so that a slow or hostile caller delays nobody. A handshake has [`HANDSHAKE_TIMEOUT`].
///
/// Failed handshakes are logged, never returned: the stream ends only with the process. Dropping
/// it closes the port. Must be called inside a tokio runtime.
pub fn incoming(listener: TcpListener, tls: Option<Arc<ServerTls>>) -> Incoming {
    incoming_within(listener, tls, HANDSHAKE_TIMEOUT)
}

pub(crate) fn incoming_within(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    handshake_timeout: Duration,
) -> Incoming {
    let (send, ready) = mpsc::channel(READY);
    tokio::spawn(accept_loop(listener, tls, handshake_timeout, send));
    Incoming { ready }
}

async fn accept_loop(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    handshake_timeout: Duration,
    ready: mpsc::Sender<Connection>,
) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let next = async {
            // The semaphore is never closed, so an error cannot happen; ending is right anyway.
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((slot, listener.accept().await))
        };
        let (slot, accepted) = tokio::select! {
            () = ready.closed() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            let greeted = tokio::select! {
                () = ready.closed() => return,
                greeted = greet(stream, remote, tls, handshake_timeout) => greeted,
            };
            if let Some(connection) = greeted {
                // An error means that the server is gone, and the connection with it.
                let _ = ready.send(connection).await;
            }
            drop(slot);
        });
    }
}

/// Makes a raw socket ready to serve, or says in the log why not.
async fn greet(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    handshake_timeout: Duration,
) -> Option<Connection> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%remote, %error, "connection lost before it began");
        return None;
    }
    let Some(tls) = tls else {
        let info = ConnectionInfo {
            remote,
            certificate: None,
            own_certificate_hash: None,
            tls: false,
        };
        return Some(Connection {
            stream: Io::Plain(stream),
            opening: Opening::new(handshake_timeout),
            info,
            counted: None,
        });
    };
    let active = tls.active();
    let handshake = TlsAcceptor::from(active.config.clone()).accept(stream);
    match tokio::time::timeout(handshake_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|leaf| Bytes::copy_from_slice(leaf));
            let info = ConnectionInfo {
                remote,
                certificate,
                own_certificate_hash: Some(active.certificate_hash),
                tls: true,
            };
            Some(Connection {
                stream: Io::Tls(Box::new(stream)),
                opening: Opening::new(handshake_timeout),
                info,
                counted: None,
            })
        }
        Ok(Err(error)) => {
            match error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                Some(reason) => {
                    tracing::warn!(%remote, reason = %describe(reason), "TLS handshake failed");
                }
                // Port probes of load balancers and orchestrators connect and leave.
                None => tracing::debug!(%remote, %error, "connection lost during TLS handshake"),
            }
            None
        }
        Err(_) => {
            tracing::warn!(%remote, timeout = ?handshake_timeout, "TLS handshake took too long");
            None
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = match &mut this.stream {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        this.opening.watch(cx, outcome, &buf.filled()[before..])
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
