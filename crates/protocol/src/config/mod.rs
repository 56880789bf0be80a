//! Channel configuration: the tree, what it means, how it may change, how it begins.
//!
//! [`ChannelConfig`] is one whole, valid configuration, parsed once and shared behind an `Arc`.
//! [`update`] computes a change, [`ChannelConfig::propose`] and [`ChannelConfig::validate`] decide on
//! one, [`genesis`] makes the first block, [`consenters`] holds the rules for the etcdraft metadata
//! that orderers check on top (channel-config).

pub mod capabilities;
pub mod consent;
pub mod consenters;
mod error;
pub mod genesis;
mod maintenance;
mod propose;
mod sections;
pub mod settings;
mod transition;
pub mod tree;
pub mod update;

pub use error::ConfigError;
pub use maintenance::check_maintenance;
pub use sections::{ApplicationOrg, OrdererOrg};

use crate::block::{self, BlockSignature};
use crate::envelope::decode;
use crate::names;
use bytes::Bytes;
use capabilities::Capabilities;
use consilium_msp::{MspManager, PolicyManager, SignedData};
use consilium_proto::{common, etcdraft, msp, orderer};
use prost::Message;
use sections::{Application, Orderer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Policies that nodes ask for by absolute path.
pub mod paths {
    /// Who may read the channel.
    pub const READERS: &str = "/Channel/Readers";
    /// Who may submit to the channel.
    pub const WRITERS: &str = "/Channel/Writers";
    /// Who may read, of the application organizations.
    pub const APPLICATION_READERS: &str = "/Channel/Application/Readers";
    /// Who may propose, of the application organizations.
    pub const APPLICATION_WRITERS: &str = "/Channel/Application/Writers";
    /// Who administers the application organizations.
    pub const APPLICATION_ADMINS: &str = "/Channel/Application/Admins";
    /// The default endorsement policy.
    pub const ENDORSEMENT: &str = "/Channel/Application/Endorsement";
    /// Who has to endorse chaincode definitions.
    pub const LIFECYCLE_ENDORSEMENT: &str = "/Channel/Application/LifecycleEndorsement";
    /// Who may read in maintenance mode.
    pub const ORDERER_READERS: &str = "/Channel/Orderer/Readers";
    /// Who may submit in maintenance mode.
    pub const ORDERER_WRITERS: &str = "/Channel/Orderer/Writers";
    /// Whose signatures make a block.
    pub const BLOCK_VALIDATION: &str = "/Channel/Orderer/BlockValidation";
}

/// One configuration of a channel, whole and valid. Immutable: a change makes a new one.
pub struct ChannelConfig {
    channel_id: String,
    config: common::Config,
    capabilities: Capabilities,
    orderer: Orderer,
    application: Option<Application>,
    orderer_addresses: Vec<String>,
    has_consortiums: bool,
    msps: Arc<MspManager>,
    policies: PolicyManager,
}

impl std::fmt::Debug for ChannelConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChannelConfig")
            .field("channel_id", &self.channel_id)
            .field("sequence", &self.config.sequence)
            .finish_non_exhaustive()
    }
}

impl ChannelConfig {
    /// Parses and checks a whole configuration (channel-config, section 3).
    pub fn new(channel: &str, config: common::Config) -> Result<Self, ConfigError> {
        names::validate_channel_id(channel)?;
        let root = config
            .channel_group
            .as_ref()
            .ok_or_else(|| ConfigError::Invalid("config must contain a channel group".into()))?;
        let parsed = sections::parse(channel, root)?;
        tree::flatten(root)?;
        let msps = Arc::new(MspManager::new(parsed.msps)?);
        let policies = PolicyManager::new(root, msps.clone())?;
        Ok(Self {
            channel_id: channel.to_owned(),
            capabilities: parsed.capabilities,
            orderer: parsed.orderer,
            application: parsed.application,
            orderer_addresses: parsed.orderer_addresses,
            has_consortiums: parsed.has_consortiums,
            config,
            msps,
            policies,
        })
    }

