//! `ledgerutil identifytxs`. fabric: internal/ledgerutil/identifytxs

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use consilium_ledger::Ledger;
use consilium_proto::{common, kvrwset, protos, rwset};
use consilium_protocol::{envelope, names};
use serde::Serialize;

use super::output::{Difference, Differences, List};
use super::{Identify, ledgers};
use crate::commands::golang;

/// Namespace, collection if it is hashed, and key.
type Key = (String, String, String);
/// Number of a block, and of a transaction in it.
type Height = (u64, u64);

/// A key that is looked for.
struct Wanted {
    /// Up to where.
    until: Height,
    list: List,
}

/// A transaction that wrote it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    txid: &'a str,
    block_num: u64,
    tx_num: u64,
    tx_validation_status: &'static str,
    key_write: String,
}

/// Runs it.
///
/// # Errors
/// What is looked for or the chain cannot be read, or results are there already.
pub fn run(args: &Identify) -> anyhow::Result<ExitCode> {
    let content = golang::read_file(&args.records)?;
    let records: Differences = serde_json::from_slice(&content)?;
    ensure!(
        !records.diff_records.is_empty(),
        "no records were read. JSON record list is either empty or not properly formatted. Aborting \
         identifytxs"
    );
    let channel = records.ledgerid.as_str();
    ensure!(
        names::validate_channel_id(channel).is_ok(),
        "{channel:?} is not the name of a channel"
    );
    let name = format!("{channel}_identified_transactions");
    let folder = args.output.make(&name, "identifytxs")?;
    let wanted = wanted(&records.diff_records, &folder)?;
    let ledgers = ledgers(&args.data, "identifytxs")?;
    ensure!(
        ledgers.channels()?.iter().any(|known| known == channel),
        "BlockStore for {channel} does not exist. Aborting identifytxs"
    );
    let (first, last) = search(ledgers.open(channel)?.as_ref(), wanted)?;
    if first > last {
        print!(
            "Ledger Identify Transactions Error: First available block was greater than highest \
             record. No transactions were checked."
        );
        return Ok(ExitCode::FAILURE);
    }
    print!(
        "\nSuccessfully ran identify transactions tool. Transactions were checked between blocks \
         {first} and {last}."
    );
    Ok(ExitCode::SUCCESS)
}

fn wanted(records: &[Difference], folder: &Path) -> anyhow::Result<HashMap<Key, Wanted>> {
    let mut wanted = HashMap::new();
    for (number, record) in records.iter().enumerate() {
        ensure!(
            !record.namespace.is_empty() && !record.key.is_empty(),
            "invalid input json. Each record entry must contain both a \"namespace\" and a \"key\" \
             field. Aborting identifytxs"
        );
        let (namespace, collection) = match record.hashed {
            false => (record.namespace.as_str(), ""),
            true => match record.namespace.split("$$h").collect::<Vec<_>>()[..] {
                [namespace, collection] => (namespace, collection),
                _ => bail!("not a valid hashedDataNs [{}]", record.namespace),
            },
        };
        let key = (
            namespace.to_owned(),
            collection.to_owned(),
            record.key.clone(),
        );
        ensure!(
            !wanted.contains_key(&key),
            "invalid input json. Contains duplicate record for  {{\"namespace\":\"{}\",\"key\":\"{}\"}}. \
             Aborting identifytxs",
            record.namespace,
            record.key
        );
        let sides = record.one.iter().chain(&record.other);
        let until = sides.map(|side| side.height()).max();
        // Without a height it is looked for everywhere.
        let until = until.filter(|height| *height != (0, 0));
        let file = folder.join(format!("txlist{}.json", number + 1));
        let begin = format!(
            "{{\n\"namespace\":{}\n,\n\"key\":{}\n,\n\"txs\":[\n",
            golang::compact(&namespace)?,
            golang::compact(&record.key)?
        );
        let list = List::create(&file, &begin)?;
        let until = until.unwrap_or((u64::MAX, u64::MAX));
        wanted.insert(key, Wanted { until, list });
    }
    Ok(wanted)
}

