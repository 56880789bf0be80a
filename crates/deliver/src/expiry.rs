//! Waiting for the end of a certificate.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, Sleep, sleep};

/// The longest sleep before the clock is looked at again: it may have been set meanwhile, or the
/// machine may have been suspended.
const NAP: Duration = Duration::from_secs(60);

/// An alarm at the time when a reader's certificate expires.
///
/// Fabric looks before each block only; a stream that waits for a block on a quiet channel would
/// stay open behind an expired certificate.
pub(crate) struct Expiry(Option<(SystemTime, Pin<Box<Sleep>>)>);

impl Expiry {
    /// Rings after `expires`; never without.
    pub(crate) fn at(expires: Option<SystemTime>) -> Self {
        Self(expires.map(|expires| (expires, Box::pin(sleep(nap(expires, SystemTime::now()))))))
    }

    /// Resolves when the certificate may have expired. Cancel-safe; can be called again.
    pub(crate) async fn rings(&mut self) {
        let Some((expires, alarm)) = &mut self.0 else {
            return std::future::pending().await;
        };
        alarm.as_mut().await;
        let next = nap(*expires, SystemTime::now());
        alarm.as_mut().reset(Instant::now() + next);
    }
}

/// How long to sleep until just after `expires`, or until the clock is looked at again.
fn nap(expires: SystemTime, now: SystemTime) -> Duration {
    match expires.duration_since(now) {
        Ok(rest) => rest.saturating_add(Duration::from_millis(1)).min(NAP),
        // It has expired, and whoever asks was told.
        Err(_) => NAP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_rings_after_the_end_and_looks_at_the_clock_now_and_then() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let second = Duration::from_secs(1);
        for (expires, expected) in [
            (now + second, Duration::from_millis(1001)),
            (now, Duration::from_millis(1)),
            (now + 3600 * second, NAP),
            (now - second, NAP),
        ] {
            assert_eq!(nap(expires, now), expected);
        }
    }
}
