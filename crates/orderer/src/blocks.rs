//! Making blocks out of applied log entries and appending them to the chain.
//!
//! Every node makes number, previous hash and metadata by itself, equal on all of them, and signs
//! its own copy. Everything here blocks on the disk: it runs off the reactor.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::SigningIdentity;
use consilium_proto::{common, etcdraft};
use consilium_protocol::block;

use crate::config_update;
use crate::configuration::{Configuration, ids_of};
use crate::error::OrdererError;
use crate::rt;
use crate::storage::BlockDisk;

/// The key under which a chain keeps the log position that its last block came from.
pub(crate) const APPLIED: &[u8] = b"raft/applied";

/// How many config blocks are read to find the last change of the list of consenters: the Raft group
/// follows a change within seconds.
const MAX_LOOK_BACK: usize = 32;

/// The end of a channel's chain, and how to add to it.
pub(crate) struct BlockWriter {
    store: Arc<dyn BlockDisk>,
    signer: SigningIdentity,
    /// `None` while there is no block.
    tip: Option<Tip>,
}

/// What the end of a chain says about the blocks that may follow.
#[derive(Clone)]
pub(crate) struct Tip {
    pub(crate) configuration: Configuration,
    last_config: u64,
    raft_index: u64,
}

/// What became of an ordered envelope or batch.
pub(crate) enum Written {
    /// A block with this number.
    Block(u64),
    /// A config block with this number, and the configuration it brings.
    Config(u64, Configuration),
    /// The chain has that entry's block already.
    Known,
    /// The config message is not valid; no node makes a block of it.
    Refused(String),
}

impl Tip {
    /// Reads the end of a chain that is not empty.
    fn read(store: &dyn BlockDisk, height: u64) -> Result<Self, OrdererError> {
        let block = |number| {
            store
                .block(number)?
                .ok_or(OrdererError::MissingBlock { number })
        };
        let last = height.checked_sub(1).ok_or(OrdererError::NoGenesis)?;
        let newest = block(last)?;
        let last_config = block::last_config(&newest)?;
        let foreign = |reason| OrdererError::ForeignBlock {
            number: last_config,
            reason,
        };
        let config_block = block(last_config)?;
        let mut configuration = Configuration::of_block(&config_block).map_err(foreign)?;
        // Back to the configuration with another list of consenters, to know who is leaving.
        let mut number = last_config;
        for _ in 0..MAX_LOOK_BACK {
            let Some(before) = number.checked_sub(1) else {
                break;
            };
            number = block::last_config(&block(before)?)?;
            let former = Configuration::of_block(&block(number)?).map_err(foreign)?;
            if !former.lists_the_same(&configuration) {
                configuration = former
                    .followed_by(configuration.config, configuration.ids)
                    .map_err(foreign)?;
                break;
            }
        }
        Ok(Self {
            configuration,
            last_config,
            raft_index: raft_index(&newest)?,
        })
    }

    /// The tip of a chain that consists of its genesis block.
    fn genesis(genesis: &common::Block) -> Result<Self, OrdererError> {
        block::check_structure(genesis)?;
        let configuration = Configuration::of_block(genesis)
            .map_err(|reason| OrdererError::ForeignBlock { number: 0, reason })?;
        Ok(Self {
            configuration,
            last_config: 0,
            raft_index: 0,
        })
    }

    /// Checks a block that another orderer made, apart from its place in the chain of hashes: its
    /// signatures, and what it says about configuration. Gives the tip behind it.
    pub(crate) fn check_next(&self, block: &common::Block) -> Result<Self, OrdererError> {
        let number = block::number(block);
        let foreign = |reason| OrdererError::ForeignBlock { number, reason };
        block::check_structure(block)?;
        self.configuration.config.verify_block_signatures(block)?;
        let raft_index = raft_index(block)?;
        let last_config = block::last_config(block)?;
        let mut configuration = self.configuration.clone();
        if block::is_config(block) {
            let [envelope] = block::envelopes(block) else {
                return Err(foreign("a config block holds one envelope".into()));
            };
            configuration = config_update::apply(&configuration, envelope).map_err(foreign)?;
            let ids = ids_of(block, &configuration.config).map_err(foreign)?;
            if ids.consenter_ids != configuration.ids.consenter_ids {
                return Err(foreign("it gives other ids to the consenters".into()));
            }
        } else if last_config != self.last_config {
            let reason = format!(
                "it names config block {last_config}, not {}",
                self.last_config
            );
            return Err(foreign(reason));
        }
        Ok(Self {
            configuration,
            last_config,
            raft_index,
        })
    }
}

