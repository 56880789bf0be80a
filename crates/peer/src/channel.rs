//! A channel at this peer: its ledger, the configuration in force, and how blocks enter it.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use consilium_chaincode::lifecycle::{self, Definition};
use consilium_deliver::BlockSource;
use consilium_ledger::{Ledger, LedgerError, PrivateBlock, Room};
use consilium_msp::{Identity, LocalMsp, SignedData};
use consilium_proto::common;
use consilium_protocol::{
    block,
    config::{ChannelConfig, ConfigError},
};
use moka::sync::Cache;
use prost::Message;
use tokio::sync::{broadcast, watch};

use crate::{
    acl::{self, Proof},
    crypto::VerificationPool,
    entrance::Entrance,
    events::{CommittedBlock, told},
    private::{Private, Source},
    validate::{
        self, ChaincodePolicy, Definitions, LedgerState, Lookup, Policies, Prepared, Terminal,
    },
};

/// Committed blocks that a slow subscriber may lag behind before it has to read the ledger.
const COMMITS_KEPT: usize = 64;
/// Access decisions remembered per channel.
const ACCESS_KEPT: u64 = 10_000;
/// Identities remembered per channel with whether they are members.
const MEMBERS_KEPT: u64 = 4096;

type Members = Cache<(u64, Bytes), Option<Arc<Identity>>>;

/// Why a channel does not open or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The ledger failed.
    #[error("ledger of channel {channel}: {source}")]
    Ledger {
        /// Channel id.
        channel: String,
        /// What failed.
        source: LedgerError,
    },
    /// The ledger holds no readable configuration.
    #[error("configuration of channel {channel}: {source}")]
    Config {
        /// Channel id.
        channel: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// The chain is inconsistent.
    #[error("chain of channel {channel}: {reason}")]
    Chain {
        /// Channel id.
        channel: String,
        /// What is wrong.
        reason: String,
    },
    /// A block cannot be committed.
    #[error("cannot commit block {number} of channel {channel}: {source}")]
    Terminal {
        /// Channel id.
        channel: String,
        /// Block number.
        number: u64,
        /// Why.
        source: Terminal,
    },
    /// The configuration asks for rules of validation that are not built here.
    #[error(
        "cannot validate block {number} of channel {channel}: its application capability is older than V2_0, and transactions are judged by other rules under it, which this peer does not have"
    )]
    Capability {
        /// Channel id.
        channel: String,
        /// Block number.
        number: u64,
    },
    /// The peer stops while a block waits for room on the disk; the block comes again later.
    #[error("channel {channel} closes while block {number} waits for room on the disk")]
    Closing {
        /// Channel id.
        channel: String,
        /// Block number.
        number: u64,
    },
    /// The channel stopped before.
    #[error("channel {channel} has stopped: {reason}")]
    Halted {
        /// Channel id.
        channel: String,
        /// Why it stopped.
        reason: String,
    },
}

/// A channel that this peer has joined.
pub struct PeerChannel {
    name: String,
    ledger: Arc<Ledger>,
    local_msp: LocalMsp,
    policies: ArcSwap<Policies>,
    /// Height after everything about a block is in force: ledger, configuration.
    applied: watch::Sender<u64>,
    commits: broadcast::Sender<Arc<CommittedBlock>>,
    halted: OnceLock<String>,
    /// How private data comes; without it, from what waits in the ledger alone.
    private: OnceLock<Arc<Private>>,
    /// How blocks come, while the channel runs.
    entrance: OnceLock<Arc<Entrance>>,
    room: Room,
    definitions: Definitions,
    /// Changes when a definition or an approval may have.
    defined: watch::Sender<u64>,
    access: Cache<(u64, &'static str, Bytes), Result<(), String>>,
    members: Members,
}

impl PeerChannel {
    /// Takes up a channel where its ledger ends.
    ///
    /// # Errors
    /// When the ledger or the configuration in it cannot be read.
    pub fn open(
        ledger: Arc<Ledger>,
        local_msp: impl Into<LocalMsp>,
    ) -> Result<Arc<Self>, ChannelError> {
        let name = ledger.channel_id().to_owned();
        let config = Arc::new(read_config(&name, &ledger)?);
        let height = ledger.height();
        Ok(Arc::new(Self {
            name,
            ledger,
            local_msp: local_msp.into(),
            policies: ArcSwap::from_pointee(Policies::new(config)),
            applied: watch::Sender::new(height),
            commits: broadcast::Sender::new(COMMITS_KEPT),
            halted: OnceLock::new(),
            private: OnceLock::new(),
            entrance: OnceLock::new(),
            room: Room::default(),
            definitions: Definitions::default(),
            defined: watch::Sender::new(0),
            access: Cache::new(ACCESS_KEPT),
            members: Cache::new(MEMBERS_KEPT),
        }))
    }

