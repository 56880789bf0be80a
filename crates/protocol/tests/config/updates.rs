//! Which updates are accepted, and why others are not.

use crate::network::{NOW, Network, group, set, sign};
use bytes::Bytes;
use consilium_proto::common::{ConfigGroup, ConfigPolicy, ConfigUpdate, ConfigValue};
use consilium_proto::{common, orderer};
use consilium_protocol::config::{ChannelConfig, ConfigError, update};
use consilium_protocol::envelope;

fn smaller_batches(root: &mut ConfigGroup) {
    let size = orderer::BatchSize {
        max_message_count: 10,
        absolute_max_bytes: 1000,
        preferred_max_bytes: 100,
    };
    set(group(root, &["Orderer"]), "BatchSize", &size);
}

#[test]
fn an_update_signed_by_a_majority_of_admins_takes_effect() {
    let network = Network::new();
    let config = network.config();
    let envelope = network.accept(&config, smaller_batches);
    let next = config.validate(&envelope).expect("valid");
    assert_eq!(
        (next.sequence(), next.batch_size().max_message_count),
        (1, 10)
    );
    let value = &next.root().groups["Orderer"].values["BatchSize"];
    assert_eq!(
        (
            value.version,
            next.root().groups["Orderer"].version,
            next.root().version
        ),
        (1, 0, 0)
    );
    // The change of one value leaves everything else as it was.
    assert!(matches!(
        update::compute(
            next.config(),
            envelope.config.as_ref().expect("config"),
            "mychannel"
        ),
        Err(ConfigError::NoDifference)
    ));
}

#[test]
fn an_update_signed_by_one_admin_of_two_is_refused() {
    let network = Network::new();
    let config = network.config();
    let update = network.update(
        &config,
        &[&network.admins[0], &network.admins[0]],
        smaller_batches,
    );
    assert_eq!(
        config.propose(&update).unwrap_err().to_string(),
        "error authorizing update: error validating DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not \
         satisfied: implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 2 of \
         the 'Admins' sub-policies to be satisfied"
    );
}

#[test]
fn an_organization_changes_its_own_group_alone() {
    let network = Network::new();
    let config = network.config();
    let anchor = consilium_proto::protos::AnchorPeers {
        anchor_peers: vec![consilium_proto::protos::AnchorPeer {
            host: "other".into(),
            port: 1,
        }],
    };
    let change = |root: &mut ConfigGroup| {
        set(
            group(root, &["Application", "Org1MSP"]),
            "AnchorPeers",
            &anchor,
        )
    };
    let own = network.update(&config, &[&network.admins[0]], change);
    let proposed = config.propose(&own).expect("accepted");
    let next = config
        .check_next(proposed.config.expect("config"))
        .expect("valid");
    assert_eq!(
        next.application_orgs()[0].anchor_peers,
        [("other".to_owned(), 1)]
    );
    let foreign = network.update(&config, &[&network.admins[1]], change);
    assert!(config.propose(&foreign).is_err());
}

#[test]
fn members_are_added_and_removed_by_raising_their_group() {
    let network = Network::new();
    let config = network.config();
    let added = network.accept(&config, |root| {
        let policy = root.policies["Admins"].clone();
        group(root, &["Application"])
            .policies
            .insert("Auditors".into(), policy);
    });
    let next = config.validate(&added).expect("valid");
    assert!(next.policies().has("/Channel/Application/Auditors"));
    assert_eq!(next.root().groups["Application"].version, 1);
    let removed = network.accept(&next, |root| {
        group(root, &["Application"]).groups.remove("Org2MSP");
        group(root, &["Application"]).policies.remove("Auditors");
    });
    let last = next.validate(&removed).expect("valid");
    assert_eq!(last.application_orgs().len(), 1);
    assert!(!last.policies().has("/Channel/Application/Auditors"));
}

/// An update of the Orderer group that touches one value, with everything open to be spoiled.
struct Handmade {
    read: ConfigGroup,
    write: ConfigGroup,
    channel: &'static str,
}

impl Handmade {
    fn new(key: &str, value: ConfigValue) -> Self {
        let orderer = ConfigGroup {
            values: [(key.to_owned(), value)].into(),
            ..Default::default()
        };
        let write = ConfigGroup {
            groups: [("Orderer".to_owned(), orderer)].into(),
            ..Default::default()
        };
        let read = ConfigGroup {
            groups: [("Orderer".to_owned(), ConfigGroup::default())].into(),
            ..Default::default()
        };
        Handmade {
            read,
            write,
            channel: "mychannel",
        }
    }

    fn refusal(self, network: &Network, config: &ChannelConfig) -> String {
        let update = ConfigUpdate {
            channel_id: self.channel.to_owned(),
            read_set: Some(self.read),
            write_set: Some(self.write),
            ..Default::default()
        };
        let signers: Vec<_> = network.admins.iter().collect();
        let error = config
            .propose(&sign(update, &signers))
            .unwrap_err()
            .to_string();
        error
            .strip_prefix("error authorizing update: ")
            .expect("prefix")
            .to_owned()
    }
}

fn value(version: u64, mod_policy: &str) -> ConfigValue {
    ConfigValue {
        version,
        value: Bytes::from_static(b"\x08\x01"),
        mod_policy: mod_policy.to_owned(),
    }
}

