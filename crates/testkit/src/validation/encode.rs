//! From plans to signed envelopes and blocks.

use bytes::Bytes;
use consilium_proto::{common, protos};
use consilium_protocol::rwset::TxRwSet;
use consilium_protocol::{block, rwset};

use super::people::People;
use super::plan::{Endorsing, Fault, Plan};
use super::reference::{hex, sha256};

/// The channel of all chains.
pub const CHANNEL: &str = "validated";

/// Bytes that are no message of any kind.
const GARBAGE: &[u8] = b"\xff\xff\xff\xff";

/// Field 2 as a number. In identities and policies it is declared as bytes, text or a message: Go's decoder
/// passes it over. None of ours begins so by itself.
const UNEXPECTED: &[u8] = b"\x10\x7f";

/// An encoded message behind a field that Go's decoder passes over.
pub(super) fn with_unexpected(message: &[u8]) -> Bytes {
    [UNEXPECTED, message].concat().into()
}

/// The message without that field.
pub(super) fn without_unexpected(message: &Bytes) -> Bytes {
    match message.strip_prefix(UNEXPECTED) {
        Some(known) => message.slice_ref(known),
        None => message.clone(),
    }
}

fn encode(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}

/// The id of a transaction.
pub(super) fn tx_id(people: &People, creator: usize, nonce: u64) -> String {
    hex(&sha256(&[
        &nonce.to_be_bytes(),
        &people.creator(creator, nonce),
    ]))
}

/// The encoded envelope of an endorser transaction, and the id that its header claims.
pub(super) fn envelope(plan: &Plan, people: &People) -> (Bytes, String) {
    let fault = plan.fault;
    let claimed = match fault {
        Fault::OtherId(creator, nonce) => tx_id(people, creator, nonce),
        _ => tx_id(people, plan.creator, plan.nonce),
    };
    let payload = match fault {
        Fault::GarbagePayload => Bytes::from_static(GARBAGE),
        _ => encode(&payload(plan, people, &claimed)),
    };
    let signature = match fault {
        Fault::ForgedSignature => people.sign(plan.creator, b"something else"),
        _ => people.sign(plan.creator, &payload),
    };
    let readable = !matches!(fault, Fault::GarbagePayload | Fault::NoHeader);
    let claimed = if readable { claimed } else { String::new() };
    (encode(&common::Envelope { payload, signature }), claimed)
}

fn payload(plan: &Plan, people: &People, claimed: &str) -> common::Payload {
    let fault = plan.fault;
    let nonce = match fault {
        Fault::NoNonce => Bytes::new(),
        _ => Bytes::copy_from_slice(&plan.nonce.to_be_bytes()),
    };
    let signature_header = encode(&common::SignatureHeader {
        creator: people.creator(plan.creator, plan.nonce),
        nonce,
    });
    let kind = match fault {
        Fault::MessageType => common::HeaderType::Message,
        Fault::ConfigUpdate => common::HeaderType::ConfigUpdate,
        Fault::NoConfig => common::HeaderType::Config,
        _ => common::HeaderType::EndorserTransaction,
    };
    let name = match fault {
        Fault::EmptyName => "",
        _ => &plan.chaincode,
    };
    let chaincode_id = |name: &str, version: &str| protos::ChaincodeId {
        name: name.to_owned(),
        version: version.to_owned(),
        ..Default::default()
    };
    let extension = match fault {
        Fault::GarbageExtension => Bytes::from_static(GARBAGE),
        _ => encode(&protos::ChaincodeHeaderExtension {
            chaincode_id: (fault != Fault::NoChaincodeId).then(|| chaincode_id(name, "")),
        }),
    };
    let channel = match fault {
        Fault::OtherChannel => "another",
        _ => CHANNEL,
    };
    let channel_header = encode(&common::ChannelHeader {
        r#type: kind as i32,
        channel_id: channel.to_owned(),
        tx_id: claimed.to_owned(),
        epoch: u64::from(fault == Fault::Epoch),
        extension,
        ..Default::default()
    });
    let data = match fault {
        Fault::NoConfig => Bytes::new(),
        Fault::GarbageData => Bytes::from_static(GARBAGE),
        _ => encode(&transaction(
            plan,
            people,
            &channel_header,
            &signature_header,
        )),
    };
    common::Payload {
        header: (fault != Fault::NoHeader).then_some(common::Header {
            channel_header,
            signature_header,
        }),
        data,
    }
}

