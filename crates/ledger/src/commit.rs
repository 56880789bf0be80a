//! Committing a block: MVCC, flags and commit hash into its metadata, then everything that it
//! changes in one batch that is synced once.

use std::time::Instant;

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use consilium_protocol::commit_hash::{UpdateEntry, commit_hash, update_bytes};
use consilium_protocol::names::hashed_namespace;
use metrics::{counter, gauge, histogram};
use prost::Message;

use crate::chain::{self, Tip};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::history;
use crate::ledger::{CHANNEL, Ledger};
use crate::mvcc::{self, StateView, TxContent, VersionScan};
use crate::prepared::PreparedTransaction;
use crate::private;
use crate::state::{self, Scan, StateReader, VersionedValue};
use crate::tx_index::{self, TxStatus};
use crate::update_batch::{KeyUpdates, Update, UpdateBatch};

/// A block that is in the ledger now.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// The block's number.
    pub number: u64,
    /// Final validation codes, one per transaction.
    pub codes: Vec<TxValidationCode>,
    /// The commit hash; block 0 has none, nor have blocks after one without.
    pub commit_hash: Option<[u8; 32]>,
    /// The encoded block as stored: with flags and commit hash.
    pub block_bytes: Bytes,
}

impl Ledger {
    /// Commits the next block.
    ///
    /// `codes` are the outcomes of validation so far (syntax, creators, endorsement, duplicate ids
    /// in the ledger and in the block), one per transaction. MVCC may turn `Valid` into
    /// `MvccReadConflict` or `PhantomReadConflict`. When this returns, the block is on disk with
    /// all that it changes; on error nothing has changed. Blocks the thread.
    pub fn commit(
        &self,
        block: common::Block,
        codes: Vec<TxValidationCode>,
    ) -> Result<Committed, LedgerError> {
        let transactions = block::envelopes(&block)
            .iter()
            .map(PreparedTransaction::parse)
            .collect();
        self.commit_prepared(block, codes, transactions)
    }

    /// As [`commit`](Self::commit), for a block whose transactions are parsed already.
    pub fn commit_prepared(
        &self,
        mut block: common::Block,
        mut codes: Vec<TxValidationCode>,
        transactions: Vec<PreparedTransaction>,
    ) -> Result<Committed, LedgerError> {
        let _turn = self.committing.lock();
        let started = Instant::now();
        let tip = self.tip.read().clone();
        tip.check_next(&block)?;
        let number = tip.height;
        let count = block::envelopes(&block).len();
        if codes.len() != count || transactions.len() != count {
            return Err(LedgerError::CodesMismatch {
                number,
                transactions: count,
                codes: codes.len().min(transactions.len()),
            });
        }

        let state = self.reader()?;
        let contents = transactions.iter().map(|transaction| &transaction.content);
        let updates = mvcc::decide(number, contents, &mut codes, &state)?;

        let flags: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
        // Block 0 has no commit hash, block 1 starts the chain of them.
        let hash = (number == 1 || tip.commit_hash.is_some()).then(|| {
            let previous = tip.commit_hash.as_ref().map(<[u8; 32]>::as_slice);
            commit_hash(&flags, &hashed_updates(&updates), previous)
        });
        block::set_flags(&mut block, flags);
        block::set_commit_hash(&mut block, hash.as_ref().map_or(&[], <[u8; 32]>::as_slice));

        let mut batch = self.database.batch();
        private::expire(
            self,
            number,
            &transactions,
            &codes,
            &updates,
            &state,
            &mut batch,
        )?;
        let freed = private::apply(self, number, &transactions, &codes, &updates, &mut batch)?;
        put_state(&mut batch, &updates)?;
        self.indexes.update(&updates, &state, &mut batch)?;
        put_history(&mut batch, number, &transactions, &codes)?;
        drop(state);
        let block_bytes = self.finish(block, &transactions, &codes, batch)?;
        freed.done(self);

        self.record_metrics(started, &transactions, &codes);
        Ok(Committed {
            number,
            codes,
            commit_hash: hash,
            block_bytes,
        })
    }

