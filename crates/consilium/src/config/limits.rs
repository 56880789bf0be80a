//! What callers may cost a node's listeners: `peer.limits.connections`, `General.Limits.Connections`, and
//! keepalives.

use std::time::Duration;

use consilium_transport::{CallShape, ConnectionLimits, GrpcLimits, HttpLimits, MAX_MESSAGE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;

use super::duration;

/// Limits of the node's gRPC listener that Fabric does not have, with the same keys in both files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Connections {
    /// Open connections; 0: half of the file descriptors that the process may have.
    pub total: usize,
    /// Open connections from one address; 0: half of `total`.
    pub per_address: usize,
    /// Calls under way at once on one connection.
    pub streams: u32,
    /// Requests per second from one address; 0: no limit.
    pub request_rate: u32,
    /// How long a message may take to begin, or to get on once it began.
    #[serde(deserialize_with = "duration")]
    pub request_pause: Duration,
    /// How long a caller may take nothing of what is ready for it.
    #[serde(deserialize_with = "duration")]
    pub stall: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        let usual = GrpcLimits::default();
        Self {
            total: 0,
            per_address: 0,
            streams: usual.streams,
            request_rate: 0,
            request_pause: usual.request_pause,
            stall: usual.connections.stall,
        }
    }
}

/// How a gRPC listener sees to its connections, under Fabric's keys. fabric: internal/pkg/comm/config.go
#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    /// Pause between pings of a caller, below which it is disconnected; zero: Fabric's minute.
    pub min_interval: Duration,
    /// Silence after which a connection is probed.
    pub interval: Duration,
    /// How long a probe may stay unanswered.
    pub timeout: Duration,
}

impl Connections {
    /// Limits of the gRPC listener `name`. `handshake` is Fabric's connection timeout; zero is the usual
    /// one. `message_bytes` is the largest message; zero is Fabric's and this program's largest.
    pub fn grpc(
        &self,
        name: &'static str,
        keepalive: Keepalive,
        handshake: Duration,
        message_bytes: usize,
    ) -> GrpcLimits {
        let usual = GrpcLimits::named(name);
        let total = match self.total {
            0 => (descriptors() / 2).clamp(64, usual.connections.total),
            total => total,
        };
        GrpcLimits {
            connections: ConnectionLimits {
                total,
                per_address: or(self.per_address, (total / 2).max(1)),
                handshake: match handshake.is_zero() {
                    true => usual.connections.handshake,
                    false => handshake,
                },
                stall: self.stall,
                min_ping_interval: Some(match keepalive.min_interval.is_zero() {
                    true => Duration::from_secs(60),
                    false => keepalive.min_interval,
                }),
                requests_per_second: Some(self.request_rate).filter(|&rate| rate > 0),
                ..usual.connections
            },
            streams: self.streams,
            message_bytes: or(message_bytes, MAX_MESSAGE).min(MAX_MESSAGE),
            request_pause: self.request_pause,
            keepalive_interval: keepalive.interval,
            keepalive_timeout: keepalive.timeout,
        }
    }

    /// Limits of a REST listener of the same node: the same clocks, and connections as `HttpLimits` has
    /// them.
    pub fn http(&self, name: &'static str) -> HttpLimits {
        let mut limits = HttpLimits::named(name);
        limits.body_pause = self.request_pause;
        limits.connections.stall = self.stall;
        limits.connections.requests_per_second = Some(self.request_rate).filter(|&rate| rate > 0);
        limits
    }
}

fn or(given: usize, usual: usize) -> usize {
    if given == 0 { usual } else { given }
}

/// File descriptors that this process may have. What the system allows beyond what is granted is asked
/// for.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let granted = match limit.current == limit.maximum {
        true => limit.current,
        false => {
            let raised = Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            };
            match setrlimit(Resource::Nofile, raised) {
                Ok(()) => limit.maximum,
                Err(error) => {
                    tracing::warn!(%error, "cannot raise the limit of open files");
                    limit.current
                }
            }
        }
    };
    // Without a limit, as many as one likes.
    granted.map_or(usize::MAX, |granted| {
        usize::try_from(granted).unwrap_or(usize::MAX)
    })
}

/// Which calls of our definitions are streams.
pub fn call_shapes() -> impl Iterator<Item = (String, CallShape)> {
    crate::operations::shapes().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPALIVE: Keepalive = Keepalive {
        min_interval: Duration::ZERO,
        interval: Duration::from_secs(7200),
        timeout: Duration::from_secs(20),
    };

    #[test]
    fn limits_have_defaults_and_keys_for_all_that_fabric_lacks() {
        let settings: Connections = serde_saphyr::from_str("{}").unwrap();
        let limits = settings.grpc("peer", KEEPALIVE, Duration::ZERO, 0);
        let connections = &limits.connections;
        assert!((64..=16_384).contains(&connections.total));
        assert_eq!(connections.per_address, connections.total / 2);
        assert_eq!(connections.min_ping_interval, Some(Duration::from_secs(60)));
        assert_eq!(connections.requests_per_second, None);
        assert_eq!(limits.message_bytes, MAX_MESSAGE);

        let settings: Connections = serde_saphyr::from_str(
            "{total: 100, perAddress: 10, streams: 5, requestRate: 7, requestPause: 3s, stall: 4s}",
        )
        .unwrap();
        let keepalive = Keepalive {
            min_interval: Duration::from_secs(5),
            ..KEEPALIVE
        };
        let limits = settings.grpc("peer", keepalive, Duration::from_secs(2), 1000);
        let connections = &limits.connections;
        assert_eq!((connections.total, connections.per_address), (100, 10));
        assert_eq!(connections.handshake, Duration::from_secs(2));
        assert_eq!(connections.stall, Duration::from_secs(4));
        assert_eq!(connections.min_ping_interval, Some(Duration::from_secs(5)));
        assert_eq!(connections.requests_per_second, Some(7));
        assert_eq!((limits.streams, limits.message_bytes), (5, 1000));
        assert_eq!(limits.request_pause, Duration::from_secs(3));
        let most = settings.grpc("peer", keepalive, Duration::ZERO, usize::MAX);
        assert_eq!(most.message_bytes, MAX_MESSAGE);
    }
}
