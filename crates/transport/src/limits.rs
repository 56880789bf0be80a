//! What callers may cost a listener, and what is told of those that would have cost more.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge};

use crate::{HANDSHAKE_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE};

/// Limits of one listener on its connections, whatever is spoken over them.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// The listener's name in metrics and logs.
    pub listener: &'static str,
    /// Open connections, handshakes included; further callers are turned away at once.
    pub total: usize,
    /// Open connections from one address, so that nobody can take them all.
    pub per_address: usize,
    /// How long a caller may take for its TLS handshake, and again to begin its first request.
    pub handshake: Duration,
    /// How long a caller may take nothing of what is ready for it: not a byte on the connection,
    /// or, of an answer that is one message, not a piece.
    pub stall: Duration,
    /// Pause between pings of an HTTP/2 caller, below which it counts as a nuisance and is
    /// disconnected at the third time in a row; none, and it may ping as it likes. gRPC
    /// listeners only.
    pub min_ping_interval: Option<Duration>,
    /// The same for callers that showed a certificate, which is less where nodes among themselves
    /// ask more often.
    pub certified_ping_interval: Option<Duration>,
    /// Requests per second from one address, as many at once after a pause; none is no limit.
    pub requests_per_second: Option<u32>,
}

impl ConnectionLimits {
    /// The usual limits for a listener with this name.
    pub fn named(listener: &'static str) -> Self {
        Self {
            listener,
            ..Self::default()
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            listener: "other",
            total: 16_384,
            per_address: 8_192,
            handshake: HANDSHAKE_TIMEOUT,
            stall: Duration::from_secs(60),
            min_ping_interval: None,
            certified_ping_interval: None,
            requests_per_second: None,
        }
    }
}

/// Limits of a gRPC listener.
#[derive(Debug, Clone)]
pub struct GrpcLimits {
    /// On connections.
    pub connections: ConnectionLimits,
    /// Calls under way at once on one connection; further ones wait at the caller.
    pub streams: u32,
    /// The largest message that a caller may send, at most [`MAX_MESSAGE`].
    pub message_bytes: usize,
    /// How long a message may take to begin after the call, or to get on once it began; of calls
    /// with a single request, also how long its end may take. Open streams may be silent.
    pub request_pause: Duration,
    /// Silence after which a connection is probed; zero, and it never is.
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered.
    pub keepalive_timeout: Duration,
}

impl GrpcLimits {
    /// The usual limits for a listener with this name.
    pub fn named(listener: &'static str) -> Self {
        Self {
            connections: ConnectionLimits::named(listener),
            ..Self::default()
        }
    }
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self {
            connections: ConnectionLimits::default(),
            streams: 10_000,
            message_bytes: MAX_MESSAGE,
            request_pause: Duration::from_secs(30),
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
        }
    }
}

/// Why a caller was turned away or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The listener is full.
    Total,
    /// Too many from the same address.
    Address,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake, or the first request after it, took too long.
    Opening,
    /// The caller does not take what is ready for it.
    Stall,
    /// Pings too often.
    Pings,
    /// Requests too often.
    Rate,
    /// A message, or a request's body, is too large.
    Size,
    /// A request stopped arriving.
    Pause,
}

impl Refused {
    fn label(self) -> &'static str {
        match self {
            Refused::Total => "total",
            Refused::Address => "address",
            Refused::Handshake => "handshake",
            Refused::Opening => "opening",
            Refused::Stall => "stall",
            Refused::Pings => "pings",
            Refused::Rate => "rate",
            Refused::Size => "size",
            Refused::Pause => "pause",
        }
    }

    /// Counts one more caller of `listener` that was refused so.
    pub fn count(self, listener: &'static str) {
        counter!("consilium_listener_refused", "listener" => listener, "reason" => self.label())
            .increment(1);
    }
}

/// Tells exporters what the metrics of listeners mean.
pub(crate) fn describe_metrics() {
    describe_counter!(
        "consilium_listener_refused",
        "Callers turned away or cut off, by listener and reason: total, address (too many \
         connections), handshake, opening (too slow to begin), stall (takes no answer), pings, rate, \
         size, pause (a request that stops arriving)."
    );
    describe_gauge!(
        "consilium_listener_connections",
        "Open connections by listener, handshakes included."
    );
}
