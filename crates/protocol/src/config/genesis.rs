//! The first block of a channel: the same tree, values and policies that configtxgen makes of a
//! profile (channel-config, sections 1 and 10).

use super::{ChannelConfig, ConfigError, capabilities};
use crate::block;
use crate::envelope::{self, HeaderSpec};
use crate::hash::sha256;
use crate::wire;
use bytes::Bytes;
use common::{ConfigGroup, ConfigPolicy, ConfigValue};
use consilium_msp::dsl;
use consilium_proto::{common, etcdraft, msp, orderer, protos};
use prost::Message;
use prost_types::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every item that configtxgen writes may be changed by the administrators of its group.
const ADMINS: &str = "Admins";

/// Orderer capabilities have no V3_0: V2_0 is the newest.
const ORDERER_CAPABILITY: &str = "V2_0";

/// A policy as a profile writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicySpec {
    /// `OR('Org1MSP.admin')`.
    Signature(String),
    /// `ANY Readers`, `MAJORITY Admins`.
    ImplicitMeta(String),
    /// One that is already a message.
    Ready(common::Policy),
}

/// Policies by name.
pub type Policies = BTreeMap<String, PolicySpec>;

fn policies<const N: usize>(list: [(&str, PolicySpec); N]) -> Policies {
    list.into_iter()
        .map(|(name, spec)| (name.to_owned(), spec))
        .collect()
}

fn implicit(text: &str) -> PolicySpec {
    PolicySpec::ImplicitMeta(text.to_owned())
}

/// Readers, Writers: ANY; Admins: MAJORITY. The usual policies of the channel.
pub fn channel_policies() -> Policies {
    policies([
        ("Readers", implicit("ANY Readers")),
        ("Writers", implicit("ANY Writers")),
        ("Admins", implicit("MAJORITY Admins")),
    ])
}

/// [`channel_policies`] with BlockValidation: any writer.
pub fn orderer_policies() -> Policies {
    let mut list = channel_policies();
    list.insert("BlockValidation".to_owned(), implicit("ANY Writers"));
    list
}

/// [`channel_policies`] with Endorsement and LifecycleEndorsement: a majority of the organizations.
pub fn application_policies() -> Policies {
    let mut list = channel_policies();
    list.insert("Endorsement".to_owned(), implicit("MAJORITY Endorsement"));
    list.insert(
        "LifecycleEndorsement".to_owned(),
        implicit("MAJORITY Endorsement"),
    );
    list
}

/// The policies of Fabric's samples for an organization with NodeOUs.
pub fn organization_policies(msp_id: &str, has_peers: bool) -> Policies {
    let any = |roles: &[&str]| {
        let principals: Vec<String> = roles
            .iter()
            .map(|role| format!("'{msp_id}.{role}'"))
            .collect();
        PolicySpec::Signature(format!("OR({})", principals.join(", ")))
    };
    if has_peers {
        policies([
            ("Readers", any(&["admin", "peer", "client"])),
            ("Writers", any(&["admin", "client"])),
            ("Admins", any(&["admin"])),
            ("Endorsement", any(&["peer"])),
        ])
    } else {
        policies([
            ("Readers", any(&["member"])),
            ("Writers", any(&["member"])),
            ("Admins", any(&["admin"])),
        ])
    }
}

/// An organization of the channel.
#[derive(Debug, Clone)]
pub struct Organization {
    /// Name of its group; policy paths use it.
    pub name: String,
    /// Its MSP, verifying material only. Its `name` is the MSP id.
    pub msp_config: msp::FabricMspConfig,
    /// `host:port` of its orderers; used when it is an orderer organization.
    pub endpoints: Vec<String>,
    /// Its anchor peers; used when it is an application organization.
    pub anchor_peers: Vec<(String, u16)>,
    /// Whether it runs orderers.
    pub is_orderer: bool,
    /// Whether it runs peers.
    pub is_application: bool,
    /// Its policies in the orderer section.
    pub orderer_policies: Policies,
    /// Its policies in the application section.
    pub application_policies: Policies,
}