fn end(list: List, is_high_enough: bool) -> anyhow::Result<()> {
    let end = format!("]\n,\n\"blockStoreHeightSufficient\":{is_high_enough}\n}}\n");
    list.finish(&end).map(drop)
}

fn search(ledger: &Ledger, mut wanted: HashMap<Key, Wanted>) -> anyhow::Result<Height> {
    let first = ledger.first_block().max(1);
    let available = ledger.height().saturating_sub(1);
    let highest = wanted.values().map(|one| one.until).max();
    let highest = highest.unwrap_or_default();
    let last = available.min(highest.0);
    let mut at = (first.saturating_sub(1), 0);
    for number in first..=last {
        let block = ledger.block(number)?;
        let block = block.with_context(|| format!("block {number} is missing"))?;
        let transactions = block.data.map(|data| data.data).unwrap_or_default();
        for (index, bytes) in transactions.iter().enumerate() {
            at = (number, index as u64);
            // What cannot be read is invalid, and has written nothing.
            let Ok(Some((id, sets))) = writes(bytes) else {
                continue;
            };
            for (key, value) in sets {
                let Some(found) = wanted.get_mut(&key) else {
                    continue;
                };
                let status = ledger.tx_status(&id)?;
                let status = status.with_context(|| format!("transaction {id} is not indexed"))?;
                found.list.add(&Found {
                    txid: &id,
                    block_num: at.0,
                    tx_num: at.1,
                    tx_validation_status: status.code.as_str_name(),
                    key_write: value,
                })?;
                if at == found.until
                    && let Some(done) = wanted.remove(&key)
                {
                    end(done.list, true)?;
                    if wanted.is_empty() {
                        return Ok((first, number));
                    }
                }
            }
        }
    }
    for (_, left) in wanted {
        let is_high_enough = at.0 < available || (left.until.0 <= at.0 && left.until.1 <= at.1);
        end(left.list, is_high_enough)?;
    }
    Ok((first, last))
}

/// The id of a transaction, and what it writes.
type Writes = (String, Vec<(Key, String)>);

/// What an endorsed transaction writes, with its id; `None` for others.
fn writes(bytes: &Bytes) -> anyhow::Result<Option<Writes>> {
    let parsed = envelope::parse_bytes(bytes)?;
    if parsed.kind() != Some(common::HeaderType::EndorserTransaction) {
        return Ok(None);
    }
    let id = parsed.tx_id_or_computed();
    let transaction: protos::Transaction = consilium_proto::decode(&parsed.data)?;
    let mut found = Vec::new();
    let Some(action) = transaction.actions.first() else {
        return Ok(Some((id, found)));
    };
    let payload: protos::ChaincodeActionPayload = consilium_proto::decode(&action.payload)?;
    let response = payload
        .action
        .map(|action| action.proposal_response_payload);
    let response: protos::ProposalResponsePayload =
        consilium_proto::decode(&response.unwrap_or_default())?;
    let action: protos::ChaincodeAction = consilium_proto::decode(&response.extension)?;
    let set: rwset::TxReadWriteSet = consilium_proto::decode(&action.results)?;
    for part in set.ns_rwset {
        let public: kvrwset::KvrwSet = consilium_proto::decode(&part.rwset)?;
        for write in public.writes {
            let key = (part.namespace.clone(), String::new(), write.key);
            found.push((key, String::from_utf8_lossy(&write.value).into_owned()));
        }
        for collection in part.collection_hashed_rwset {
            let hashed: kvrwset::HashedRwSet = consilium_proto::decode(&collection.hashed_rwset)?;
            for write in hashed.hashed_writes {
                let key = (
                    part.namespace.clone(),
                    collection.collection_name.clone(),
                    hex::encode(&write.key_hash),
                );
                found.push((key, hex::encode(&write.value_hash)));
            }
        }
    }
    Ok(Some((id, found)))
}