    /// Lets private data come from other peers. Before the first block is committed.
    pub(crate) fn exchange_private(&self, private: Arc<Private>) {
        self.ledger.keep_staged_for(private.transient_retention());
        let _ = self.private.set(private);
    }

    /// Lets blocks in.
    pub(crate) fn set_entrance(&self, entrance: Arc<Entrance>) {
        // Set once, when the channel is taken up.
        let _ = self.entrance.set(entrance);
    }

    pub(crate) fn entrance(&self) -> Option<&Arc<Entrance>> {
        self.entrance.get()
    }

    /// Who was found to be a member or not, by the configuration's sequence and identity.
    pub(crate) fn known_members(&self) -> &Members {
        &self.members
    }

    /// Channel id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The channel's ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<ChannelConfig> {
        self.policies.load().config().clone()
    }

    /// The compiled endorsement policies of the configuration in force.
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.load_full()
    }

    /// The committed definition of a chaincode.
    ///
    /// # Errors
    /// When state cannot be read or decoded.
    pub fn definition(&self, name: &str) -> Result<Option<Definition>, String> {
        let reader = self.ledger.reader().map_err(|error| error.to_string())?;
        lifecycle::definition(&reader, name).map_err(|error| error.to_string())
    }

    /// The validation rules of a chaincode as committed; `None` when it is not defined.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn chaincode_policy(&self, name: &str) -> Result<Option<Arc<ChaincodePolicy>>, String> {
        let generation = match self.definitions.lookup(name) {
            Lookup::Known(policy) => return Ok(policy),
            Lookup::Unknown(generation) => generation,
        };
        let state = LedgerState::new(&self.ledger).map_err(|error| error.to_string())?;
        let policy = state.read_chaincode_policy(name)?;
        self.definitions.insert(generation, name, policy.clone());
        Ok(policy)
    }

    /// Changes with every block that may define or approve a chaincode.
    pub(crate) fn subscribe_definitions(&self) -> watch::Receiver<u64> {
        self.defined.subscribe()
    }

    /// Grows whenever a chaincode definition may have changed.
    pub fn definitions_generation(&self) -> u64 {
        self.definitions.generation()
    }

    /// A committed block with what its transactions tell; `None` when there is no such block.
    ///
    /// # Errors
    /// When the ledger cannot be read, or began with a snapshot of a later block.
    pub fn committed_block(&self, number: u64) -> Result<Option<CommittedBlock>, String> {
        let first = self.ledger.first_block();
        if number < first {
            // fabric: common/ledger/blkstorage/blockfile_mgr.go
            return Err(format!(
                "cannot serve block [{number}]. The ledger is bootstrapped from a snapshot. First available block = [{first}]"
            ));
        }
        let Some(bytes) = BlockSource::block_bytes(self, number)? else {
            return Ok(None);
        };
        let block = common::Block::decode(bytes).map_err(|error| error.to_string())?;
        Ok(Some(CommittedBlock::from_block(&block)))
    }

    /// Committed blocks from now on. A subscriber that lags behind is told so and reads the ledger.
    pub fn subscribe_commits(&self) -> broadcast::Receiver<Arc<CommittedBlock>> {
        self.commits.subscribe()
    }

    /// Height whose blocks are fully in force (ledger and configuration).
    pub fn subscribe_height(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Why the channel has stopped, if it has.
    pub fn halted(&self) -> Option<&str> {
        self.halted.get().map(String::as_str)
    }

    /// Why the channel waits, if it does: there is no room on its disk. It goes on by itself.
    pub fn stalled(&self) -> Option<String> {
        self.room.missing()
    }

    /// No block waits for room any more: the peer stops.
    pub(crate) fn close(&self) {
        self.room.give_up();
    }

    pub(crate) fn halt(&self, reason: String) {
        tracing::error!(channel = self.name, reason, "channel has stopped");
        let _ = self.halted.set(reason);
    }

    /// Checks a resource for a signed request; the signature is verified every time.
    ///
    /// # Errors
    /// Fabric's text of the refusal.
    pub fn check_acl(&self, resource: &str, data: &SignedData) -> Result<(), String> {
        acl::check_channel(
            resource,
            &self.config(),
            &self.local_msp.current(),
            &Proof::Signed(data),
        )
    }

    /// Checks a resource for an identity whose signature over its request was verified before.
    /// Decisions are remembered until the configuration changes.
    ///
    /// # Errors
    /// Fabric's text of the refusal.
    pub fn check_verified(&self, resource: &'static str, creator: &Bytes) -> Result<(), String> {
        let config = self.config();
        let sequence = config.sequence();
        if let Some(known) = self.access.get(&(sequence, resource, creator.clone())) {
            return known;
        }
        let proof = Proof::Verified(creator);
        let decision = acl::check_channel(resource, &config, &self.local_msp.current(), &proof);
        // A copy: the creator is a slice of a request that must not live on with it.
        let creator = Bytes::copy_from_slice(creator);
        self.access
            .insert((sequence, resource, creator), decision.clone());
        decision
    }

    /// Checks a resource for a signed request: the signature first, then the remembered decision
    /// about its identity.
    ///
    /// # Errors
    /// Fabric's text of the refusal.
    pub fn check_signed(&self, resource: &'static str, data: &SignedData) -> Result<(), String> {
        let signed = self
            .config()
            .msps()
            .deserialize(&data.identity)
            .ok()
            .is_some_and(|identity| identity.verify(&data.data, &data.signature).is_ok());
        if signed {
            self.check_verified(resource, &data.identity)
        } else {
            // The policy's own words for a set without a valid signature.
            self.check_acl(resource, data)
        }
    }

    /// Decides a prepared block and commits it. Blocks; call it off the reactor, in block order.
    ///
    /// # Errors
    /// When the block cannot be committed: the channel must stop.
    pub fn commit(&self, prepared: Prepared) -> Result<Arc<CommittedBlock>, ChannelError> {
        self.commit_on(prepared, None)
    }

    /// As [`commit`](Self::commit), large blocks judged by the pool's threads.
    pub(crate) fn commit_on(
        &self,
        prepared: Prepared,
        pool: Option<&VerificationPool>,
    ) -> Result<Arc<CommittedBlock>, ChannelError> {
        let number = prepared
            .block
            .header
            .as_ref()
            .map_or(0, |header| header.number);
        let policies = self.policies.load_full();
        if !validates(policies.config()) {
            return Err(ChannelError::Capability {
                channel: self.name.clone(),
                number,
            });
        }
        let failed = |source| ChannelError::Ledger {
            channel: self.name.clone(),
            source,
        };
        let state = LedgerState::for_block(&self.ledger, &prepared.transactions)
            .map_err(failed)?
            .with_definitions(&self.definitions);
        let decide = || validate::decide(&prepared, &state, &policies);
        let decision = match pool {
            Some(pool) if prepared.transactions.len() >= validate::WORTH_SPREADING => {
                pool.install_deciding(decide)
            }
            Some(_) | None => decide(),
        };
        let decision = decision.map_err(|source| ChannelError::Terminal {
            channel: self.name.clone(),
            number,
            source,
        })?;
        let Prepared {
            block,
            transactions,
        } = prepared;
        let may_define = validate::may_define(&transactions);
        let mut told = told(&transactions);
        let exchange = self.private.get().map(|private| {
            let sources: Vec<Source> = transactions.iter().map(|tx| tx.endorsers()).collect();
            (private, sources)
        });
        let contents: Vec<_> = block::envelopes(&block)
            .iter()
            .zip(transactions)
            .map(|(envelope, transaction)| transaction.into_commit(envelope))
            .collect();
        let state = state.into_reader();
        let private = match exchange {
            Some((private, sources)) => private
                .gather(self, number, &contents, &decision.codes, &sources)
                .map_err(failed)?,
            None => PrivateBlock::default(),
        };
        let writing = format_args!("block {number} of channel {}", self.name);
        let committed = self
            .room
            .wait_for(writing, LedgerError::is_disk_full, || {
                // Blocks are cheap to clone: their content is shared.
                let (block, codes) = (block.clone(), decision.codes.clone());
                self.ledger
                    .commit_from(&state, block, codes, &contents, &private)
            })
            .map_err(|source| match source {
                // It waits no more: the peer stops.
                source if source.is_disk_full() => ChannelError::Closing {
                    channel: self.name.clone(),
                    number,
                },
                source => failed(source),
            })?;
        if may_define {
            self.definitions.forget();
            self.defined.send_replace(number);
        }
        for (transaction, &code) in told.iter_mut().zip(&committed.codes) {
            transaction.code = code;
        }
        if let Some(config) = decision.config {
            tracing::info!(
                channel = self.name,
                block = number,
                sequence = config.sequence(),
                "configuration changed"
            );
            self.policies
                .store(Arc::new(Policies::new(Arc::new(config))));
        }
        let committed = Arc::new(CommittedBlock {
            number: committed.number,
            transactions: told,
        });
        metrics::gauge!("gossip_state_height", "channel" => self.name.clone())
            .set((number + 1) as f64);
        self.applied.send_replace(number + 1);
        // Nobody may be listening.
        let _ = self.commits.send(committed.clone());
        Ok(committed)
    }
}

