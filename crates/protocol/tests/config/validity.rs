//! Which whole configurations are valid, and what one says.

use crate::network::{Network, group, set};
use consilium_proto::{common, msp, orderer, protos};
use consilium_protocol::block;
use consilium_protocol::config::{ChannelConfig, ConfigError, genesis, paths};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn a_genesis_block_reads_back_as_the_channel_it_was_made_for() {
    let network = Network::new();
    let genesis = genesis::block(&network.profile, crate::network::NOW).expect("genesis");
    assert!(block::is_config(&genesis));
    block::check_structure(&genesis).expect("structure");
    let config = ChannelConfig::from_block(&genesis).expect("configuration");
    assert_eq!((config.channel_id(), config.sequence()), ("mychannel", 0));
    assert_eq!(config.batch_size(), &network.profile.batch_size);
    assert_eq!(config.batch_timeout(), Duration::from_secs(2));
    assert_eq!(config.consensus().r#type, "etcdraft");
    assert_eq!(
        config.raft_metadata().expect("metadata").consenters,
        network.profile.consenters
    );
    assert_eq!(
        config.orderer_endpoints(),
        [
            "orderer.org1.example.com:7050",
            "orderer.org2.example.com:7050"
        ]
    );
    let anchors: Vec<_> = config
        .application_orgs()
        .iter()
        .flat_map(|org| org.anchor_peers.clone())
        .collect();
    assert_eq!(
        anchors,
        [
            ("peer0.org1.example.com".to_owned(), 7051),
            ("peer0.org2.example.com".to_owned(), 7051)
        ]
    );
    assert_eq!(config.application_org_group("Org2MSP"), Some("Org2MSP"));
    assert_eq!(config.application_org_group("Org3MSP"), None);
    assert_eq!(
        (config.tls_roots().len(), config.orderer_tls_roots().len()),
        (2, 2)
    );
    for path in [
        paths::READERS,
        paths::WRITERS,
        paths::ENDORSEMENT,
        paths::LIFECYCLE_ENDORSEMENT,
        paths::BLOCK_VALIDATION,
    ] {
        assert!(config.policies().has(path), "{path}");
    }
    assert!(config.has_channel_capability("V3_0") && !config.has_channel_capability("V2_0"));
    assert!(
        config.channel_at_least("V1_4_2")
            && config.application_at_least("V2_5")
            && config.orderer_at_least("V2_0")
    );
    config
        .capabilities()
        .check_supported(true)
        .expect("supported");
}

#[test]
fn acls_map_resources_to_absolute_policy_paths() {
    let mut network = Network::new();
    network.profile.acls = BTreeMap::from([
        (
            "peer/Propose".to_owned(),
            "/Channel/Application/Org1MSP/Writers".to_owned(),
        ),
        ("event/Block".to_owned(), "Admins".to_owned()),
    ]);
    let config = network.config();
    assert_eq!(
        config.acl("peer/Propose"),
        Some("/Channel/Application/Org1MSP/Writers")
    );
    assert_eq!(
        config.acl("event/Block"),
        Some("/Channel/Application/Admins")
    );
    assert_eq!(config.acl("qscc/GetChainInfo"), None);
}

const ORDERER: &str =
    "initializing channelconfig failed: could not create channel Orderer sub-group config: ";

type Change = fn(&mut common::ConfigGroup);

fn error(network: &Network, change: impl FnOnce(&mut common::ConfigGroup)) -> ConfigError {
    let mut config = network.config().config().clone();
    change(config.channel_group.as_mut().expect("root"));
    ChannelConfig::new("mychannel", config).expect_err("an invalid configuration")
}

fn batch(
    max_message_count: u32,
    absolute_max_bytes: u32,
    preferred_max_bytes: u32,
) -> orderer::BatchSize {
    orderer::BatchSize {
        max_message_count,
        absolute_max_bytes,
        preferred_max_bytes,
    }
}

fn timeout(text: &str) -> orderer::BatchTimeout {
    orderer::BatchTimeout {
        timeout: text.to_owned(),
    }
}

fn addresses(list: &[&str]) -> common::OrdererAddresses {
    common::OrdererAddresses {
        addresses: list.iter().map(|address| (*address).to_owned()).collect(),
    }
}

#[test]
fn values_outside_their_bounds_are_refused() {
    let network = Network::new();
    let table: [(Change, &str); 15] = [
        (
            |r| {
                set(
                    r,
                    "HashingAlgorithm",
                    &common::HashingAlgorithm { name: "MD5".into() },
                )
            },
            "initializing channelconfig failed: Unknown hashing algorithm type: MD5",
        ),
        (
            |r| {
                set(
                    r,
                    "BlockDataHashingStructure",
                    &common::BlockDataHashingStructure { width: 4 },
                )
            },
            "initializing channelconfig failed: BlockDataHashStructure width only supported at MaxUint32 in this version",
        ),
        (
            |r| set(r, "OrdererAddresses", &addresses(&["orderer:7050"])),
            "initializing channelconfig failed: global OrdererAddresses are not allowed with V3_0 capability, use org specific addresses only",
        ),
        (
            |r| set(r, "Novelty", &common::Consortium::default()),
            "initializing channelconfig failed: failed to deserialize values: Unexpected key Novelty",
        ),
        (
            |r| {
                set(
                    group(r, &["Application", "Org1MSP"]),
                    "Endpoints",
                    &addresses(&[]),
                )
            },
            "initializing channelconfig failed: could not create channel Application sub-group config: failed to deserialize values: Unexpected key Endpoints",
        ),
        (
            |r| drop(r.groups.insert("Novelty".into(), Default::default())),
            "initializing channelconfig failed: Disallowed channel group: Novelty",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchSize", &batch(0, 1, 1)),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch size max message count to an invalid value: 0",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchSize", &batch(1, 0, 1)),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch size absolute max bytes to an invalid value: 0",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchSize", &batch(1, 1, 0)),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch size preferred max bytes to an invalid value: 0",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchSize", &batch(1, 1, 2)),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch size preferred max bytes (2) greater than the absolute max bytes (1).",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchTimeout", &timeout("soon")),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch timeout to a invalid value: time: invalid duration \"soon\"",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchTimeout", &timeout("-2s")),
            "initializing channelconfig failed: could not create channel Orderer sub-group config: Attempted to set the batch timeout to a non-positive value: -2s",
        ),
        (
            |r| {
                set(
                    group(r, &["Orderer", "Org2MSP"]),
                    "Endpoints",
                    &addresses(&[]),
                )
            },
            "initializing channelconfig failed: could not create channel Orderer sub-group config: some orderer organizations endpoints are empty: [Org2MSP]",
        ),
        (
            |r| {
                set(
                    group(r, &["Application", "Org1MSP"]),
                    "MSP",
                    &msp::MspConfig::default(),
                )
            },
            "initializing channelconfig failed: could not create channel Application sub-group config: setting up the MSP manager failed: expected at least one CA certificate",
        ),
        (
            |r| drop(group(r, &["Orderer"]).values.remove("Capabilities")),
            "cannot enable channel capabilities without orderer support first",
        ),
    ];
    for (change, text) in table {
        assert_eq!(error(&network, change).to_string(), text);
    }
    let table: [(Change, &str); 3] = [
        (
            |r| set(group(r, &["Orderer"]), "BatchTimeout", &timeout("5")),
            "Attempted to set the batch timeout to a invalid value: time: missing unit in duration \"5\"",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchTimeout", &timeout("0")),
            "Attempted to set the batch timeout to a non-positive value: 0s",
        ),
        (
            |r| set(group(r, &["Orderer"]), "BatchTimeout", &timeout("-90s")),
            "Attempted to set the batch timeout to a non-positive value: -1m30s",
        ),
    ];
    for (change, text) in table {
        assert_eq!(
            error(&network, change).to_string(),
            format!("{ORDERER}{text}")
        );
    }
}

#[test]
fn the_same_msp_id_must_mean_the_same_msp() {
    let network = Network::new();
    let mut other = network.organizations[1].msp_config();
    other.name = "Org1MSP".into();
    let message = error(&network, |root| {
        let config = prost::Message::encode_to_vec(&other).into();
        set(
            group(root, &["Application", "Org1MSP"]),
            "MSP",
            &msp::MspConfig { r#type: 0, config },
        );
    });
    assert_eq!(
        message.to_string(),
        "initializing channelconfig failed: could not create channel Application sub-group config: Attempted to define two different versions of MSP: Org1MSP"
    );
}

#[test]
fn capabilities_gate_what_a_configuration_may_hold() {
    let mut network = Network::new();
    network.profile.application_capability = "V1_1".into();
    let acls = BTreeMap::from([(
        "peer/Propose".to_owned(),
        protos::ApiResource {
            policy_ref: "Writers".into(),
        },
    )]);
    let message = error(&network, |root| {
        set(
            group(root, &["Application"]),
            "ACLs",
            &protos::AcLs { acls },
        )
    });
    assert_eq!(
        message.to_string(),
        "initializing channelconfig failed: could not create channel Application sub-group config: ACLs may not be specified without the required capability"
    );

    let listed = |name: &str| common::Capabilities {
        capabilities: BTreeMap::from([(name.to_owned(), common::Capability {})]),
    };
    let message = error(&network, |root| {
        set(root, "Capabilities", &listed("V1_1"));
        ["Org1MSP", "Org2MSP"]
            .iter()
            .for_each(|org| drop(group(root, &["Orderer", *org]).values.remove("Endpoints")));
    });
    assert_eq!(
        message.to_string(),
        "initializing channelconfig failed: Must set some OrdererAddresses"
    );
    let message = error(&network, |root| {
        set(root, "Capabilities", &listed("V1_3"));
        set(root, "OrdererAddresses", &addresses(&["orderer:7050"]));
    });
    assert_eq!(
        message.to_string(),
        "initializing channelconfig failed: could not create channel Orderer sub-group config: Orderer Org Org1MSP cannot contain endpoints value until V1_4_2+ capabilities have been enabled"
    );
}

#[test]
fn an_unknown_capability_makes_a_valid_channel_that_this_node_may_not_join() {
    let mut network = Network::new();
    let unsupported = |network: &Network, application_too| {
        network
            .config()
            .capabilities()
            .check_supported(application_too)
            .map_err(|error| error.to_string())
    };
    network.profile.application_capability = "V9_9".into();
    assert_eq!(unsupported(&network, false), Ok(()), "orderers do not care");
    assert_eq!(
        unsupported(&network, true),
        Err("Application capability V9_9 is required but not supported".into())
    );
    network.profile.orderer_capability = "V3_0".into();
    assert_eq!(
        unsupported(&network, false),
        Err("Orderer capability V3_0 is required but not supported".into())
    );
}

#[test]
fn illegal_keys_missing_sections_and_illegal_names_are_refused() {
    let network = Network::new();
    let message = error(&network, |root| {
        let policy = root.policies["Admins"].clone();
        group(root, &["Application"])
            .policies
            .insert("a/b".into(), policy);
    });
    assert_eq!(
        message.to_string(),
        "illegal characters in key: [Policy] /Channel/Application/a/b: config ID 'a/b' contains illegal characters"
    );
    let message = error(&network, |root| drop(root.groups.remove("Orderer")));
    assert_eq!(
        message.to_string(),
        "[channel mychannel] cannot create channel because ChannelConfig is missing OrdererConfig"
    );
    let empty = ChannelConfig::new("mychannel", common::Config::default()).unwrap_err();
    assert_eq!(empty.to_string(), "config must contain a channel group");
    let config = network.config().config().clone();
    assert!(matches!(
        ChannelConfig::new("My", config),
        Err(ConfigError::Name(_))
    ));
}

#[test]
fn a_block_that_carries_no_configuration_makes_no_channel() {
    let block = block::new_block(
        0,
        bytes::Bytes::new(),
        vec![bytes::Bytes::from_static(b"\x0a\x00")],
    );
    assert!(matches!(
        ChannelConfig::from_block(&block),
        Err(ConfigError::Block(_))
    ));
}

#[test]
fn a_profile_without_the_required_policies_or_with_a_bad_one_makes_no_genesis() {
    let mut network = Network::new();
    network.profile.orderer_policies.remove("Writers");
    assert_eq!(
        genesis::config(&network.profile).unwrap_err().to_string(),
        "no Writers policy defined"
    );
    let bad = genesis::PolicySpec::Signature("NONE('a')".into());
    network
        .profile
        .orderer_policies
        .insert("Writers".into(), bad);
    assert!(
        genesis::config(&network.profile)
            .unwrap_err()
            .to_string()
            .starts_with("invalid policy Writers: ")
    );
}

#[test]
fn an_orderer_of_a_member_organization_signs_blocks_and_config_transactions() {
    let network = Network::new();
    let config = network.config();
    let orderer = network.organizations[1].signer("orderer0", consilium_testkit::NodeOu::Orderer);
    let mut signed = block::new_block(
        1,
        bytes::Bytes::new(),
        vec![bytes::Bytes::from_static(b"data")],
    );
    block::sign(&mut signed, 0, bytes::Bytes::new(), &*orderer).expect("signed");
    config
        .verify_block_signatures(&signed)
        .expect("an orderer's signature");
    let stranger = consilium_testkit::Organization::new("Org1MSP", "org1.example.com");
    let stranger = stranger.signer("orderer0", consilium_testkit::NodeOu::Orderer);
    block::sign(&mut signed, 0, bytes::Bytes::new(), &*stranger).expect("signed");
    assert!(config.verify_block_signatures(&signed).is_err());
    let spec = consilium_protocol::envelope::HeaderSpec::new(
        common::HeaderType::Config,
        "mychannel",
        crate::network::NOW,
    );
    let envelope =
        consilium_protocol::envelope::create_signed(spec, bytes::Bytes::new(), &*orderer)
            .expect("signed");
    let parsed = consilium_protocol::envelope::parse(&envelope).expect("envelope");
    config
        .policies()
        .policy(paths::WRITERS)
        .evaluate(&[parsed.signed_data()])
        .expect("an orderer is a writer");
}