    /// The configuration that a config block carries. Its `last_update` is not looked at: for blocks
    /// that a trusted ledger holds, or that an administrator hands over to join a channel.
    pub fn from_block(block: &common::Block) -> Result<Self, ConfigError> {
        let (channel, envelope) = block::config_envelope(block)?;
        let config = envelope
            .config
            .ok_or_else(|| ConfigError::Invalid("channelconfig Config cannot be nil".into()))?;
        Self::new(&channel, config)
    }

    /// Channel name.
    pub fn channel_id(&self) -> &str {
        &self.channel_id
    }

    /// How many updates it has seen.
    pub fn sequence(&self) -> u64 {
        self.config.sequence
    }

    /// The configuration as a message.
    pub fn config(&self) -> &common::Config {
        &self.config
    }

    /// The root group of the tree.
    pub fn root(&self) -> &common::ConfigGroup {
        static EMPTY: common::ConfigGroup = common::ConfigGroup {
            version: 0,
            groups: BTreeMap::new(),
            values: BTreeMap::new(),
            policies: BTreeMap::new(),
            mod_policy: String::new(),
        };
        self.config.channel_group.as_ref().unwrap_or(&EMPTY)
    }

    /// The MSPs of all organizations.
    pub fn msps(&self) -> &Arc<MspManager> {
        &self.msps
    }

    /// The policies by absolute path (see [`paths`]).
    pub fn policies(&self) -> &PolicyManager {
        &self.policies
    }

    /// When blocks are cut.
    pub fn batch_size(&self) -> &orderer::BatchSize {
        &self.orderer.batch_size
    }

    /// How long a message may wait for others.
    pub fn batch_timeout(&self) -> Duration {
        self.orderer.batch_timeout
    }

    /// Consensus type, its metadata and state.
    pub fn consensus(&self) -> &orderer::ConsensusType {
        &self.orderer.consensus
    }

    /// The BFT consenter mapping; empty under etcdraft.
    pub fn consenter_mapping(&self) -> &[common::Consenter] {
        &self.orderer.consenters
    }

    /// Whether the channel is in maintenance mode.
    pub fn in_maintenance(&self) -> bool {
        self.consensus().state == orderer::consensus_type::State::Maintenance as i32
    }

    /// The etcdraft metadata: consenters and options.
    pub fn raft_metadata(&self) -> Result<etcdraft::ConfigMetadata, ConfigError> {
        Ok(decode("ConfigMetadata", &self.orderer.consensus.metadata)?)
    }

    /// Organizations of the application section, by group name.
    pub fn application_orgs(&self) -> &[ApplicationOrg] {
        self.application
            .as_ref()
            .map_or(&[], |application| &application.orgs)
    }

    /// Whether there is an application section.
    pub fn has_application(&self) -> bool {
        self.application.is_some()
    }

    /// Whether this is the configuration of an old system channel.
    pub fn has_consortiums(&self) -> bool {
        self.has_consortiums
    }

    /// Organizations of the orderer section, by group name.
    pub fn orderer_orgs(&self) -> &[OrdererOrg] {
        &self.orderer.orgs
    }

    /// `host:port` of all orderers: those of the organizations, else the deprecated global ones.
    pub fn orderer_endpoints(&self) -> Vec<String> {
        let of_orgs: Vec<String> = self
            .orderer_orgs()
            .iter()
            .flat_map(|org| org.endpoints.clone())
            .collect();
        if of_orgs.is_empty() {
            self.orderer_addresses.clone()
        } else {
            of_orgs
        }
    }

    /// The policy path that the channel's ACLs name for a resource; `None` when they do not, and the
    /// default applies.
    pub fn acl(&self, resource: &str) -> Option<&str> {
        self.application
            .as_ref()?
            .acls
            .get(resource)
            .map(String::as_str)
    }

