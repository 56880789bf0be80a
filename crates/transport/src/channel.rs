//! gRPC channels to other nodes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::client::ClientTls;
use crate::identity::describe;
use crate::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};

/// How long [`ChannelPool`]'s channels may take to connect, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Channels that a pool keeps; endpoints come from channel configuration, so this is never near.
const POOLED: usize = 1024;

/// Why a node could not be reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not of the form `host:port`.
    #[error("{endpoint:?} is not an address of the form host:port")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The name did not resolve or nobody listens.
    #[error("cannot connect to {endpoint}: {source}")]
    Tcp {
        /// Whom we called.
        endpoint: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Somebody listens, but TLS could not be agreed, or its certificate was not accepted.
    #[error("cannot connect to {endpoint}: TLS failed: {reason}")]
    Tls {
        /// Whom we called.
        endpoint: String,
        /// A sentence.
        reason: String,
    },
    /// No connection in time.
    #[error("cannot connect to {endpoint}: no connection within {after:?}")]
    TimedOut {
        /// Whom we called.
        endpoint: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection stood, but HTTP/2 did not begin.
    #[error("cannot connect to {endpoint}: {reason}")]
    Http {
        /// Whom we called.
        endpoint: String,
        /// A sentence.
        reason: String,
    },
}

/// Connects to `host:port` and returns when the connection stands.
///
/// The channel reconnects by itself when the connection breaks. Dead peers are noticed by
/// keepalives (60 s interval, 20 s patience).
///
/// # Errors
/// If there is no connection within `timeout`.
pub async fn connect(
    endpoint: &str,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
) -> Result<Channel, ConnectError> {
    let (settings, dialer) = prepare(endpoint, tls, timeout)?;
    let connecting = settings.connect_with_connector(tower::service_fn(move |_: Uri| {
        let dialer = dialer.clone();
        async move { dialer.dial().await }
    }));
    settle(endpoint, timeout, connecting).await
}

/// Waits for a connection that was begun to `endpoint`.
async fn settle(
    endpoint: &str,
    timeout: Duration,
    connecting: impl Future<Output = Result<Channel, tonic::transport::Error>>,
) -> Result<Channel, ConnectError> {
    // `dial` keeps the deadline for TCP and TLS; this one also covers the HTTP/2 preface.
    match tokio::time::timeout(timeout + Duration::from_millis(250), connecting).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(reason(&error).unwrap_or_else(|| ConnectError::Http {
            endpoint: endpoint.to_owned(),
            reason: causes(&error),
        })),
        Err(_) => Err(ConnectError::TimedOut {
            endpoint: endpoint.to_owned(),
            after: timeout,
        }),
    }
}

/// Connects to `host:port` once: also gives the certificate (leaf, DER) that the server proved to
/// hold, `None` without TLS. The channel does not reconnect, so that the certificate stays true.
///
/// # Errors
/// As [`connect`].
pub async fn connect_once(
    endpoint: &str,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
) -> Result<(Channel, Option<Bytes>), ConnectError> {
    let (settings, mut dialer) = prepare(endpoint, tls, timeout)?;
    let seen = Arc::new(Mutex::new(None));
    dialer.seen = Some(seen.clone());
    let mut once = Some(dialer);
    let called = endpoint.to_owned();
    let connecting = settings.connect_with_connector(tower::service_fn(move |_: Uri| {
        let dialer = once.take().ok_or_else(|| ConnectError::Http {
            endpoint: called.clone(),
            reason: "the connection is gone".to_owned(),
        });
        async move { dialer?.dial().await }
    }));
    let channel = settle(endpoint, timeout, connecting).await?;
    let certificate = seen.lock().take();
    Ok((channel, certificate))
}

/// A channel to `host:port` that connects at its first call, and again whenever it must. Calls
/// made while nobody answers fail with `Unavailable` after at most `timeout`.
///
/// An endpoint that is not of the form `host:port` gives a channel whose calls all fail.
pub fn connect_lazy(endpoint: &str, tls: Option<Arc<ClientTls>>, timeout: Duration) -> Channel {
    connect_lazy_with(endpoint, tls, timeout, Keepalive::default())
}

fn connect_lazy_with(
    endpoint: &str,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
    keepalive: Keepalive,
) -> Channel {
    let (settings, dialer) = match prepare(endpoint, tls, timeout) {
        Ok((settings, dialer)) => {
            let settings = settings
                .http2_keep_alive_interval(keepalive.interval)
                .keep_alive_timeout(keepalive.timeout);
            (settings, Ok(dialer))
        }
        Err(error) => (Endpoint::from_static("http://invalid"), Err(error)),
    };
    settings.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let dialer = dialer.clone();
        async move { dialer?.dial().await }
    }))
}

/// How a client notices that the other side is gone without a word.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Silence after which it asks.
    pub interval: Duration,
    /// How long it waits for the answer before it gives the connection up.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: KEEPALIVE_INTERVAL,
            timeout: KEEPALIVE_TIMEOUT,
        }
    }
}

/// Channels by endpoint, made once and shared. All use the same TLS settings.
pub struct ChannelPool {
    tls: Option<Arc<ClientTls>>,
    keepalive: Keepalive,
    channels: Mutex<Pooled>,
}

