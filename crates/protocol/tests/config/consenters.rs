//! The etcdraft metadata that orderers accept.

use crate::network::{NOW, Network, consenter, group, set};
use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_proto::etcdraft::{ConfigMetadata, Consenter};
use consilium_proto::orderer::ConsensusType;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::config::consenters::{
    Change, MembershipChange, TlsAuthorities, check_metadata, check_update, first_ids,
    is_consenter, membership_change,
};
use consilium_testkit::{CLIENT_AUTH, SERVER_AUTH, Template};
use prost::Message;
use std::collections::BTreeSet;

/// The check of an update that replaces the metadata, while the given nodes are alive.
fn check(
    network: &Network,
    current: &ChannelConfig,
    active: &[u64],
    change: impl FnOnce(&mut ConfigMetadata),
) -> Result<MembershipChange, String> {
    let mut metadata = current.raft_metadata().expect("metadata");
    change(&mut metadata);
    let envelope = network.accept(current, |root| {
        let consensus = ConsensusType {
            metadata: metadata.encode_to_vec().into(),
            ..current.consensus().clone()
        };
        set(group(root, &["Orderer"]), "ConsensusType", &consensus);
    });
    let next = current.validate(&envelope).expect("valid");
    let active: BTreeSet<u64> = active.iter().copied().collect();
    let now = Certificate::from_pem(&network.profile.consenters[0].server_tls_cert)
        .expect("certificate")
        .not_before()
        + 1;
    check_update(current, &next, &first_ids(3), &active, now).map_err(|error| {
        let text = error.to_string();
        text.strip_prefix("consensus metadata update for channel config update is invalid: ")
            .expect("prefix")
            .to_owned()
    })
}

#[test]
fn one_consenter_may_be_added_removed_or_rotated_and_ids_follow() {
    let network = Network::new();
    let config = network.config();
    let new = consenter(&network.organizations[1], "orderer3");
    let change = |change: &dyn Fn(&mut Vec<Consenter>)| {
        let outcome = check(&network, &config, &[1, 2, 3], |metadata| {
            change(&mut metadata.consenters)
        })
        .expect("allowed");
        (
            outcome.change,
            outcome.ids.consenter_ids,
            outcome.ids.next_consenter_id,
        )
    };
    assert_eq!(
        change(&|list| list.insert(1, new.clone())),
        (Change::Add(4), vec![1, 4, 2, 3], 5)
    );
    assert_eq!(
        change(&|list| drop(list.remove(0))),
        (Change::Remove(1), vec![2, 3], 4)
    );
    assert_eq!(
        change(&|list| list[2] = new.clone()),
        (Change::Rotate(3), vec![1, 2, 3], 4)
    );
    assert_eq!(
        change(&|list| list[0].host = "elsewhere".into()),
        (Change::None, vec![1, 2, 3], 4)
    );
    assert_eq!(
        change(&|list| list.swap(0, 2)),
        (Change::None, vec![3, 2, 1], 4)
    );
}

#[test]
fn more_than_one_change_at_a_time_is_refused() {
    let network = Network::new();
    let more = |hosts: &[&str]| -> Vec<Consenter> {
        hosts
            .iter()
            .map(|host| consenter(&network.organizations[0], host))
            .collect()
    };
    let text = check(&network, &network.config(), &[1, 2, 3], |m| {
        m.consenters.extend(more(&["a", "b"]))
    })
    .unwrap_err();
    assert_eq!(
        text,
        "update of more than one consenter at a time is not supported, requested changes: add 2 node(s), remove 0 node(s)"
    );
}

#[test]
fn a_change_that_would_lose_the_quorum_is_refused() {
    let network = Network::new();
    let config = network.config();
    let text = check(&network, &config, &[1, 2], |m| drop(m.consenters.remove(0))).unwrap_err();
    assert_eq!(
        text,
        "2 out of 3 nodes are alive, configuration will result in quorum loss"
    );
    // Removing the node that is down is what an administrator should do.
    assert!(check(&network, &config, &[1, 2], |m| drop(m.consenters.remove(2))).is_ok());
    let new = consenter(&network.organizations[0], "orderer3");
    assert!(
        check(&network, &config, &[1, 2], |m| m
            .consenters
            .push(new.clone()))
        .is_err()
    );
    assert!(
        check(&network, &config, &[1, 2], |m| m.consenters[0] =
            new.clone())
        .is_err()
    );
}

#[test]
fn a_group_of_one_or_two_may_grow() {
    let network = Network::new();
    let list = &network.profile.consenters;
    let grown = membership_change(&first_ids(1), &list[..1], &list[..2]).expect("one added");
    assert!(!grown.loses_quorum(&BTreeSet::from([1])));
}