impl BlockWriter {
    /// Reads the end of the chain.
    pub(crate) fn open(
        store: Arc<dyn BlockDisk>,
        signer: SigningIdentity,
    ) -> Result<Self, OrdererError> {
        let tip = match store.height() {
            0 => None,
            height => Some(Tip::read(&*store, height)?),
        };
        Ok(Self { store, signer, tip })
    }

    /// The end of a chain that is not empty.
    pub(crate) fn read_tip(store: &dyn BlockDisk) -> Result<Tip, OrdererError> {
        Tip::read(store, store.height())
    }

    /// The end of the chain, `None` while it is empty.
    pub(crate) fn tip(&self) -> Option<&Tip> {
        self.tip.as_ref()
    }

    fn known_tip(&self) -> Result<&Tip, OrdererError> {
        self.tip.as_ref().ok_or(OrdererError::NoGenesis)
    }

    /// Makes the block of a batch. `applied` is stored with it.
    pub(crate) fn write_batch(
        &mut self,
        envelopes: Vec<Bytes>,
        raft_index: u64,
        applied: Vec<u8>,
    ) -> Result<Written, OrdererError> {
        let tip = self.known_tip()?;
        if self.has(tip, raft_index) {
            return Ok(Written::Known);
        }
        let tip = Tip {
            raft_index,
            ..tip.clone()
        };
        let number = self.append(envelopes, tip, applied)?;
        Ok(Written::Block(number))
    }

    /// Validates a config message again, the same on every node, and makes its block. `publish`
    /// gets the new configuration before the block can be seen.
    pub(crate) fn write_config(
        &mut self,
        envelope: Bytes,
        raft_index: u64,
        applied: Vec<u8>,
        publish: impl FnOnce(&Configuration),
    ) -> Result<Written, OrdererError> {
        let tip = self.known_tip()?;
        if self.has(tip, raft_index) {
            return Ok(Written::Known);
        }
        let next = match config_update::apply(&tip.configuration, &envelope) {
            Ok(next) => next,
            Err(reason) => return Ok(Written::Refused(reason)),
        };
        publish(&next);
        let tip = Tip {
            configuration: next.clone(),
            last_config: self.store.height(),
            raft_index,
        };
        let number = self.append(vec![envelope], tip, applied)?;
        Ok(Written::Config(number, next))
    }

    /// Checks a block that another orderer sent and appends it with the signatures it came with.
    /// Gives the new configuration if it is a config block; `publish` gets it before the block can
    /// be seen.
    pub(crate) fn adopt(
        &mut self,
        block: &common::Block,
        publish: impl FnOnce(&Configuration),
    ) -> Result<(), OrdererError> {
        let tip = match &self.tip {
            Some(tip) => tip.check_next(block)?,
            None => Tip::genesis(block)?,
        };
        if block::is_config(block) {
            publish(&tip.configuration);
        }
        self.store.append(block, &[], false)?;
        self.tip = Some(tip);
        Ok(())
    }

    /// Blocks made of later entries exist: this one's was pulled before the entry was applied.
    fn has(&self, tip: &Tip, raft_index: u64) -> bool {
        if crate::deliberate::APPLY_TWICE.is_on() {
            return false;
        }
        self.store.height() > 1 && raft_index <= tip.raft_index
    }

    fn append(
        &mut self,
        envelopes: Vec<Bytes>,
        tip: Tip,
        applied: Vec<u8>,
    ) -> Result<u64, OrdererError> {
        let number = self.store.height();
        let previous = self.store.last_header_hash().unwrap_or_default();
        let mut block = block::new_block(number, previous, envelopes);
        let metadata = block::wrap_consenter_metadata(&etcdraft::BlockMetadata {
            raft_index: tip.raft_index,
            ..tip.configuration.ids.clone()
        });
        block::sign(
            &mut block,
            tip.last_config,
            metadata,
            &*self.signer.current(),
        )?;
        self.store
            .append(&block, &[(APPLIED.to_vec(), applied)], false)?;
        self.tip = Some(tip);
        Ok(number)
    }
}

/// A writer that is lent to threads that may block on the disk.
pub(crate) struct LentWriter(Option<BlockWriter>);

impl LentWriter {
    pub(crate) fn new(writer: BlockWriter) -> Self {
        Self(Some(writer))
    }

    /// Runs `work` with the writer. After one that panicked there is no writer any more.
    pub(crate) async fn run<T, F>(&mut self, work: F) -> Result<T, OrdererError>
    where
        T: Send + 'static,
        F: FnOnce(&mut BlockWriter) -> Result<T, OrdererError> + Send + 'static,
    {
        let lost = || io::Error::other("the block writer stopped in the middle of a block");
        let mut writer = self.0.take().ok_or_else(lost)?;
        let (writer, outcome) = rt::blocking(move || {
            let outcome = work(&mut writer);
            (writer, outcome)
        })
        .await?;
        self.0 = Some(writer);
        outcome
    }
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
