//! Settings: named, shown, changed and compared.

use crate::network::{Network, group, set, sign};
use bytes::Bytes;
use consilium_msp::Signer;
use consilium_proto::{common, protos};
use consilium_protocol::config::settings::{self, Action, Difference, Edit};
use consilium_protocol::config::{ChannelConfig, consent::Wanted, genesis, update};
use consilium_testkit::{NodeOu, Organization};
use std::sync::Arc;

fn edit(action: Action, name: &str, value: &[u8]) -> Edit {
    Edit {
        action,
        name: name.into(),
        value: Bytes::copy_from_slice(value),
    }
}

/// The values of a setting; `None` where there is no such.
fn shown(root: &common::ConfigGroup, name: &str) -> Option<Vec<String>> {
    let mut all = settings::list(root).into_iter();
    all.find(|setting| setting.name == name)
        .map(|setting| setting.values)
}

#[test]
fn settings_have_the_values_that_people_write() {
    let network = Network::new();
    let config = network.config();
    for (name, values) in [
        ("channel.capabilities", &["V3_0"][..]),
        ("channel.hashing-algorithm", &["SHA256"]),
        ("channel.policy.Admins", &["MAJORITY Admins"]),
        ("orderer.batch-size.max-messages", &["500"]),
        ("orderer.batch-size.absolute-max-bytes", &["10 MB"]),
        ("orderer.batch-timeout", &["2s"]),
        ("orderer.consensus.state", &["normal"]),
        ("orderer.max-channels", &["unlimited"]),
        ("orderer.raft.tick-interval", &["500ms"]),
        (
            "orderer.org.Org1MSP.endpoints",
            &["orderer.org1.example.com:7050"],
        ),
        (
            "application.org.Org2MSP.anchor-peers",
            &["peer0.org2.example.com:7051"],
        ),
        (
            "application.org.Org1MSP.policy.Writers",
            &["OR('Org1MSP.admin', 'Org1MSP.client')"],
        ),
        ("application.org.Org1MSP.msp.id", &["Org1MSP"]),
        ("application.org.Org1MSP.msp.node-ous", &["on"]),
    ] {
        let expected: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        assert_eq!(shown(config.root(), name), Some(expected), "{name}");
    }
    let consenters = shown(config.root(), "orderer.raft.consenters").expect("consenters");
    assert_eq!(consenters.len(), 3);
    assert!(
        consenters[0].starts_with("orderer0:7050 CN="),
        "{consenters:?}"
    );
    assert_eq!(
        shown(config.root(), "channel.mod-policy"),
        None,
        "the usual one"
    );
}

