//! What the machine can verify at most: P-256 signatures on all cores, and nothing else.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::resources;
use anyhow::anyhow;
use aws_lc_rs::{
    digest::{self, Digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        ParsedPublicKey,
    },
};

/// Signatures of a transaction: its creator's and two endorsements.
pub const PER_TRANSACTION: u64 = 3;
const KEYS: u64 = 16;
const MESSAGES: u64 = 16;

/// Signatures of several keys over several messages, hashed beforehand.
pub struct Ceiling {
    signatures: Vec<Signed>,
    threads: usize,
}

/// What a measurement gave.
#[derive(Clone, Copy)]
pub struct Measured {
    /// Transactions per second.
    pub per_second: f64,
    /// Microseconds of CPU per transaction; other work on the machine changes this much less.
    pub cpu_us: Option<f64>,
}

struct Signed {
    key: ParsedPublicKey,
    digest: Digest,
    signature: Vec<u8>,
}

impl Ceiling {
    /// Makes the signatures; they will be verified by `threads` threads.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn new(threads: usize) -> anyhow::Result<Self> {
        let failed = |_| anyhow!("the cryptographic library failed");
        let random = SystemRandom::new();
        let mut signatures = Vec::new();
        for _ in 0..KEYS {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
            let point = pair.public_key().as_ref();
            for message in 0..MESSAGES {
                let message = message.to_be_bytes();
                signatures.push(Signed {
                    key: ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
                        .map_err(|error| anyhow!("a fresh key is refused: {error}"))?,
                    digest: digest::digest(&digest::SHA256, &message),
                    signature: pair
                        .sign(&random, &message)
                        .map_err(failed)?
                        .as_ref()
                        .to_vec(),
                });
            }
        }
        Ok(Self {
            signatures,
            threads,
        })
    }

    /// Transactions whose signatures could be verified, measured over about `duration`.
    ///
    /// # Errors
    /// A good signature was refused.
    pub fn measure(&self, duration: Duration) -> anyhow::Result<Measured> {
        let cpu = resources::cpu_seconds();
        let (verified, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let all_good = AtomicBool::new(true);
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        for signed in &self.signatures {
                            let good = signed
                                .key
                                .verify_digest_sig(&signed.digest, &signed.signature);
                            if good.is_err() {
                                all_good.store(false, Ordering::Relaxed);
                            }
                        }
                        let count = self.signatures.len() as u64;
                        verified.fetch_add(count, Ordering::Relaxed);
                    }
                });
            }
            thread::sleep(duration);
            stop.store(true, Ordering::Relaxed);
        });
        let elapsed = started.elapsed().as_secs_f64();
        anyhow::ensure!(
            all_good.load(Ordering::Relaxed),
            "a good signature was refused"
        );
        let transactions = verified.load(Ordering::Relaxed) as f64 / PER_TRANSACTION as f64;
        let cpu = resources::cpu_seconds().zip(cpu);
        Ok(Measured {
            per_second: transactions / elapsed,
            cpu_us: cpu.map(|(after, before)| (after - before) * 1e6 / transactions),
        })
    }
}
