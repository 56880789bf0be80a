//! Config updates that are refused, with the answers that Fabric's orderers give.

mod support;

use bytes::Bytes;
use consilium_msp::Certificate;
use consilium_proto::common::{Capabilities, Capability, ConfigGroup, Status};
use consilium_proto::etcdraft::{ConfigMetadata, Consenter, Options};
use consilium_proto::orderer::consensus_type::State;
use consilium_proto::orderer::{BatchSize, BatchTimeout, ConsensusType};
use consilium_testkit::{Credential, NodeOu, Organization, network};
use prost::Message;
use support::config::{change_consenters, change_value};
use support::{Cluster, status};

type Change = Box<dyn Fn(&mut ConfigGroup)>;

fn consensus(change: impl Fn(&mut ConsensusType) + 'static) -> Change {
    Box::new(move |root| change_value(root, "ConsensusType", &change))
}

fn options(change: impl Fn(&mut Options)) -> impl Fn(&mut ConsensusType) {
    move |kind| {
        let mut metadata = ConfigMetadata::decode(kind.metadata.clone()).expect("metadata");
        change(metadata.options.as_mut().expect("options"));
        kind.metadata = metadata.encode_to_vec().into();
    }
}

fn consenters(change: impl Fn(&mut Vec<Consenter>) + 'static) -> Change {
    Box::new(move |root| change_consenters(root, &change))
}

fn batch(change: impl Fn(&mut BatchSize) + 'static) -> Change {
    Box::new(move |root| change_value(root, "BatchSize", &change))
}

fn timeout(text: &'static str) -> Change {
    Box::new(move |root| {
        change_value(root, "BatchTimeout", |timeout: &mut BatchTimeout| {
            timeout.timeout = text.into();
        });
    })
}

fn both(one: Change, other: Change) -> Change {
    Box::new(move |root| {
        one(root);
        other(root);
    })
}

