//! The sections of a configuration, parsed and checked value by value (channel-config, sections 2
//! and 3).

use super::{Capabilities, ConfigError, capabilities};
use crate::duration::{self, Signed};
use crate::envelope::decode;
use consilium_msp::Msp;
use consilium_proto::{common, msp, orderer, protos};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An organization with peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationOrg {
    /// Name of its group, which policy paths use.
    pub group: String,
    /// Its MSP id, which identities and implicit collections use.
    pub msp_id: String,
    /// Host and port of its anchor peers. Entries with an impossible port are left out.
    pub anchor_peers: Vec<(String, u16)>,
}

/// An organization with orderers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdererOrg {
    /// Name of its group, which policy paths use.
    pub group: String,
    /// Its MSP id.
    pub msp_id: String,
    /// `host:port` of its orderers.
    pub endpoints: Vec<String>,
}

pub(super) struct Orderer {
    pub consensus: orderer::ConsensusType,
    pub batch_size: orderer::BatchSize,
    pub batch_timeout: Duration,
    pub consenters: Vec<common::Consenter>,
    pub orgs: Vec<OrdererOrg>,
}

pub(super) struct Application {
    pub orgs: Vec<ApplicationOrg>,
    /// Absolute policy path by resource.
    pub acls: BTreeMap<String, String>,
}

pub(super) struct Sections {
    pub capabilities: Capabilities,
    pub orderer: Orderer,
    pub application: Option<Application>,
    pub orderer_addresses: Vec<String>,
    pub has_consortiums: bool,
    pub msps: Vec<Arc<Msp>>,
}

fn invalid<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(text.into()))
}

/// Puts a step's name before the text of what went wrong in it.
fn within<T>(step: &str, result: Result<T, ConfigError>) -> Result<T, ConfigError> {
    result.map_err(|error| ConfigError::Invalid(format!("{step}: {error}")))
}

/// A value of a group; the empty message when it is absent, as Fabric reads it.
fn value<M: Message + Default>(
    group: &common::ConfigGroup,
    key: &str,
    message: &'static str,
) -> Result<M, ConfigError> {
    let Some(value) = group.values.get(key) else {
        return Ok(M::default());
    };
    decode(message, &value.value)
        .map_err(|error| ConfigError::Invalid(format!("failed to deserialize values: {error}")))
}

fn only_keys(group: &common::ConfigGroup, known: &[&str]) -> Result<(), ConfigError> {
    match group
        .values
        .keys()
        .find(|key| !known.contains(&key.as_str()))
    {
        Some(key) => invalid(format!(
            "failed to deserialize values: Unexpected key {key}"
        )),
        None => Ok(()),
    }
}

fn listed(group: Option<&common::ConfigGroup>) -> Result<BTreeSet<String>, ConfigError> {
    let Some(group) = group else {
        return Ok(BTreeSet::new());
    };
    let message: common::Capabilities = value(group, "Capabilities", "Capabilities")?;
    Ok(message.capabilities.into_keys().collect())
}

pub(super) fn parse(channel: &str, root: &common::ConfigGroup) -> Result<Sections, ConfigError> {
    let Some(orderer_group) = root.groups.get("Orderer") else {
        return invalid(format!(
            "[channel {channel}] cannot create channel because ChannelConfig is missing OrdererConfig"
        ));
    };
    let application_group = root.groups.get("Application");
    if !orderer_group.values.contains_key("Capabilities") {
        if root.values.contains_key("Capabilities") {
            return invalid("cannot enable channel capabilities without orderer support first");
        }
        if application_group.is_some_and(|group| group.values.contains_key("Capabilities")) {
            return invalid("cannot enable application capabilities without orderer support first");
        }
    }
    within(
        "initializing channelconfig failed",
        parse_groups(root, orderer_group, application_group),
    )
}

fn parse_groups(
    root: &common::ConfigGroup,
    orderer_group: &common::ConfigGroup,
    application_group: Option<&common::ConfigGroup>,
) -> Result<Sections, ConfigError> {
    only_keys(
        root,
        &[
            "HashingAlgorithm",
            "BlockDataHashingStructure",
            "OrdererAddresses",
            "Orderers",
            "Consortium",
            "Capabilities",
        ],
    )?;
    value::<common::Orderers>(root, "Orderers", "Orderers")?;
    value::<common::Consortium>(root, "Consortium", "Consortium")?;
    if let Some(name) = root
        .groups
        .keys()
        .find(|name| !["Orderer", "Application", "Consortiums"].contains(&name.as_str()))
    {
        return invalid(format!("Disallowed channel group: {name}"));
    }
    let capabilities = Capabilities {
        channel: listed(Some(root))?,
        orderer: listed(Some(orderer_group))?,
        application: listed(application_group)?,
    };
    let orderer_addresses = channel_values(root, &capabilities)?;
    let mut organizations = Organizations {
        capabilities: &capabilities,
        msps: BTreeMap::new(),
    };
    let orderer = within(
        "could not create channel Orderer sub-group config",
        parse_orderer(orderer_group, &mut organizations),
    )?;
    let application = application_group
        .map(|group| parse_application(group, &mut organizations))
        .transpose();
    let application = within(
        "could not create channel Application sub-group config",
        application,
    )?;
    let consortiums = root.groups.get("Consortiums");
    within(
        "could not create channel Consortiums sub-group config",
        consortiums.map_or(Ok(()), |group| check_consortiums(group, &mut organizations)),
    )?;
    let msps = organizations
        .msps
        .into_values()
        .map(|(_, msp)| msp)
        .collect();
    Ok(Sections {
        orderer,
        application,
        orderer_addresses,
        has_consortiums: consortiums.is_some(),
        msps,
        capabilities,
    })
}

