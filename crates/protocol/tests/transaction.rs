//! The life of a transaction's bytes, from proposal to validated envelope, with keys made on the spot.

use bytes::Bytes;
use consilium_msp::{MspManager, SignedData, Signer, verified_identities};
use consilium_proto::protos::TxValidationCode as Code;
use consilium_proto::{common, orderer, protos};
use consilium_protocol::block::BlockSignature;
use consilium_protocol::envelope::{self, HeaderSpec, ParseError};
use consilium_protocol::proposal::{self, NewProposal};
use consilium_protocol::rwset::{KvWrite, NsRwSet, TxRwSet};
use consilium_protocol::transaction::{self, AssembleError, Kind};
use consilium_protocol::{block, endorsement};
use consilium_testkit::{NodeOu, Organization};
use prost::Message;
use prost_types::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

struct Fixture {
    msps: MspManager,
    client: Arc<dyn Signer>,
    peers: Vec<Arc<dyn Signer>>,
}

const NOW: Timestamp = Timestamp {
    seconds: 1_763_900_000,
    nanos: 42,
};

fn fixture() -> Fixture {
    let org1 = Organization::new("Org1MSP", "org1.example.com");
    let org2 = Organization::new("Org2MSP", "org2.example.com");
    Fixture {
        msps: MspManager::new(vec![org1.msp(), org2.msp()]).expect("two MSPs"),
        client: org1.signer("user", NodeOu::Client),
        peers: vec![
            org1.signer("peer0", NodeOu::Peer),
            org2.signer("peer0", NodeOu::Peer),
        ],
    }
}

impl Fixture {
    fn propose(&self) -> (protos::SignedProposal, String) {
        let new = NewProposal {
            channel: "mychannel",
            chaincode: "kv",
            args: vec![
                Bytes::from_static(b"put"),
                Bytes::from_static(b"k"),
                Bytes::from_static(b"v"),
            ],
            transient: BTreeMap::from([("secret".to_owned(), Bytes::from_static(b"s3cret"))]),
            is_init: false,
            timestamp: NOW,
        };
        proposal::create(new, &*self.client).expect("signed")
    }

    fn verifies(&self, set: &[SignedData]) -> bool {
        verified_identities(&self.msps, set).len() == set.len()
    }

    fn respond(
        &self,
        signed: &protos::SignedProposal,
        action: &protos::ChaincodeAction,
    ) -> Vec<protos::ProposalResponse> {
        let parsed = proposal::parse(signed).expect("proposal");
        let payload = endorsement::response_payload(&parsed.hash, action);
        let respond = |peer: &Arc<dyn Signer>| protos::ProposalResponse {
            version: 1,
            response: Some(protos::Response {
                status: 200,
                ..Default::default()
            }),
            payload: payload.clone(),
            endorsement: Some(endorsement::endorse(&payload, &**peer).expect("endorsed")),
            ..Default::default()
        };
        self.peers.iter().map(respond).collect()
    }

    fn transaction(&self, action: &protos::ChaincodeAction) -> Bytes {
        let (signed, _) = self.propose();
        let envelope =
            transaction::assemble(&signed, &self.respond(&signed, action)).expect("assembled");
        transaction::sign(envelope, &*self.client)
            .expect("signed")
            .encode_to_vec()
            .into()
    }
}

fn results(namespaces: &[&str]) -> Bytes {
    let namespaces = namespaces
        .iter()
        .map(|name| NsRwSet {
            name: (*name).to_owned(),
            writes: vec![KvWrite {
                key: "k".into(),
                value: Bytes::from_static(b"v"),
                is_delete: false,
            }],
            ..Default::default()
        })
        .collect();
    TxRwSet { namespaces }.encode()
}

