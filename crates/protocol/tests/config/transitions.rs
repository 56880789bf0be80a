//! What may not change, whoever signs it.

use crate::network::{Network, group, set};
use consilium_proto::common::ConfigGroup;
use consilium_proto::orderer::ConsensusType;
use consilium_proto::orderer::consensus_type::State;
use consilium_proto::{common, msp};
use consilium_protocol::config::{ChannelConfig, check_maintenance, update};
use prost::Message;
use std::collections::BTreeMap;

fn refusal(
    network: &Network,
    config: &ChannelConfig,
    change: impl FnOnce(&mut ConfigGroup),
) -> String {
    let envelope = network.accept(config, change);
    config.validate(&envelope).unwrap_err().to_string()
}

#[test]
fn sections_neither_vanish_nor_appear() {
    let network = Network::new();
    let config = network.config();
    let without =
        |name: &'static str| refusal(&network, &config, |root| drop(root.groups.remove(name)));
    assert_eq!(
        without("Orderer"),
        "current config has orderer section, but new config does not"
    );
    assert_eq!(
        without("Application"),
        "current config has application section, but new config does not"
    );
    let consortiums = refusal(&network, &config, |root| {
        let group = ConfigGroup {
            mod_policy: "Admins".into(),
            ..Default::default()
        };
        root.groups.insert("Consortiums".into(), group);
    });
    assert_eq!(
        consortiums,
        "current config has no consortiums section, but new config does"
    );
}

#[test]
fn an_organization_keeps_its_msp_id() {
    let network = Network::new();
    let config = network.config();
    for (section, kind) in [("Orderer", "orderer"), ("Application", "application")] {
        let text = refusal(&network, &config, |root| {
            let mut renamed = network.organizations[0].msp_config();
            renamed.name = "OtherMSP".into();
            let config = msp::MspConfig {
                r#type: 0,
                config: renamed.encode_to_vec().into(),
            };
            set(group(root, &[section, "Org1MSP"]), "MSP", &config);
        });
        assert_eq!(
            text,
            format!("{kind} org Org1MSP attempted to change MSP ID from Org1MSP to OtherMSP")
        );
    }
}

#[test]
fn v3_0_is_not_turned_on_without_endpoints() {
    let mut network = Network::new();
    network.profile.channel_capability = "V2_0".into();
    network.profile.orderer_addresses = vec!["orderer:7050".into()];
    network
        .profile
        .organizations
        .iter_mut()
        .for_each(|org| org.endpoints.clear());
    let config = network.config();
    assert_eq!(config.orderer_endpoints(), ["orderer:7050"]);
    let v3 = common::Capabilities {
        capabilities: BTreeMap::from([("V3_0".to_owned(), common::Capability {})]),
    };
    let text = refusal(&network, &config, |root| {
        set(root, "Capabilities", &v3);
        root.values.remove("OrdererAddresses");
    });
    assert_eq!(
        text,
        "initializing channelconfig failed: could not create channel Orderer sub-group config: some orderer organizations endpoints are empty: [Org1MSP Org2MSP]"
    );
}

fn consensus(config: &ChannelConfig, kind: &str, state: State) -> ConsensusType {
    ConsensusType {
        r#type: kind.to_owned(),
        state: state as i32,
        ..config.consensus().clone()
    }
}

/// Applies a change and asks what maintenance mode has to say about it.
fn maintenance(
    network: &Network,
    current: &ChannelConfig,
    change: impl FnOnce(&mut ConfigGroup),
) -> Result<ChannelConfig, String> {
    let mut updated = current.config().clone();
    change(updated.channel_group.as_mut().expect("root"));
    let update = update::compute(current.config(), &updated, "mychannel").expect("a difference");
    let signers: Vec<_> = network.admins.iter().collect();
    let proposed = current
        .propose(&crate::network::sign(update.clone(), &signers))
        .expect("accepted");
    let next = current
        .check_next(proposed.config.expect("config"))
        .expect("valid");
    check_maintenance(current, &next, &update).map_err(|error| error.to_string())?;
    Ok(next)
}

