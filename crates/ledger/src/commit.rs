//! Committing a block: MVCC, flags and commit hash into its metadata, then the block into the block
//! files, synced, and everything that it changes into the database in one batch.

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use consilium_proto::common;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use consilium_protocol::commit_hash::{UpdateEntry, commit_hash, update_bytes};
use consilium_protocol::names::hashed_namespace;
use metrics::{counter, gauge, histogram};

use crate::blockfile::{Appended, Kind, Location, Position, Record, encode_block};
use crate::chain::{self, Tip};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::history;
use crate::ledger::{CHANNEL, Ledger};
use crate::maintenance;
use crate::mvcc::{self, StateView, TxContent, VersionScan};
use crate::prepared::PreparedTransaction;
use crate::private::{self, PrivateBlock};
use crate::recovery::Follower;
use crate::state::{self, Scan, StateReader, VersionedValue};
use crate::tx_index::{self, TxStatus, code_of};
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
        let transactions: Vec<_> = block::envelopes(&block)
            .iter()
            .map(PreparedTransaction::parse)
            .collect();
        self.commit_prepared(block, codes, &transactions)
    }

    /// As [`commit`](Self::commit), for a block whose transactions are parsed already.
    ///
    /// # Errors
    /// After [`LedgerError::DiskFull`] the same block may be tried again.
    pub fn commit_prepared(
        &self,
        block: common::Block,
        codes: Vec<TxValidationCode>,
        transactions: &[PreparedTransaction],
    ) -> Result<Committed, LedgerError> {
        self.commit_with_private(block, codes, transactions, &PrivateBlock::default())
    }

    /// As [`commit_prepared`](Self::commit_prepared), with what is known about private data.
    pub fn commit_with_private(
        &self,
        block: common::Block,
        codes: Vec<TxValidationCode>,
        transactions: &[PreparedTransaction],
        private: &PrivateBlock,
    ) -> Result<Committed, LedgerError> {
        let state = self.state_for(transactions)?;
        self.commit_from(&state, block, codes, transactions, private)
    }

    /// As [`commit_with_private`](Self::commit_with_private), reading the state that the block was
    /// validated against: that of the block before.
    pub fn commit_from(
        &self,
        state: &StateReader,
        mut block: common::Block,
        mut codes: Vec<TxValidationCode>,
        transactions: &[PreparedTransaction],
        private: &PrivateBlock,
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
        if state.height() != number {
            return Err(LedgerError::UnexpectedBlock {
                expected: state.height(),
                received: number,
            });
        }
        let (batch, freed, hash) = self.changes(&tip, &mut codes, transactions, state, private)?;
        block::set_flags(&mut block, flags_of(&codes));
        block::set_commit_hash(&mut block, hash.as_ref().map_or(&[], <[u8; 32]>::as_slice));
        self.store(&block, transactions, &codes, batch)?;
        freed.done(self);

        self.record_metrics(started, transactions, &codes);
        Ok(Committed {
            number,
            codes,
            commit_hash: hash,
        })
    }

    /// Commits block 0 as it is: its configuration is where trust begins.
    pub(crate) fn commit_genesis(&self, mut block: common::Block) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        let tip = self.tip.read().clone();
        tip.check_next(&block)?;
        let (transactions, mut codes) = genesis(&block);
        let (state, private) = (self.reader()?, PrivateBlock::default());
        let (mut batch, freed, _) =
            self.changes(&tip, &mut codes, &transactions, &state, &private)?;
        batch.put(Family::Meta, CHANNEL, self.channel.as_bytes())?;
        block::set_flags(&mut block, flags_of(&codes));
        self.store(&block, &transactions, &codes, batch)?;
        freed.done(self);
        Ok(())
    }

    /// Applies a block that is in the block files with flags and commit hash: the same changes are
    /// made again, and the same hash has to come out.
    fn reapply(&self, appended: &Appended, record: &Record) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        let number = record.number;
        let files = &self.database.files;
        let corrupt = |reason: String| files.corrupt(appended.location.begin, Some(number), reason);
        let block = chain::decode(number, record.block.clone())?;
        let tip = self.tip.read().clone();
        tip.check_next(&block)
            .map_err(|error| corrupt(error.to_string()))?;
        let recorded = block::flags(&block).iter().map(|flag| code_of(*flag));
        let mut codes = recorded
            .collect::<Option<Vec<_>>>()
            .filter(|codes| codes.len() == block::envelopes(&block).len())
            .ok_or_else(|| corrupt("its validation flags do not fit its transactions".into()))?;
        let transactions = if number == 0 {
            genesis(&block).0
        } else {
            let envelopes = block::envelopes(&block).iter();
            envelopes.map(PreparedTransaction::parse).collect()
        };
        let before = codes.clone();
        let (state, private) = (self.state_for(&transactions)?, PrivateBlock::default());
        let (mut batch, freed, hash) =
            self.changes(&tip, &mut codes, &transactions, &state, &private)?;
        if let Some(index) = (0..codes.len()).find(|index| codes[*index] != before[*index]) {
            let (got, want) = (codes[index].as_str_name(), before[index].as_str_name());
            return Err(corrupt(format!(
                "transaction {index} is recorded as {want}, and applying it again gives {got}"
            )));
        }
        let next = Tip::after(&block)?;
        if number > 0 && next.commit_hash != hash {
            return Err(corrupt(
                "its commit hash is not the one that applying it again gives".into(),
            ));
        }
        if number == 0 {
            batch.put(Family::Meta, CHANNEL, self.channel.as_bytes())?;
        }
        self.show(next, appended, &transactions, &codes, batch, false)?;
        freed.done(self);
        Ok(())
    }

    /// The state before a block, with what its transactions read at hand.
    fn state_for(&self, transactions: &[PreparedTransaction]) -> Result<StateReader, LedgerError> {
        self.reader_for(transactions.iter().filter_map(|tx| match &tx.content {
            TxContent::Endorsed(rwset) => Some(rwset),
            TxContent::Config(_) | TxContent::Nothing => None,
        }))
    }

    /// What a block changes in state, history and private data, and its commit hash. `codes` are
    /// final afterwards.
    fn changes(
        &self,
        tip: &Tip,
        codes: &mut [TxValidationCode],
        transactions: &[PreparedTransaction],
        state: &StateReader,
        private: &PrivateBlock,
    ) -> Result<(Batch<'_>, private::Freed, Option<[u8; 32]>), LedgerError> {
        let number = tip.height;
        let contents = transactions.iter().map(|transaction| &transaction.content);
        let updates = mvcc::decide(number, contents, codes, state)?;
        // Block 0 has no commit hash, block 1 starts the chain of them.
        let hash = (number == 1 || tip.commit_hash.is_some()).then(|| {
            let previous = tip.commit_hash.as_ref().map(<[u8; 32]>::as_slice);
            commit_hash(&flags_of(codes), &hashed_updates(&updates), previous)
        });
        let mut batch = self.database.batch();
        private::expire(
            self,
            number,
            transactions,
            codes,
            &updates,
            state,
            &mut batch,
        )?;
        private::note_collections(number, &updates, state, &mut batch)?;
        let freed = private::apply(
            self,
            number,
            transactions,
            codes,
            &updates,
            private,
            &mut batch,
        )?;
        put_state(&mut batch, &updates)?;
        self.indexes.update(&updates, state, &mut batch)?;
        put_history(&mut batch, number, transactions, codes)?;
        Ok((batch, freed, hash))
    }

    /// Puts a block into the block files, on disk, and then shows it.
    fn store(
        &self,
        block: &common::Block,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
        batch: Batch<'_>,
    ) -> Result<(), LedgerError> {
        let tip = Tip::after(block)?;
        let number = tip.height - 1;
        let writing = Instant::now();
        let record = encode_block(number, block, &[]).ok_or_else(|| chain::too_large(number))?;
        let appended = self.database.files.append(&record, true)?;
        // Lost with the power, a batch is made again from the synced block; not so private data.
        let sync = batch.is_irreplaceable();
        self.show(tip.clone(), &appended, transactions, codes, batch, sync)?;
        self.snapshots.committed(&tip);
        histogram!(
            "ledger_blockstorage_and_pvtdata_commit_time", "channel" => self.channel.clone()
        )
        .record(writing.elapsed().as_secs_f64());
        Ok(())
    }

    /// Adds the indexes of a block that is in the block files, writes, and shows the new height.
    fn show(
        &self,
        tip: Tip,
        appended: &Appended,
        transactions: &[PreparedTransaction],
        codes: &[TxValidationCode],
        mut batch: Batch<'_>,
        sync: bool,
    ) -> Result<(), LedgerError> {
        let height = tip.height;
        let number = height - 1;
        chain::put(&mut batch, number, &tip.header_hash, appended.location)?;
        chain::put_taken(&mut batch, appended)?;
        self.put_tx_index(&mut batch, number, transactions, codes)?;
        let before_reset = self.before_reset.load(Ordering::Relaxed);
        let is_back = before_reset > 0 && height >= before_reset;
        if is_back {
            maintenance::forget_height_before_reset(&mut batch)?;
        }
        chain::write(&self.database, batch, sync)?;
        if is_back {
            self.before_reset.store(0, Ordering::Relaxed);
        }
        self.tip.write().clone_from(&tip);
        self.height.send_replace(height);
        gauge!("ledger_blockchain_height", "channel" => self.channel.clone()).set(height as f64);
        Ok(())
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
            tx_index::put(batch, tx_id, &status)?;
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

/// The transactions of block 0 and their codes.
fn genesis(block: &common::Block) -> (Vec<PreparedTransaction>, Vec<TxValidationCode>) {
    let envelopes = block::envelopes(block).iter();
    let transactions: Vec<_> = envelopes.map(PreparedTransaction::parse_genesis).collect();
    let codes = vec![TxValidationCode::Valid; transactions.len()];
    (transactions, codes)
}

fn flags_of(codes: &[TxValidationCode]) -> Vec<u8> {
    codes.iter().map(|code| *code as u8).collect()
}

/// A peer's database while it follows the block files.
pub(crate) struct Reapply<'a>(pub(crate) &'a Ledger);

impl Follower for Reapply<'_> {
    fn known(&mut self, _: Location, _: &Record) {}

    fn take(&mut self, appended: &Appended, record: Record) -> Result<(), LedgerError> {
        match record.kind {
            Kind::Block => self.0.reapply(appended, &record),
            Kind::Extras => {
                let mut batch = self.0.database.batch();
                chain::put_taken(&mut batch, appended)?;
                batch.write(false)
            }
        }
    }

    fn cut_back(&mut self, end: Position) -> Result<(), LedgerError> {
        // Not reached after `check_end`: what the database of a peer knows was synced before, so it
        // is there, or is damaged and refused.
        let files = &self.0.database.files;
        Err(files.corrupt(end, None, "the database knows blocks behind this place"))
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
