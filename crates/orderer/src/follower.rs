//! Following a channel without a part in its Raft group: pulling its blocks from other orderers.
//!
//! A node that joins with a later config block gets the blocks before it first; the hash of that
//! block, which its administrator vouches for, proves them all. fabric: orderer/common/follower

use std::io;
use std::sync::Arc;
use std::time::Duration;

use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;

use crate::blocks::{BlockWriter, LentWriter};
use crate::cluster::{self, Cluster, Until};
use crate::error::OrdererError;
use crate::rt;
use crate::state::ChainState;

/// Shortest and longest wait after a round of orderers that gave nothing.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Longest wait for the next block of one orderer; then another one has its turn, for this one may
/// hold blocks back, or be cut off itself.
const STALE: Duration = Duration::from_secs(10);

/// The block that a channel was joined with, until the blocks up to it are there.
#[derive(Clone)]
pub(crate) struct JoinBlock {
    pub(crate) number: u64,
    pub(crate) header_hash: [u8; 32],
}

impl JoinBlock {
    pub(crate) fn of(block: &common::Block) -> Self {
        Self {
            number: block::number(block),
            header_hash: block
                .header
                .as_ref()
                .map(block::header_hash)
                .unwrap_or_default(),
        }
    }
}

/// Pulls blocks.
pub(crate) struct Follower {
    pub(crate) state: Arc<ChainState>,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) writer: LentWriter,
    pub(crate) join: Option<JoinBlock>,
}

impl Follower {
    /// Follows until this node is to take part.
    ///
    /// # Errors
    /// The chain cannot be continued.
    pub(crate) async fn run(mut self) -> Result<(), OrdererError> {
        let mut pause = PAUSES.0;
        loop {
            let height = self.state.store.height();
            for address in self.addresses() {
                if self.is_listed() {
                    return Ok(());
                }
                match self.pull(&address).await {
                    Ok(()) => {}
                    Err(error @ (OrdererError::JoinBlock { .. } | OrdererError::Ledger(_))) => {
                        return Err(error);
                    }
                    Err(error) => {
                        let from = &address;
                        tracing::debug!(channel = self.state.name, from, %error, "pulling blocks ended");
                    }
                }
            }
            if self.is_listed() {
                return Ok(());
            }
            pause = if self.state.store.height() > height {
                PAUSES.0
            } else {
                (pause * 2).min(PAUSES.1)
            };
            rt::sleep(pause).await;
        }
    }

    /// Whether the chain reaches beyond the block that it was joined with.
    fn is_onboarded(&self) -> bool {
        is_onboarded(&self.state, self.join.as_ref())
    }

    fn is_listed(&self) -> bool {
        self.is_onboarded() && self.state.own_consenter().is_some()
    }

    /// Where to pull from, beginning with a random one.
    fn addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self
            .state
            .others()
            .into_iter()
            .map(|other| other.address)
            .collect();
        if !addresses.is_empty() {
            let first = rt::random() % addresses.len() as u64;
            addresses.rotate_left(usize::try_from(first).unwrap_or_default());
        }
        for endpoint in self.state.config().orderer_endpoints() {
            if !addresses.contains(&endpoint) {
                addresses.push(endpoint);
            }
        }
        addresses
    }

    /// Pulls from one orderer until it has no more for a while, or this node is listed.
    async fn pull(&mut self, address: &str) -> Result<(), OrdererError> {
        let start = self.state.store.height();
        let opening =
            cluster::open(
                self.cluster
                    .follow(address, &self.state.name, start, Until::Ever),
            );
        let mut blocks = opening.await?;
        while let Some(bytes) = cluster::next(&mut blocks, STALE).await {
            let bytes = match bytes {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(()),
                other => other?,
            };
            let pulled = common::Block::decode(bytes).map_err(io::Error::other)?;
            let (state, join) = (self.state.clone(), self.join.clone());
            self.writer
                .run(move |writer| adopt(&state, join.as_ref(), writer, &pulled))
                .await?;
            if self.is_listed() {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a channel's chain reaches beyond the block that it was joined with.
pub(crate) fn is_onboarded(state: &ChainState, join: Option<&JoinBlock>) -> bool {
    let height = state.store.height();
    height > 0 && join.is_none_or(|join| height > join.number)
}

/// Checks one pulled block and appends it.
fn adopt(
    state: &ChainState,
    join: Option<&JoinBlock>,
    writer: &mut BlockWriter,
    pulled: &common::Block,
) -> Result<(), OrdererError> {
    let number = block::number(pulled);
    if let Some(join) = join
        && number == join.number
        && JoinBlock::of(pulled).header_hash != join.header_hash
    {
        return Err(OrdererError::JoinBlock {
            channel: state.name.clone(),
            number,
        });
    }
    // Up to the join block, that block's configuration stays in force.
    let current = join.is_none_or(|join| number >= join.number);
    writer.adopt(pulled, |next| {
        if current {
            state.set_configuration(next);
        }
    })?;
    state.wrote_block(number);
    Ok(())
}