#[test]
fn entering_maintenance_is_the_only_change_of_its_update() {
    let network = Network::new();
    let config = network.config();
    let enter = consensus(&config, "etcdraft", State::Maintenance);
    let inside = maintenance(&network, &config, |root| {
        set(group(root, &["Orderer"]), "ConsensusType", &enter)
    });
    assert!(inside.expect("entered").in_maintenance());
    let also = |change: fn(&mut ConsensusType)| {
        let mut enter = enter.clone();
        change(&mut enter);
        maintenance(&network, &config, |root| {
            set(group(root, &["Orderer"]), "ConsensusType", &enter);
        })
        .unwrap_err()
    };
    let changing = "but ConsensusType.State is changing from STATE_NORMAL to STATE_MAINTENANCE";
    assert_eq!(
        also(|kind| kind.metadata = bytes::Bytes::from_static(b"x")),
        format!("attempted to change ConsensusType.Metadata, {changing}")
    );
    assert_eq!(
        also(|kind| kind.r#type = "BFT".into()),
        format!("attempted to change ConsensusType.Type from etcdraft to BFT, {changing}")
    );
    let text = maintenance(&network, &config, |root| {
        set(group(root, &["Orderer"]), "ConsensusType", &enter);
        group(root, &["Application"]).mod_policy = "Writers".into();
    });
    assert_eq!(
        text.unwrap_err(),
        "config update contains changes to more than one group"
    );
    let text = maintenance(&network, &config, |root| {
        set(group(root, &["Orderer"]), "ConsensusType", &enter);
        group(root, &["Orderer"])
            .values
            .get_mut("BatchSize")
            .expect("value")
            .mod_policy = "Writers".into();
    });
    assert_eq!(
        text.unwrap_err(),
        "config update contain more then just the ConsensusType value in the Orderer group"
    );
}

#[test]
fn the_consensus_type_changes_only_inside_maintenance_and_only_to_bft_with_the_same_consenters() {
    let network = Network::new();
    let config = network.config();
    let to = |current: &ChannelConfig, kind: &str, state: State, mapping: common::Orderers| {
        let value = consensus(current, kind, state);
        maintenance(&network, current, |root| {
            set(group(root, &["Orderer"]), "ConsensusType", &value);
            if !mapping.consenter_mapping.is_empty() {
                set(group(root, &["Orderer"]), "Orderers", &mapping);
            }
        })
    };
    let none = common::Orderers::default;
    assert_eq!(
        to(&config, "BFT", State::Normal, none()).unwrap_err(),
        "attempted to change consensus type from etcdraft to BFT, but current config ConsensusType.State is not in \
         maintenance mode"
    );
    let inside = to(&config, "etcdraft", State::Maintenance, none()).expect("entered");
    assert!(to(&inside, "etcdraft", State::Normal, none()).is_ok());
    assert_eq!(
        to(&inside, "solo", State::Maintenance, none()).unwrap_err(),
        "attempted to change consensus type from etcdraft to solo, transition not supported"
    );
    let mapping_refusal = |list: Vec<common::Consenter>| {
        let mapping = common::Orderers {
            consenter_mapping: list,
        };
        let text = to(&inside, "BFT", State::Maintenance, mapping).unwrap_err();
        let text = text.strip_prefix("invalid BFT consenter mapping configuration: ");
        text.expect("prefix").to_owned()
    };
    assert_eq!(
        mapping_refusal(Vec::new()),
        "Invalid new config: bft consenters are missing"
    );
    let mapping = |consenter: &consilium_proto::etcdraft::Consenter| common::Consenter {
        host: consenter.host.clone(),
        port: consenter.port,
        client_tls_cert: consenter.client_tls_cert.clone(),
        server_tls_cert: consenter.server_tls_cert.clone(),
        ..Default::default()
    };
    let consenter_mapping: Vec<_> = network.profile.consenters.iter().map(mapping).collect();
    assert_eq!(
        mapping_refusal(consenter_mapping[1..].to_vec()),
        "Invalid new config: the number of bft consenters: 2 is not equal to the number of raft consenters: 3"
    );
    let mut moved = consenter_mapping.clone();
    moved[0].port += 1;
    assert_eq!(
        mapping_refusal(moved),
        "No suitable BFT consenter for Raft consenter: orderer0:7050"
    );
    assert!(
        to(
            &inside,
            "BFT",
            State::Maintenance,
            common::Orderers { consenter_mapping }
        )
        .is_ok()
    );
}

#[test]
fn without_its_capability_there_is_no_maintenance_mode() {
    let mut network = Network::new();
    network.profile.orderer_capability = "V1_1".into();
    let config = network.config();
    let to = |kind: &str, state: State| {
        let value = consensus(&config, kind, state);
        maintenance(&network, &config, |root| {
            set(group(root, &["Orderer"]), "ConsensusType", &value)
        })
        .unwrap_err()
    };
    assert_eq!(
        to("etcdraft", State::Maintenance),
        "next config attempted to change ConsensusType.State to STATE_MAINTENANCE, but capability is disabled"
    );
    assert_eq!(
        to("BFT", State::Normal),
        "next config attempted to change ConsensusType.Type from etcdraft to BFT, but capability is disabled"
    );
}