#[test]
fn every_listed_policy_and_value_can_be_set_to_what_it_is() {
    let network = Network::new();
    let config = network.config();
    let mut root = config.root().clone();
    let mut count = 0;
    for setting in settings::list(config.root()) {
        let settable = setting.name.contains(".policy.")
            || [
                "batch",
                "capabilities",
                "endpoints",
                "anchor",
                "raft.",
                "hashing-alg",
                "state",
            ]
            .iter()
            .any(|part| setting.name.contains(part));
        if settable && !setting.name.ends_with("consenters") {
            let value = setting.values.join(",");
            let applied = edit(Action::Set, &setting.name, value.as_bytes()).apply(&mut root);
            applied.unwrap_or_else(|error| panic!("{}: {error}", setting.name));
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    assert_eq!(settings::differences(config.root(), &root), []);
}

#[test]
fn edits_change_one_setting_and_the_result_is_a_configuration() {
    let network = Network::new();
    let config = network.config();
    for (action, name, value, after) in [
        (
            Action::Set,
            "orderer.batch-timeout",
            "500ms",
            Some(&["500ms"][..]),
        ),
        (
            Action::Set,
            "orderer.batch-size.max-messages",
            "7",
            Some(&["7"]),
        ),
        (
            Action::Set,
            "orderer.batch-size.preferred-max-bytes",
            "512 KB",
            Some(&["512 KB"]),
        ),
        (
            Action::Set,
            "orderer.consensus.state",
            "maintenance",
            Some(&["maintenance"]),
        ),
        (
            Action::Set,
            "orderer.raft.election-tick",
            "20",
            Some(&["20"]),
        ),
        (
            Action::Set,
            "channel.policy.Admins",
            "ANY Admins",
            Some(&["ANY Admins"]),
        ),
        (
            Action::Set,
            "application.policy.Auditors",
            "OR('Org1MSP.member')",
            Some(&["OR('Org1MSP.member')"]),
        ),
        (Action::Unset, "application.policy.Endorsement", "", None),
        (
            Action::Set,
            "application.acl.peer/Propose",
            "/Channel/Readers",
            Some(&["/Channel/Readers"]),
        ),
        (
            Action::Set,
            "application.mod-policy",
            "/Channel/Admins",
            Some(&["/Channel/Admins"]),
        ),
        (
            Action::Set,
            "orderer.batch-size.mod-policy",
            "Writers",
            Some(&["Writers"]),
        ),
        (
            Action::Set,
            "channel.policy.Admins.mod-policy",
            "Writers",
            Some(&["Writers"]),
        ),
        (
            Action::Add,
            "application.capabilities",
            "V2_0",
            Some(&["V2_0", "V2_5"]),
        ),
        (
            Action::Add,
            "application.org.Org1MSP.anchor-peers",
            "peer1:7051, peer2:7051",
            Some(&["peer0.org1.example.com:7051", "peer1:7051", "peer2:7051"]),
        ),
        (
            Action::Remove,
            "application.org.Org1MSP.anchor-peers",
            "peer0.org1.example.com:7051",
            Some(&[]),
        ),
        (
            Action::Unset,
            "application.org.Org1MSP.anchor-peers",
            "",
            None,
        ),
        (
            Action::Set,
            "application.org.Org1MSP.msp.node-ou.client",
            "user",
            Some(&["user"]),
        ),
    ] {
        let mut root = config.root().clone();
        edit(action, name, value.as_bytes())
            .apply(&mut root)
            .expect(name);
        let values = shown(&root, name);
        match after {
            Some(after) => {
                let values = values.unwrap_or_else(|| panic!("{name} is gone"));
                assert_eq!(values.len(), after.len(), "{name}: {values:?}");
                for (value, expected) in values.iter().zip(after) {
                    assert!(value.starts_with(expected), "{name}: {value}");
                }
            }
            None => assert_eq!(values, None, "{name}"),
        }
        let changed = common::Config {
            sequence: 0,
            channel_group: Some(root),
        };
        ChannelConfig::new("mychannel", changed).expect(name);
    }
}

#[test]
fn edits_that_cannot_be_made_say_why_and_change_nothing() {
    let network = Network::new();
    let config = network.config();
    for (action, name, value, reason) in [
        (
            Action::Set,
            "batch-timeout",
            "1s",
            "begins with none of channel., orderer. and application.",
        ),
        (
            Action::Set,
            "orderer.batch-timeuot",
            "1s",
            "here are: batch-size.absolute-max-bytes",
        ),
        (
            Action::Set,
            "orderer.batch-timeout",
            "soon",
            "not a length of time",
        ),
        (
            Action::Set,
            "orderer.batch-timeout",
            "-1s",
            "not a length of time",
        ),
        (
            Action::Unset,
            "orderer.batch-timeout",
            "",
            "has to have a value",
        ),
        (
            Action::Add,
            "orderer.batch-timeout",
            "1s",
            "it has one value; set it",
        ),
        (
            Action::Set,
            "orderer.batch-size.max-messages",
            "-1",
            "is not a number",
        ),
        (
            Action::Set,
            "orderer.batch-size.absolute-max-bytes",
            "1.5 MB",
            "not a size",
        ),
        (
            Action::Set,
            "orderer.consensus.state",
            "off",
            "neither normal nor maintenance",
        ),
        (
            Action::Set,
            "orderer.raft.nothing",
            "1",
            "there is no such setting",
        ),
        (
            Action::Set,
            "application.org.Nobody.anchor-peers",
            "a:1",
            "there are Org1MSP, Org2MSP",
        ),
        (
            Action::Set,
            "application.org.Org1MSP.anchor-peers",
            "peer",
            "not of the form host:port",
        ),
        (
            Action::Set,
            "application.org.Org1MSP.anchor-peers",
            "peer:70000",
            "not of the form host:port",
        ),
        (
            Action::Remove,
            "application.org.Org1MSP.anchor-peers",
            "a:1",
            "is not in it",
        ),
        (
            Action::Set,
            "application.policy.Admins",
            "most of us",
            "neither a policy such as",
        ),
        (
            Action::Unset,
            "application.policy.Nobody",
            "",
            "there is no such policy",
        ),
        (
            Action::Unset,
            "application.acl.peer/Propose",
            "",
            "the default applies",
        ),
        (
            Action::Add,
            "application.org.Org1MSP.msp.roots",
            "no PEM",
            "there is no certificate",
        ),
        (
            Action::Remove,
            "application.org.Org1MSP.msp.roots",
            "CN=nobody",
            "fits 0 of these",
        ),
        (
            Action::Add,
            "application.org.Org1MSP.msp.crls",
            "no list",
            "could not parse RevocationList",
        ),
        (
            Action::Set,
            "application.org.Org1MSP.msp.node-ous",
            "yes",
            "neither on nor off",
        ),
        (
            Action::Set,
            "application.org.Org1MSP.msp.id",
            "Other",
            "there is no such setting",
        ),
        (
            Action::Set,
            "orderer.raft.consenters",
            "a:1",
            "added and removed one at a time",
        ),
        (
            Action::Add,
            "orderer.raft.consenters",
            "a:1",
            "TLS certificate",
        ),
        (
            Action::Remove,
            "orderer.raft.consenters",
            "a:1",
            "is not in it",
        ),
    ] {
        let mut root = config.root().clone();
        let refused = edit(action, name, value.as_bytes()).apply(&mut root);
        let text = refused.expect_err(name).to_string();
        assert!(text.contains(reason), "{name}: {text}");
        assert!(text.contains(name), "{text} does not name {name}");
        assert_eq!(&root, config.root(), "{name}");
    }
}

#[test]
fn an_msp_changes_in_every_section_at_once() {
    let network = Network::new();
    let config = network.config();
    let list = network.organizations[0]
        .ca()
        .revocation_list(&[&[0x42]], true);
    let name = "application.org.Org1MSP.msp.crls";
    let mut root = config.root().clone();
    edit(Action::Add, name, &list)
        .apply(&mut root)
        .expect("added");
    for name in [name, "orderer.org.Org1MSP.msp.crls"] {
        let values = shown(&root, name).expect(name);
        assert!(values[0].contains("revokes 1: 42"), "{values:?}");
    }
    assert_eq!(shown(&root, "application.org.Org2MSP.msp.crls"), None);
    let changed = common::Config {
        sequence: 0,
        channel_group: Some(root.clone()),
    };
    ChannelConfig::new("mychannel", changed).expect("valid in both sections");
    edit(Action::Remove, name, b"revokes 1: 42")
        .apply(&mut root)
        .expect("removed");
    assert_eq!(settings::differences(config.root(), &root), []);

    let root_before = shown(config.root(), "application.org.Org1MSP.msp.roots").expect("roots");
    let other = Organization::new("Org1MSP", "new.example.com");
    let name = "orderer.org.Org1MSP.msp.roots";
    edit(Action::Add, name, other.ca().cert_pem().as_bytes())
        .apply(&mut root)
        .expect("added");
    assert_eq!(
        shown(&root, "application.org.Org1MSP.msp.roots")
            .expect("roots")
            .len(),
        2
    );
    edit(Action::Remove, name, root_before[0].as_bytes())
        .apply(&mut root)
        .expect("removed");
    let rest = shown(&root, "application.org.Org1MSP.msp.roots").expect("roots");
    assert_eq!(rest.len(), 1);
    assert_ne!(rest, root_before);
}

#[test]
fn a_consenter_comes_goes_and_exchanges_its_certificate() {
    let network = Network::new();
    let config = network.config();
    let tls = network.organizations[1].tls(&["orderer3"]).cert_pem;
    let name = "orderer.raft.consenters";
    let mut root = config.root().clone();
    let consenter = format!("orderer3:7050\n{tls}");
    edit(Action::Add, name, consenter.as_bytes())
        .apply(&mut root)
        .expect("added");
    let with = shown(&root, name).expect("consenters");
    assert_eq!(with.len(), 4);
    let renewed = network.organizations[1].tls(&["orderer3"]).cert_pem;
    let consenter = format!("orderer3:7050\n{renewed}");
    edit(Action::Add, name, consenter.as_bytes())
        .apply(&mut root)
        .expect("exchanged");
    let exchanged = shown(&root, name).expect("consenters");
    assert_eq!((exchanged.len(), exchanged[..3] == with[..3]), (4, true));
    assert_ne!(exchanged[3], with[3]);
    edit(Action::Remove, name, b"orderer3:7050")
        .apply(&mut root)
        .expect("removed");
    assert_eq!(settings::differences(config.root(), &root), []);
}

#[test]
fn differences_name_what_goes_and_what_comes() {
    let network = Network::new();
    let config = network.config();
    let mut after = config.root().clone();
    edit(Action::Set, "orderer.batch-timeout", b"1s")
        .apply(&mut after)
        .expect("set");
    edit(
        Action::Add,
        "application.org.Org1MSP.anchor-peers",
        b"peer1:7051",
    )
    .apply(&mut after)
    .expect("added");
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let difference = |name: &str, removed: &[&str], added: &[&str]| Difference {
        name: name.into(),
        removed: strings(removed),
        added: strings(added),
    };
    assert_eq!(
        settings::differences(config.root(), &after),
        [
            difference("application.org.Org1MSP.anchor-peers", &[], &["peer1:7051"]),
            difference("orderer.batch-timeout", &["2s"], &["1s"]),
        ]
    );
}

#[test]
fn no_difference_stays_hidden() {
    let network = Network::new();
    let config = network.config();
    // The same policy in other bytes, which read the same.
    let mut after = config.root().clone();
    let policy = after.policies.get_mut("Admins").expect("a policy");
    let policy = policy.policy.as_mut().expect("a policy");
    policy.value = [&policy.value[..], &[0x78, 1]].concat().into();
    let found = settings::differences(config.root(), &after);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].name, "[Policy] /Channel/Admins");

    // A certificate of the same name and serial number shows by its digest.
    let mut after = config.root().clone();
    let serial = consilium_testkit::Template {
        serial: Some(vec![1]),
        ..consilium_testkit::Template::authority("ca")
    };
    let [one, two] = [0, 1].map(|_| consilium_testkit::Authority::root_from(&serial));
    let name = "application.org.Org1MSP.msp.tls-intermediates";
    edit(Action::Set, name, one.cert_pem().as_bytes())
        .apply(&mut after)
        .expect("set");
    let before = after.clone();
    edit(Action::Set, name, two.cert_pem().as_bytes())
        .apply(&mut after)
        .expect("set");
    let found = settings::differences(&before, &after);
    assert!(
        found.iter().any(|difference| difference.name == name),
        "{found:?}"
    );

    // The order of a list, and an empty list that comes.
    let mut before = config.root().clone();
    let anchors = "application.org.Org1MSP.anchor-peers";
    edit(Action::Set, anchors, b"a:1,b:2")
        .apply(&mut before)
        .expect("set");
    let mut after = before.clone();
    edit(Action::Set, anchors, b"b:2,a:1")
        .apply(&mut after)
        .expect("set");
    assert_eq!(
        settings::differences(&before, &after)[0].added,
        ["b:2, a:1"]
    );
    let mut after = config.root().clone();
    set(
        group(&mut after, &["Application"]),
        "ACLs",
        &protos::AcLs::default(),
    );
    let found = settings::differences(config.root(), &after);
    assert_eq!(found[0].added, ["(empty)"], "{found:?}");
}