/// Consortiums of an old system channel mean nothing any more, but have to be well-formed, and their
/// organizations' MSPs are MSPs of the channel. Values beside the consortiums themselves are not
/// looked at (fabric: common/channelconfig/consortiums.go).
fn check_consortiums(
    group: &common::ConfigGroup,
    organizations: &mut Organizations<'_>,
) -> Result<(), ConfigError> {
    for consortium in group.groups.values() {
        only_keys(consortium, &["ChannelCreationPolicy"])?;
        value::<common::Policy>(consortium, "ChannelCreationPolicy", "Policy")?;
        for (name, org) in &consortium.groups {
            no_groups(org, "organizations do not support sub-groups")?;
            only_keys(org, &["MSP"])?;
            organizations.add(name, org)?;
        }
    }
    Ok(())
}

/// Organizations have no groups below them.
fn no_groups(organization: &common::ConfigGroup, refusal: &str) -> Result<(), ConfigError> {
    if organization.groups.is_empty() {
        return Ok(());
    }
    invalid(refusal)
}

fn channel_at_least(capabilities: &Capabilities, name: &str) -> bool {
    capabilities::at_least(&capabilities.channel, &capabilities::CHANNEL, name)
}

fn channel_values(
    root: &common::ConfigGroup,
    capabilities: &Capabilities,
) -> Result<Vec<String>, ConfigError> {
    let hashing: common::HashingAlgorithm = value(root, "HashingAlgorithm", "HashingAlgorithm")?;
    if !["SHA256", "SHA3_256"].contains(&hashing.name.as_str()) {
        return invalid(format!("Unknown hashing algorithm type: {}", hashing.name));
    }
    let structure: common::BlockDataHashingStructure = value(
        root,
        "BlockDataHashingStructure",
        "BlockDataHashingStructure",
    )?;
    if structure.width != u32::MAX {
        return invalid("BlockDataHashStructure width only supported at MaxUint32 in this version");
    }
    let addresses: common::OrdererAddresses = value(root, "OrdererAddresses", "OrdererAddresses")?;
    if channel_at_least(capabilities, "V3_0") {
        if !addresses.addresses.is_empty() {
            return invalid(
                "global OrdererAddresses are not allowed with V3_0 capability, use org specific addresses only",
            );
        }
    } else if addresses.addresses.is_empty() && !channel_at_least(capabilities, "V1_4_2") {
        return invalid("Must set some OrdererAddresses");
    }
    Ok(addresses.addresses)
}

/// The MSPs met so far, by id, with what they came from.
struct Organizations<'a> {
    capabilities: &'a Capabilities,
    msps: BTreeMap<String, (msp::MspConfig, Arc<Msp>)>,
}

impl Organizations<'_> {
    /// Sets up an organization's MSP and returns its id.
    fn add(&mut self, name: &str, group: &common::ConfigGroup) -> Result<String, ConfigError> {
        let config: msp::MspConfig = value(group, "MSP", "MSPConfig")?;
        if let Some(msp_id) = self.id_of(&config) {
            return Ok(msp_id);
        }
        let msp = Msp::from_config(&config, self.capabilities.msp_version())?;
        let msp_id = msp.id().to_owned();
        if msp_id.is_empty() {
            return invalid(format!("MSP for org {name} has empty MSP ID"));
        }
        if self.msps.contains_key(&msp_id) {
            return invalid(format!(
                "Attempted to define two different versions of MSP: {msp_id}"
            ));
        }
        self.msps.insert(msp_id.clone(), (config, Arc::new(msp)));
        Ok(msp_id)
    }

    /// The id of an MSP that was set up from the very same configuration.
    fn id_of(&self, config: &msp::MspConfig) -> Option<String> {
        let (msp_id, _) = self.msps.iter().find(|(_, (known, _))| known == config)?;
        Some(msp_id.clone())
    }
}

