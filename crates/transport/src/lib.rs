//! Sockets, TLS, gRPC servers and channels, and the HTTP server, the same for every node.
//!
//! This crate owns how bytes travel: listening, mutual TLS with roots that change while the node
//! runs, connecting with deadlines, and the limits on slow or oversized callers. It must not know
//! what the bytes mean: no message types, no channels of the ledger, no membership. It tells the
//! layers above which certificate the other side proved to hold and leaves the rest to them.
//!
//! Start reading at [`listen`] and [`incoming`] for servers, [`connect`] and [`ChannelPool`] for
//! clients, [`serve_http`] for REST. [`ServerTls`] and [`ClientTls`] hold the certificates.
//!
//! ```no_run
//! # async fn example(chain: &[u8], key: &[u8], roots: &[bytes::Bytes]) -> Result<(), Box<dyn std::error::Error>> {
//! use consilium_transport::{ClientAuth, ServerTls, TlsIdentity, grpc_server, incoming, listen};
//!
//! let tls = ServerTls::new(TlsIdentity::from_pem(chain, key)?, ClientAuth::Require, roots)?;
//! let connections = incoming(listen("127.0.0.1:7051").await?, Some(tls));
//! grpc_server()
//!     .add_routes(tonic::service::Routes::default())
//!     .serve_with_incoming(connections)
//!     .await?;
//! # Ok(()) }
//! ```

mod census;
mod channel;
mod client;
mod connection;
mod frames;
mod grpc_guard;
mod grpc_metrics;
mod http_server;
mod identity;
mod limits;
mod patience;
mod rate;
mod server;
mod stall;
#[cfg(test)]
mod tests;
mod verify;

pub use channel::{
    CONNECT_TIMEOUT, ChannelPool, ConnectError, Keepalive, causes, connect, connect_lazy,
    connect_once,
};
pub use client::{ClientTls, ClientTlsOptions};
pub use connection::{
    Connection, ConnectionInfo, HANDSHAKE_TIMEOUT, Incoming, client_certificate, incoming,
    incoming_within, listen, own_certificate_hash, remote_address,
};
pub use grpc_guard::{CallShape, GrpcGuard, GuardedService};
pub use grpc_metrics::{CallKind, GrpcMetrics, MeteredService, code_name, describe_metrics};
pub use http_server::{ClientCertificate, HttpLimits, serve_http, serve_http_with};
pub use identity::{TlsError, TlsIdentity, check_roots};
pub use limits::{ConnectionLimits, GrpcLimits};
pub use server::{ClientAuth, ServerTls};

use std::sync::Arc;
use std::time::Duration;

/// The largest gRPC message in either direction, in bytes, as in Fabric.
///
/// tonic's own limit is 4 MiB: set this on every generated client and server with
/// `max_decoding_message_size` and `max_encoding_message_size`.
pub const MAX_MESSAGE: usize = 100 * 1024 * 1024;

/// How long an HTTP/2 connection may be silent before it is probed.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a probe may stay unanswered before the connection is given up.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that may be on their way on one connection, and so the memory that a caller can fill.
///
/// Fixed and large on purpose: h2 tolerates small frames that wait to be read only up to half of
/// this window and closes the connection beyond (`too_many_data_frames`). The window that hyper
/// adapts by itself starts at 64 KiB, which a few hundred concurrent calls exhaust.
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;
/// Bytes that may be on their way on one stream.
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;

/// Makes aws-lc-rs the process's TLS provider. Safe to call more than once and from any thread.
///
/// This crate names its provider itself; other users of rustls in the process (reqwest) need the
/// default to be installed before their first connection.
pub fn install_crypto_provider() {
    // An error means that a provider is installed already, which is what was asked for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A gRPC server builder whose calls are guarded.
pub type GrpcServer =
    tonic::transport::Server<tower::layer::util::Stack<GrpcGuard, tower::layer::util::Identity>>;

/// A gRPC server builder with the usual [`GrpcLimits`], for which every call may be a stream.
pub fn grpc_server() -> GrpcServer {
    grpc_server_within(&GrpcLimits::default(), std::iter::empty())
}

/// A gRPC server builder with this product's windows and header limits, and the given limits on
/// calls. Of `calls`, by their paths, it is known whether they are streams; calls that are not
/// among them may be.
///
/// Limits on connections, and `TCP_NODELAY`, are kept by [`incoming_within`]. Services have a limit
/// on messages of their own, see [`MAX_MESSAGE`].
pub fn grpc_server_within(
    limits: &GrpcLimits,
    calls: impl IntoIterator<Item = (String, CallShape)>,
) -> GrpcServer {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(
            Some(limits.keepalive_interval).filter(|interval| !interval.is_zero()),
        )
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(limits.streams)
        .http2_max_header_list_size(64 * 1024)
        .layer(GrpcGuard::new(limits, calls))
}

/// The provider that every configuration of this crate is built with.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