async fn check(cluster: &Cluster, prefix: &str, cases: Vec<(Change, String)>) {
    for (change, text) in cases {
        let update = cluster.config_update(NodeOu::Admin, change);
        let answer = cluster.broadcast(0, update).await;
        assert_eq!(status(&answer), Status::BadRequest, "{text}");
        assert_eq!(answer.info, format!("{prefix}{text}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_channel_can_have() {
    let cluster = Cluster::start(1, |_| {}).await;
    let section = |text: &str| {
        format!(
            "initializing channelconfig failed: could not create channel Orderer sub-group config: \
             Attempted to set the batch {text}"
        )
    };
    let capability: Change = Box::new(|root| {
        change_value(root, "Capabilities", |listed: &mut Capabilities| {
            listed.capabilities.insert("V9_9".into(), Capability {});
        });
    });
    let cases = vec![
        (
            batch(|size| size.max_message_count = 0),
            section("size max message count to an invalid value: 0"),
        ),
        (
            batch(|size| size.absolute_max_bytes = 0),
            section("size absolute max bytes to an invalid value: 0"),
        ),
        (
            batch(|size| size.preferred_max_bytes = 0),
            section("size preferred max bytes to an invalid value: 0"),
        ),
        (
            batch(|size| (size.absolute_max_bytes, size.preferred_max_bytes) = (10, 20)),
            section("size preferred max bytes (20) greater than the absolute max bytes (10)."),
        ),
        (
            timeout("soon"),
            section("timeout to a invalid value: time: invalid duration \"soon\""),
        ),
        (
            timeout("2"),
            section("timeout to a invalid value: time: missing unit in duration \"2\""),
        ),
        (
            timeout("2d"),
            section("timeout to a invalid value: time: unknown unit \"d\" in duration \"2d\""),
        ),
        (timeout("0"), section("timeout to a non-positive value: 0s")),
        (
            timeout("-90s"),
            section("timeout to a non-positive value: -1m30s"),
        ),
        (
            capability,
            "config update is not compatible: config requires unsupported orderer capabilities: \
             Orderer capability V9_9 is required but not supported: \
             Orderer capability V9_9 is required but not supported"
                .into(),
        ),
    ];
    let prefix = "error applying config update to existing channel 'mychannel': ";
    check(&cluster, prefix, cases).await;
    assert_eq!(cluster.height(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_raft_cannot_run_with() {
    let cluster = Cluster::start(1, |_| {}).await;
    let foreign = Organization::new("ForeignMSP", "foreign.example.com");
    let listed = |tls: &Credential| network::consenter("elsewhere", 1, tls);
    let (stranger, own) = (foreign.tls(&["x"]), cluster.organization.tls(&["x"]));
    let number = |tls: &Credential| {
        let certificate = Certificate::from_pem(tls.cert_pem.as_bytes()).expect("a certificate");
        let number = certificate.serial().iter();
        number.fold(0_u128, |number, byte| number << 8 | u128::from(*byte))
    };
    let certificate =
        "invalid new config metadata: consenter elsewhere:1 has invalid certificate: ";
    let foreign = |kind: &str| {
        format!(
            "{certificate}verifying tls {kind} cert with serial number {}: \
             x509: certificate signed by unknown authority",
            number(&stranger)
        )
    };
    let half = Consenter {
        server_tls_cert: listed(&stranger).server_tls_cert,
        ..listed(&own)
    };
    let no_pem = Consenter {
        client_tls_cert: Bytes::from_static(b"no"),
        ..listed(&own)
    };
    let strange = listed(&stranger);
    let newcomers = [(); 2].map(|()| listed(&cluster.organization.tls(&["x"])));
    let again = listed(&own);
    let pem = own.cert_pem.clone();
    let cases = vec![
        (
            consensus(options(|options| {
                (options.heartbeat_tick, options.election_tick) = (10, 10);
            })),
            "invalid new config metadata: ElectionTick (10) must be greater than HeartbeatTick (10)"
                .into(),
        ),
        (
            consensus(options(|options| options.tick_interval = "1".into())),
            "invalid new config metadata: failed to parse TickInterval (1) to time duration: \
             time: missing unit in duration \"1\""
                .into(),
        ),
        (
            consenters(move |list| list.push(strange.clone())),
            foreign("client"),
        ),
        (
            consenters(move |list| list.push(half.clone())),
            foreign("server"),
        ),
        (
            consenters(move |list| list.push(no_pem.clone())),
            format!("{certificate}parsing tls client cert of elsewhere:1: no PEM data found in cert[6e 6f]"),
        ),
        (
            consenters(move |list| list.extend([again.clone(), again.clone()])),
            format!("invalid new config metadata: duplicate consenter: server cert: {pem}, client cert: {pem}"),
        ),
        (
            consenters(move |list| list.extend(newcomers.clone())),
            "update of more than one consenter at a time is not supported, \
             requested changes: add 2 node(s), remove 0 node(s)"
                .into(),
        ),
        (
            consensus(|kind| kind.r#type = "solo".into()),
            "illegal consensus type detected during consensus metadata validation: solo".into(),
        ),
    ];
    let prefix = "error applying config update to existing channel 'mychannel': \
                  consensus metadata update for channel config update is invalid: ";
    check(&cluster, prefix, cases).await;
    assert_eq!(cluster.height(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_into_and_out_of_maintenance_mode_that_are_not_by_themselves() {
    let cluster = Cluster::start(1, |_| {}).await;
    let state = |state: State| consensus(move |kind| kind.state = state as i32);
    let to_bft = || {
        consensus(|kind| {
            kind.r#type = "BFT".into();
            // Not etcdraft metadata.
            kind.metadata = Bytes::from_static(&[8, 10]);
        })
    };
    let election = || consensus(options(|options| options.election_tick += 10));
    let only = "config update contain more then just the ConsensusType value in the Orderer group";
    let other_group = || -> Change {
        Box::new(|root| {
            root.groups
                .get_mut("Application")
                .expect("a section")
                .mod_policy = "Writers".into();
        })
    };
    let cases = |to: State, change: &str| {
        vec![
            (both(state(to), timeout("3s")), only.to_owned()),
            (
                both(state(to), other_group()),
                "config update contains changes to more than one group".into(),
            ),
            (
                both(state(to), election()),
                format!(
                    "attempted to change ConsensusType.Metadata, but ConsensusType.State is changing from {change}"
                ),
            ),
            (
                both(state(to), to_bft()),
                format!(
                    "attempted to change ConsensusType.Type from etcdraft to BFT, \
                     but ConsensusType.State is changing from {change}"
                ),
            ),
        ]
    };
    let prefix = "config update for existing channel did not pass maintenance checks: \
                  config transaction inspection failed: ";
    let outside = "attempted to change consensus type from etcdraft to BFT, \
                   but current config ConsensusType.State is not in maintenance mode";
    check(&cluster, prefix, vec![(to_bft(), outside.into())]).await;
    let entering = cases(State::Maintenance, "STATE_NORMAL to STATE_MAINTENANCE");
    check(&cluster, prefix, entering).await;
    assert_eq!(cluster.height(0), 1);

    for (change, height) in [
        (state(State::Maintenance), 2),
        // By itself, the metadata changes inside too.
        (election(), 3),
    ] {
        let update = cluster.config_update(NodeOu::Admin, change);
        let answer = cluster.broadcast(0, update).await;
        assert_eq!(status(&answer), Status::Success, "{}", answer.info);
        assert_eq!(cluster.height(0), height);
    }
    let leaving = cases(State::Normal, "STATE_MAINTENANCE to STATE_NORMAL");
    check(&cluster, prefix, leaving).await;
    assert_eq!(cluster.height(0), 3);
    let leave = cluster.config_update(NodeOu::Admin, state(State::Normal));
    let answer = cluster.broadcast(0, leave).await;
    assert_eq!(status(&answer), Status::Success, "{}", answer.info);
}