impl Organization {
    /// An organization that runs both orderers and peers, named after its MSP id, with the usual
    /// policies.
    pub fn new(msp_config: msp::FabricMspConfig) -> Self {
        let msp_id = msp_config.name.clone();
        Self {
            endpoints: Vec::new(),
            anchor_peers: Vec::new(),
            is_orderer: true,
            is_application: true,
            // Members, so that nodes with the orderer's role may sign blocks.
            orderer_policies: organization_policies(&msp_id, false),
            application_policies: organization_policies(&msp_id, true),
            name: msp_id,
            msp_config,
        }
    }
}

/// Everything that a new channel starts with.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Channel name.
    pub channel: String,
    /// Its organizations.
    pub organizations: Vec<Organization>,
    /// When blocks are cut.
    pub batch_size: orderer::BatchSize,
    /// How long a message may wait for others.
    pub batch_timeout: Duration,
    /// The orderers of the Raft group, certificates in PEM.
    pub consenters: Vec<etcdraft::Consenter>,
    /// Raft options.
    pub raft: etcdraft::Options,
    /// Channel capability; none when empty.
    pub channel_capability: String,
    /// Orderer capability; none when empty.
    pub orderer_capability: String,
    /// Application capability; none when empty.
    pub application_capability: String,
    /// Policies of the channel.
    pub channel_policies: Policies,
    /// Policies of the orderer section.
    pub orderer_policies: Policies,
    /// Policies of the application section.
    pub application_policies: Policies,
    /// Policy by resource, where it differs from the default.
    pub acls: BTreeMap<String, String>,
    /// Deprecated global orderer addresses; not allowed with channel capability V3_0.
    pub orderer_addresses: Vec<String>,
}

impl Profile {
    /// A profile with configtxgen's defaults, the newest capabilities (V3_0, V2_0, V2_5) and the
    /// usual policies.
    pub fn new(
        channel: &str,
        organizations: Vec<Organization>,
        consenters: Vec<etcdraft::Consenter>,
    ) -> Self {
        Self {
            channel: channel.to_owned(),
            organizations,
            batch_size: orderer::BatchSize {
                max_message_count: 500,
                absolute_max_bytes: 10 * 1024 * 1024,
                preferred_max_bytes: 2 * 1024 * 1024,
            },
            batch_timeout: Duration::from_secs(2),
            consenters,
            raft: etcdraft::Options {
                tick_interval: "500ms".to_owned(),
                election_tick: 10,
                heartbeat_tick: 1,
                max_inflight_blocks: 5,
                snapshot_interval_size: 16 * 1024 * 1024,
            },
            channel_capability: newest(&capabilities::CHANNEL),
            orderer_capability: ORDERER_CAPABILITY.to_owned(),
            application_capability: newest(&capabilities::APPLICATION),
            channel_policies: channel_policies(),
            orderer_policies: orderer_policies(),
            application_policies: application_policies(),
            acls: BTreeMap::new(),
            orderer_addresses: Vec::new(),
        }
    }
}

fn newest(released: &[&str]) -> String {
    released.last().copied().unwrap_or_default().to_owned()
}

/// The configuration of a profile, sequence 0, checked to be valid.
pub fn config(profile: &Profile) -> Result<common::Config, ConfigError> {
    let config = common::Config {
        sequence: 0,
        channel_group: Some(channel_group(profile)?),
    };
    ChannelConfig::new(&profile.channel, config.clone())?;
    Ok(config)
}

/// The genesis block of a profile. Only the whole seconds of `timestamp` are used. Two calls differ
/// in their nonce.
pub fn block(profile: &Profile, timestamp: Timestamp) -> Result<common::Block, ConfigError> {
    Ok(block_of(
        &profile.channel,
        config(profile)?,
        timestamp,
        envelope::nonce(),
    ))
}