#[test]
fn options_that_raft_cannot_run_with_are_refused() {
    let network = Network::new();
    let config = network.config();
    let authorities = TlsAuthorities::of_orderers(&config).expect("authorities");
    let refusal = |change: fn(&mut ConfigMetadata)| {
        let mut metadata = config.raft_metadata().expect("metadata");
        change(&mut metadata);
        check_metadata(&metadata, &authorities)
            .unwrap_err()
            .to_string()
    };
    type Spoil = fn(&mut ConfigMetadata);
    let table: [(Spoil, &str); 9] = [
        (|m| m.options = None, "nil Raft config metadata options"),
        (
            |m| m.options.as_mut().unwrap().heartbeat_tick = 0,
            "none of HeartbeatTick (0), ElectionTick (10) and MaxInflightBlocks (5) can be zero",
        ),
        (
            |m| m.options.as_mut().unwrap().max_inflight_blocks = 0,
            "none of HeartbeatTick (1), ElectionTick (10) and MaxInflightBlocks (0) can be zero",
        ),
        (
            |m| m.options.as_mut().unwrap().election_tick = 1,
            "ElectionTick (1) must be greater than HeartbeatTick (1)",
        ),
        (
            |m| m.options.as_mut().unwrap().tick_interval = "500".into(),
            "failed to parse TickInterval (500) to time duration: time: missing unit in duration \"500\"",
        ),
        (
            |m| m.options.as_mut().unwrap().tick_interval = "0s".into(),
            "TickInterval cannot be zero",
        ),
        (|m| m.consenters.clear(), "empty consenter set"),
        (
            |m| m.consenters[1] = m.consenters[0].clone(),
            "duplicate consenter: server cert: -----BEGIN CERTIFICATE-----",
        ),
        (
            |m| m.consenters[0].server_tls_cert = Bytes::from_static(b"no"),
            "consenter orderer0:7050 has invalid certificate: parsing tls server cert of orderer0:7050: \
             no PEM data found in cert[6e 6f]",
        ),
    ];
    for (change, text) in table {
        assert!(refusal(change).starts_with(text), "{}", refusal(change));
    }
}

#[test]
fn a_consenter_certificate_of_a_foreign_or_expired_authority_is_refused() {
    let network = Network::new();
    let config = network.config();
    let authorities = TlsAuthorities::of_orderers(&config).expect("authorities");
    let foreign = consilium_testkit::Organization::new("Org9MSP", "org9.example.com");
    let error = authorities
        .check_consenter(&consenter(&foreign, "x"), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("x509: certificate signed by unknown authority"),
        "{error}"
    );
    let own = consenter(&network.organizations[0], "orderer9");
    assert!(authorities.check_consenter(&own, None).is_ok());
    let expired = authorities
        .check_consenter(&own, Some(i64::MAX))
        .unwrap_err()
        .to_string();
    assert!(
        expired.ends_with("x509: certificate has expired or is not yet valid"),
        "{expired}"
    );
    assert!(
        authorities
            .check_consenter(&own, Some(NOW.seconds - 100 * 365 * 86400))
            .is_err()
    );
}

#[test]
fn a_node_is_a_consenter_by_its_public_key() {
    let network = Network::new();
    let consenters = &network.profile.consenters;
    let certificate = Certificate::from_pem(&consenters[0].server_tls_cert).expect("certificate");
    assert!(is_consenter(&consenters[0], &certificate));
    assert!(!is_consenter(&consenters[1], &certificate));
}

#[test]
fn a_consenter_certificate_is_for_one_end_of_tls_at_least() {
    let network = Network::new();
    let config = network.config();
    let authorities = TlsAuthorities::of_orderers(&config).expect("authorities");
    let issued = |usages: &[&'static str]| {
        let mut template = Template::new("orderer9");
        template.extended_key_usages = usages.to_vec();
        let own = network.organizations[0].tls_ca().issue(&template);
        let consenter = consilium_testkit::network::consenter("orderer9", 7050, &own);
        authorities.check_consenter(&consenter, None)
    };
    const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
    const ANY: &str = "2.5.29.37.0";
    for usages in [
        &[][..],
        &[SERVER_AUTH],
        &[CLIENT_AUTH],
        &[CODE_SIGNING, CLIENT_AUTH],
        &[ANY],
    ] {
        assert!(issued(usages).is_ok(), "{usages:?}");
    }
    let error = issued(&[CODE_SIGNING]).unwrap_err().to_string();
    assert!(
        error.ends_with("x509: certificate specifies an incompatible key usage"),
        "{error}"
    );
}
