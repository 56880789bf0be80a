//! Whole configurations.

use crate::verdict;
use consilium_proto::{common, msp, orderer, protos};
use consilium_protocol::config::{ChannelConfig, genesis};
use consilium_testkit::{Organization, network::profile};
use prost::Message;
use serde_json::{Value, json};

const CHANNEL: &str = "mychannel";

/// Replaces a value's message.
fn set(group: &mut common::ConfigGroup, key: &str, message: &impl Message) {
    let value = group.values.entry(key.to_owned()).or_default();
    value.mod_policy = "Admins".into();
    value.value = message.encode_to_vec().into();
}

fn section<'a>(root: &'a mut common::ConfigGroup, name: &str) -> &'a mut common::ConfigGroup {
    root.groups.get_mut(name).expect("a section")
}

fn capabilities(names: &[&str]) -> common::Capabilities {
    let listed = names.iter();
    common::Capabilities {
        capabilities: listed
            .map(|name| ((*name).to_owned(), common::Capability {}))
            .collect(),
    }
}

pub fn cases() -> Vec<Value> {
    let organizations = [
        Organization::new("Org1MSP", "org1.example.com"),
        Organization::new("Org2MSP", "org2.example.com"),
    ];
    let profile = profile(CHANNEL, &[&organizations[0], &organizations[1]], Vec::new());
    let base = genesis::config(&profile).expect("a genesis");
    let mut cases = Vec::new();
    for (name, accepted, change) in table() {
        let mut config = base.clone();
        change(config.channel_group.as_mut().expect("a root"));
        let outcome = ChannelConfig::new(CHANNEL, config.clone());
        cases.push(json!({
            "kind": "config",
            "name": name,
            "channel": CHANNEL,
            "config": hex::encode(config.encode_to_vec()),
            "accepted": accepted,
            "verdict": verdict(&outcome),
        }));
    }
    for (channel, accepted) in [
        ("mychannel", true),
        ("my.channel-2", true),
        ("", false),
        ("2channel", false),
        ("MyChannel", false),
        ("my_channel", false),
    ] {
        let outcome = ChannelConfig::new(channel, base.clone());
        cases.push(json!({
            "kind": "config",
            "name": format!("a channel called '{channel}'"),
            "channel": channel,
            "config": hex::encode(base.encode_to_vec()),
            "accepted": accepted,
            "verdict": verdict(&outcome),
        }));
    }
    cases
}

