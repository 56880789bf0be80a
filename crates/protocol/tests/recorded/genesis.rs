//! Our genesis block beside the one that configtxgen made for the recorded channel.

use crate::chain;
use bytes::Bytes;
use consilium_proto::{common, msp};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::config::genesis::{self, Organization, PolicySpec, Profile};
use consilium_protocol::{block, envelope};
use prost::Message;

fn msp_of(config: &ChannelConfig, section: &str, group: &str) -> msp::FabricMspConfig {
    let value = &config.root().groups[section].groups[group].values["MSP"].value;
    let config = msp::MspConfig::decode(value.clone()).expect("MSPConfig");
    msp::FabricMspConfig::decode(config.config).expect("FabricMSPConfig")
}

/// The profile that the recorded channel was made from: sample policies, capabilities V2_0, V2_0, V2_5.
fn profile(config: &ChannelConfig) -> Profile {
    let mut organizations = Vec::new();
    for org in config.orderer_orgs() {
        let mut organization = Organization::new(msp_of(config, "Orderer", &org.group));
        organization.name.clone_from(&org.group);
        organization.is_application = false;
        organization.endpoints.clone_from(&org.endpoints);
        organization.orderer_policies = genesis::organization_policies(&org.msp_id, false);
        organizations.push(organization);
    }
    for org in config.application_orgs() {
        let mut organization = Organization::new(msp_of(config, "Application", &org.group));
        organization.name.clone_from(&org.group);
        organization.is_orderer = false;
        organization.anchor_peers.clone_from(&org.anchor_peers);
        organizations.push(organization);
    }
    let raft = config.raft_metadata().expect("raft metadata");
    let mut profile = Profile::new("mychannel", organizations, raft.consenters);
    profile.raft = raft.options.expect("options");
    profile.batch_size = *config.batch_size();
    profile.batch_timeout = config.batch_timeout();
    profile.channel_capability = "V2_0".to_owned();
    for name in ["Endorsement", "LifecycleEndorsement"] {
        let either = PolicySpec::Signature("OR('Org1MSP.peer','Org2MSP.peer')".to_owned());
        profile.application_policies.insert(name.to_owned(), either);
    }
    profile
}

#[test]
fn a_genesis_configuration_is_what_configtxgen_makes_of_the_same_profile() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let recorded = ChannelConfig::from_block(&recorded[0].block).expect("genesis");
    let ours = genesis::config(&profile(&recorded)).expect("our genesis");
    compare(
        "Channel",
        ours.channel_group.as_ref().expect("root"),
        recorded.root(),
    );
    assert_eq!(&ours, recorded.config());
}

/// Names the first difference, which a comparison of whole trees would bury.
fn compare(path: &str, ours: &common::ConfigGroup, theirs: &common::ConfigGroup) {
    assert_eq!(
        ours.groups.keys().collect::<Vec<_>>(),
        theirs.groups.keys().collect::<Vec<_>>(),
        "{path}"
    );
    assert_eq!(
        ours.values.keys().collect::<Vec<_>>(),
        theirs.values.keys().collect::<Vec<_>>(),
        "{path}"
    );
    assert_eq!(
        ours.policies.keys().collect::<Vec<_>>(),
        theirs.policies.keys().collect::<Vec<_>>(),
        "{path}"
    );
    assert_eq!(ours.mod_policy, theirs.mod_policy, "{path}");
    for (key, value) in &ours.values {
        assert_eq!(value, &theirs.values[key], "{path}/{key}");
    }
    for (key, policy) in &ours.policies {
        assert_eq!(policy, &theirs.policies[key], "{path}/{key}");
    }
    for (key, group) in &ours.groups {
        compare(&format!("{path}/{key}"), group, &theirs.groups[key]);
    }
}

#[test]
fn a_genesis_block_has_the_headers_and_metadata_of_configtxgen() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let mut theirs = recorded[0].block.clone();
    // The joining peer wrote the flag; the block left configtxgen without it.
    block::set_flags(&mut theirs, Bytes::new());
    let parsed = envelope::parse_bytes(&block::envelopes(&theirs)[0]).expect("envelope");
    let config = ChannelConfig::from_block(&theirs)
        .expect("genesis")
        .config()
        .clone();
    let timestamp = parsed.channel_header.timestamp.expect("timestamp");
    let ours = genesis::block_of(
        "mychannel",
        config,
        timestamp,
        parsed.signature_header.nonce.clone(),
    );
    assert_eq!(ours.metadata, theirs.metadata);
    let again = envelope::parse_bytes(&block::envelopes(&ours)[0]).expect("envelope");
    assert_eq!(again.channel_header_bytes, parsed.channel_header_bytes);
    assert_eq!(again.signature_header_bytes, parsed.signature_header_bytes);
    assert_eq!(again.signature, parsed.signature);
    // Only the order of map entries may differ.
    assert_eq!(again.data.len(), parsed.data.len());
}