#[derive(Default)]
struct Pooled {
    by_endpoint: HashMap<String, Channel>,
    /// Which of the client's identities they show.
    identity: u64,
}

impl ChannelPool {
    /// A pool whose channels use `tls`, or plain TCP without.
    pub fn new(tls: Option<Arc<ClientTls>>) -> Self {
        Self::with_keepalive(tls, Keepalive::default())
    }

    /// A pool that notices lost connections at another pace than usual.
    pub fn with_keepalive(tls: Option<Arc<ClientTls>>, keepalive: Keepalive) -> Self {
        Self {
            tls,
            keepalive,
            channels: Mutex::default(),
        }
    }

    /// The channel to `host:port`; it connects at its first call.
    pub fn get(&self, endpoint: &str) -> Channel {
        let mut pooled = self.channels.lock();
        let identity = self.tls.as_ref().map_or(0, |tls| tls.identities());
        if pooled.identity != identity {
            // What is asked for from now on is bound to the new certificate.
            pooled.by_endpoint.clear();
            pooled.identity = identity;
        }
        let channels = &mut pooled.by_endpoint;
        if let Some(channel) = channels.get(endpoint) {
            return channel.clone();
        }
        if channels.len() >= POOLED {
            // Channels in use live on in their users' hands.
            channels.clear();
        }
        let tls = self.tls.clone();
        let channel = connect_lazy_with(endpoint, tls, CONNECT_TIMEOUT, self.keepalive);
        channels.insert(endpoint.to_owned(), channel.clone());
        channel
    }

    /// The TLS settings of the pool, for instance to renew its roots.
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        self.tls.as_ref()
    }
}

/// What a channel needs to make a connection, any number of times.
#[derive(Clone)]
struct Dialer {
    endpoint: String,
    server_name: Option<ServerName<'static>>,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
    /// Where to put the server's certificate.
    seen: Option<Arc<Mutex<Option<Bytes>>>>,
}

/// A socket, encrypted or not.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

impl Dialer {
    async fn dial(self) -> Result<TokioIo<Box<dyn Socket>>, ConnectError> {
        let (endpoint, after) = (self.endpoint.clone(), self.timeout);
        tokio::time::timeout(after, self.dial_patiently())
            .await
            .unwrap_or(Err(ConnectError::TimedOut { endpoint, after }))
    }

    async fn dial_patiently(self) -> Result<TokioIo<Box<dyn Socket>>, ConnectError> {
        let refused = |source: io::Error| ConnectError::Tcp {
            endpoint: self.endpoint.clone(),
            source: Arc::new(source),
        };
        let stream = TcpStream::connect(&self.endpoint).await.map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let (Some(tls), Some(name)) = (&self.tls, self.server_name) else {
            return Ok(TokioIo::new(Box::new(stream)));
        };
        let connector = TlsConnector::from(tls.config());
        match connector.connect(name, stream).await {
            Ok(stream) => {
                if let Some(seen) = &self.seen {
                    let chain = stream.get_ref().1.peer_certificates();
                    let leaf = chain.and_then(|chain| chain.first());
                    *seen.lock() = leaf.map(|leaf| Bytes::copy_from_slice(leaf));
                }
                Ok(TokioIo::new(Box::new(stream)))
            }
            Err(error) => {
                let reason = error
                    .get_ref()
                    .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                    .map_or_else(|| error.to_string(), describe);
                Err(ConnectError::Tls {
                    endpoint: self.endpoint,
                    reason,
                })
            }
        }
    }
}

/// Checks the endpoint and sets the channel's options.
fn prepare(
    endpoint: &str,
    tls: Option<Arc<ClientTls>>,
    timeout: Duration,
) -> Result<(Endpoint, Dialer), ConnectError> {
    let malformed = || ConnectError::Endpoint {
        endpoint: endpoint.to_owned(),
    };
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(malformed)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    port.parse::<u16>().map_err(|_| malformed())?;
    let host_name = ServerName::try_from(host.to_owned()).map_err(|_| malformed())?;
    let server_name = tls
        .as_ref()
        .map(|tls| tls.server_name().unwrap_or(host_name));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let settings = Endpoint::from_shared(format!("{scheme}://{endpoint}"))
        .map_err(|_| malformed())?
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_connection_window_size(crate::CONNECTION_WINDOW)
        .initial_stream_window_size(crate::STREAM_WINDOW)
        .keep_alive_while_idle(true);
    let dialer = Dialer {
        endpoint: endpoint.to_owned(),
        server_name,
        tls,
        timeout,
        seen: None,
    };
    Ok((settings, dialer))
}

/// Our own error inside tonic's, if the dialer failed.
fn reason(error: &(dyn std::error::Error + 'static)) -> Option<ConnectError> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<ConnectError>() {
            return Some(found.clone());
        }
        current = error.source();
    }
    None
}

/// An error and the whole chain of its causes as one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut current = error.source();
    while let Some(error) = current {
        text.push_str(": ");
        text.push_str(&error.to_string());
        current = error.source();
    }
    text
}