fn transaction(
    plan: &Plan,
    people: &People,
    channel_header: &Bytes,
    signature_header: &Bytes,
) -> protos::Transaction {
    let fault = plan.fault;
    let proposal_payload = Bytes::from_static(b"\x0a\x01x");
    let mut hash = sha256(&[channel_header, signature_header, &proposal_payload]);
    if fault == Fault::OtherProposal {
        hash[0] ^= 1;
    }
    let extension = match fault {
        Fault::NoResult => Bytes::new(),
        _ => encode(&action(plan)),
    };
    let response = encode(&protos::ProposalResponsePayload {
        proposal_hash: Bytes::copy_from_slice(&hash),
        extension,
    });
    let endorsements = plan
        .endorsements
        .iter()
        .map(|endorsing| endorsement(*endorsing, people, &response))
        .collect();
    let action = protos::TransactionAction {
        header: signature_header.clone(),
        payload: encode(&protos::ChaincodeActionPayload {
            chaincode_proposal_payload: proposal_payload,
            action: Some(protos::ChaincodeEndorsedAction {
                proposal_response_payload: response,
                endorsements,
            }),
        }),
    };
    protos::Transaction {
        actions: match fault {
            Fault::NoActions => Vec::new(),
            Fault::TwoActions => vec![action.clone(), action],
            _ => vec![action],
        },
    }
}

fn action(plan: &Plan) -> protos::ChaincodeAction {
    let fault = plan.fault;
    let results = match fault {
        Fault::GarbageResults => Bytes::from_static(GARBAGE),
        _ => TxRwSet {
            namespaces: plan.namespaces.clone(),
        }
        .encode(),
    };
    let event = |chaincode: &str| {
        encode(&protos::ChaincodeEvent {
            chaincode_id: chaincode.to_owned(),
            event_name: "event".to_owned(),
            ..Default::default()
        })
    };
    protos::ChaincodeAction {
        results,
        events: match fault {
            Fault::GarbageEvent => Bytes::from_static(GARBAGE),
            Fault::ForeignEvent => event("another"),
            _ if plan.nonce.is_multiple_of(7) => event(&plan.chaincode),
            _ => Bytes::new(),
        },
        response: Some(protos::Response {
            status: 200,
            ..Default::default()
        }),
        chaincode_id: (fault != Fault::NoExecutedId).then(|| protos::ChaincodeId {
            name: match fault {
                Fault::OtherName => "another".to_owned(),
                Fault::EmptyName => String::new(),
                _ => plan.chaincode.clone(),
            },
            version: match fault {
                Fault::NoVersion => String::new(),
                _ => "1".to_owned(),
            },
            ..Default::default()
        }),
    }
}

fn endorsement(endorsing: Endorsing, people: &People, response: &Bytes) -> protos::Endorsement {
    let sign = |person: usize, endorser: Bytes| protos::Endorsement {
        signature: people.sign(person, &[&response[..], &endorser[..]].concat()),
        endorser,
    };
    match endorsing {
        Endorsing::By(person) => sign(person, people.serialized(person)),
        Endorsing::Recoded(person) => sign(person, people.recoded(person)),
        Endorsing::Padded(person) => sign(person, people.padded(person)),
        Endorsing::Forged(person) => protos::Endorsement {
            endorser: people.serialized(person),
            signature: people.sign(person, response),
        },
        Endorsing::Nobody => protos::Endorsement {
            endorser: Bytes::from_static(b"nobody"),
            signature: people.sign(0, response),
        },
    }
}

/// The block of these envelopes, signed by the ordering service (the first organization).
pub(super) fn sealed(
    previous: &common::Block,
    envelopes: Vec<Bytes>,
    last_config: u64,
    people: &People,
) -> common::Block {
    let header = previous.header.as_ref().expect("a header");
    let data = common::BlockData { data: envelopes };
    let mut block = common::Block {
        header: Some(common::BlockHeader {
            number: header.number + 1,
            previous_hash: Bytes::copy_from_slice(&block::header_hash(header)),
            data_hash: Bytes::copy_from_slice(&block::data_hash(&data)),
        }),
        data: Some(data),
        metadata: None,
    };
    let orderer = people.person(People::of(0, 2));
    block::sign(
        &mut block,
        last_config,
        Bytes::new(),
        orderer.signer.as_ref(),
    )
    .expect("an own key");
    block
}

/// An empty entry of a read-write set.
pub(super) fn namespace(name: &str) -> rwset::NsRwSet {
    rwset::NsRwSet {
        name: name.to_owned(),
        ..Default::default()
    }
}
