//! Updates: computed, authorized, applied, and what they lead to.

use crate::verdict;
use bytes::Bytes;
use consilium_msp::{Signer, dsl};
use consilium_proto::{common, orderer, protos};
use consilium_protocol::config::{ChannelConfig, genesis, update};
use consilium_testkit::{NodeOu, Organization, network::profile};
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;

const CHANNEL: &str = "mychannel";
const NOW: prost_types::Timestamp = prost_types::Timestamp {
    seconds: 1_763_900_000,
    nanos: 0,
};

struct Network {
    config: ChannelConfig,
    admins: Vec<Arc<dyn Signer>>,
    client: Arc<dyn Signer>,
    newcomer: Organization,
}

impl Network {
    fn new() -> Self {
        let organizations = [
            Organization::new("Org1MSP", "org1.example.com"),
            Organization::new("Org2MSP", "org2.example.com"),
            Organization::new("Org3MSP", "org3.example.com"),
        ];
        let members: Vec<&Organization> = organizations.iter().collect();
        let mut profile = profile(CHANNEL, &members, Vec::new());
        // What signs for the orderers is one organization: give the others a part in it.
        for member in &mut profile.organizations {
            if !member.is_orderer {
                member.is_orderer = true;
                member.endpoints = vec![format!("{}:7050", member.name.to_lowercase())];
            }
        }
        let base = genesis::config(&profile).expect("a genesis");
        Self {
            config: ChannelConfig::new(CHANNEL, base).expect("a configuration"),
            admins: organizations
                .iter()
                .map(|org| org.signer("admin", NodeOu::Admin) as Arc<dyn Signer>)
                .collect(),
            client: organizations[0].signer("client", NodeOu::Client),
            newcomer: Organization::new("Org4MSP", "org4.example.com"),
        }
    }

    /// An update to what `change` makes of the configuration, by the first administrators.
    fn update(
        &self,
        signers: usize,
        change: impl FnOnce(&mut common::ConfigGroup),
    ) -> common::ConfigUpdateEnvelope {
        let mut updated = self.config.config().clone();
        change(updated.channel_group.as_mut().expect("a root"));
        let computed =
            update::compute(self.config.config(), &updated, CHANNEL).expect("a difference");
        sign(computed, &self.admins[..signers])
    }
}

fn sign(update: common::ConfigUpdate, signers: &[Arc<dyn Signer>]) -> common::ConfigUpdateEnvelope {
    let mut envelope = common::ConfigUpdateEnvelope {
        config_update: update.encode_to_vec().into(),
        signatures: Vec::new(),
    };
    for signer in signers {
        update::sign(&mut envelope, signer.as_ref()).expect("a signature");
    }
    envelope
}

fn at<'a>(root: &'a mut common::ConfigGroup, path: &[&str]) -> &'a mut common::ConfigGroup {
    path.iter().fold(root, |group, name| {
        group.groups.get_mut(*name).expect("a group")
    })
}

fn set(group: &mut common::ConfigGroup, key: &str, message: &impl Message) {
    let value = group.values.entry(key.to_owned()).or_default();
    if value.mod_policy.is_empty() {
        value.mod_policy = "Admins".into();
    }
    value.value = message.encode_to_vec().into();
}

fn batches(root: &mut common::ConfigGroup) {
    let size = orderer::BatchSize {
        max_message_count: 7,
        absolute_max_bytes: 1000,
        preferred_max_bytes: 100,
    };
    set(at(root, &["Orderer"]), "BatchSize", &size);
}

fn anchors(root: &mut common::ConfigGroup) {
    let anchor_peers = vec![protos::AnchorPeer {
        host: "peer".into(),
        port: 7051,
    }];
    set(
        at(root, &["Application", "Org1MSP"]),
        "AnchorPeers",
        &protos::AnchorPeers { anchor_peers },
    );
}

pub fn cases() -> Vec<Value> {
    let network = Network::new();
    let mut cases = Vec::new();
    let envelopes = [authorized(&network), by_hand(&network), led_to(&network)].concat();
    for (name, accepted, envelope) in envelopes {
        cases.push(judge(&network, name, accepted, &envelope));
    }
    cases.extend(computed(&network));
    cases
}

