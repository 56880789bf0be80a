//! Where signatures are checked, and which need no check any more.

use std::{
    collections::{HashSet, VecDeque},
    panic::AssertUnwindSafe,
};

use consilium_protocol::hash;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A sized pool of threads for work that keeps a core busy, so that the reactor stays free.
pub struct VerificationPool {
    pool: rayon::ThreadPool,
}

impl VerificationPool {
    /// A pool of `threads` threads (at least one).
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(threads: usize) -> Result<Self, String> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("verify-{index}"))
            .build()
            .map(|pool| Self { pool })
            .map_err(|error| error.to_string())
    }

    /// Runs `work` on the pool and waits for it without holding a reactor thread.
    ///
    /// `None` when the work panicked; the panic is caught so that the pool survives.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            if let Ok(value) = std::panic::catch_unwind(AssertUnwindSafe(work)) {
                // The caller may have gone away; then nobody wants the value.
                let _ = sender.send(value);
            }
        });
        receiver.await.ok()
    }

    /// Runs `work` inside the pool, so that parallel iterators in it use the pool's threads. Blocks.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }
}

/// Remembers signatures that need no verification because this process made them.
///
/// A peer meets its own endorsements again when the transaction comes back in a block. An entry is
/// the hash of (message, identity, signature): only identical bytes are recognized. Bounded: the
/// oldest entry goes first. An entry is taken out when it is met, since it is met once.
pub struct SignatureMemory {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl SignatureMemory {
    /// A memory of at most `capacity` signatures (32 bytes each, kept twice).
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Mutex::new(Entries::default()),
        }
    }

    /// Remembers that `signature` over `payload || identity` by `identity` is good.
    pub fn remember(&self, payload: &[u8], identity: &[u8], signature: &[u8]) {
        let key = key(payload, identity, signature);
        let mut entries = self.entries.lock();
        if !entries.known.insert(key) {
            return;
        }
        entries.order.push_back(key);
        while entries.order.len() > self.capacity {
            if let Some(oldest) = entries.order.pop_front() {
                entries.known.remove(&oldest);
            }
        }
    }

    /// Whether exactly this signature was remembered; forgets it.
    pub fn take(&self, payload: &[u8], identity: &[u8], signature: &[u8]) -> bool {
        let key = key(payload, identity, signature);
        // `order` keeps the key until it is old; a stale key there removes nothing.
        self.entries.lock().known.remove(&key)
    }
}

fn key(payload: &[u8], identity: &[u8], signature: &[u8]) -> [u8; 32] {
    // Lengths keep different splits of the same bytes apart.
    let lengths =
        [payload.len(), identity.len(), signature.len()].map(|n| (n as u64).to_be_bytes());
    hash::sha256_parts(&[
        &lengths[0],
        &lengths[1],
        &lengths[2],
        payload,
        identity,
        signature,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_identical_signature_is_recognized_and_only_once() {
        let memory = SignatureMemory::new(10);
        memory.remember(b"payload", b"me", b"signature");
        for (payload, identity, signature) in [
            (&b"payloa"[..], &b"dme"[..], &b"signature"[..]),
            (b"payload", b"mes", b"ignature"),
            (b"payload", b"you", b"signature"),
            (b"other", b"me", b"signature"),
        ] {
            assert!(!memory.take(payload, identity, signature));
        }
        assert!(memory.take(b"payload", b"me", b"signature"));
        assert!(!memory.take(b"payload", b"me", b"signature"));
    }

    #[test]
    fn the_oldest_signature_is_forgotten_first() {
        let memory = SignatureMemory::new(2);
        for n in 0u8..3 {
            memory.remember(&[n], b"me", b"s");
        }
        assert!(!memory.take(&[0], b"me", b"s"));
        assert!(memory.take(&[1], b"me", b"s"));
        assert!(memory.take(&[2], b"me", b"s"));
    }

    #[tokio::test]
    async fn a_panic_in_the_pool_is_an_answer_and_the_pool_goes_on() {
        let pool = VerificationPool::new(1).unwrap();
        assert_eq!(
            pool.run(|| -> u8 { panic!("expected by the test") }).await,
            None
        );
        assert_eq!(pool.run(|| 7).await, Some(7));
    }
}