type Change = Box<dyn Fn(&mut common::ConfigGroup)>;
type Row = (&'static str, bool, Change);

fn row(
    name: &'static str,
    accepted: bool,
    change: impl Fn(&mut common::ConfigGroup) + 'static,
) -> Row {
    (name, accepted, Box::new(change))
}

fn batch(count: u32, absolute: u32, preferred: u32) -> orderer::BatchSize {
    orderer::BatchSize {
        max_message_count: count,
        absolute_max_bytes: absolute,
        preferred_max_bytes: preferred,
    }
}

fn table() -> Vec<Row> {
    [values(), ordering(), organizations(), policies(), keys()]
        .into_iter()
        .flatten()
        .collect()
}

fn values() -> Vec<Row> {
    let hashing = |name: &str| common::HashingAlgorithm { name: name.into() };
    let mut rows = vec![
        row("as it is", true, |_| {}),
        row("SHA3_256", true, move |root| {
            set(root, "HashingAlgorithm", &hashing("SHA3_256"))
        }),
        row("SHA384", false, move |root| {
            set(root, "HashingAlgorithm", &hashing("SHA384"))
        }),
        row("no hash", false, |root| {
            drop(root.values.remove("HashingAlgorithm"))
        }),
        row("another hashing structure", false, |root| {
            set(
                root,
                "BlockDataHashingStructure",
                &common::BlockDataHashingStructure { width: 2 },
            );
        }),
        row("no hashing structure", false, |root| {
            drop(root.values.remove("BlockDataHashingStructure"))
        }),
        row("global addresses with V3_0", false, |root| {
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses {
                    addresses: vec!["a:1".into()],
                },
            );
        }),
        row("no global addresses with V3_0", true, |root| {
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses::default(),
            );
        }),
        row("global addresses with V2_0", true, |root| {
            set(root, "Capabilities", &capabilities(&["V2_0"]));
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses {
                    addresses: vec!["a:1".into()],
                },
            );
        }),
        row("organizations' addresses with V1_3", false, |root| {
            set(root, "Capabilities", &capabilities(&["V1_3"]));
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses {
                    addresses: vec!["a:1".into()],
                },
            );
        }),
        row("no addresses with V1_3", false, |root| {
            set(root, "Capabilities", &capabilities(&["V1_3"]));
            for organization in section(root, "Orderer").groups.values_mut() {
                organization.values.remove("Endpoints");
            }
        }),
        row("global addresses with V1_3", true, |root| {
            set(root, "Capabilities", &capabilities(&["V1_3"]));
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses {
                    addresses: vec!["a:1".into()],
                },
            );
            for organization in section(root, "Orderer").groups.values_mut() {
                organization.values.remove("Endpoints");
            }
        }),
        row("no addresses at all with V3_0", false, |root| {
            for organization in section(root, "Orderer").groups.values_mut() {
                organization.values.remove("Endpoints");
            }
        }),
        row("no addresses at all with V2_0", true, |root| {
            set(root, "Capabilities", &capabilities(&["V2_0"]));
            for organization in section(root, "Orderer").groups.values_mut() {
                organization.values.remove("Endpoints");
            }
        }),
        row("a consortium", true, |root| {
            set(root, "Consortium", &common::Consortium { name: "x".into() })
        }),
        row("a consortium that is none", false, |root| {
            root.values.entry("Consortium".into()).or_default().value =
                bytes::Bytes::from_static(b"\xff");
        }),
        row("a consenter mapping in the wrong section", true, |root| {
            set(root, "Orderers", &common::Orderers::default())
        }),
        row("an unknown value", false, |root| {
            set(root, "Unknown", &common::Consortium::default())
        }),
        row("a value of another section", false, |root| {
            set(root, "BatchSize", &batch(1, 1, 1))
        }),
        row("an unknown section", false, |root| {
            drop(root.groups.insert("Unknown".into(), Default::default()))
        }),
        row("capabilities that nobody knows", true, |root| {
            set(root, "Capabilities", &capabilities(&["V3_0", "V9_9"]))
        }),
        row("capabilities that are none", false, |root| {
            root.values.entry("Capabilities".into()).or_default().value =
                bytes::Bytes::from_static(b"\xff");
        }),
        row(
            "channel capabilities without the orderers'",
            false,
            |root| {
                section(root, "Orderer").values.remove("Capabilities");
            },
        ),
        row(
            "application capabilities without the orderers'",
            false,
            |root| {
                root.values.remove("Capabilities");
                section(root, "Orderer").values.remove("Capabilities");
            },
        ),
        row("no application section", true, |root| {
            drop(root.groups.remove("Application"))
        }),
    ];
    let creation = common::Policy::default();
    let consortiums = |change: &dyn Fn(&mut common::ConfigGroup)| {
        let mut consortium = common::ConfigGroup::default();
        set(&mut consortium, "ChannelCreationPolicy", &creation);
        change(&mut consortium);
        let mut section = common::ConfigGroup::default();
        section.groups.insert("one".into(), consortium);
        section
    };
    for (name, accepted, section) in [
        ("consortiums", true, consortiums(&|_| {})),
        (
            "a consortium with an unknown value",
            false,
            consortiums(&|c| set(c, "X", &common::Policy::default())),
        ),
        (
            "a consortium with an organization without MSP",
            false,
            consortiums(&|c| drop(c.groups.insert("o".into(), Default::default()))),
        ),
    ] {
        rows.push(row(name, accepted, move |root| {
            root.groups.insert("Consortiums".into(), section.clone());
        }));
    }
    rows.push(row(
        "a consortium of organizations of the channel",
        true,
        |root| {
            let mut consortium = common::ConfigGroup::default();
            for (name, group) in &section(root, "Application").groups.clone() {
                let mut member = group.clone();
                member.values.retain(|key, _| key == "MSP");
                consortium.groups.insert(name.clone(), member);
            }
            let mut consortiums = common::ConfigGroup::default();
            consortiums.groups.insert("one".into(), consortium);
            root.groups.insert("Consortiums".into(), consortiums);
        },
    ));
    rows
}

