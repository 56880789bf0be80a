//! Reading ahead: what blocks say that other orderers have and this node has not.
//!
//! A node that was away may lack config blocks without which it cannot take part: the one that
//! removes it, after which the others send it nothing any more, or the one that adds the present
//! leader, whom it would not listen to. A node without leader therefore reads on where its chain
//! ends, as any reader does, and checks what it reads like blocks that it would append.

use std::io;
use std::time::Duration;

use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;

use crate::blocks::{BlockWriter, Tip};
use crate::cluster::{self, Cluster, Until};
use crate::configuration::Configuration;
use crate::error::OrdererError;
use crate::state::ChainState;

/// Longest wait for the next block.
const PATIENCE: Duration = Duration::from_secs(2);

/// What lies ahead of this node's chain.
pub(crate) struct Ahead {
    /// The newest configuration.
    pub(crate) newest: Configuration,
    /// The block that removes this consenter, if one does.
    pub(crate) removed_by: Option<common::Block>,
    /// The list of consenters has changed again since: the Raft group has followed the removal.
    pub(crate) moved_on: bool,
}

/// Reads on at the other consenters until one has a later configuration than the one in force. `own`
/// is the consenter that this node is by that one, if any.
pub(crate) async fn look(
    state: &ChainState,
    cluster: &dyn Cluster,
    own: Option<u64>,
) -> Option<Ahead> {
    for other in state.others() {
        match read_on(state, cluster, &other.address, own).await {
            Ok(None) => {}
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(channel = state.name, from = other.address, %error, "cannot read on");
            }
        }
    }
    None
}

async fn read_on(
    state: &ChainState,
    cluster: &dyn Cluster,
    address: &str,
    own: Option<u64>,
) -> Result<Option<Ahead>, OrdererError> {
    let store = state.store.clone();
    let start = store.height();
    let (mut tip, mut previous): (Tip, _) = crate::rt::blocking(move || {
        let tip = BlockWriter::read_tip(&*store)?;
        let last = store.block(start.saturating_sub(1))?;
        let header = last.and_then(|block| block.header);
        Ok::<_, OrdererError>((tip, header.ok_or(OrdererError::NoGenesis)?))
    })
    .await??;
    let lists = |tip: &Tip, own: u64| tip.configuration.consenter_ids().contains(&own);
    if own.is_some_and(|own| !lists(&tip, own)) {
        // The block has come the usual way meanwhile.
        return Ok(None);
    }
    let sequence = tip.configuration.config.sequence();
    let mut removed_by = None;
    let mut moved_on = false;
    let mut blocks =
        cluster::open(cluster.follow(address, &state.name, start, Until::Newest)).await?;
    while let Some(bytes) = cluster::next(&mut blocks, PATIENCE).await {
        let block = common::Block::decode(bytes?).map_err(io::Error::other)?;
        block::check_successor(&block, &previous)?;
        let next = tip.check_next(&block)?;
        let was_removed = removed_by.is_some() || own.is_none();
        moved_on |= was_removed && !next.configuration.lists_the_same(&tip.configuration);
        tip = next;
        previous = block.header.clone().unwrap_or_default();
        if !was_removed && own.is_some_and(|own| !lists(&tip, own)) {
            removed_by = Some(block);
        }
    }
    let is_later = tip.configuration.config.sequence() > sequence;
    Ok(is_later.then_some(Ahead {
        newest: tip.configuration,
        removed_by,
        moved_on,
    }))
}