/// A genesis block around a configuration, with a given nonce.
pub fn block_of(
    channel: &str,
    config: common::Config,
    timestamp: Timestamp,
    nonce: Bytes,
) -> common::Block {
    let mut spec = HeaderSpec::new(
        common::HeaderType::Config,
        channel,
        Timestamp {
            seconds: timestamp.seconds,
            nanos: 0,
        },
    );
    spec.version = 1;
    // The id of nonce and (empty) creator.
    spec.tx_id = hex::encode(sha256(&nonce));
    let header = common::Header {
        channel_header: spec.channel_header().encode_to_vec().into(),
        signature_header: common::SignatureHeader {
            creator: Bytes::new(),
            nonce,
        }
        .encode_to_vec()
        .into(),
    };
    let data = common::ConfigEnvelope {
        config: Some(config),
        last_update: None,
    };
    let payload = common::Payload {
        header: Some(header),
        data: data.encode_to_vec().into(),
    };
    let envelope = common::Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::new(),
    };
    let mut block = block::new_block(0, Bytes::new(), vec![envelope.encode_to_vec().into()]);
    block::leave_unsigned(&mut block);
    block
}

fn channel_group(profile: &Profile) -> Result<ConfigGroup, ConfigError> {
    let mut root = group(&profile.channel_policies)?;
    add(
        &mut root,
        "HashingAlgorithm",
        &common::HashingAlgorithm {
            name: "SHA256".to_owned(),
        },
    );
    add(
        &mut root,
        "BlockDataHashingStructure",
        &common::BlockDataHashingStructure { width: u32::MAX },
    );
    if !profile.orderer_addresses.is_empty() {
        let addresses = common::OrdererAddresses {
            addresses: profile.orderer_addresses.clone(),
        };
        let mut value = value(&addresses);
        value.mod_policy = "/Channel/Orderer/Admins".to_owned();
        root.values.insert("OrdererAddresses".to_owned(), value);
    }
    add_capabilities(&mut root, [profile.channel_capability.as_str()]);
    root.groups
        .insert("Orderer".to_owned(), orderer_group(profile)?);
    root.groups
        .insert("Application".to_owned(), application_group(profile)?);
    Ok(root)
}

fn orderer_group(profile: &Profile) -> Result<ConfigGroup, ConfigError> {
    let mut section = group(&profile.orderer_policies)?;
    let metadata = etcdraft::ConfigMetadata {
        consenters: profile.consenters.clone(),
        options: Some(profile.raft.clone()),
    };
    let consensus = orderer::ConsensusType {
        r#type: "etcdraft".to_owned(),
        metadata: metadata.encode_to_vec().into(),
        state: orderer::consensus_type::State::Normal as i32,
    };
    add(&mut section, "ConsensusType", &consensus);
    add(&mut section, "BatchSize", &profile.batch_size);
    let timeout = crate::duration::format(profile.batch_timeout);
    add(
        &mut section,
        "BatchTimeout",
        &orderer::BatchTimeout { timeout },
    );
    add(
        &mut section,
        "ChannelRestrictions",
        &orderer::ChannelRestrictions { max_count: 0 },
    );
    add_capabilities(&mut section, [profile.orderer_capability.as_str()]);
    for organization in profile
        .organizations
        .iter()
        .filter(|organization| organization.is_orderer)
    {
        let mut org = organization_group(organization, &organization.orderer_policies)?;
        if !organization.endpoints.is_empty() {
            add(
                &mut org,
                "Endpoints",
                &common::OrdererAddresses {
                    addresses: organization.endpoints.clone(),
                },
            );
        }
        section.groups.insert(organization.name.clone(), org);
    }
    Ok(section)
}

fn application_group(profile: &Profile) -> Result<ConfigGroup, ConfigError> {
    let mut section = group(&profile.application_policies)?;
    if !profile.acls.is_empty() {
        let resources = profile.acls.iter();
        let acls = resources
            .map(|(name, policy)| {
                (
                    name.clone(),
                    protos::ApiResource {
                        policy_ref: policy.clone(),
                    },
                )
            })
            .collect();
        add(&mut section, "ACLs", &protos::AcLs { acls });
    }
    add_capabilities(&mut section, [profile.application_capability.as_str()]);
    for organization in profile
        .organizations
        .iter()
        .filter(|organization| organization.is_application)
    {
        let org = application_organization(organization)?;
        section.groups.insert(organization.name.clone(), org);
    }
    Ok(section)
}

