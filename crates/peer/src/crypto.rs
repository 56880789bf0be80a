//! Where signatures are checked, and which need no check any more.

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
};

use consilium_msp::{HashFamily, Identity};
use consilium_protocol::hash;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Sized pools of threads for work that keeps a core busy, so that the reactor stays free.
///
/// A pool takes up new work when it has done the old. What holds up the commit of a block must not
/// wait until the signatures of the next one are checked, so it has threads of its own.
pub struct VerificationPool {
    pool: rayon::ThreadPool,
    deciding: rayon::ThreadPool,
}

impl VerificationPool {
    /// Pools of `threads` threads each (at least one).
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(threads: usize) -> Result<Self, String> {
        let pool = |name: &'static str| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.max(1))
                .thread_name(move |index| format!("{name}-{index}"))
                .build()
                .map_err(|error| error.to_string())
        };
        Ok(Self {
            pool: pool("verify")?,
            deciding: pool("decide")?,
        })
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

    /// Starts `work` on the pool. What is received is its value, or nothing when it panicked; the
    /// panic is caught so that the pool survives.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::sync::mpsc::Receiver<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.pool.spawn(move || {
            if let Ok(value) = std::panic::catch_unwind(AssertUnwindSafe(work)) {
                // The caller may have gone away; then nobody wants the value.
                let _ = sender.send(value);
            }
        });
        receiver
    }

    /// Runs `work` inside the pool, so that parallel iterators in it use the pool's threads. Blocks.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// The same on the threads that are kept for short work that a commit waits for.
    pub fn install_deciding<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.deciding.install(work)
    }
}

/// Bytes that are signed more than once (a response payload, by every endorser), hashed once.
pub struct Payload<'a> {
    bytes: &'a [u8],
    digest: [u8; 32],
}

impl<'a> Payload<'a> {
    /// Hashes `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            digest: hash::sha256(bytes),
        }
    }
}

/// Remembers which signatures are good and which are not, so that none is verified twice.
///
/// A peer meets its own endorsements when the transaction comes back in a block, and others' again
/// when somebody repeats a transaction. An entry is the hash of (message, identity, signature): only
/// identical bytes are recognized. Bounded: the oldest entry goes first. In parts, so that many
/// threads do not wait for one another.
pub struct SignatureMemory {
    parts: [Mutex<Entries>; PARTS],
    /// Entries of a part.
    capacity: usize,
}

const PARTS: usize = 16;

#[derive(Default)]
struct Entries {
    verdicts: HashMap<[u8; 32], bool>,
    order: VecDeque<[u8; 32]>,
}

impl SignatureMemory {
    /// A memory of about `capacity` signatures (32 bytes each, kept twice).
    pub fn new(capacity: usize) -> Self {
        Self {
            parts: Default::default(),
            capacity: capacity.div_ceil(PARTS).max(1),
        }
    }

    /// Remembers that `signature` over `payload || signer` by `signer`, made with SHA-256, is good.
    pub fn remember(&self, payload: &[u8], signer: &[u8], signature: &[u8]) {
        let key = key(&Payload::new(payload), signer, signer, signature, true);
        self.insert(key, true);
    }

    /// Whether `signature` over `payload || suffix` is one of `identity`; verified unless known.
    pub fn verify(
        &self,
        identity: &Identity,
        payload: &Payload<'_>,
        suffix: &[u8],
        signature: &[u8],
    ) -> bool {
        let sha2 = identity.hash_family() == HashFamily::Sha2;
        let key = key(payload, suffix, identity.serialized(), signature, sha2);
        if let Some(&verdict) = self.part(&key).lock().verdicts.get(&key) {
            return verdict;
        }
        let verdict = identity
            .verify_parts(&[payload.bytes, suffix], signature)
            .is_ok();
        self.insert(key, verdict);
        verdict
    }

    fn part(&self, key: &[u8; 32]) -> &Mutex<Entries> {
        &self.parts[usize::from(key[0]) % PARTS]
    }

    fn insert(&self, key: [u8; 32], verdict: bool) {
        let mut entries = self.part(&key).lock();
        if entries.verdicts.insert(key, verdict).is_some() {
            return;
        }
        entries.order.push_back(key);
        while entries.order.len() > self.capacity {
            if let Some(oldest) = entries.order.pop_front() {
                entries.verdicts.remove(&oldest);
            }
        }
    }
}

