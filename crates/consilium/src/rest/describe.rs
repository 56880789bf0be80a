//! Blocks and transactions as the console shows them.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::{common, msp::SerializedIdentity, protos};
use consilium_protocol::{
    block, envelope,
    rwset::NsRwSet,
    transaction::{self, ParsedTransaction},
};
use prost::Message;
use protos::TxValidationCode as Code;
use serde_json::{Value, json};

/// Bytes of a value that are shown.
const SHOWN: usize = 4096;

/// Number, hashes, time, counts.
pub fn summary(held: &common::Block) -> Value {
    let envelopes = block::envelopes(held);
    let flags = block::flags(held);
    let count = |wanted: fn(i32) -> bool| {
        flags
            .iter()
            .filter(|flag| wanted(i32::from(**flag)))
            .count()
    };
    let header = held.header.clone().unwrap_or_default();
    json!({
        "number": header.number,
        "hash": hex::encode(block::header_hash(&header)),
        "previous": hex::encode(&header.previous_hash),
        "time": envelopes.first().and_then(time),
        "transactions": envelopes.len(),
        "invalid": count(|code| code != Code::Valid as i32),
        "conflicts": count(|code| {
            code == Code::MvccReadConflict as i32 || code == Code::PhantomReadConflict as i32
        }),
        "bytes": envelopes.iter().map(Bytes::len).sum::<usize>(),
    })
}

fn time(bytes: &Bytes) -> Option<f64> {
    let parsed = envelope::parse_bytes(bytes).ok()?;
    let at = parsed.channel_header.timestamp?;
    Some(at.seconds as f64 + f64::from(at.nanos) / 1e9)
}

/// A summary, and a line for each transaction.
pub fn block(held: &common::Block) -> Value {
    let mut shown = summary(held);
    let entries = block::envelopes(held)
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            let validation = validation(held, index);
            let Ok(parsed) = envelope::parse_bytes(bytes) else {
                return json!({"kind": "unreadable", "validation": validation});
            };
            let mut entry = json!({
                "id": parsed.channel_header.tx_id,
                "kind": envelope::header_type_name(parsed.channel_header.r#type),
                "creator": msp_of(&parsed.signature_header.creator),
                "validation": validation,
            });
            if let Some(transaction) = contract_call(bytes) {
                entry["contract"] = json!(transaction.chaincode_name);
                entry["function"] = json!(function(&transaction));
            }
            entry
        });
    shown["entries"] = entries.collect();
    shown
}

/// One transaction of a contract, down to what it read and wrote; `None` where the block has none
/// with that id.
pub fn transaction(held: &common::Block, id: &str) -> Option<Value> {
    let (index, transaction) = find(held, id)?;
    let endorsers = endorsers(&transaction);
    let header = &transaction.envelope.channel_header;
    let namespaces = transaction.rwset.namespaces.iter();
    Some(json!({
        "id": id,
        "block": block::number(held),
        "time": header.timestamp.as_ref().map(|at| at.seconds),
        "validation": validation(held, index),
        "creator": msp_of(&transaction.envelope.signature_header.creator),
        "contract": transaction.chaincode_name,
        "function": function(&transaction),
        "endorsers": endorsers,
        "event": transaction.event.as_ref().map(|event| event.event_name.as_str()),
        "namespaces": namespaces.map(namespace).collect::<Vec<_>>(),
    }))
}

/// A contract's transaction in a block, and its place there.
pub fn find(held: &common::Block, id: &str) -> Option<(usize, ParsedTransaction)> {
    block::envelopes(held)
        .iter()
        .enumerate()
        .filter_map(|(index, bytes)| Some((index, contract_call(bytes)?)))
        .find(|(_, transaction)| transaction.tx_id() == id)
}

/// MSP ids of those who endorsed it.
pub fn endorsers(transaction: &ParsedTransaction) -> BTreeSet<String> {
    let endorsements = transaction.endorsements.iter();
    endorsements.map(|one| msp_of(&one.endorser)).collect()
}

fn namespace(space: &NsRwSet) -> Value {
    let reads = space.reads.iter().map(|read| {
        let version = read.version.as_ref().map_or_else(String::new, |version| {
            format!("{}/{}", version.block_num, version.tx_num)
        });
        json!({"key": readable(read.key.as_bytes()), "version": version})
    });
    let writes = space.writes.iter().map(|write| {
        json!({
            "key": readable(write.key.as_bytes()), "deleted": write.is_delete,
            "value": readable(&write.value),
        })
    });
    let collections = space.collections.iter().map(
        |collection| json!({"name": collection.name, "hash": hex::encode(&collection.pvt_rwset_hash)}),
    );
    json!({
        "name": space.name,
        "reads": reads.collect::<Vec<_>>(),
        "writes": writes.collect::<Vec<_>>(),
        "collections": collections.collect::<Vec<_>>(),
    })
}

/// Bytes as text: composite keys with their parts separated visibly, what is no text as hexadecimal.
fn readable(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let text = match std::str::from_utf8(cut) {
        Ok(text) => Ok(text),
        // A character that the cut divides.
        Err(error) if error.error_len().is_none() && cut.len() < bytes.len() => {
            std::str::from_utf8(&cut[..error.valid_up_to()])
        }
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => text
            .trim_matches('\0')
            .replace('\0', " ~ ")
            .replace(char::is_control, " "),
        Err(_) => hex::encode(cut),
    }
}

fn contract_call(bytes: &Bytes) -> Option<ParsedTransaction> {
    let checked = transaction::check_syntax(bytes).ok()?;
    let endorsed = transaction::check_endorser_transaction(&checked).ok()?;
    endorsed.dispatch().ok()
}

/// The first argument, which names the function.
fn function(transaction: &ParsedTransaction) -> Option<String> {
    let decoded = protos::Transaction::decode(transaction.envelope.data.clone()).ok()?;
    let action = decoded.actions.into_iter().next()?;
    let payload = protos::ChaincodeActionPayload::decode(action.payload).ok()?;
    let proposal =
        protos::ChaincodeProposalPayload::decode(payload.chaincode_proposal_payload).ok()?;
    let invoked = protos::ChaincodeInvocationSpec::decode(proposal.input).ok()?;
    let input = invoked.chaincode_spec?.input?;
    input.args.first().map(|name| readable(name))
}

/// The peer's verdict on a transaction.
pub fn validation(held: &common::Block, index: usize) -> &'static str {
    block::flags(held)
        .get(index)
        .and_then(|code| Code::try_from(i32::from(*code)).ok())
        .map_or("NOT_VALIDATED", |code| code.as_str_name())
}

/// The MSP id of a serialized identity; empty where it is none.
pub fn msp_of(identity: &Bytes) -> String {
    SerializedIdentity::decode(identity.clone()).map_or_else(|_| String::new(), |id| id.mspid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_where_they_are_text() {
        let long = format!("{}é", "x".repeat(SHOWN - 1));
        for (bytes, shown) in [
            (b"\0unit\0di\0".as_slice(), "unit ~ di"),
            (b"a\nb", "a b"),
            (&[0xff, 0x00], "ff00"),
            // The last character is divided by the cut.
            (long.as_bytes(), &"x".repeat(SHOWN - 1)),
        ] {
            assert_eq!(readable(bytes), shown);
        }
    }
}
