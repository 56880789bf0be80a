//! An HTTP server for axum applications, on the same listeners and TLS as gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Limited;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::connection::{Connection, ConnectionInfo, incoming_within};
use crate::limits::{ConnectionLimits, Refused};
use crate::patience::PatientBody;
use crate::rate::Allowance;
use crate::server::ServerTls;
use crate::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE};

/// The certificate (leaf, DER) that the caller proved to hold, as a request extension.
///
/// Always present under [`serve_http`]; empty without TLS or when the caller showed none.
#[derive(Debug, Clone)]
pub struct ClientCertificate(pub Option<Bytes>);

/// What a caller may cost an HTTP server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Bytes of request line and headers together.
    pub header_bytes: usize,
    /// Bytes of a request's body; more is answered 413. axum's extractors have their own, lower
    /// limit (2 MB) unless the application raises it with `DefaultBodyLimit`.
    pub body_bytes: usize,
    /// For the whole header of a request to arrive, idle time between requests included.
    pub header_timeout: Duration,
    /// Between two pieces of a request's body of 4 KiB or more.
    pub body_pause: Duration,
    /// For requests under way to end after shutdown began.
    pub drain: Duration,
    /// On connections.
    pub connections: ConnectionLimits,
}

impl HttpLimits {
    /// The usual limits for a listener with this name.
    pub fn named(listener: &'static str) -> Self {
        let mut limits = Self::default();
        limits.connections.listener = listener;
        limits
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            body_bytes: MAX_MESSAGE,
            header_timeout: Duration::from_secs(30),
            body_pause: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            connections: ConnectionLimits {
                total: 4096,
                per_address: 2048,
                ..ConnectionLimits::default()
            },
        }
    }
}

/// Serves `app` with the default [`HttpLimits`] until `shutdown` is ready, then lets requests
/// under way finish.
///
/// HTTP/1.1 and HTTP/2. Requests carry [`ClientCertificate`], [`ConnectionInfo`] and axum's
/// `ConnectInfo<SocketAddr>` as extensions.
///
/// # Errors
/// None today: failures of single connections are logged. The result leaves room for a listener
/// that dies.
pub async fn serve_http(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    app: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_http_with(listener, tls, app, HttpLimits::default(), shutdown).await
}

/// As [`serve_http`], with limits of the caller's choice.
///
/// # Errors
/// As [`serve_http`].
pub async fn serve_http_with(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    app: Router,
    limits: HttpLimits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = incoming_within(listener, tls, &limits.connections);
    let rules = Arc::new(Rules {
        allowance: limits.connections.requests_per_second.map(Allowance::new),
        limits,
    });
    let (stop, stopping) = watch::channel(false);
    let mut serving = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Finished tasks are collected here so that the set stays small.
            Some(_) = serving.join_next(), if !serving.is_empty() => {}
            next = connections.accept() => {
                let Some(connection) = next else { break };
                serving.spawn(serve_connection(
                    connection,
                    app.clone(),
                    rules.clone(),
                    stopping.clone(),
                ));
            }
        }
    }
    drop(connections);
    let _ = stop.send(true);
    let drained = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout(rules.limits.drain, drained)
        .await
        .is_err()
    {
        tracing::warn!(
            open = serving.len(),
            "closing connections that did not end in time"
        );
        serving.shutdown().await;
    }
    Ok(())
}

/// What every request meets.
struct Rules {
    limits: HttpLimits,
    allowance: Option<Allowance>,
}

async fn serve_connection(
    mut connection: Connection,
    app: Router,
    rules: Arc<Rules>,
    mut stopping: watch::Receiver<bool>,
) {
    let limits = &rules.limits;
    let info = connection.info().clone();
    let remote = info.remote;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's floor for this buffer is 8 KiB.
        .max_buf_size(limits.header_bytes.max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        answer(app.clone(), request, info.clone(), rules.clone())
    });
    connection.allow_opening(limits.header_timeout);
    let mut serving =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(connection), service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%remote, %error, "HTTP connection ended");
    }
}

async fn answer(
    app: Router,
    request: Request<hyper::body::Incoming>,
    info: ConnectionInfo,
    rules: Arc<Rules>,
) -> Result<axum::response::Response, Infallible> {
    let Rules { limits, allowance } = &*rules;
    let listener = limits.connections.listener;
    if let Some(allowance) = allowance
        && !allowance.take(info.remote.ip(), std::time::Instant::now())
    {
        Refused::Rate.count(listener);
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    }
    if request.body().size_hint().lower() > limits.body_bytes as u64 {
        Refused::Size.count(listener);
        return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    }
    let mut request = request.map(|body| {
        Body::new(Limited::new(
            PatientBody::new(body, limits.body_pause, listener),
            limits.body_bytes,
        ))
    });
    let extensions = request.extensions_mut();
    extensions.insert(ClientCertificate(info.certificate.clone()));
    extensions.insert(ConnectInfo(info.remote));
    extensions.insert(info);
    app.oneshot(request).await
}