/// The group of an organization in the application section, as it also joins a channel later.
pub fn application_organization(organization: &Organization) -> Result<ConfigGroup, ConfigError> {
    let mut org = organization_group(organization, &organization.application_policies)?;
    if !organization.anchor_peers.is_empty() {
        let anchor_peers = organization
            .anchor_peers
            .iter()
            .map(|(host, port)| protos::AnchorPeer {
                host: host.clone(),
                port: i32::from(*port),
            })
            .collect();
        add(
            &mut org,
            "AnchorPeers",
            &protos::AnchorPeers { anchor_peers },
        );
    }
    Ok(org)
}

fn organization_group(
    organization: &Organization,
    policies: &Policies,
) -> Result<ConfigGroup, ConfigError> {
    let mut org = group(policies)?;
    let config = organization.msp_config.encode_to_vec().into();
    add(&mut org, "MSP", &msp::MspConfig { r#type: 0, config });
    Ok(org)
}

fn group(policies: &Policies) -> Result<ConfigGroup, ConfigError> {
    let mut group = ConfigGroup {
        mod_policy: ADMINS.to_owned(),
        ..Default::default()
    };
    for (name, spec) in policies {
        let policy = ConfigPolicy {
            version: 0,
            policy: Some(policy(name, spec)?),
            mod_policy: ADMINS.to_owned(),
        };
        group.policies.insert(name.clone(), policy);
    }
    if let Some(missing) = ["Admins", "Readers", "Writers"]
        .into_iter()
        .find(|name| !policies.contains_key(*name))
    {
        return Err(ConfigError::Invalid(format!("no {missing} policy defined")));
    }
    Ok(group)
}

fn policy(name: &str, spec: &PolicySpec) -> Result<common::Policy, ConfigError> {
    let refuse = |error: &dyn std::fmt::Display| {
        ConfigError::Invalid(format!("invalid policy {name}: {error}"))
    };
    let (kind, value) = match spec {
        PolicySpec::Ready(policy) => return Ok(policy.clone()),
        PolicySpec::Signature(text) => (
            common::policy::PolicyType::Signature,
            dsl::parse(text).map_err(|e| refuse(&e))?.encode_to_vec(),
        ),
        PolicySpec::ImplicitMeta(text) => {
            let parsed = dsl::parse_implicit_meta(text).map_err(|e| refuse(&e))?;
            (
                common::policy::PolicyType::ImplicitMeta,
                parsed.encode_to_vec(),
            )
        }
    };
    Ok(common::Policy {
        r#type: kind as i32,
        value: value.into(),
    })
}

fn value(message: &impl Message) -> ConfigValue {
    ConfigValue {
        version: 0,
        value: message.encode_to_vec().into(),
        mod_policy: ADMINS.to_owned(),
    }
}

fn add(group: &mut ConfigGroup, key: &str, message: &impl Message) {
    group.values.insert(key.to_owned(), value(message));
}

/// Names capabilities in a group, where there are any.
pub fn add_capabilities<'a>(group: &mut ConfigGroup, names: impl IntoIterator<Item = &'a str>) {
    let mut capabilities = Vec::new();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        // Map entries spelled out as Go writes them: with the value, although it is empty.
        let mut entry = Vec::with_capacity(name.len() + 4);
        wire::put_bytes(&mut entry, 1, name.as_bytes());
        wire::put_prefix(&mut entry, 2, 0);
        wire::put_bytes(&mut capabilities, 1, &entry);
    }
    if capabilities.is_empty() {
        return;
    }
    let value = ConfigValue {
        version: 0,
        value: capabilities.into(),
        mod_policy: ADMINS.to_owned(),
    };
    group.values.insert("Capabilities".to_owned(), value);
}