type Row = (&'static str, bool, common::ConfigUpdateEnvelope);

fn judge(
    network: &Network,
    name: &str,
    accepted: bool,
    envelope: &common::ConfigUpdateEnvelope,
) -> Value {
    let submitted = update::submission(envelope, CHANNEL, NOW, network.admins[0].as_ref())
        .expect("a submission");
    let proposed = network.config.propose_envelope(&submitted);
    let next = match &proposed {
        Ok(proposed) => {
            let next = proposed.config.clone().unwrap_or_default();
            network
                .config
                .check_next(next)
                .map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    // The peer's way to the same end.
    let validated = proposed
        .as_ref()
        .ok()
        .map(|proposed| network.config.validate(proposed));
    assert_eq!(
        validated.is_some_and(|outcome| outcome.is_ok()),
        next.is_ok(),
        "{name}"
    );
    let result = proposed
        .as_ref()
        .map_or_else(|_| Vec::new(), Message::encode_to_vec);
    json!({
        "kind": "update",
        "name": name,
        "channel": CHANNEL,
        "config": hex::encode(network.config.config().encode_to_vec()),
        "envelope": hex::encode(submitted.encode_to_vec()),
        "proposed": verdict(&proposed),
        "result": hex::encode(result),
        "accepted": accepted,
        "verdict": verdict(&next),
    })
}

/// Signatures: how many, whose, for what.
fn authorized(network: &Network) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, count, accepted) in [
        ("batches by nobody", 0, false),
        ("batches by one of three", 1, false),
        ("batches by two of three", 2, true),
        ("batches by all", 3, true),
    ] {
        rows.push((name, accepted, network.update(count, batches)));
    }
    rows.push(("own anchors by the owner", true, network.update(1, anchors)));
    let mut by_others = network.update(0, anchors);
    for admin in &network.admins[1..] {
        update::sign(&mut by_others, admin.as_ref()).expect("a signature");
    }
    rows.push(("own anchors by others", false, by_others));
    let mut by_client = network.update(1, batches);
    update::sign(&mut by_client, network.client.as_ref()).expect("a signature");
    rows.push(("batches by one of three and a client", false, by_client));
    let mut twice = network.update(1, batches);
    twice.signatures.push(twice.signatures[0].clone());
    rows.push(("batches by one of three twice", false, twice));
    let mut forged = network.update(2, batches);
    forged.signatures[1].signature = forged.signatures[0].signature.clone();
    rows.push(("batches with a forged signature", false, forged));
    let mut stranger = network.update(2, batches);
    let signer = network.newcomer.signer("admin", NodeOu::Admin);
    update::sign(&mut stranger, signer.as_ref()).expect("a signature");
    rows.push(("batches by two and a stranger", true, stranger.clone()));
    stranger.signatures[2].signature_header = Bytes::from_static(b"\xff\xff");
    rows.push((
        "batches with a signature that does not parse",
        false,
        stranger,
    ));
    let mut altered = network.update(2, batches);
    let mut inner = common::ConfigUpdate::decode(altered.config_update.clone()).expect("an update");
    inner.isolated_data.insert("x".into(), Bytes::new());
    altered.config_update = inner.encode_to_vec().into();
    rows.push(("batches altered after signing", false, altered));
    rows
}

/// Read and write sets that nobody computes.
fn by_hand(network: &Network) -> Vec<Row> {
    let change = |change: &dyn Fn(&mut common::ConfigUpdate)| {
        let mut update = network.update(0, batches);
        let mut inner =
            common::ConfigUpdate::decode(update.config_update.clone()).expect("an update");
        change(&mut inner);
        update = sign(inner, &network.admins);
        update
    };
    fn orderer(set: &mut Option<common::ConfigGroup>) -> &mut common::ConfigGroup {
        at(set.as_mut().expect("a set"), &["Orderer"])
    }
    fn batch(update: &mut common::ConfigUpdate) -> &mut common::ConfigValue {
        let group = orderer(&mut update.write_set);
        group.values.get_mut("BatchSize").expect("the batch size")
    }
    vec![
        ("as it was computed", true, change(&|_| {})),
        (
            "of another channel",
            false,
            change(&|u| u.channel_id = "other".into()),
        ),
        ("without read set", false, change(&|u| u.read_set = None)),
        ("without write set", false, change(&|u| u.write_set = None)),
        (
            "without any set",
            false,
            change(&|u| {
                u.write_set = None;
                u.read_set = None;
            }),
        ),
        (
            "with a root that it writes",
            false,
            change(&|u| {
                u.read_set = None;
                if let Some(root) = &mut u.write_set {
                    root.mod_policy = "Admins".into();
                }
            }),
        ),
        (
            "with a version too high",
            false,
            change(&|u| batch(u).version = 2),
        ),
        (
            "with a version too low",
            false,
            change(&|u| batch(u).version = 0),
        ),
        (
            "with the highest version",
            false,
            change(&|u| batch(u).version = u64::MAX),
        ),
        (
            "without mod policy",
            false,
            change(&|u| batch(u).mod_policy.clear()),
        ),
        (
            "with a mod policy that leads nowhere",
            true,
            change(&|u| batch(u).mod_policy = "Nobody".into()),
        ),
        (
            "with an absolute mod policy",
            true,
            change(&|u| batch(u).mod_policy = "/Channel/Admins".into()),
        ),
        (
            "with a mod policy of one slash",
            false,
            change(&|u| batch(u).mod_policy = "/".into()),
        ),
        (
            "with a mod policy of two slashes",
            false,
            change(&|u| batch(u).mod_policy = "//a".into()),
        ),
        (
            "with a mod policy that ends with a slash",
            false,
            change(&|u| batch(u).mod_policy = "a/".into()),
        ),
        (
            "with illegal letters in the mod policy",
            false,
            change(&|u| batch(u).mod_policy = "a_b".into()),
        ),
        (
            "with an illegal key",
            false,
            change(&|u| {
                let value = batch(u).clone();
                orderer(&mut u.write_set).values.insert("a_b".into(), value);
            }),
        ),
        (
            "with an illegal key that is read",
            false,
            change(&|u| {
                orderer(&mut u.read_set)
                    .values
                    .insert("a_b".into(), Default::default());
            }),
        ),
        (
            "reading a value",
            true,
            change(&|u| {
                orderer(&mut u.read_set)
                    .values
                    .insert("BatchTimeout".into(), Default::default());
            }),
        ),
        (
            "reading a value that is not there",
            false,
            change(&|u| {
                orderer(&mut u.read_set)
                    .values
                    .insert("Nothing".into(), Default::default());
            }),
        ),
        (
            "reading a value at another version",
            false,
            change(&|u| {
                let value = common::ConfigValue {
                    version: 1,
                    ..Default::default()
                };
                orderer(&mut u.read_set)
                    .values
                    .insert("BatchTimeout".into(), value);
            }),
        ),
        (
            "reading a value as a group",
            false,
            change(&|u| {
                orderer(&mut u.read_set)
                    .groups
                    .insert("BatchTimeout".into(), Default::default());
            }),
        ),
        (
            "reading what it writes at the new version",
            false,
            change(&|u| {
                let value = batch(u).clone();
                orderer(&mut u.read_set)
                    .values
                    .insert("BatchSize".into(), value);
            }),
        ),
        (
            "with a new value that its group does not list",
            true,
            change(&|u| {
                let value = common::ConfigValue {
                    version: 0,
                    ..batch(u).clone()
                };
                orderer(&mut u.write_set)
                    .values
                    .insert("KafkaBrokers".into(), value);
            }),
        ),
        (
            "with a new value of version 1",
            false,
            change(&|u| {
                let value = batch(u).clone();
                orderer(&mut u.write_set)
                    .values
                    .insert("KafkaBrokers".into(), value);
            }),
        ),
        (
            "with a new value that an unchanged group would list",
            true,
            change(&|u| {
                let mut group = common::ConfigGroup::default();
                group.values.insert(
                    "X".into(),
                    common::ConfigValue {
                        version: 0,
                        ..batch(u).clone()
                    },
                );
                group.mod_policy = "Admins".into();
                orderer(&mut u.write_set).groups.insert("New".into(), group);
            }),
        ),
        (
            "with a group that loses all members",
            false,
            change(&|u| {
                let group = orderer(&mut u.write_set);
                group.version = 1;
                group.mod_policy = "Admins".into();
            }),
        ),
        (
            "with a member that its group lists and nobody has",
            false,
            change(&|u| {
                let root = u.write_set.as_mut().expect("a set");
                root.version = 1;
                root.mod_policy = "Admins".into();
                root.groups.insert("Application".into(), Default::default());
                root.groups.insert("Nothing".into(), Default::default());
            }),
        ),
        (
            "that is no update",
            false,
            common::ConfigUpdateEnvelope {
                config_update: Bytes::from_static(b"\xff"),
                signatures: Vec::new(),
            },
        ),
        (
            "that is empty",
            false,
            common::ConfigUpdateEnvelope::default(),
        ),
    ]
}

/// Changes that are authorized, and lead to configurations that are legal or not.
fn led_to(network: &Network) -> Vec<Row> {
    let all = |change: &dyn Fn(&mut common::ConfigGroup)| network.update(3, |root| change(root));
    let member = genesis::Organization::new(network.newcomer.msp_config());
    let newcomer = genesis::application_organization(&member).expect("a group");
    let capabilities = |name: &str| common::Capabilities {
        capabilities: [(name.to_owned(), common::Capability {})]
            .into_iter()
            .collect(),
    };
    let consensus = |kind: &str, state: i32| orderer::ConsensusType {
        r#type: kind.into(),
        metadata: Bytes::new(),
        state,
    };
    let signature = |text: &str| {
        let value = dsl::parse(text).expect("a policy").encode_to_vec().into();
        Some(common::Policy { r#type: 1, value })
    };
    vec![
        (
            "an organization comes",
            true,
            all(&|root| {
                at(root, &["Application"])
                    .groups
                    .insert("Org4MSP".into(), newcomer.clone());
            }),
        ),
        (
            "an organization comes under another name",
            true,
            all(&|root| {
                at(root, &["Application"])
                    .groups
                    .insert("Other".into(), newcomer.clone());
            }),
        ),
        (
            "an organization goes",
            true,
            all(&|root| {
                at(root, &["Application"]).groups.remove("Org2MSP");
            }),
        ),
        (
            "an organization goes from both sections",
            true,
            all(&|root| {
                at(root, &["Application"]).groups.remove("Org2MSP");
                at(root, &["Orderer"]).groups.remove("Org2MSP");
            }),
        ),
        (
            "an organization takes another's place",
            false,
            all(&|root| {
                at(root, &["Application"])
                    .groups
                    .insert("Org2MSP".into(), newcomer.clone());
            }),
        ),
        (
            "the application section goes",
            false,
            all(&|root| {
                root.groups.remove("Application");
            }),
        ),
        (
            "the orderer section goes",
            false,
            all(&|root| {
                root.groups.remove("Orderer");
            }),
        ),
        (
            "consortiums come",
            false,
            all(&|root| {
                let group = common::ConfigGroup {
                    mod_policy: "Admins".into(),
                    ..Default::default()
                };
                root.groups.insert("Consortiums".into(), group);
            }),
        ),
        (
            "a policy changes",
            true,
            all(&|root| {
                let policy = at(root, &["Application"])
                    .policies
                    .get_mut("Endorsement")
                    .expect("a policy");
                policy.policy = signature("OR('Org1MSP.peer')");
            }),
        ),
        (
            "a policy comes",
            true,
            all(&|root| {
                let mut policy = root.policies["Readers"].clone();
                policy.policy = signature("OR('Org1MSP.peer')");
                root.policies.insert("New".into(), policy);
            }),
        ),
        (
            "all policies of administrators go",
            true,
            all(&|root| {
                at(root, &["Application"]).policies.remove("Admins");
            }),
        ),
        (
            "a mod policy changes",
            true,
            all(&|root| at(root, &["Application"]).mod_policy = "/Channel/Orderer/Admins".into()),
        ),
        (
            "an empty mod policy",
            false,
            all(&|root| at(root, &["Application"]).mod_policy.clear()),
        ),
        (
            "orderer capabilities go",
            false,
            all(&|root| {
                at(root, &["Orderer"]).values.remove("Capabilities");
            }),
        ),
        (
            "all capabilities go",
            false,
            all(&|root| {
                root.values.remove("Capabilities");
                for section in ["Orderer", "Application"] {
                    at(root, &[section]).values.remove("Capabilities");
                }
            }),
        ),
        (
            "channel capabilities go back",
            true,
            all(&|root| set(root, "Capabilities", &capabilities("V2_0"))),
        ),
        (
            "application capabilities go back",
            true,
            all(&|root| {
                set(
                    at(root, &["Application"]),
                    "Capabilities",
                    &capabilities("V2_0"),
                );
            }),
        ),
        (
            "ACLs come",
            true,
            all(&|root| {
                let acl = protos::ApiResource {
                    policy_ref: "Readers".into(),
                };
                let acls = [("peer/Propose".to_owned(), acl)].into_iter().collect();
                set(at(root, &["Application"]), "ACLs", &protos::AcLs { acls });
            }),
        ),
        (
            "the consensus type changes",
            true,
            all(&|root| {
                set(
                    at(root, &["Orderer"]),
                    "ConsensusType",
                    &consensus("BFT", 0),
                );
            }),
        ),
        (
            "maintenance",
            true,
            all(&|root| {
                set(
                    at(root, &["Orderer"]),
                    "ConsensusType",
                    &consensus("etcdraft", 1),
                );
            }),
        ),
        (
            "no batch",
            false,
            all(&|root| {
                set(
                    at(root, &["Orderer"]),
                    "BatchSize",
                    &orderer::BatchSize::default(),
                );
            }),
        ),
        (
            "endpoints go",
            false,
            all(&|root| {
                at(root, &["Orderer", "Org2MSP"]).values.remove("Endpoints");
            }),
        ),
        (
            "hashing changes",
            true,
            all(&|root| {
                set(
                    root,
                    "HashingAlgorithm",
                    &common::HashingAlgorithm {
                        name: "SHA3_256".into(),
                    },
                );
            }),
        ),
    ]
}

/// Updates as we compute them, for Fabric's configtxlator to compute, too.
fn computed(network: &Network) -> Vec<Value> {
    let member = genesis::Organization::new(network.newcomer.msp_config());
    let newcomer = genesis::application_organization(&member).expect("a group");
    type Change<'a> = &'a dyn Fn(&mut common::ConfigGroup);
    let table: [(&str, Change<'_>); 14] = [
        ("nothing", &|_| {}),
        ("a value", &batches),
        ("two values in two sections", &|root| {
            batches(root);
            anchors(root);
        }),
        ("a value comes", &|root| {
            set(root, "Consortium", &common::Consortium::default())
        }),
        ("a value goes", &|root| {
            drop(root.values.remove("HashingAlgorithm"))
        }),
        ("a policy comes", &|root| {
            let policy = root.policies["Readers"].clone();
            root.policies.insert("New".into(), policy);
        }),
        ("a policy goes", &|root| {
            drop(at(root, &["Orderer"]).policies.remove("Readers"))
        }),
        ("a policy changes", &|root| {
            let readers = root.policies["Readers"].policy.clone();
            root.policies.get_mut("Admins").expect("a policy").policy = readers;
        }),
        ("a policy's mod policy changes", &|root| {
            root.policies
                .get_mut("Admins")
                .expect("a policy")
                .mod_policy = "Readers".into();
        }),
        ("a group's mod policy changes", &|root| {
            at(root, &["Orderer"]).mod_policy = "Readers".into()
        }),
        ("an organization comes", &|root| {
            at(root, &["Application"])
                .groups
                .insert("Org4MSP".into(), newcomer.clone());
        }),
        ("an empty organization comes", &|root| {
            at(root, &["Application"])
                .groups
                .insert("Empty".into(), Default::default());
        }),
        ("an organization goes and a value changes", &|root| {
            at(root, &["Application"]).groups.remove("Org1MSP");
            batches(root);
        }),
        ("versions only", &|root| {
            root.version = 9;
            at(root, &["Orderer"]).version = 3;
        }),
    ];
    let original = network.config.config();
    table
        .iter()
        .map(|(name, change)| {
            let mut updated = original.clone();
            change(updated.channel_group.as_mut().expect("a root"));
            let outcome = update::compute(original, &updated, CHANNEL);
            let result = outcome
                .as_ref()
                .map_or_else(|_| Vec::new(), Message::encode_to_vec);
            json!({
                "kind": "compute",
                "name": name,
                "channel": CHANNEL,
                "config": hex::encode(original.encode_to_vec()),
                "updated": hex::encode(updated.encode_to_vec()),
                "result": hex::encode(result),
                "accepted": !["nothing", "versions only"].contains(name),
                "verdict": verdict(&outcome),
            })
        })
        .collect()
}