    /// Group name of the application organization with this MSP id.
    pub fn application_org_group(&self, msp_id: &str) -> Option<&str> {
        self.application_orgs()
            .iter()
            .find(|org| org.msp_id == msp_id)
            .map(|org| org.group.as_str())
    }

    /// All capabilities, by level.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether exactly this channel capability is listed.
    pub fn has_channel_capability(&self, name: &str) -> bool {
        self.capabilities.channel.contains(name)
    }

    /// Whether exactly this orderer capability is listed.
    pub fn has_orderer_capability(&self, name: &str) -> bool {
        self.capabilities.orderer.contains(name)
    }

    /// Whether exactly this application capability is listed.
    pub fn has_application_capability(&self, name: &str) -> bool {
        self.capabilities.application.contains(name)
    }

    /// Whether this channel capability or a later one is listed.
    pub fn channel_at_least(&self, name: &str) -> bool {
        capabilities::at_least(&self.capabilities.channel, &capabilities::CHANNEL, name)
    }

    /// Whether this orderer capability or a later one is listed.
    pub fn orderer_at_least(&self, name: &str) -> bool {
        capabilities::at_least(&self.capabilities.orderer, &capabilities::ORDERER, name)
    }

    /// Whether this application capability or a later one is listed.
    pub fn application_at_least(&self, name: &str) -> bool {
        capabilities::at_least(
            &self.capabilities.application,
            &capabilities::APPLICATION,
            name,
        )
    }

    /// TLS roots and intermediates (PEM) of all organizations.
    pub fn tls_roots(&self) -> Vec<Bytes> {
        self.msps
            .msps()
            .flat_map(|msp| msp.tls_root_pems())
            .collect()
    }

    /// TLS roots and intermediates (PEM) of the orderer organizations.
    pub fn orderer_tls_roots(&self) -> Vec<Bytes> {
        self.tls_roots_of(self.orderer_orgs().iter().map(|org| org.msp_id.as_str()))
    }

    /// TLS roots and intermediates (PEM) of the application organizations.
    pub fn application_tls_roots(&self) -> Vec<Bytes> {
        self.tls_roots_of(
            self.application_orgs()
                .iter()
                .map(|org| org.msp_id.as_str()),
        )
    }

    fn tls_roots_of<'a>(&self, msp_ids: impl Iterator<Item = &'a str>) -> Vec<Bytes> {
        let distinct: std::collections::BTreeSet<_> = msp_ids.collect();
        distinct
            .into_iter()
            .filter_map(|msp_id| self.msps.msp(msp_id))
            .flat_map(|msp| msp.tls_root_pems())
            .collect()
    }

    /// Checks a block's signatures against `/Channel/Orderer/BlockValidation`. Hashes and structure
    /// are [`block::check_structure`]'s and [`block::check_successor`]'s.
    pub fn verify_block_signatures(&self, block: &common::Block) -> Result<(), ConfigError> {
        let parts = block::signature_parts(block)?;
        // Numbers instead of identities are understood only where BFT consensus is possible.
        let by_number = self.channel_at_least("V3_0");
        let set: Vec<SignedData> = parts
            .into_iter()
            .filter_map(|part| match part {
                BlockSignature::Identity(signed) => Some(signed),
                BlockSignature::Consenter {
                    id,
                    data,
                    signature,
                } => {
                    let consenter = self
                        .orderer
                        .consenters
                        .iter()
                        .find(|c| by_number && c.id == id)?;
                    let identity = msp::SerializedIdentity {
                        mspid: consenter.msp_id.clone(),
                        id_bytes: consenter.identity.clone(),
                    };
                    Some(SignedData {
                        data,
                        identity: identity.encode_to_vec().into(),
                        signature,
                    })
                }
            })
            .collect();
        Ok(self
            .policies
            .policy(paths::BLOCK_VALIDATION)
            .evaluate(&set)?)
    }
}