fn key(
    payload: &Payload<'_>,
    suffix: &[u8],
    identity: &[u8],
    signature: &[u8],
    sha2: bool,
) -> [u8; 32] {
    // An endorsement's suffix is the endorser itself: what is the same is hashed once.
    let is_same = suffix == identity;
    let suffix = if is_same { &[] } else { suffix };
    // Lengths keep different splits of the same bytes apart.
    let lengths = [suffix.len(), identity.len(), signature.len()].map(|n| (n as u64).to_be_bytes());
    hash::sha256_parts(&[
        &[u8::from(sha2), u8::from(is_same)],
        &lengths[0],
        &lengths[1],
        &lengths[2],
        &payload.digest,
        suffix,
        identity,
        signature,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_msp::{MspManager, Signer};
    use consilium_testkit::{NodeOu, Organization};
    use std::sync::Arc;

    /// An identity, and its signature over `payload || suffix`.
    fn signed(payload: &[u8], suffix: &[u8]) -> (Arc<Identity>, Vec<u8>) {
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let signer = organization.signer("peer0", NodeOu::Peer);
        let msps = MspManager::new(vec![organization.msp()]).unwrap();
        let identity = msps.deserialize(signer.serialized()).unwrap();
        let signature = signer.sign(&[payload, suffix].concat()).unwrap();
        (identity, signature.to_vec())
    }

    #[test]
    fn good_and_bad_signatures_are_told_apart_at_the_first_and_at_the_second_look() {
        let memory = SignatureMemory::new(100);
        let (identity, signature) = signed(b"payload", b"suffix");
        for _ in 0..2 {
            let verify = |payload: &[u8], suffix: &[u8], signature: &[u8]| {
                memory.verify(&identity, &Payload::new(payload), suffix, signature)
            };
            assert!(verify(b"payload", b"suffix", &signature));
            assert!(!verify(b"payloa", b"d", &signature));
            assert!(!verify(b"other", b"suffix", &signature));
            assert!(!verify(b"payload", b"suffix", b"signature"));
        }
        // The same bytes cut elsewhere are the same message, and known by another key.
        assert!(memory.verify(&identity, &Payload::new(b"payloadsuf"), b"fix", &signature));
    }

    #[test]
    fn what_is_remembered_is_not_verified_again() {
        let memory = SignatureMemory::new(100);
        let (identity, _) = signed(b"", b"");
        let signer = identity.serialized().clone();
        // No signature at all: only the memory can take it for one.
        memory.remember(b"payload", &signer, b"own");
        assert!(memory.verify(&identity, &Payload::new(b"payload"), &signer, b"own"));
        assert!(!memory.verify(&identity, &Payload::new(b"payload"), &signer, b"other"));
        assert!(!memory.verify(&identity, &Payload::new(b"other"), &signer, b"own"));
    }

    #[test]
    fn the_memory_stays_small_and_forgets_the_oldest_first() {
        let memory = SignatureMemory::new(PARTS);
        let (identity, _) = signed(b"", b"");
        let signer = identity.serialized().clone();
        for number in 0u32..1000 {
            memory.remember(&number.to_be_bytes(), &signer, b"own");
        }
        let kept: usize = memory
            .parts
            .iter()
            .map(|part| part.lock().verdicts.len())
            .sum();
        assert!(kept <= PARTS, "{kept}");
        let last = 999u32.to_be_bytes();
        assert!(memory.verify(&identity, &Payload::new(&last), &signer, b"own"));
        assert!(!memory.verify(&identity, &Payload::new(&[0; 4]), &signer, b"own"));
    }

    #[test]
    fn what_a_commit_waits_for_does_not_wait_for_the_signatures_of_the_next_block() {
        let pool = VerificationPool::new(1).unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        let (finish, may_finish) = std::sync::mpsc::channel::<()>();
        let busy = pool.start(move || {
            started.send(()).unwrap();
            may_finish.recv().unwrap();
        });
        has_started.recv().unwrap();
        // Would hang if it queued behind the other.
        assert_eq!(pool.install_deciding(|| 7), 7);
        finish.send(()).unwrap();
        busy.recv().unwrap();
    }

    #[tokio::test]
    async fn a_panic_in_the_pool_is_an_answer_and_the_pool_goes_on() {
        let pool = VerificationPool::new(1).unwrap();
        assert_eq!(
            pool.run(|| -> u8 { panic!("expected by the test") }).await,
            None
        );
        assert_eq!(pool.run(|| 7).await, Some(7));
        let panicking = pool.start(|| -> u8 { panic!("expected by the test") });
        assert!(panicking.recv().is_err());
        assert_eq!(pool.start(|| 7).recv(), Ok(7));
    }
}