fn ordering() -> Vec<Row> {
    let mut rows = vec![
        row("kafka brokers", true, |root| {
            set(
                section(root, "Orderer"),
                "KafkaBrokers",
                &orderer::KafkaBrokers {
                    brokers: vec!["x".into()],
                },
            );
        }),
        row("no batch size", false, |root| {
            drop(section(root, "Orderer").values.remove("BatchSize"))
        }),
        row("no batch timeout", false, |root| {
            drop(section(root, "Orderer").values.remove("BatchTimeout"))
        }),
        row("no consensus type", true, |root| {
            drop(section(root, "Orderer").values.remove("ConsensusType"))
        }),
        row("a consensus type that is none", false, |root| {
            section(root, "Orderer")
                .values
                .entry("ConsensusType".into())
                .or_default()
                .value = bytes::Bytes::from_static(b"\xff");
        }),
        row("an unknown value of orderers", false, |root| {
            set(
                section(root, "Orderer"),
                "Unknown",
                &common::Consortium::default(),
            );
        }),
        row("orderers without organizations", true, |root| {
            section(root, "Orderer").groups.clear()
        }),
    ];
    for (name, accepted, size) in [
        ("no message", false, batch(0, 2, 1)),
        ("no bytes", false, batch(1, 0, 0)),
        ("no preferred bytes", false, batch(1, 2, 0)),
        ("equal bytes", true, batch(1, 2, 2)),
        ("more preferred than absolute bytes", false, batch(1, 2, 3)),
        (
            "the largest batch",
            true,
            batch(u32::MAX, u32::MAX, u32::MAX),
        ),
    ] {
        rows.push(row(name, accepted, move |root| {
            set(section(root, "Orderer"), "BatchSize", &size)
        }));
    }
    for (text, accepted) in [
        ("1s", true),
        ("1h2m3.5s", true),
        ("1ns", true),
        (".5s", true),
        ("+1s", true),
        ("0s", false),
        ("0", false),
        ("-1s", false),
        ("1", false),
        ("", false),
        ("1d", false),
        ("1 s", false),
        ("1µs", true),
        ("9223372036s", true),
        ("9223372037s", false),
    ] {
        let timeout = orderer::BatchTimeout {
            timeout: text.into(),
        };
        rows.push(row(
            Box::leak(format!("a timeout of '{text}'").into_boxed_str()),
            accepted,
            move |root| set(section(root, "Orderer"), "BatchTimeout", &timeout),
        ));
    }
    rows
}