fn action() -> protos::ChaincodeAction {
    protos::ChaincodeAction {
        results: results(&["kv"]),
        response: Some(protos::Response {
            status: 200,
            ..Default::default()
        }),
        chaincode_id: Some(protos::ChaincodeId {
            name: "kv".into(),
            version: "1.0".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn check(bytes: &Bytes) -> Result<transaction::ParsedTransaction, Code> {
    transaction::check_endorser_transaction(&transaction::check_syntax(bytes)?)?.dispatch()
}

#[test]
fn a_proposal_parses_to_what_was_asked_and_its_signature_verifies() {
    let fixture = fixture();
    let (signed, tx_id) = fixture.propose();
    let parsed = proposal::parse(&signed).expect("proposal");
    proposal::check_headers(&parsed).expect("headers");
    assert_eq!(
        (
            parsed.tx_id(),
            parsed.channel(),
            parsed.chaincode_name.as_str()
        ),
        (tx_id.as_str(), "mychannel", "kv")
    );
    assert_eq!(parsed.input.args[0], "put");
    assert_eq!(parsed.transient["secret"], "s3cret");
    assert_eq!(parsed.channel_header.timestamp, Some(NOW));
    assert!(fixture.verifies(&[parsed.signed_data()]));
}

#[test]
fn a_transaction_carries_every_endorsement_and_no_transient_data() {
    let fixture = fixture();
    let bytes = fixture.transaction(&action());
    assert!(!bytes.windows(6).any(|window| window == b"s3cret"));
    let checked = transaction::check_syntax(&bytes).expect("syntax");
    assert_eq!(checked.kind, Kind::Endorser);
    assert!(fixture.verifies(&[checked.parsed.signed_data()]));
    let parsed = check(&bytes).expect("transaction");
    assert_eq!(parsed.endorsements.len(), 2);
    assert!(fixture.verifies(&parsed.endorsement_set()));
    assert_eq!(parsed.namespaces_to_validate(), ["kv"]);
    assert_eq!(transaction::index_id(&bytes), parsed.tx_id());
    let data = common::BlockData { data: vec![bytes] };
    assert_eq!(block::check_envelopes(&data), Ok(()));
}

#[test]
fn header_checks_name_the_first_thing_that_is_wrong() {
    type Change = fn(&mut proposal::ParsedProposal);
    let parsed = proposal::parse(&fixture().propose().0).expect("proposal");
    let table: [(Change, &str); 7] = [
        (
            |p| p.channel_header.r#type = 5,
            "invalid header type DELIVER_SEEK_INFO",
        ),
        (|p| p.channel_header.r#type = 77, "invalid header type 77"),
        (|p| p.channel_header.epoch = 1, "epoch is non-zero"),
        (|p| p.signature_header.nonce.clear(), "nonce is empty"),
        (|p| p.signature_header.creator.clear(), "creator is empty"),
        (
            |p| p.channel_header.tx_id = "x".into(),
            "incorrectly computed txid 'x' -- expected '",
        ),
        (|p| p.signature.clear(), "empty signature bytes"),
    ];
    for (change, text) in table {
        let mut changed = parsed.clone();
        change(&mut changed);
        let error = proposal::check_headers(&changed).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn malformed_proposals_are_refused_with_the_name_of_what_is_missing() {
    let fixture = fixture();
    let (signed, _) = fixture.propose();
    let good = protos::Proposal::decode(signed.proposal_bytes.clone()).expect("proposal");
    let with_extension = |extension: Bytes| {
        let mut header = common::Header::decode(good.header.clone()).expect("header");
        let mut channel =
            common::ChannelHeader::decode(header.channel_header.clone()).expect("channel header");
        channel.extension = extension;
        header.channel_header = channel.encode_to_vec().into();
        protos::Proposal {
            header: header.encode_to_vec().into(),
            ..good.clone()
        }
    };
    let with_input = |input: Bytes| {
        let payload = protos::ChaincodeProposalPayload {
            input,
            ..Default::default()
        };
        protos::Proposal {
            payload: payload.encode_to_vec().into(),
            ..good.clone()
        }
    };
    let unnamed = protos::ChaincodeHeaderExtension {
        chaincode_id: Some(protos::ChaincodeId::default()),
    };
    let no_input = protos::ChaincodeInvocationSpec {
        chaincode_spec: Some(protos::ChaincodeSpec {
            r#type: 1,
            ..Default::default()
        }),
    };
    let broken = Bytes::from_static(b"\xff");
    let table = [
        (
            with_extension(Bytes::new()),
            "ChaincodeHeaderExtension.ChaincodeId is nil",
        ),
        (
            with_extension(unnamed.encode_to_vec().into()),
            "ChaincodeHeaderExtension.ChaincodeId.Name is empty",
        ),
        (
            with_extension(broken.clone()),
            "error unmarshalling ChaincodeHeaderExtension: ",
        ),
        (
            with_input(Bytes::new()),
            "chaincode invocation spec did not contain chaincode spec",
        ),
        (
            with_input(no_input.encode_to_vec().into()),
            "chaincode input did not contain any input",
        ),
        (
            with_input(broken.clone()),
            "error unmarshalling ChaincodeInvocationSpec: ",
        ),
        (
            protos::Proposal {
                payload: broken.clone(),
                ..good.clone()
            },
            "error unmarshalling ChaincodeProposalPayload: ",
        ),
        (
            protos::Proposal {
                header: broken,
                ..good.clone()
            },
            "error unmarshalling Header: ",
        ),
    ];
    for (proposal, text) in table {
        let bytes = protos::SignedProposal {
            proposal_bytes: proposal.encode_to_vec().into(),
            signature: Bytes::new(),
        };
        let error = proposal::parse(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let garbage = protos::SignedProposal {
        proposal_bytes: Bytes::from_static(b"\xff"),
        signature: Bytes::new(),
    };
    assert!(
        proposal::parse(&garbage)
            .unwrap_err()
            .to_string()
            .starts_with("error unmarshalling Proposal: ")
    );
}

#[test]
fn responses_that_differ_fail_or_lack_endorsements_make_no_transaction() {
    let fixture = fixture();
    let (signed, _) = fixture.propose();
    let good = fixture.respond(&signed, &action());
    let changed = |change: fn(&mut Vec<protos::ProposalResponse>)| {
        let mut responses = good.clone();
        change(&mut responses);
        transaction::assemble(&signed, &responses).unwrap_err()
    };
    assert_eq!(changed(Vec::clear), AssembleError::NoResponses);
    assert_eq!(
        changed(|r| r[1].payload = Bytes::from_static(b"other")),
        AssembleError::Mismatch
    );
    assert_eq!(
        changed(|r| r.iter_mut().for_each(|r| r.endorsement = None)),
        AssembleError::NoEndorsements
    );
    let refused = changed(|r| {
        r[1].response = Some(protos::Response {
            status: 500,
            message: "no".into(),
            ..Default::default()
        })
    });
    assert_eq!(
        refused.to_string(),
        "proposal response was not successful, error code 500, msg no"
    );
    let twice = [good.clone(), good.clone()].concat();
    assert_eq!(
        transaction::assemble(&signed, &twice),
        transaction::assemble(&signed, &good)
    );
}

#[test]
fn the_first_step_that_fails_gives_the_code() {
    let fixture = fixture();
    type Change = fn(&mut protos::ChaincodeAction);
    let with = |change: Change| {
        let mut action = action();
        change(&mut action);
        check(&fixture.transaction(&action))
            .map(|_| ())
            .unwrap_err()
    };
    let table: [(Change, Code); 8] = [
        (|a| a.results = Bytes::from_static(b"\xff"), Code::BadRwset),
        (|a| a.chaincode_id = None, Code::InvalidOtherReason),
        (
            |a| a.chaincode_id.as_mut().unwrap().name = "other".into(),
            Code::InvalidChaincode,
        ),
        (
            |a| a.chaincode_id.as_mut().unwrap().version.clear(),
            Code::InvalidChaincode,
        ),
        (
            |a| a.events = Bytes::from_static(b"\xff"),
            Code::InvalidOtherReason,
        ),
        (
            |a| {
                a.events = protos::ChaincodeEvent {
                    chaincode_id: "x".into(),
                    ..Default::default()
                }
                .encode_to_vec()
                .into()
            },
            Code::InvalidOtherReason,
        ),
        (
            |a| a.results = results(&["kv", "kv"]),
            Code::IllegalWriteset,
        ),
        (
            |a| *a = protos::ChaincodeAction::default(),
            Code::BadResponsePayload,
        ),
    ];
    for (change, code) in table {
        assert_eq!(with(change), code);
    }
}

#[test]
fn written_namespaces_are_validated_in_one_fixed_order() {
    let mut action = action();
    action.results = results(&["a", "kv", "z"]);
    let parsed = check(&fixture().transaction(&action)).expect("transaction");
    assert_eq!(parsed.namespaces_to_validate(), ["kv", "a", "z"]);
}

#[test]
fn an_event_of_the_invoked_chaincode_is_passed_on() {
    let mut action = action();
    let event = protos::ChaincodeEvent {
        chaincode_id: "kv".into(),
        event_name: "put".into(),
        ..Default::default()
    };
    action.events = event.encode_to_vec().into();
    assert_eq!(
        check(&fixture().transaction(&action))
            .expect("transaction")
            .event,
        Some(event)
    );
}

/// Takes a good transaction apart, lets `change` spoil it, and puts it together again.
fn spoiled(
    bytes: &Bytes,
    change: impl Fn(&mut common::Payload, &mut protos::Transaction, &mut common::ChannelHeader),
) -> Bytes {
    let mut envelope = common::Envelope::decode(bytes.clone()).expect("envelope");
    let mut payload = common::Payload::decode(envelope.payload).expect("payload");
    let mut transaction = protos::Transaction::decode(payload.data.clone()).expect("transaction");
    let header = payload.header.as_ref().expect("header");
    let mut channel =
        common::ChannelHeader::decode(header.channel_header.clone()).expect("channel header");
    change(&mut payload, &mut transaction, &mut channel);
    payload.data = transaction.encode_to_vec().into();
    if let Some(header) = payload.header.as_mut() {
        header.channel_header = channel.encode_to_vec().into();
    }
    envelope.payload = payload.encode_to_vec().into();
    envelope.encode_to_vec().into()
}

#[test]
fn envelopes_that_are_no_transactions_get_the_code_of_the_layer_that_broke() {
    let good = fixture().transaction(&action());
    let code = |bytes: &Bytes| check(bytes).map(|_| ()).unwrap_err();
    assert_eq!(code(&Bytes::from_static(b"\xff")), Code::InvalidOtherReason);
    assert_eq!(code(&Bytes::new()), Code::BadCommonHeader);
    let broken = common::Envelope {
        payload: Bytes::from_static(b"\xff"),
        signature: Bytes::new(),
    };
    assert_eq!(code(&broken.encode_to_vec().into()), Code::BadPayload);
    assert_eq!(
        code(&spoiled(&good, |p, _, _| p.header = None)),
        Code::BadCommonHeader
    );
    for kind in [0, 4, 5, 6, 99] {
        let bytes = spoiled(&good, |_, _, c| c.r#type = kind);
        assert_eq!(code(&bytes), Code::BadCommonHeader, "type {kind}");
    }
    assert_eq!(
        code(&spoiled(&good, |_, _, c| c.epoch = 1)),
        Code::BadCommonHeader
    );
    assert_eq!(
        code(&spoiled(&good, |_, _, c| c.tx_id.push('0'))),
        Code::BadProposalTxid
    );
    assert_eq!(
        code(&spoiled(&good, |_, _, c| c.channel_id.push('x'))),
        Code::InvalidEndorserTransaction
    );
    assert_eq!(
        code(&spoiled(&good, |_, t, _| t.actions.clear())),
        Code::InvalidEndorserTransaction
    );
    assert_eq!(
        code(&spoiled(&good, |_, t, _| t
            .actions
            .push(t.actions[0].clone()))),
        Code::InvalidEndorserTransaction
    );
    assert_eq!(
        code(&spoiled(&good, |_, t, _| t.actions[0].header.clear())),
        Code::InvalidEndorserTransaction
    );
    let no_action = spoiled(&good, |_, t, _| {
        let mut payload =
            protos::ChaincodeActionPayload::decode(t.actions[0].payload.clone()).expect("payload");
        payload.action = None;
        t.actions[0].payload = payload.encode_to_vec().into();
    });
    assert_eq!(code(&no_action), Code::InvalidEndorserTransaction);
    assert_eq!(transaction::index_id(&Bytes::from_static(b"\xff")), "");
}

#[test]
fn an_envelope_is_indexed_by_a_computed_id_when_its_header_has_none() {
    let client = fixture().client;
    let spec = HeaderSpec::new(common::HeaderType::Config, "mychannel", NOW);
    let envelope = envelope::create_signed(spec, Bytes::new(), &*client).expect("signed");
    let parsed = envelope::parse(&envelope).expect("envelope");
    let id = proposal::transaction_id(
        &parsed.signature_header.nonce,
        &parsed.signature_header.creator,
    );
    assert_eq!(transaction::index_id(&envelope.encode_to_vec().into()), id);
    assert_eq!(parsed.signature_header.nonce.len(), 24);
}

#[test]
fn seek_requests_are_signed_envelopes_bound_to_the_tls_certificate() {
    let fixture = fixture();
    let seek = envelope::seek(
        "mychannel",
        orderer::SeekInfo::default(),
        &*fixture.client,
        NOW,
        Bytes::from_static(b"hash"),
    );
    let parsed = envelope::parse(&seek.expect("signed")).expect("envelope");
    assert_eq!(parsed.kind(), Some(common::HeaderType::DeliverSeekInfo));
    assert_eq!(
        (parsed.channel(), &parsed.channel_header.tls_cert_hash[..]),
        ("mychannel", &b"hash"[..])
    );
    assert!(fixture.verifies(&[parsed.signed_data()]));
}

#[test]
fn envelopes_without_payload_or_headers_are_refused() {
    let parse = |payload: common::Payload| {
        envelope::parse(&common::Envelope {
            payload: payload.encode_to_vec().into(),
            signature: Bytes::new(),
        })
        .unwrap_err()
    };
    assert_eq!(parse(common::Payload::default()), ParseError::NoHeader);
    let data = Bytes::from_static(b"data");
    assert_eq!(
        parse(common::Payload {
            header: None,
            data: data.clone()
        }),
        ParseError::NoHeader
    );
    assert_eq!(
        parse(common::Payload {
            header: Some(common::Header::default()),
            data
        }),
        ParseError::NoChannelHeader
    );
}

#[test]
fn a_signed_block_names_its_signer_and_its_last_config() {
    let fixture = fixture();
    let mut signed = block::new_block(
        3,
        Bytes::from_static(b"previous"),
        vec![fixture.transaction(&action())],
    );
    block::sign(
        &mut signed,
        2,
        Bytes::from_static(b"raft"),
        &*fixture.client,
    )
    .expect("signed");
    assert_eq!(block::check_structure(&signed), Ok(()));
    assert_eq!(block::last_config(&signed), Ok(2));
    assert_eq!(
        block::consenter_metadata(&signed),
        Ok(Bytes::from_static(b"raft"))
    );
    let set = |signed: &common::Block| {
        let parts = block::signature_parts(signed).expect("signatures");
        let by_identity = parts.into_iter().map(|part| match part {
            BlockSignature::Identity(signed) => signed,
            by_number @ BlockSignature::Consenter { .. } => panic!("{by_number:?}"),
        });
        by_identity.collect::<Vec<_>>()
    };
    assert_eq!(set(&signed).len(), 1);
    assert!(fixture.verifies(&set(&signed)));
    signed.header.as_mut().expect("header").number = 4;
    assert!(!fixture.verifies(&set(&signed)));
    assert!(!block::is_config(&signed));
}