#[test]
fn updates_that_do_not_fit_the_current_configuration_are_refused() {
    let network = Network::new();
    let config = network.config();
    let batch = |version, mod_policy: &str| Handmade::new("BatchSize", value(version, mod_policy));
    let mut foreign = batch(1, "Admins");
    foreign.channel = "other";
    let mut stale = batch(1, "Admins");
    stale.read.version = 3;
    let mut unknown = batch(1, "Admins");
    unknown
        .read
        .groups
        .insert("Nothing".into(), ConfigGroup::default());
    let mut orphan = batch(1, "Admins");
    let policy = ConfigPolicy {
        version: 1,
        mod_policy: "Admins".into(),
        ..Default::default()
    };
    orphan.write.policies.insert("New".into(), policy);
    let mut illegal = batch(1, "Admins");
    illegal
        .write
        .groups
        .insert("a b".into(), ConfigGroup::default());
    let mut stubs = batch(0, "");
    stubs
        .read
        .groups
        .get_mut("Orderer")
        .expect("group")
        .values
        .insert("BatchSize".into(), value(0, ""));
    let table = [
        (
            foreign,
            "ConfigUpdate for channel 'other' but envelope for channel 'mychannel'",
        ),
        (
            stale,
            "error validating ReadSet: proposed update requires that key [Group]  /Channel be at version 3, but it is \
             currently at version 0",
        ),
        (
            unknown,
            "error validating ReadSet: existing config does not contain element for [Group]  /Channel/Nothing but was \
             in the read set",
        ),
        (
            stubs,
            "error validating DeltaSet: delta set was empty -- update would have no effect",
        ),
        (
            batch(1, ""),
            "error validating DeltaSet: invalid mod_policy for element [Value]  /Channel/Orderer/BatchSize: mod_policy \
             not set",
        ),
        (
            batch(1, "a//b"),
            "error validating DeltaSet: invalid mod_policy for element [Value]  /Channel/Orderer/BatchSize: path \
             element at 1 is invalid: config ID illegal, cannot be empty",
        ),
        (
            batch(2, "Admins"),
            "error validating DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchSize to version 2, but key \
             is at version 0",
        ),
        (
            batch(0, "Admins"),
            "error validating DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchSize to version 0, but key \
             is at version 0",
        ),
        (
            orphan,
            "error validating DeltaSet: attempted to set key [Policy] /Channel/New to version 1, but key does not exist",
        ),
        (
            illegal,
            "error mapping WriteSet: illegal characters in key: [Group]  /Channel/a b: config ID 'a b' contains \
             illegal characters",
        ),
    ];
    for (handmade, text) in table {
        assert_eq!(handmade.refusal(&network, &config), text);
    }
}

#[test]
fn a_new_item_without_its_group_raised_has_no_effect() {
    let network = Network::new();
    let config = network.config();
    let Handmade { read, write, .. } = Handmade::new("KafkaBrokers", value(0, "Admins"));
    let update = ConfigUpdate {
        channel_id: "mychannel".into(),
        read_set: Some(read),
        write_set: Some(write),
        ..Default::default()
    };
    let proposed = config
        .propose(&sign(update, &[]))
        .expect("nothing that is protected changes");
    assert_eq!(
        proposed.config.expect("config").channel_group,
        config.config().channel_group
    );
}

#[test]
fn an_item_whose_mod_policy_does_not_exist_cannot_be_changed() {
    let network = Network::new();
    let config = network.config();
    let locked = network.accept(&config, |root| {
        group(root, &["Orderer"])
            .values
            .get_mut("BatchTimeout")
            .expect("value")
            .mod_policy = "Nobody".into();
    });
    let locked = config.validate(&locked).expect("valid");
    let refused = Handmade::new("BatchTimeout", value(2, "Admins")).refusal(&network, &locked);
    assert_eq!(
        refused,
        "error validating DeltaSet: unexpected missing policy Nobody for item [Value]  /Channel/Orderer/BatchTimeout"
    );
}

#[test]
fn a_mod_policy_is_relative_to_its_group_unless_it_is_absolute() {
    let network = Network::new();
    let config = network.config();
    let own = network.accept(&config, |root| {
        let orderer = group(root, &["Orderer"]);
        orderer
            .values
            .get_mut("BatchSize")
            .expect("value")
            .mod_policy = "/Channel/Application/Org2MSP/Admins".into();
    });
    let config = config.validate(&own).expect("valid");
    let by = |admin: usize| {
        config.propose(&network.update(&config, &[&network.admins[admin]], smaller_batches))
    };
    assert!(by(0).is_err());
    assert!(by(1).is_ok());
}

#[test]
fn config_envelopes_that_are_no_successors_are_refused() {
    let network = Network::new();
    let config = network.config();
    let good = network.accept(&config, smaller_batches);
    let refused = |change: fn(&mut common::ConfigEnvelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        config.validate(&envelope).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|e| e.config = None),
        "config envelope has nil config"
    );
    assert_eq!(
        refused(|e| e.config.as_mut().unwrap().sequence = 5),
        "config currently at sequence 0, cannot validate config at sequence 5"
    );
    assert_eq!(
        refused(|e| e.config.as_mut().unwrap().channel_group = None),
        "ConfigEnvelope LastUpdate did not produce the supplied config result"
    );
    assert_eq!(refused(|e| e.last_update = None), "header not set");
}

#[test]
fn only_a_config_update_envelope_carries_an_update() {
    let network = Network::new();
    let spec = envelope::HeaderSpec::new(common::HeaderType::EndorserTransaction, "mychannel", NOW);
    let other = envelope::create_signed(spec, Bytes::new(), &*network.admins[0]).expect("signed");
    assert_eq!(
        network
            .config()
            .propose_envelope(&other)
            .unwrap_err()
            .to_string(),
        "error converting envelope to config update: invalid type ENDORSER_TRANSACTION, expected CONFIG_UPDATE"
    );
}

#[test]
fn equal_configurations_have_no_update_between_them() {
    let config = Network::new().config();
    let error = update::compute(config.config(), config.config(), "mychannel").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no differences detected between original and updated config"
    );
    let error =
        update::compute(&common::Config::default(), config.config(), "mychannel").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no channel group included for original config"
    );
}