#[test]
fn organizations_come_and_go_as_a_whole() {
    let network = Network::new();
    let config = network.config();
    let newcomer = Organization::new("Org3MSP", "org3.example.com");
    let mut member = genesis::Organization::new(newcomer.msp_config());
    member.name = "Third".into();
    let mut root = config.root().clone();
    settings::add_application_organization(&mut root, &member).expect("added");
    assert_eq!(
        shown(&root, "application.org.Third.msp.id"),
        Some(vec!["Org3MSP".to_owned()])
    );
    let again = settings::add_application_organization(&mut root, &member).expect_err("twice");
    assert_eq!(again.to_string(), "Third is a member already");
    member.name = "Fourth".into();
    let same = settings::add_application_organization(&mut root, &member).expect_err("same id");
    assert_eq!(
        same.to_string(),
        "Third is a member with the MSP id Org3MSP already"
    );
    settings::remove_organization(&mut root, "Third").expect("removed");
    assert_eq!(settings::differences(config.root(), &root), []);

    let nobody = settings::remove_organization(&mut root, "Nobody").expect_err("nobody");
    assert!(
        nobody.to_string().ends_with("there are Org1MSP, Org2MSP"),
        "{nobody}"
    );
    // All consenters of this network are of the first organization.
    let bound = settings::remove_organization(&mut root, "Org1MSP").expect_err("consenters");
    assert!(
        bound.to_string().contains("orderer0:7050, orderer1:7050"),
        "{bound}"
    );
    settings::remove_organization(&mut root, "Org2MSP").expect("removed");
    for section in ["application", "orderer"] {
        assert_eq!(shown(&root, &format!("{section}.org.Org2MSP.msp.id")), None);
    }
}