    /// Commits block 0 as it is: its configuration is where trust begins.
    pub(crate) fn commit_genesis(&self, mut block: common::Block) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        self.tip.read().check_next(&block)?;
        let transactions: Vec<_> = block::envelopes(&block)
            .iter()
            .map(PreparedTransaction::parse_genesis)
            .collect();
        let mut codes = vec![TxValidationCode::Valid; transactions.len()];
        let contents = transactions.iter().map(|transaction| &transaction.content);
        let updates = mvcc::decide(0, contents, &mut codes, &self.reader()?)?;
        let flags: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
        block::set_flags(&mut block, flags);
        let mut batch = self.database.batch();
        batch.put(Family::Meta, CHANNEL, self.channel.as_bytes())?;
        put_state(&mut batch, &updates)?;
        self.finish(block, &transactions, &codes, batch)?;
        Ok(())
    }

    /// Adds block and indexes, writes, and shows the new height.
    fn finish(
        &self,
        block: common::Block,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
        mut batch: Batch<'_>,
    ) -> Result<Bytes, LedgerError> {
        let tip = Tip::after(&block)?;
        let number = tip.height - 1;
        let block_bytes = Bytes::from(block.encode_to_vec());
        chain::put(&mut batch, number, &tip.header_hash, &block_bytes)?;
        self.put_tx_index(&mut batch, number, transactions, codes)?;
        let writing = Instant::now();
        batch.write(true)?;
        let channel = self.channel.clone();
        histogram!("ledger_blockstorage_and_pvtdata_commit_time", "channel" => channel.clone())
            .record(writing.elapsed().as_secs_f64());
        let height = tip.height;
        *self.tip.write() = tip;
        self.height.send_replace(height);
        gauge!("ledger_blockchain_height", "channel" => channel).set(height as f64);
        Ok(block_bytes)
    }

    /// The first transaction of an id keeps it, in the ledger as in the block.
    fn put_tx_index(
        &self,
        batch: &mut Batch<'_>,
        block: u64,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
    ) -> Result<(), LedgerError> {
        let mut seen = std::collections::HashSet::new();
        for (index, (transaction, code)) in transactions.iter().zip(codes).enumerate() {
            let tx_id = transaction.tx_id.as_str();
            if !seen.insert(tx_id) || self.has_transaction(tx_id)? {
                continue;
            }
            let status = TxStatus {
                code: *code,
                block,
                index: index as u32,
            };
            batch.put(Family::Index, &tx_index::key(tx_id), &status.encode())?;
        }
        Ok(())
    }

    /// Names and labels as in Fabric's metrics reference.
    fn record_metrics(
        &self,
        started: Instant,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
    ) {
        histogram!("ledger_block_processing_time", "channel" => self.channel.clone())
            .record(started.elapsed().as_secs_f64());
        let mut counts = std::collections::BTreeMap::new();
        for (transaction, code) in transactions.iter().zip(codes) {
            let labels = (
                transaction.kind,
                transaction.chaincode.as_str(),
                code.as_str_name(),
            );
            *counts.entry(labels).or_insert(0u64) += 1;
        }
        for ((kind, chaincode, code), count) in counts {
            // What an invalid transaction names as chaincode is anybody's text: no label of it.
            let chaincode = if code == "VALID" { chaincode } else { "" };
            counter!(
                "ledger_transaction_count",
                "channel" => self.channel.clone(),
                "transaction_type" => kind,
                "chaincode" => chaincode.to_owned(),
                "validation_code" => code,
            )
            .increment(count);
        }
    }
}

/// The update batch in the form that the commit hash covers.
fn hashed_updates(updates: &UpdateBatch) -> Bytes {
    let mut entries = Vec::new();
    for (namespace, changes) in &updates.namespaces {
        entries.extend(
            changes
                .public
                .iter()
                .map(|update| entry(namespace, "", update)),
        );
        for (collection, keys) in &changes.collections {
            entries.extend(
                keys.iter()
                    .map(|update| entry(namespace, collection, update)),
            );
        }
    }
    update_bytes(entries)
}

fn entry<'a>(
    namespace: &'a str,
    collection: &'a str,
    (key, update): (&'a Bytes, &'a Update),
) -> UpdateEntry<'a> {
    UpdateEntry {
        namespace,
        collection,
        key,
        value: update
            .content
            .as_ref()
            .map(|content| content.value.as_ref()),
        version: update.version,
    }
}

fn put_state(batch: &mut Batch<'_>, updates: &UpdateBatch) -> Result<(), LedgerError> {
    for (namespace, changes) in &updates.namespaces {
        put_keys(batch, namespace, &changes.public)?;
        for (collection, keys) in &changes.collections {
            put_keys(batch, &hashed_namespace(namespace, collection), keys)?;
        }
    }
    Ok(())
}

fn put_keys(
    batch: &mut Batch<'_>,
    namespace: &str,
    updates: &KeyUpdates,
) -> Result<(), LedgerError> {
    for (key, update) in updates {
        let state_key = state::key(namespace, key);
        match &update.content {
            Some(content) => {
                let value = VersionedValue {
                    value: content.value.clone(),
                    metadata: content.metadata.clone(),
                    version: update.version,
                };
                batch.put(Family::State, &state_key, &value.encode())?;
            }
            None => batch.delete(Family::State, &state_key)?,
        }
    }
    Ok(())
}

fn put_history(
    batch: &mut Batch<'_>,
    block: u64,
    transactions: &[PreparedTransaction],
    codes: &[TxValidationCode],
) -> Result<(), LedgerError> {
    for (index, (transaction, code)) in transactions.iter().zip(codes).enumerate() {
        let TxContent::Endorsed(rwset) = &transaction.content else {
            continue;
        };
        if *code != TxValidationCode::Valid {
            continue;
        }
        for namespace in &rwset.namespaces {
            for write in &namespace.writes {
                history::put(batch, &namespace.name, &write.key, block, index as u32)?;
            }
        }
    }
    Ok(())
}

impl StateView for StateReader {
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<VersionedValue>, LedgerError> {
        self.get_raw(namespace, key)
    }

    fn scan<'a>(
        &'a self,
        namespace: &str,
        start: &[u8],
        end: &[u8],
    ) -> Result<VersionScan<'a>, LedgerError> {
        let mut scan = Scan::new(Family::State, namespace, start, end);
        Ok(Box::new(std::iter::from_fn(move || {
            let item = scan.next(self.snapshot()).transpose()?;
            Some(item.map(|(key, value)| (key, value.version)))
        })))
    }
}
