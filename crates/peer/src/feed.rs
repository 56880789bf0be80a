//! Where blocks enter a channel, whoever brings them: each is verified as the next one of the chain
//! and handed to the pipeline.

use std::sync::Arc;

use consilium_proto::common;

use crate::{
    channel::{ChannelError, PeerChannel},
    crypto::{SignatureMemory, VerificationPool},
    pipeline::Pipeline,
    verify::{CheckedBlock, VerifiedBlock, VerifyError, verify},
};

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It is not the next block of the chain, or not a good one; another one may come.
    #[error(transparent)]
    Block(#[from] VerifyError),
    /// The channel takes no blocks any more.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The pool does not answer: the check panicked.
    #[error("the check of block {0} did not end")]
    Check(u64),
}

/// The way into a channel's pipeline. A running channel's [`Entrance`](crate::entrance::Entrance) feeds it
/// with what orderers and peers bring; what replays a recorded chain feeds it from files.
pub struct BlockFeed {
    channel: Arc<PeerChannel>,
    pool: Arc<VerificationPool>,
    pipeline: Pipeline,
    /// The end of the chain as far as it was handed on.
    next: u64,
    previous: Vec<u8>,
}

impl BlockFeed {
    /// Starts the channel's pipeline, where its ledger ends.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(
        channel: Arc<PeerChannel>,
        pool: Arc<VerificationPool>,
        memory: Arc<SignatureMemory>,
    ) -> std::io::Result<Self> {
        let info = channel.ledger().info();
        let pipeline = Pipeline::start(channel.clone(), pool.clone(), memory)?;
        Ok(Self {
            channel,
            pool,
            pipeline,
            next: info.height,
            previous: info.current_block_hash.to_vec(),
        })
    }

    /// Number of the block to bring next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Verifies the next block and hands it on. Waits while the pipeline is full, and behind a
    /// configuration block until that is in force.
    ///
    /// # Errors
    /// [`FeedError`]; after a refused block the next one to bring is the same.
    pub async fn take(&mut self, block: common::Block) -> Result<(), FeedError> {
        let config = self.channel.config();
        self.verify(move |expected, previous| verify(block, expected, previous, &config))
            .await
    }

    /// The same for a block that was looked at before its turn.
    pub(crate) async fn take_checked(&mut self, block: CheckedBlock) -> Result<(), FeedError> {
        let config = self.channel.config();
        self.verify(move |expected, previous| block.follow(expected, previous, &config))
            .await
    }

    async fn verify(
        &mut self,
        check: impl FnOnce(u64, &[u8]) -> Result<VerifiedBlock, VerifyError> + Send + 'static,
    ) -> Result<(), FeedError> {
        let expected = self.next;
        let previous = self.previous.clone();
        let verified = self
            .pool
            .run(move || check(expected, &previous))
            .await
            .ok_or(FeedError::Check(expected))??;
        let hash = verified.header_hash();
        self.pipeline.submit(verified).await?;
        self.next = expected + 1;
        self.previous = hash.to_vec();
        Ok(())
    }

    /// Lets queued blocks finish and ends the pipeline.
    pub async fn drain(self) {
        self.pipeline.drain().await;
    }
}