fn organizations() -> Vec<Row> {
    fn first<'a>(root: &'a mut common::ConfigGroup, name: &str) -> &'a mut common::ConfigGroup {
        section(root, name)
            .groups
            .get_mut("Org1MSP")
            .expect("an organization")
    }
    let acls = |reference: &str| protos::AcLs {
        acls: [(
            "peer/Propose".to_owned(),
            protos::ApiResource {
                policy_ref: reference.into(),
            },
        )]
        .into_iter()
        .collect(),
    };
    fn msp_of(group: &common::ConfigGroup) -> msp::FabricMspConfig {
        let config = msp::MspConfig::decode(group.values["MSP"].value.clone()).expect("an MSP");
        msp::FabricMspConfig::decode(config.config).expect("an MSP")
    }
    fn put_msp(group: &mut common::ConfigGroup, config: &msp::FabricMspConfig, kind: i32) {
        let config = config.encode_to_vec().into();
        set(
            group,
            "MSP",
            &msp::MspConfig {
                r#type: kind,
                config,
            },
        );
    }
    vec![
        row("ACLs", true, move |root| {
            set(section(root, "Application"), "ACLs", &acls("Readers"))
        }),
        row("ACLs of policies that do not exist", true, move |root| {
            set(
                section(root, "Application"),
                "ACLs",
                &acls("/Channel/Nobody"),
            );
        }),
        row("ACLs with V1_1", false, move |root| {
            set(
                section(root, "Application"),
                "Capabilities",
                &capabilities(&["V1_1"]),
            );
            set(section(root, "Application"), "ACLs", &acls("Readers"));
        }),
        row("empty ACLs with V1_1", false, |root| {
            set(
                section(root, "Application"),
                "Capabilities",
                &capabilities(&["V1_1"]),
            );
            set(
                section(root, "Application"),
                "ACLs",
                &protos::AcLs::default(),
            );
        }),
        row("empty ACLs", true, |root| {
            set(
                section(root, "Application"),
                "ACLs",
                &protos::AcLs::default(),
            )
        }),
        row("an unknown value of applications", false, |root| {
            set(
                section(root, "Application"),
                "Unknown",
                &common::Consortium::default(),
            );
        }),
        row("a group below an application organization", false, |root| {
            first(root, "Application")
                .groups
                .insert("x".into(), Default::default());
        }),
        row("a group below an orderer organization", false, |root| {
            first(root, "Orderer")
                .groups
                .insert("x".into(), Default::default());
        }),
        row("an organization without MSP", false, |root| {
            drop(first(root, "Application").values.remove("MSP"))
        }),
        row("endpoints of an application organization", false, |root| {
            set(
                first(root, "Application"),
                "Endpoints",
                &common::OrdererAddresses::default(),
            );
        }),
        row("anchor peers of an orderer organization", false, |root| {
            set(
                first(root, "Orderer"),
                "AnchorPeers",
                &protos::AnchorPeers::default(),
            );
        }),
        row("an anchor peer with an impossible port", true, |root| {
            let anchor = protos::AnchorPeer {
                host: String::new(),
                port: -1,
            };
            set(
                first(root, "Application"),
                "AnchorPeers",
                &protos::AnchorPeers {
                    anchor_peers: vec![anchor],
                },
            );
        }),
        row("anchor peers that are none", false, |root| {
            first(root, "Application")
                .values
                .entry("AnchorPeers".into())
                .or_default()
                .value = bytes::Bytes::from_static(b"\xff");
        }),
        row(
            "an organization with another MSP in each section",
            false,
            |root| {
                let mut config = msp_of(first(root, "Application"));
                config.tls_root_certs.clear();
                put_msp(first(root, "Application"), &config, 0);
            },
        ),
        row("one MSP in two groups", true, |root| {
            let copy = first(root, "Application").clone();
            section(root, "Application")
                .groups
                .insert("Copy".into(), copy);
        }),
        row("an MSP without id", false, |root| {
            let mut config = msp_of(first(root, "Application"));
            config.name.clear();
            put_msp(first(root, "Application"), &config, 0);
        }),
        row("an MSP without roots", false, |root| {
            let mut config = msp_of(first(root, "Application"));
            config.name = "Org3MSP".into();
            config.root_certs.clear();
            put_msp(first(root, "Application"), &config, 0);
        }),
        row("an MSP of an unknown type", false, |root| {
            let config = msp_of(first(root, "Application"));
            put_msp(first(root, "Application"), &config, 7);
        }),
        row("an organization with another MSP id", true, |root| {
            let mut config = msp_of(first(root, "Application"));
            config.name = "Org3MSP".into();
            put_msp(first(root, "Application"), &config, 0);
        }),
        row("MSPs by the rules of 1.3", true, |root| {
            set(root, "Capabilities", &capabilities(&["V1_4_2"]));
        }),
        row("MSPs by the rules of 1.0", true, |root| {
            root.values.remove("Capabilities");
            set(
                root,
                "OrdererAddresses",
                &common::OrdererAddresses {
                    addresses: vec!["a:1".into()],
                },
            );
            for organization in section(root, "Orderer").groups.values_mut() {
                organization.values.remove("Endpoints");
            }
        }),
    ]
}

