//! Who is connected to a listener: how many in all, and from each address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use metrics::{Gauge, gauge};
use parking_lot::Mutex;

use crate::limits::{ConnectionLimits, Refused};

/// The open connections of a listener.
pub(crate) struct Census {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
    shown: Gauge,
}

#[derive(Default)]
struct Open {
    total: usize,
    addresses: HashMap<IpAddr, usize>,
}

impl Census {
    pub fn new(limits: &ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            total: limits.total,
            per_address: limits.per_address,
            open: Mutex::default(),
            shown: gauge!("consilium_listener_connections", "listener" => limits.listener),
        })
    }

    /// Counts a caller in, or says why there is no room for it.
    pub fn admit(self: &Arc<Self>, caller: SocketAddr) -> Result<Seat, Refused> {
        let address = caller.ip().to_canonical();
        let mut open = self.open.lock();
        if open.total >= self.total {
            return Err(Refused::Total);
        }
        let from_here = open.addresses.entry(address).or_default();
        if *from_here >= self.per_address {
            // The entry was there before: a limit of zero lets nobody in, and keeps no entry.
            if *from_here == 0 {
                open.addresses.remove(&address);
            }
            return Err(Refused::Address);
        }
        *from_here += 1;
        open.total += 1;
        self.shown.set(open.total as f64);
        Ok(Seat {
            census: self.clone(),
            address,
        })
    }
}

/// A connection that counts while this lives.
pub(crate) struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.census.open.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(from_here) = open.addresses.get_mut(&self.address) {
            *from_here = from_here.saturating_sub(1);
            if *from_here == 0 {
                open.addresses.remove(&self.address);
            }
        }
        self.census.shown.set(open.total as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_counted_in_all_and_by_address() {
        let census = Census::new(&ConnectionLimits {
            total: 3,
            per_address: 2,
            ..ConnectionLimits::default()
        });
        let admit = |address: &str| census.admit(address.parse().unwrap());
        let first = admit("10.0.0.1:1").unwrap();
        let _second = admit("10.0.0.1:2").unwrap();
        assert_eq!(admit("10.0.0.1:3").err(), Some(Refused::Address));
        // The same address as an IPv6 socket shows it.
        assert_eq!(admit("[::ffff:10.0.0.1]:4").err(), Some(Refused::Address));
        let third = admit("10.0.0.2:1").unwrap();
        assert_eq!(admit("10.0.0.3:1").err(), Some(Refused::Total));
        drop(third);
        assert_eq!(census.open.lock().addresses.len(), 1);
        drop(first);
        let _again = admit("10.0.0.1:5").unwrap();
    }
}