/// Whether this peer has the rules by which a channel's transactions are judged. Those under older
/// capabilities are others. fabric: core/committer/txvalidator/router.go, v14
pub(crate) fn validates(config: &ChannelConfig) -> bool {
    config.application_at_least("V2_0")
}

impl BlockSource for PeerChannel {
    fn channel_id(&self) -> &str {
        &self.name
    }

    fn height(&self) -> u64 {
        *self.applied.borrow()
    }

    fn first_block(&self) -> u64 {
        self.ledger.first_block()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, String> {
        self.ledger
            .block_bytes(number)
            .map_err(|error| error.to_string())
    }

    fn config(&self) -> Arc<ChannelConfig> {
        PeerChannel::config(self)
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The configuration in force, as the state has it: a chain that began with a snapshot may not have
/// the block. fabric: core/peer/peer.go RetrievePersistedChannelConfig
fn read_config(name: &str, ledger: &Ledger) -> Result<ChannelConfig, ChannelError> {
    let failed = |source| ChannelError::Ledger {
        channel: name.to_owned(),
        source,
    };
    let state = ledger.reader().map_err(failed)?;
    let stored = state.channel_config().map_err(failed)?;
    let stored = stored.ok_or_else(|| ChannelError::Chain {
        channel: name.to_owned(),
        reason: "its state holds no configuration".to_owned(),
    })?;
    ChannelConfig::new(name, stored).map_err(|source| ChannelError::Config {
        channel: name.to_owned(),
        source,
    })
}