#[test]
fn consent_tells_which_policies_protect_an_update_and_who_is_missing() {
    let network = Network::new();
    let config = network.config();
    let batches = |root: &mut common::ConfigGroup| {
        edit(Action::Set, "orderer.batch-timeout", b"1s")
            .apply(root)
            .expect("set");
        edit(Action::Set, "application.org.Org2MSP.anchor-peers", b"a:1")
            .apply(root)
            .expect("set");
    };
    let unsigned = network.update(&config, &[], batches);
    let preview = config.preview(&unsigned).expect("a preview");
    assert_eq!(preview.sequence, 1);
    let root = preview.channel_group.expect("a root");
    assert_eq!(
        shown(&root, "orderer.batch-timeout"),
        Some(vec!["1s".to_owned()])
    );
    let paths =
        |wanted: &[&Wanted]| -> Vec<String> { wanted.iter().map(|one| one.path.clone()).collect() };
    let consents = config.consent(&unsigned).expect("consents");
    assert_eq!(
        consents
            .iter()
            .map(|one| (
                one.policy.path.as_str(),
                one.policy.rule.as_str(),
                one.items.len()
            ))
            .collect::<Vec<_>>(),
        [
            (
                "/Channel/Application/Org2MSP/Admins",
                "OR('Org2MSP.admin')",
                1
            ),
            ("/Channel/Orderer/Admins", "MAJORITY Admins", 1),
        ]
    );
    assert_eq!(
        paths(&consents[1].policy.missing()),
        [
            "/Channel/Orderer/Org1MSP/Admins",
            "/Channel/Orderer/Org2MSP/Admins"
        ]
    );
    let one = network.update(&config, &[&network.admins[0]], batches);
    let consents = config.consent(&one).expect("consents");
    assert_eq!(consents[1].policy.required, 2);
    assert_eq!(
        paths(&consents[1].policy.missing()),
        ["/Channel/Orderer/Org2MSP/Admins"]
    );
    let both = network.update(&config, &[&network.admins[0], &network.admins[1]], batches);
    let consents = config.consent(&both).expect("consents");
    assert!(
        consents
            .iter()
            .all(|one| one.policy.satisfied && one.policy.missing().is_empty())
    );
    config.propose(&both).expect("accepted");
}

