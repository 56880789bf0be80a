//! A recorded chain in a folder, made once and replayed many times.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use consilium_ledger::BlockStore;
use consilium_protocol::rwset::{KvRead, NsRwSet};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::channel::{CHAINCODE, Channel, write};

/// Keys that the transactions go round.
const KEYS: usize = 10_000;
/// Has no factor in common with a number of keys below.
const STRIDE: usize = 7919;
const VALUE_BYTES: usize = 100;
/// Grows when chains are made in another way.
const FORMAT: u32 = 1;

/// What a chain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    format: u32,
    /// Transactions behind the chaincode's definition, which is block 1.
    pub transactions: usize,
    /// Transactions of a block.
    pub block_size: usize,
}

impl Plan {
    /// A plan for chains as this version makes them.
    pub fn new(transactions: usize, block_size: usize) -> Self {
        Self {
            format: FORMAT,
            transactions,
            block_size,
        }
    }

    /// Blocks, block 0 included.
    pub fn height(&self) -> u64 {
        (2 + self.transactions.div_ceil(self.block_size)) as u64
    }

    /// At least a block's transactions, so that no two of a block meet at a key.
    fn keys(&self) -> usize {
        let keys = self.block_size.max(KEYS);
        keys + usize::from(keys.is_multiple_of(STRIDE))
    }

    /// A key that the chain writes.
    pub fn key(&self, number: usize) -> String {
        format!("key{:08}", number % self.keys())
    }
}

/// The chain in `folder`; made if nothing is there.
///
/// # Errors
/// The folder holds another chain, or it cannot be written.
pub fn open_or_make(folder: &Path, plan: Plan) -> anyhow::Result<Arc<BlockStore>> {
    let (blocks, about) = (folder.join("blocks"), folder.join("chain.json"));
    if about.exists() {
        let text = fs::read(&about).with_context(|| format!("cannot read {}", about.display()))?;
        let found: Plan = serde_json::from_slice(&text)
            .with_context(|| format!("{} does not describe a chain", about.display()))?;
        if found != plan {
            bail!(
                "{} holds a chain of {} transactions in blocks of {}, made in format {}: ask for \
                 these, or name another folder",
                folder.display(),
                found.transactions,
                found.block_size,
                found.format
            );
        }
        return Ok(BlockStore::open(&blocks)?);
    }
    if blocks.exists() {
        bail!(
            "the chain in {} is unfinished: delete the folder, or name another one",
            folder.display()
        );
    }
    let store = BlockStore::open(&blocks)?;
    make(&store, plan)?;
    // Last: with it the chain is whole.
    fs::write(&about, serde_json::to_vec_pretty(&plan)?)
        .with_context(|| format!("cannot write {}", about.display()))?;
    Ok(store)
}

fn make(store: &BlockStore, plan: Plan) -> anyhow::Result<()> {
    let bar = ProgressBar::new(plan.transactions as u64);
    if let Ok(style) = ProgressStyle::with_template("making the chain {bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let scratch = tempfile::tempdir()?;
    let channel = Channel::new(scratch.path())?;
    let mut last = channel.genesis().clone();
    store.append(&last, &[], false)?;
    let mut versions = vec![None; plan.keys()];
    let mut envelopes = vec![channel.definition()?];
    let mut number = 0;
    loop {
        let header = last.header.as_ref().context("a block without header")?;
        last = channel.block(header, std::mem::take(&mut envelopes))?;
        let is_last = number == plan.transactions;
        // The last one takes everything before with it.
        store.append(&last, &[], is_last)?;
        bar.set_position(number as u64);
        if is_last {
            bar.finish_and_clear();
            return Ok(());
        }
        let block_num = last.header.as_ref().map_or(0, |header| header.number) + 1;
        let end = (number + plan.block_size).min(plan.transactions);
        for (tx_num, number) in (number..end).enumerate() {
            let key = number * STRIDE % plan.keys();
            let version = Some(consilium_proto::kvrwset::Version {
                block_num,
                tx_num: tx_num as u64,
            });
            let read = std::mem::replace(&mut versions[key], version);
            envelopes.push(put(&channel, number, &plan.key(key), read)?);
        }
        number = end;
    }
}

/// Reads a key and writes it.
fn put(
    channel: &Channel,
    number: usize,
    key: &str,
    read: Option<consilium_proto::kvrwset::Version>,
) -> anyhow::Result<Bytes> {
    let value = format!("{number:0VALUE_BYTES$}");
    let namespace = NsRwSet {
        name: CHAINCODE.to_owned(),
        reads: vec![KvRead {
            key: key.to_owned(),
            version: read,
        }],
        writes: vec![write(key, value.clone().into())],
        ..NsRwSet::default()
    };
    channel.transaction(number, CHAINCODE, &["put", key, &value], namespace)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_transactions_of_a_block_meet_at_a_key() {
        for block_size in [1, 500, KEYS, STRIDE, 2 * STRIDE, KEYS + 1] {
            let plan = Plan::new(60_000, block_size);
            for first in (0..plan.transactions).step_by(block_size) {
                let numbers = first..(first + block_size).min(plan.transactions);
                let count = numbers.len();
                let keys: HashSet<_> = numbers.map(|n| n * STRIDE % plan.keys()).collect();
                assert_eq!(keys.len(), count, "{block_size}");
            }
        }
    }
}
