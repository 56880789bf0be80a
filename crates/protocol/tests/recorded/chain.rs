//! The channel that real Fabric peers recorded, if it lies beside the workspace.

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block;
use consilium_testkit::recorded::Recording;
use serde_json::Value;

/// A recorded block with what the manifest says about it.
pub struct Recorded {
    pub block: common::Block,
    pub commit_hash: String,
    pub transactions: Vec<RecordedTransaction>,
}

pub struct RecordedTransaction {
    pub envelope: Bytes,
    pub case: String,
    pub tx_id: String,
    pub code: i32,
}

/// The blocks, or `None` (with a line saying so) where the recording is absent.
pub fn read() -> Option<Vec<Recorded>> {
    let recording = Recording::open()?;
    let manifest: Vec<Value> =
        serde_json::from_slice(&recording.manifest()).expect("the manifest is a JSON list");
    Some(
        manifest
            .iter()
            .map(|entry| read_block(&recording, entry))
            .collect(),
    )
}

fn read_block(recording: &Recording, entry: &Value) -> Recorded {
    let text = |value: &Value, key: &str| value[key].as_str().expect(key).to_owned();
    let number = entry["number"].as_u64().expect("number");
    let block = recording.block(number);
    let transactions = entry["transactions"].as_array().expect("transactions");
    let transactions = transactions
        .iter()
        .zip(block::envelopes(&block))
        .map(|(transaction, envelope)| RecordedTransaction {
            envelope: envelope.clone(),
            case: text(transaction, "case"),
            tx_id: text(transaction, "tx_id"),
            code: i32::try_from(transaction["code"].as_i64().expect("code")).expect("a code"),
        })
        .collect();
    Recorded {
        block,
        commit_hash: text(entry, "commit_hash"),
        transactions,
    }
}
