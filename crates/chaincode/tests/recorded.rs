//! The lifecycle transactions that real Fabric peers endorsed, simulated again here: every byte of
//! the read-write sets must be the same, keys, values and hashes alike.

mod support;

use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_proto::common;
use consilium_proto::protos::{
    ChaincodeInvocationSpec, ChaincodeProposalPayload, TxValidationCode, application_policy,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::{block, transaction};
use consilium_testkit::Organization;
use consilium_testkit::recorded::{Recording, as_delivered};
use prost::Message;
use support::{CHANNEL, Consortium, ask};

/// Blocks that deploy `kv` and `kv2`: two approvals and a commit each.
const DEPLOYMENT: u64 = 6;

/// The arguments and the results of the one transaction of a block.
fn arguments_and_results(block: &common::Block) -> (Vec<Bytes>, Bytes) {
    let checked = transaction::check_syntax(&block::envelopes(block)[0]).expect("a transaction");
    let parsed = transaction::check_endorser_transaction(&checked)
        .expect("an endorser transaction")
        .dispatch()
        .expect("a dispatchable transaction");
    let transaction = consilium_proto::protos::Transaction::decode(checked.parsed.data.clone())
        .expect("a transaction");
    let action = consilium_proto::protos::ChaincodeActionPayload::decode(
        transaction.actions[0].payload.clone(),
    )
    .expect("an action");
    let payload =
        ChaincodeProposalPayload::decode(action.chaincode_proposal_payload).expect("payload");
    let spec = ChaincodeInvocationSpec::decode(payload.input).expect("a spec");
    let input = spec
        .chaincode_spec
        .and_then(|spec| spec.input)
        .expect("an input");
    (input.args, parsed.action.results)
}

#[tokio::test]
async fn deploying_on_a_recorded_fabric_channel_gives_the_recorded_bytes() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let genesis = recording.block(0);
    let organizations = vec![
        Organization::new("Org1MSP", "org1.example.com"),
        Organization::new("Org2MSP", "org2.example.com"),
    ];
    let consortium = Consortium::of(organizations, &genesis, |options| options);
    for number in 1..=DEPLOYMENT {
        let recorded = recording.block(number);
        let (args, results) = arguments_and_results(&recorded);
        let mut call = ask(lifecycle::NAMESPACE, &[]);
        call.args = args;
        // Approvals come from one organization, commits from both.
        let peers: &[usize] = match number % 3 {
            1 => &[support::ORG1],
            2 => &[support::ORG2],
            _ => &[support::ORG1, support::ORG2],
        };
        for peer in peers {
            let execution = consortium.execute(*peer, &call).await.expect("a response");
            assert_eq!(
                execution.response.status, 200,
                "{}",
                execution.response.message
            );
            assert_eq!(execution.chaincode_id.version, "syscc");
            let simulated = execution
                .simulator
                .expect("a simulator")
                .finish()
                .expect("results");
            assert_eq!(simulated.public, results, "block {number}");
        }
        for peer in &consortium.peers {
            let committed = peer
                .ledger()
                .commit(
                    as_delivered(recorded.clone()),
                    vec![TxValidationCode::Valid],
                )
                .expect("commit");
            assert_eq!(committed.codes, [TxValidationCode::Valid]);
        }
    }
    let reader = consortium.peers[0].ledger().reader().expect("a reader");
    let definitions = lifecycle::definitions(&reader).expect("definitions");
    let summary: Vec<(&str, i64, &str, usize)> = definitions
        .iter()
        .map(|d| {
            (
                d.name.as_str(),
                d.sequence,
                d.version.as_str(),
                d.collections.config.len(),
            )
        })
        .collect();
    assert_eq!(summary, [("kv", 1, "1", 3), ("kv2", 1, "1", 0)]);

    let config = ChannelConfig::from_block(&genesis).expect("a configuration");
    let policy = lifecycle::endorsement_policy(&config).r#type;
    assert!(
        matches!(policy, Some(application_policy::Type::ChannelConfigPolicyReference(path))
        if path == "/Channel/Application/LifecycleEndorsement")
    );
    let validation = lifecycle::validation(&reader, &config, "kv")
        .expect("readable")
        .expect("defined");
    assert_eq!(validation.plugin, "vscc");
    assert_eq!(validation.parameter, definitions[0].validation_parameter);
    assert!(
        lifecycle::validation(&reader, &config, "lscc")
            .expect("readable")
            .is_none()
    );
    assert_eq!(CHANNEL, config.channel_id());
}