fn parse_orderer(
    group: &common::ConfigGroup,
    organizations: &mut Organizations<'_>,
) -> Result<Orderer, ConfigError> {
    only_keys(
        group,
        &[
            "ConsensusType",
            "BatchSize",
            "BatchTimeout",
            "ChannelRestrictions",
            "Capabilities",
            "Orderers",
            "KafkaBrokers",
        ],
    )?;
    let batch_size: orderer::BatchSize = value(group, "BatchSize", "BatchSize")?;
    check_batch_size(&batch_size)?;
    let timeout: orderer::BatchTimeout = value(group, "BatchTimeout", "BatchTimeout")?;
    let batch_timeout = match duration::parse(&timeout.timeout) {
        Some(Signed::Forward(timeout)) if !timeout.is_zero() => timeout,
        Some(timeout) => {
            let value = match timeout {
                Signed::Forward(length) => duration::format(length),
                Signed::Backward(length) => format!("-{}", duration::format(length)),
            };
            return invalid(format!(
                "Attempted to set the batch timeout to a non-positive value: {value}"
            ));
        }
        None => {
            return invalid(format!(
                "Attempted to set the batch timeout to a invalid value: {}",
                duration::fault(&timeout.timeout)
            ));
        }
    };
    value::<orderer::ChannelRestrictions>(group, "ChannelRestrictions", "ChannelRestrictions")?;
    value::<orderer::KafkaBrokers>(group, "KafkaBrokers", "KafkaBrokers")?;
    let mapping: common::Orderers = value(group, "Orderers", "Orderers")?;
    let mut orgs = Vec::with_capacity(group.groups.len());
    for (name, org) in &group.groups {
        no_groups(org, "OrdererOrg config does not allow sub-groups")?;
        only_keys(org, &["MSP", "Endpoints"])?;
        if org.values.contains_key("Endpoints")
            && !channel_at_least(organizations.capabilities, "V1_4_2")
        {
            return invalid(format!(
                "Orderer Org {name} cannot contain endpoints value until V1_4_2+ capabilities have been enabled"
            ));
        }
        let msp_id = organizations.add(name, org)?;
        let endpoints: common::OrdererAddresses = value(org, "Endpoints", "OrdererAddresses")?;
        orgs.push(OrdererOrg {
            group: name.clone(),
            msp_id,
            endpoints: endpoints.addresses,
        });
    }
    if channel_at_least(organizations.capabilities, "V3_0") {
        let without: Vec<&str> = orgs
            .iter()
            .filter(|org| org.endpoints.is_empty())
            .map(|org| org.group.as_str())
            .collect();
        if !without.is_empty() {
            return invalid(format!(
                "some orderer organizations endpoints are empty: [{}]",
                without.join(" ")
            ));
        }
    }
    Ok(Orderer {
        consensus: value(group, "ConsensusType", "ConsensusType")?,
        batch_size,
        batch_timeout,
        consenters: mapping.consenter_mapping,
        orgs,
    })
}

fn check_batch_size(size: &orderer::BatchSize) -> Result<(), ConfigError> {
    let fields = [
        ("max message count", size.max_message_count),
        ("absolute max bytes", size.absolute_max_bytes),
        ("preferred max bytes", size.preferred_max_bytes),
    ];
    if let Some((name, value)) = fields.into_iter().find(|(_, value)| *value == 0) {
        return invalid(format!(
            "Attempted to set the batch size {name} to an invalid value: {value}"
        ));
    }
    if size.preferred_max_bytes > size.absolute_max_bytes {
        return invalid(format!(
            "Attempted to set the batch size preferred max bytes ({}) greater than the absolute max bytes ({}).",
            size.preferred_max_bytes, size.absolute_max_bytes
        ));
    }
    Ok(())
}

fn parse_application(
    group: &common::ConfigGroup,
    organizations: &mut Organizations<'_>,
) -> Result<Application, ConfigError> {
    only_keys(group, &["Capabilities", "ACLs"])?;
    let acls: protos::AcLs = value(group, "ACLs", "ACLs")?;
    if group.values.contains_key("ACLs")
        && !capabilities::at_least(
            &organizations.capabilities.application,
            &capabilities::APPLICATION,
            "V1_2",
        )
    {
        return invalid("ACLs may not be specified without the required capability");
    }
    let acls = acls
        .acls
        .into_iter()
        .filter(|(_, resource)| !resource.policy_ref.is_empty())
        .map(|(name, resource)| {
            let absolute = resource.policy_ref.starts_with('/');
            let path = if absolute {
                resource.policy_ref
            } else {
                format!("/Channel/Application/{}", resource.policy_ref)
            };
            (name, path)
        })
        .collect();
    let mut orgs = Vec::with_capacity(group.groups.len());
    for (name, org) in &group.groups {
        no_groups(org, "ApplicationOrg config does not allow sub-groups")?;
        only_keys(org, &["MSP", "AnchorPeers"])?;
        let msp_id = organizations.add(name, org)?;
        let anchors: protos::AnchorPeers = value(org, "AnchorPeers", "AnchorPeers")?;
        let anchor_peers = anchors
            .anchor_peers
            .into_iter()
            .filter_map(|peer| Some((peer.host, u16::try_from(peer.port).ok()?)))
            .collect();
        orgs.push(ApplicationOrg {
            group: name.clone(),
            msp_id,
            anchor_peers,
        });
    }
    Ok(Application { orgs, acls })
}
