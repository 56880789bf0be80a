//! Making blocks out of applied log entries and appending them to the chain.
//!
//! Every node makes number, previous hash and metadata by itself, equal on all of them, and signs
//! its own copy. Everything here blocks on the disk: it runs off the reactor.

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::BlockStore;
use consilium_msp::Signer;
use consilium_proto::common;
use consilium_protocol::block;
use consilium_protocol::config::ChannelConfig;

use crate::config_update;
use crate::error::OrdererError;

/// The key under which a chain keeps the log position that its last block came from.
pub(crate) const APPLIED: &[u8] = b"raft/applied";

/// The end of a channel's chain, and how to add to it.
pub(crate) struct BlockWriter {
    store: Arc<BlockStore>,
    signer: Arc<dyn Signer>,
    config: Arc<ChannelConfig>,
    last_config: u64,
    raft_index: u64,
    consenters: usize,
}

/// What became of an ordered envelope or batch.
#[derive(Debug)]
pub(crate) enum Written {
    /// A block with this number.
    Block(u64),
    /// A config block with this number, and the configuration it brings.
    Config(u64, Arc<ChannelConfig>),
    /// The chain has that entry's block already.
    Known,
    /// The config message is not valid; no node makes a block of it.
    Refused(String),
}

impl BlockWriter {
    /// Reads the end of the chain; the chain has a genesis block.
    pub(crate) fn open(
        store: Arc<BlockStore>,
        signer: Arc<dyn Signer>,
    ) -> Result<Self, OrdererError> {
        let last = store
            .height()
            .checked_sub(1)
            .ok_or(OrdererError::NoGenesis)?;
        let missing = |number| OrdererError::MissingBlock { number };
        let tip = store.block(last)?.ok_or_else(|| missing(last))?;
        let last_config = block::last_config(&tip)?;
        let config_block = store
            .block(last_config)?
            .ok_or_else(|| missing(last_config))?;
        let config = Arc::new(ChannelConfig::from_block(&config_block)?);
        let consenters = count_consenters(&config)?;
        let raft_index = raft_index(&tip)?;
        Ok(Self {
            store,
            signer,
            config,
            last_config,
            raft_index,
            consenters,
        })
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> &Arc<ChannelConfig> {
        &self.config
    }

    /// Makes the block of a batch. `applied` is stored with it.
    pub(crate) fn write_batch(
        &mut self,
        envelopes: Vec<Bytes>,
        raft_index: u64,
        applied: Vec<u8>,
    ) -> Result<Written, OrdererError> {
        if self.has(raft_index) {
            return Ok(Written::Known);
        }
        let number = self.append(
            envelopes,
            raft_index,
            self.last_config,
            self.consenters,
            applied,
        )?;
        Ok(Written::Block(number))
    }

    /// Validates a config message again, the same on every node, and makes its block. `publish`
    /// gets the new configuration before the block can be seen.
    pub(crate) fn write_config(
        &mut self,
        envelope: Bytes,
        raft_index: u64,
        applied: Vec<u8>,
        publish: impl FnOnce(&Arc<ChannelConfig>),
    ) -> Result<Written, OrdererError> {
        if self.has(raft_index) {
            return Ok(Written::Known);
        }
        let next = match config_update::apply(&self.config, &envelope) {
            Ok(next) => Arc::new(next),
            Err(reason) => return Ok(Written::Refused(reason)),
        };
        let consenters = count_consenters(&next)?;
        publish(&next);
        let number = self.store.height();
        self.append(vec![envelope], raft_index, number, consenters, applied)?;
        self.last_config = number;
        self.consenters = consenters;
        self.config = next.clone();
        Ok(Written::Config(number, next))
    }

    /// Checks a block that another orderer sent and appends it with the signatures it came with.
    /// Gives the new configuration if it is a config block.
    pub(crate) fn adopt(
        &mut self,
        block: &common::Block,
    ) -> Result<Option<Arc<ChannelConfig>>, OrdererError> {
        block::check_structure(block)?;
        self.config.verify_block_signatures(block)?;
        let raft_index = raft_index(block)?;
        let last_config = block::last_config(block)?;
        let mut next = None;
        if block::is_config(block) {
            let [envelope] = block::envelopes(block) else {
                return Err(OrdererError::NoGenesis);
            };
            let config = config_update::apply(&self.config, envelope).map_err(|reason| {
                OrdererError::ForeignBlock {
                    number: block::number(block),
                    reason,
                }
            })?;
            self.consenters = count_consenters(&config)?;
            next = Some(Arc::new(config));
        } else if last_config != self.last_config {
            let reason = format!(
                "it names config block {last_config}, not {}",
                self.last_config
            );
            return Err(OrdererError::ForeignBlock {
                number: block::number(block),
                reason,
            });
        }
        self.store.append(block, &[], false)?;
        self.raft_index = raft_index;
        self.last_config = last_config;
        if let Some(config) = &next {
            self.config = config.clone();
        }
        Ok(next)
    }

    /// Blocks made of later entries exist: this one's was pulled before the entry was applied.
    fn has(&self, raft_index: u64) -> bool {
        self.store.height() > 1 && raft_index <= self.raft_index
    }

    fn append(
        &mut self,
        envelopes: Vec<Bytes>,
        raft_index: u64,
        last_config: u64,
        consenters: usize,
        applied: Vec<u8>,
    ) -> Result<u64, OrdererError> {
        let number = self.store.height();
        let previous = self.store.last_header_hash().unwrap_or_default();
        let mut block = block::new_block(number, previous, envelopes);
        let metadata = config_update::block_metadata(consenters, raft_index);
        block::sign(&mut block, last_config, metadata, &*self.signer)?;
        self.store
            .append(&block, &[(APPLIED.to_vec(), applied)], false)?;
        self.raft_index = raft_index;
        Ok(number)
    }
}

fn count_consenters(config: &ChannelConfig) -> Result<usize, OrdererError> {
    Ok(config.raft_metadata()?.consenters.len())
}

/// The log position that a block came from; 0 for a genesis block.
fn raft_index(block: &common::Block) -> Result<u64, OrdererError> {
    if block::number(block) == 0 {
        return Ok(0);
    }
    let metadata = block::consenter_metadata(block)?;
    let raft = block::unwrap_consenter_metadata(&metadata).map_err(|error| {
        OrdererError::ForeignBlock {
            number: block::number(block),
            reason: error.to_string(),
        }
    })?;
    Ok(raft.raft_index)
}
