//! Accepted connections: listening, TLS handshakes beside the accept loop, who called.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::census::{Census, Seat};
use crate::grpc_metrics::OpenConnection;
use crate::identity::describe;
use crate::limits::{ConnectionLimits, Refused};
use crate::server::ServerTls;
use crate::stall::{Stalls, Watch};

/// How long a client may take for its TLS handshake, and again to begin its first request.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Finished handshakes that wait for the server to take them.
const READY: usize = 64;
/// Pause after the system refused to hand out a connection (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often the log tells of callers that were turned away.
const TURNED_AWAY_LOG: Duration = Duration::from_secs(10);

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
    /// Answers that the caller does not take.
    pub(crate) stalls: Stalls,
}

/// An accepted connection, after its TLS handshake if the port has TLS.
pub struct Connection {
    stream: Io,
    watch: Watch,
    info: ConnectionInfo,
    /// Counts the connection; held for its drop.
    _seat: Seat,
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
        self.watch.allow_opening(patience);
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

/// Accepts connections within the usual limits, see [`incoming_within`].
pub fn incoming(listener: TcpListener, tls: Option<Arc<ServerTls>>) -> Incoming {
    incoming_within(listener, tls, &ConnectionLimits::default())
}

/// Accepts connections, with `TCP_NODELAY`, and finishes their TLS handshakes in tasks of their
/// own, so that a slow or hostile caller delays nobody. Nothing is spent on a caller before its
/// first byte but the socket.
///
/// Callers beyond the limits are turned away at once. Failed handshakes are logged, never returned:
/// the stream ends only with the process. Dropping it closes the port. Must be called inside a tokio
/// runtime.
pub fn incoming_within(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    limits: &ConnectionLimits,
) -> Incoming {
    let (send, ready) = mpsc::channel(READY);
    let entrance = Arc::new(Entrance {
        tls,
        limits: limits.clone(),
    });
    tokio::spawn(accept_loop(listener, entrance, send));
    Incoming { ready }
}

/// What every caller of a listener meets.
struct Entrance {
    tls: Option<Arc<ServerTls>>,
    limits: ConnectionLimits,
}

async fn accept_loop(
    listener: TcpListener,
    entrance: Arc<Entrance>,
    ready: mpsc::Sender<Connection>,
) {
    let name = entrance.limits.listener;
    let census = Census::new(&entrance.limits);
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = match census.admit(remote) {
            Ok(seat) => seat,
            Err(refused) => {
                refused.count(name);
                if told.is_none_or(|told| told.elapsed() > TURNED_AWAY_LOG) {
                    tracing::warn!(%remote, listener = name, ?refused, "too many connections");
                    told = Some(Instant::now());
                }
                continue;
            }
        };
        let (entrance, ready) = (entrance.clone(), ready.clone());
        tokio::spawn(async move {
            let greeted = tokio::select! {
                () = ready.closed() => return,
                greeted = greet(stream, remote, seat, &entrance) => greeted,
            };
            if let Some(connection) = greeted {
                // An error means that the server is gone, and the connection with it.
                let _ = ready.send(connection).await;
            }
        });
    }
}

/// Makes a raw socket ready to serve, or says in the log why not.
async fn greet(
    stream: TcpStream,
    remote: SocketAddr,
    seat: Seat,
    entrance: &Entrance,
) -> Option<Connection> {
    let limits = &entrance.limits;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%remote, %error, "connection lost before it began");
        return None;
    }
    let (stream, certificate, own_certificate_hash) = match &entrance.tls {
        None => (Io::Plain(stream), None, None),
        Some(tls) => {
            let handshake = async {
                // TLS has memory of its own, which a caller that says nothing does not get.
                stream.readable().await?;
                let active = tls.active();
                let stream = TlsAcceptor::from(active.config.clone())
                    .accept(stream)
                    .await?;
                Ok((stream, active.certificate_hash))
            };
            let Ok(outcome) = tokio::time::timeout(limits.handshake, handshake).await else {
                Refused::Opening.count(limits.listener);
                tracing::warn!(%remote, timeout = ?limits.handshake, "TLS handshake took too long");
                return None;
            };
            let (stream, shown) = outcome
                .inspect_err(|error| failed_handshake(remote, limits.listener, error))
                .ok()?;
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|leaf| Bytes::copy_from_slice(leaf));
            (Io::Tls(Box::new(stream)), certificate, Some(shown))
        }
    };
    let info = ConnectionInfo {
        remote,
        tls: entrance.tls.is_some(),
        stalls: Stalls::default(),
        certificate,
        own_certificate_hash,
    };
    Some(Connection {
        stream,
        watch: Watch::new(limits, info.stalls.clone(), info.certificate.is_some()),
        info,
        _seat: seat,
        counted: None,
    })
}

fn failed_handshake(remote: SocketAddr, listener: &'static str, error: &io::Error) {
    let reason = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match reason {
        Some(reason) => {
            Refused::Handshake.count(listener);
            tracing::warn!(%remote, reason = %describe(reason), "TLS handshake failed");
        }
        // Port probes of load balancers and orchestrators connect and leave.
        None => tracing::debug!(%remote, %error, "connection lost during TLS handshake"),
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
        this.watch.read(cx, outcome, &buf.filled()[before..])
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match &mut this.stream {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.watch.wrote(cx, outcome, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = match &mut this.stream {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        this.watch.flushed(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = match &mut this.stream {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        this.watch.flushed(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match &mut this.stream {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.watch.wrote(cx, outcome, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
