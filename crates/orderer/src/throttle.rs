//! How fast a client may broadcast when the node's capacity is shared out: `General.Throttling`.
//!
//! The rate is that of the whole node. Whoever broadcasts at this time gets an equal part of it, and
//! so does every organization; who wants more is not refused, but read more slowly. fabric:
//! orderer/common/throttle/ratelimit.go, orderer/common/server/util.go

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

/// What a part allows at once after a pause.
const BURST: Duration = Duration::from_secs(1);
/// Clients that are remembered at most; beyond, further ones share the part of one.
const REMEMBERED: usize = 10_000;

/// Shares a rate out among clients, and among organizations.
pub(crate) struct Throttle {
    clients: Shares,
    organizations: Shares,
}

/// By whom a client and its organization are known: by its TLS certificate.
#[derive(Clone)]
pub(crate) struct Claim {
    pub client: Bytes,
    pub organization: Bytes,
}

impl Throttle {
    /// Shares out `rate` messages per second among those seen within `inactivity`.
    pub fn new(rate: u32, inactivity: Duration) -> Self {
        let shares = || Shares {
            pause: Duration::from_secs(1) / rate.max(1),
            inactivity,
            seen: Mutex::default(),
        };
        Self {
            clients: shares(),
            organizations: shares(),
        }
    }

    /// Books messages of a client; gives how long it has to wait for the next.
    pub fn book(&self, claim: &Claim, messages: usize, now: Instant) -> Duration {
        let client = self.clients.book(&claim.client, messages, now);
        let organization = self.organizations.book(&claim.organization, messages, now);
        client.max(organization)
    }
}

struct Shares {
    pause: Duration,
    inactivity: Duration,
    seen: Mutex<HashMap<Bytes, Share>>,
}

struct Share {
    last: Instant,
    /// When what was booked is paid for.
    paid: Instant,
}

impl Shares {
    fn book(&self, who: &Bytes, messages: usize, now: Instant) -> Duration {
        let mut seen = self.seen.lock();
        let alive = |share: &Share| now <= share.last + self.inactivity || share.paid > now;
        if !seen.contains_key(who) {
            seen.retain(|_, share| alive(share));
        }
        let who = match seen.len() < REMEMBERED || seen.contains_key(who) {
            true => who.clone(),
            false => Bytes::new(),
        };
        let sharing = seen.len() + usize::from(!seen.contains_key(&who));
        let share = seen.entry(who).or_insert(Share {
            last: now,
            paid: now,
        });
        let booked = self.pause.as_secs_f64() * sharing as f64 * messages as f64;
        share.last = now;
        // Messages are bounded by a stream's chunks, clients by what is remembered.
        share.paid = share.paid.max(now) + Duration::from_secs_f64(booked);
        share.paid.saturating_duration_since(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(client: &'static str, organization: &'static str) -> Claim {
        Claim {
            client: Bytes::from_static(client.as_bytes()),
            organization: Bytes::from_static(organization.as_bytes()),
        }
    }

    #[test]
    fn a_client_alone_has_the_whole_rate() {
        let throttle = Throttle::new(100, Duration::from_secs(5));
        let (alice, now) = (claim("alice", "one"), Instant::now());
        assert_eq!(throttle.book(&alice, 100, now), Duration::ZERO);
        assert_eq!(throttle.book(&alice, 50, now), Duration::from_millis(500));
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.book(&alice, 100, later), Duration::ZERO);
    }

    #[test]
    fn clients_and_organizations_share_equally() {
        let throttle = Throttle::new(100, Duration::from_secs(5));
        let now = Instant::now();
        let (alice, bob) = (claim("alice", "one"), claim("bob", "two"));
        assert_eq!(throttle.book(&alice, 1, now), Duration::ZERO);
        // Two share a hundred: each may have fifty at once.
        assert_eq!(throttle.book(&bob, 50, now), Duration::ZERO);
        assert_eq!(throttle.book(&bob, 50, now), Duration::from_secs(1));
        // A friend of Bob's waits with him: their organization has had its part.
        let friend = claim("carol", "two");
        assert!(throttle.book(&friend, 1, now) > Duration::from_secs(1));
        assert_eq!(throttle.book(&alice, 1, now), Duration::ZERO);
    }

    #[test]
    fn those_who_are_silent_have_no_part() {
        let throttle = Throttle::new(100, Duration::from_secs(5));
        let now = Instant::now();
        throttle.book(&claim("alice", "one"), 1, now);
        let later = now + Duration::from_secs(6);
        let bob = claim("bob", "two");
        assert_eq!(throttle.book(&bob, 100, later), Duration::ZERO);
        assert_eq!(throttle.clients.seen.lock().len(), 1);
    }
}