fn policies() -> Vec<Row> {
    use common::policy::PolicyType;
    let policy = |kind: i32, value: Vec<u8>| common::ConfigPolicy {
        version: 0,
        policy: Some(common::Policy {
            r#type: kind,
            value: value.into(),
        }),
        mod_policy: "Admins".into(),
    };
    let signature = |text: &str| {
        let parsed = consilium_msp::dsl::parse(text).expect("a policy");
        policy(PolicyType::Signature.into(), parsed.encode_to_vec())
    };
    let raw = |envelope: common::SignaturePolicyEnvelope| {
        policy(PolicyType::Signature.into(), envelope.encode_to_vec())
    };
    let signed_by = |index| common::SignaturePolicy {
        r#type: Some(common::signature_policy::Type::SignedBy(index)),
    };
    let meta = |sub_policy: &str| {
        let implicit = common::ImplicitMetaPolicy {
            sub_policy: sub_policy.into(),
            rule: 0,
        };
        policy(PolicyType::ImplicitMeta.into(), implicit.encode_to_vec())
    };
    let mut rows = Vec::new();
    for (name, accepted, policy) in [
        (
            "a signature policy",
            true,
            signature("OR('Org1MSP.member')"),
        ),
        (
            "a policy of an MSP that is not there",
            true,
            signature("OR('Org9MSP.member')"),
        ),
        (
            "a policy that nobody satisfies",
            true,
            signature("OutOf(2,'Org1MSP.member')"),
        ),
        ("a policy of an unknown kind", false, policy(9, Vec::new())),
        ("a policy of no kind", false, policy(0, Vec::new())),
        (
            "a policy of kind MSP",
            false,
            policy(PolicyType::Msp.into(), Vec::new()),
        ),
        (
            "a policy that does not parse",
            false,
            policy(PolicyType::Signature.into(), vec![0xff]),
        ),
        (
            "an empty signature policy",
            false,
            policy(PolicyType::Signature.into(), Vec::new()),
        ),
        (
            "an empty implicit policy",
            true,
            policy(PolicyType::ImplicitMeta.into(), Vec::new()),
        ),
        (
            "an implicit policy that does not parse",
            false,
            policy(PolicyType::ImplicitMeta.into(), vec![0xff]),
        ),
        ("an implicit policy of nothing", true, meta("Nobody")),
        ("an implicit policy of a path", true, meta("Org1MSP/Admins")),
        (
            "an implicit policy of an absolute path",
            true,
            meta("/Channel/Application/Admins"),
        ),
        (
            "a policy of a later version",
            false,
            raw(common::SignaturePolicyEnvelope {
                version: 1,
                rule: Some(signed_by(0)),
                identities: vec![common::MspPrincipal::default()],
            }),
        ),
        (
            "a policy of one beyond",
            false,
            raw(common::SignaturePolicyEnvelope {
                version: 0,
                rule: Some(signed_by(1)),
                identities: vec![common::MspPrincipal::default()],
            }),
        ),
        (
            "a policy of one before",
            false,
            raw(common::SignaturePolicyEnvelope {
                version: 0,
                rule: Some(signed_by(-1)),
                identities: vec![common::MspPrincipal::default()],
            }),
        ),
        (
            "a policy without rule",
            false,
            raw(common::SignaturePolicyEnvelope {
                version: 0,
                rule: Some(common::SignaturePolicy { r#type: None }),
                identities: Vec::new(),
            }),
        ),
    ] {
        rows.push(row(name, accepted, move |root| {
            root.policies.insert("Other".into(), policy.clone());
        }));
    }
    rows.push(row("a policy that is nothing", false, |root| {
        root.policies
            .insert("Other".into(), common::ConfigPolicy::default());
    }));
    rows.push(row("no policies", true, |root| root.policies.clear()));
    rows.push(row("no mod policies", true, |root| {
        root.mod_policy.clear();
        for value in root.values.values_mut() {
            value.mod_policy.clear();
        }
    }));
    rows.push(row("mod policies that lead nowhere", true, |root| {
        root.mod_policy = "//..".into()
    }));
    rows
}

fn keys() -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, accepted) in [
        ("Org-3.x", true),
        ("Org_3", false),
        ("", false),
        (".", false),
        ("..", false),
        ("...", true),
        ("a/b", false),
        ("ä", false),
    ] {
        rows.push(row(
            Box::leak(format!("a policy called '{key}'").into_boxed_str()),
            accepted,
            move |root| {
                let policy = root.policies["Readers"].clone();
                root.policies.insert(key.into(), policy);
            },
        ));
        rows.push(row(
            Box::leak(format!("an organization called '{key}'").into_boxed_str()),
            accepted,
            move |root| {
                let section = section(root, "Application");
                let group = section.groups["Org1MSP"].clone();
                section.groups.insert(key.into(), group);
            },
        ));
    }
    for (length, accepted) in [(249, true), (250, false)] {
        rows.push(row(
            Box::leak(format!("a policy with a name of {length} letters").into_boxed_str()),
            accepted,
            move |root| {
                let policy = root.policies["Readers"].clone();
                root.policies.insert("a".repeat(length), policy);
            },
        ));
    }
    rows
}
