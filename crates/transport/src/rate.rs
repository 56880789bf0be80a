//! How often callers may ask.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Addresses that are remembered; beyond, those that have their whole allowance are forgotten.
const REMEMBERED: usize = 16_384;

/// An allowance of requests for each address: `rate` per second, and as many at once.
pub(crate) struct Allowance {
    pause: Duration,
    burst: Duration,
    // When an address will have paid for what it asked.
    paid: Mutex<HashMap<IpAddr, Instant>>,
}

impl Allowance {
    pub fn new(rate: u32) -> Self {
        Self {
            pause: Duration::from_secs(1) / rate.max(1),
            burst: Duration::from_secs(1),
            paid: Mutex::default(),
        }
    }

    /// Whether an address may ask at this moment; if so, that is noted.
    pub fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut paid = self.paid.lock();
        if paid.len() >= REMEMBERED && !paid.contains_key(&address) {
            paid.retain(|_, until| *until > now);
            if paid.len() >= REMEMBERED {
                // All of them are asking at this moment; there is no memory for one more.
                return false;
            }
        }
        let until = paid.entry(address.to_canonical()).or_insert(now);
        let next = (*until).max(now) + self.pause;
        let allowed = next <= now + self.burst;
        if allowed {
            *until = next;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_ask_so_often_and_others_do_not_notice() {
        let (allowance, begin) = (Allowance::new(10), Instant::now());
        let [one, two] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let at = |millis| begin + Duration::from_millis(millis);
        let allowed = (0..15).filter(|_| allowance.take(one, at(0))).count();
        assert_eq!(allowed, 10);
        assert!(allowance.take(two, at(0)));
        assert!(!allowance.take(one, at(50)));
        assert!(allowance.take(one, at(100)));
        assert!(!allowance.take(one, at(100)));
        let allowed = (0..15).filter(|_| allowance.take(one, at(5000))).count();
        assert_eq!(allowed, 10);
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let (allowance, begin) = (Allowance::new(1), Instant::now());
        let address = |number: usize| IpAddr::from((number as u128).to_be_bytes());
        for number in 0..REMEMBERED {
            assert!(allowance.take(address(number + 1), begin));
        }
        assert!(!allowance.take(address(0), begin));
        assert!(allowance.take(address(0), begin + Duration::from_secs(2)));
        assert_eq!(allowance.paid.lock().len(), 1);
    }
}
