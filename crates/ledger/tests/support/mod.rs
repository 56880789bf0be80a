//! Unsigned but otherwise well-formed transactions and blocks: the ledger does not look at
//! signatures.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{Committed, Ledger};
use consilium_proto::protos::TxValidationCode;
use consilium_proto::{common, msp, protos};
use consilium_protocol::hash::sha256_parts;
use consilium_protocol::proposal::transaction_id;
use consilium_protocol::rwset::{KvRead, KvWrite, NsRwSet, TxRwSet, Version};
use consilium_protocol::{block, rwset};
use prost::Message;

pub const CHANNEL: &str = "ledgertest";

/// A folder in memory where there is one: tests that open hundreds of ledgers need no real disk.
pub fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return folder;
    }
    tempfile::tempdir().expect("a folder")
}

/// An endorser transaction of chaincode `chaincode`; `nonce` makes its id.
pub fn transaction(nonce: u64, chaincode: &str, results: &TxRwSet) -> Bytes {
    let results = results.encode();
    transaction_with_results(nonce, chaincode, results)
}

pub fn transaction_with_results(nonce: u64, chaincode: &str, results: Bytes) -> Bytes {
    let signature_header = signature_header(nonce);
    let chaincode_id = protos::ChaincodeId {
        name: chaincode.into(),
        version: "1".into(),
        ..Default::default()
    };
    let extension = protos::ChaincodeHeaderExtension {
        chaincode_id: Some(chaincode_id.clone()),
    };
    let channel_header = common::ChannelHeader {
        r#type: common::HeaderType::EndorserTransaction as i32,
        channel_id: CHANNEL.into(),
        tx_id: tx_id(nonce),
        timestamp: Some(prost_types_timestamp(nonce)),
        extension: encode(&extension),
        ..Default::default()
    };
    let (channel_header, signature_header) = (encode(&channel_header), encode(&signature_header));
    let proposal_payload = Bytes::from_static(b"\x0a\x01x");
    let action = protos::ChaincodeAction {
        results,
        chaincode_id: Some(chaincode_id),
        ..Default::default()
    };
    let response = protos::ProposalResponsePayload {
        proposal_hash: Bytes::copy_from_slice(&sha256_parts(&[
            &channel_header,
            &signature_header,
            &proposal_payload,
        ])),
        extension: encode(&action),
    };
    let payload = protos::ChaincodeActionPayload {
        chaincode_proposal_payload: proposal_payload,
        action: Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: encode(&response),
            endorsements: Vec::new(),
        }),
    };
    let transaction = protos::Transaction {
        actions: vec![protos::TransactionAction {
            header: signature_header.clone(),
            payload: encode(&payload),
        }],
    };
    envelope(channel_header, signature_header, encode(&transaction))
}

/// A transaction whose header claims an id; it is nothing else.
pub fn claiming(tx_id: &str) -> Bytes {
    let channel_header = common::ChannelHeader {
        r#type: common::HeaderType::EndorserTransaction as i32,
        channel_id: CHANNEL.into(),
        tx_id: tx_id.into(),
        ..Default::default()
    };
    let signature_header = encode(&signature_header(0));
    envelope(encode(&channel_header), signature_header, Bytes::new())
}

/// The id of the transaction with that nonce.
pub fn tx_id(nonce: u64) -> String {
    let header = signature_header(nonce);
    transaction_id(&header.nonce, &header.creator)
}

fn signature_header(nonce: u64) -> common::SignatureHeader {
    common::SignatureHeader {
        creator: Bytes::from_static(b"creator"),
        nonce: Bytes::copy_from_slice(&nonce.to_be_bytes()),
    }
}

fn prost_types_timestamp(seconds: u64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: seconds as i64,
        nanos: 7,
    }
}

fn envelope(channel_header: Bytes, signature_header: Bytes, data: Bytes) -> Bytes {
    encode(&common::Envelope {
        payload: encode(&common::Payload {
            header: Some(common::Header {
                channel_header,
                signature_header,
            }),
            data,
        }),
        signature: Bytes::new(),
    })
}

/// Block 0 of a channel with application organizations of these MSP ids.
pub fn genesis(msp_ids: &[&str]) -> common::Block {
    let organization = |id: &&str| {
        let config = msp::FabricMspConfig {
            name: (*id).into(),
            ..Default::default()
        };
        let value = msp::MspConfig {
            r#type: 0,
            config: encode(&config),
        };
        let mut group = common::ConfigGroup::default();
        group.values.insert(
            "MSP".into(),
            common::ConfigValue {
                value: encode(&value),
                ..Default::default()
            },
        );
        (format!("{id}-group"), group)
    };
    let mut application = common::ConfigGroup::default();
    application.groups.extend(msp_ids.iter().map(organization));
    let mut channel = common::ConfigGroup::default();
    channel.groups.insert("Application".into(), application);
    let config = common::ConfigEnvelope {
        config: Some(common::Config {
            sequence: 0,
            channel_group: Some(channel),
        }),
        last_update: None,
    };
    let channel_header = common::ChannelHeader {
        r#type: common::HeaderType::Config as i32,
        channel_id: CHANNEL.into(),
        ..Default::default()
    };
    let config = envelope(
        encode(&channel_header),
        encode(&signature_header(0)),
        encode(&config),
    );
    block::new_block(0, Bytes::new(), vec![config])
}

/// The next block of a ledger.
pub fn next_block(ledger: &Ledger, data: Vec<Bytes>) -> common::Block {
    let info = ledger.info();
    block::new_block(info.height, info.current_block_hash, data)
}

/// Commits transactions that all passed validation so far.
pub fn commit(ledger: &Arc<Ledger>, data: Vec<Bytes>) -> Committed {
    let codes = vec![TxValidationCode::Valid; data.len()];
    ledger
        .commit(next_block(ledger, data), codes)
        .expect("commit")
}

/// A read-write set of one namespace.
pub fn results(namespace: &str, fill: impl FnOnce(&mut NsRwSet)) -> TxRwSet {
    let mut entry = NsRwSet {
        name: namespace.into(),
        ..Default::default()
    };
    fill(&mut entry);
    TxRwSet {
        namespaces: vec![entry],
    }
}

/// A write, a delete if the value is empty.
pub fn write(key: &str, value: &[u8]) -> KvWrite {
    KvWrite {
        key: key.into(),
        is_delete: value.is_empty(),
        value: Bytes::copy_from_slice(value),
    }
}

pub fn read(key: &str, version: Option<(u64, u64)>) -> KvRead {
    KvRead {
        key: key.into(),
        version: version.map(|(block, tx)| Version::new(block, tx).into()),
    }
}

pub fn metadata_write(key: &str, entries: &[(&str, &[u8])]) -> rwset::KvMetadataWrite {
    rwset::KvMetadataWrite {
        key: key.into(),
        entries: entries
            .iter()
            .map(|(name, value)| rwset::KvMetadataEntry {
                name: (*name).into(),
                value: Bytes::copy_from_slice(value),
            })
            .collect(),
    }
}

pub fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}