#[test]
fn signatures_are_told_with_the_reason_why_one_does_not_count() {
    let network = Network::new();
    let config = network.config();
    let stranger: Arc<dyn Signer> =
        Organization::new("Org9MSP", "org9.example.com").signer("admin", NodeOu::Admin);
    let change = |root: &mut common::ConfigGroup| {
        edit(Action::Set, "orderer.batch-timeout", b"1s")
            .apply(root)
            .expect("set");
    };
    let mut updated = config.config().clone();
    change(updated.channel_group.as_mut().expect("root"));
    let computed = update::compute(config.config(), &updated, "mychannel").expect("a difference");
    let mut envelope = sign(
        computed,
        &[&network.admins[0], &network.admins[1], &stranger],
    );
    envelope.signatures[1].signature = envelope.signatures[0].signature.clone();
    let told: Vec<_> = config
        .signatures(&envelope)
        .expect("signatures")
        .into_iter()
        .map(|one| (one.msp_id, one.name, one.fault))
        .collect();
    assert_eq!(told[0], ("Org1MSP".into(), "admin".into(), None));
    assert_eq!(told[1].2.as_deref(), Some("The signature is invalid"));
    assert_eq!(told[2].0, "Org9MSP");
    assert_eq!(
        told[2].2.as_deref(),
        Some("MSP Org9MSP is not defined on channel")
    );
}

#[test]
fn garbage_is_shown_and_not_refused() {
    let network = Network::new();
    let mut root = network.config().root().clone();
    for value in group(&mut root, &["Orderer"]).values.values_mut() {
        value.value = Bytes::from_static(b"\xff\xff");
    }
    let msp = consilium_proto::msp::MspConfig {
        r#type: 1,
        config: Bytes::new(),
    };
    set(group(&mut root, &["Application", "Org1MSP"]), "MSP", &msp);
    root.values
        .insert("Unknown".into(), common::ConfigValue::default());
    let batches = shown(&root, "orderer.batch-size").expect("shown");
    assert!(batches[0].contains("SHA-256"), "{batches:?}");
    let msp = shown(&root, "application.org.Org1MSP.msp").expect("shown");
    assert!(msp[0].starts_with("(MSP of type 1"), "{msp:?}");
    assert!(shown(&root, "channel.Unknown").is_some());
}
