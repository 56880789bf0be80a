//! Blocks on their way from intake to the ledger.
//!
//! Two threads per channel: one has the next blocks prepared (signatures, in parallel on the pool)
//! while the other decides and commits block N. Queues between them are short: a block is large, and
//! an orderer can wait.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc::Receiver},
    thread,
};

use consilium_protocol::block;
use tokio::sync::mpsc;

use crate::{
    channel::{ChannelError, PeerChannel},
    crypto::{SignatureMemory, VerificationPool},
    validate::{Prepared, WORTH_SPREADING, prepare},
    verify::VerifiedBlock,
};

const VERIFIED_QUEUE: usize = 8;
const PREPARED_QUEUE: usize = 2;
/// Blocks that are prepared at once: where one ends, and not all cores have work in it any more, they
/// go on in the next.
const PREPARED_AT_ONCE: usize = 3;

/// The two threads of a channel.
pub(crate) struct Pipeline {
    channel: Arc<PeerChannel>,
    verified: Option<mpsc::Sender<VerifiedBlock>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pipeline {
    /// Starts the threads.
    pub(crate) fn start(
        channel: Arc<PeerChannel>,
        pool: Arc<VerificationPool>,
        memory: Arc<SignatureMemory>,
    ) -> std::io::Result<Self> {
        let (verified_sender, verified) = mpsc::channel(VERIFIED_QUEUE);
        let (prepared_sender, prepared) = mpsc::channel(PREPARED_QUEUE);
        let preparing = channel.clone();
        let committing = (channel.clone(), pool.clone());
        let threads = vec![
            thread::Builder::new()
                .name("prepare".to_owned())
                .spawn(move || {
                    prepare_blocks(&preparing, &pool, &memory, verified, &prepared_sender);
                })?,
            thread::Builder::new()
                .name("commit".to_owned())
                .spawn(move || commit_blocks(&committing.0, &committing.1, prepared))?,
        ];
        Ok(Self {
            channel,
            verified: Some(verified_sender),
            threads,
        })
    }

    /// Queues a block. After a configuration block it waits until the new configuration is in
    /// force, because that is what the next block has to be verified and prepared with.
    pub(crate) async fn submit(&self, block: VerifiedBlock) -> Result<(), ChannelError> {
        let number = block.number();
        let is_config = block.is_config();
        let sender = self.verified.as_ref().ok_or_else(|| self.halted())?;
        sender.send(block).await.map_err(|_| self.halted())?;
        if is_config {
            let mut height = self.channel.subscribe_height();
            tokio::select! {
                reached = height.wait_for(|&height| height > number) => {
                    reached.map_err(|_| self.halted())?;
                }
                () = sender.closed() => return Err(self.halted()),
            }
        }
        Ok(())
    }

    /// Lets queued blocks finish and waits for the threads.
    pub(crate) async fn drain(mut self) {
        self.verified = None;
        self.channel.close();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!(channel = self.channel.name(), "a commit thread panicked");
        }
    }

    fn halted(&self) -> ChannelError {
        ChannelError::Halted {
            channel: self.channel.name().to_owned(),
            reason: self
                .channel
                .halted()
                .unwrap_or("the commit thread has ended")
                .to_owned(),
        }
    }
}

fn prepare_blocks(
    channel: &PeerChannel,
    pool: &VerificationPool,
    memory: &Arc<SignatureMemory>,
    mut verified: mpsc::Receiver<VerifiedBlock>,
    prepared: &mpsc::Sender<Prepared>,
) {
    let mut underway: VecDeque<Receiver<Prepared>> = VecDeque::new();
    loop {
        let next = match underway.len() {
            0 => match verified.blocking_recv() {
                Some(block) => Some(block),
                None => return,
            },
            PREPARED_AT_ONCE.. => None,
            _ => verified.try_recv().ok(),
        };
        // A block behind a configuration block comes when that is in force: see `submit`.
        let ready = match next {
            Some(block) => {
                let (block, config) = (block.into_block(), channel.config());
                if underway.is_empty() && block::envelopes(&block).len() < WORTH_SPREADING {
                    prepare(block, &config, memory)
                } else {
                    let memory = memory.clone();
                    underway.push_back(pool.start(move || prepare(block, &config, &memory)));
                    continue;
                }
            }
            None => match underway.pop_front().map(|first| first.recv()) {
                Some(Ok(ready)) => ready,
                // It panicked: without this block there is no next one.
                Some(Err(_)) => return,
                None => continue,
            },
        };
        if prepared.blocking_send(ready).is_err() {
            return;
        }
    }
}

fn commit_blocks(
    channel: &PeerChannel,
    pool: &VerificationPool,
    mut prepared: mpsc::Receiver<Prepared>,
) {
    while let Some(ready) = prepared.blocking_recv() {
        let started = std::time::Instant::now();
        match channel.commit_on(ready, Some(pool)) {
            Ok(committed) => {
                let elapsed = started.elapsed();
                metrics::histogram!("gossip_state_commit_duration", "channel" => channel.name().to_owned())
                    .record(elapsed.as_secs_f64());
                tracing::info!(
                    channel = channel.name(),
                    block = committed.number,
                    transactions = committed.transactions.len(),
                    valid = committed
                        .transactions
                        .iter()
                        .filter(|tx| tx.code == consilium_proto::protos::TxValidationCode::Valid)
                        .count(),
                    elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                    "committed block"
                );
            }
            Err(closing @ ChannelError::Closing { .. }) => {
                tracing::info!("{closing}");
                return;
            }
            Err(error) => {
                channel.halt(error.to_string());
                return;
            }
        }
    }
}
