//! Private data at this peer: clear sets that wait for their transactions, clear sets of committed
//! transactions, and what expires when.
//!
//! Records: transient `SHA(tx id) SHA(set)`; private data `d block tx ns 0 coll` (a clear set),
//! `k ns 0 coll 0 key-hash` (the clear key), `e block k|d …` (expires with that block).
//! fabric: core/transientstore, core/ledger/pvtdatastorage, txmgmt/pvtstatepurgemgmt

mod apply;
mod expiry;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consilium_proto::rwset;
use consilium_protocol::hash::sha256;
use prost::Message;

use crate::chain::be64;
use crate::database::{Database, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;

pub(crate) use apply::{Freed, apply};
pub(crate) use expiry::expire;

/// Clear sets wait in at most this many bytes; endorsing more is refused until blocks come.
const TRANSIENT_LIMIT: u64 = 256 * 1024 * 1024;
/// Sets whose transaction did not come within this many blocks are dropped
/// (`peer.gossip.pvtData.transientstoreMaxBlockRetention`), looked for every [`SWEEP`] blocks.
const RETENTION: u64 = 20_000;
const SWEEP: u64 = 1_000;

/// What has to be known without reading the database.
#[derive(Debug, Default)]
pub(crate) struct PrivateStore {
    /// Bytes of clear sets that wait.
    transient: AtomicU64,
}

impl PrivateStore {
    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        let mut bytes = 0;
        let mut next = Vec::new();
        loop {
            let records = database.scan(Family::Transient, &next, None, 256)?;
            let Some((last, _)) = records.last() else {
                break;
            };
            next = last.to_vec();
            next.push(0);
            bytes += records.iter().map(|(_, set)| set.len() as u64).sum::<u64>();
        }
        Ok(PrivateStore {
            transient: AtomicU64::new(bytes),
        })
    }
}

impl Ledger {
    /// Keeps clear values until the transaction with that id commits; they are used then if their
    /// hash is the one in the block. Several different sets may be staged for one transaction.
    pub fn stage_private(
        &self,
        tx_id: &str,
        set: rwset::TxPvtReadWriteSet,
    ) -> Result<(), LedgerError> {
        let mut record = self.height().to_be_bytes().to_vec();
        set.encode(&mut record)
            .map_err(|error| LedgerError::Refused(format!("private data of {tx_id}: {error}")))?;
        let size = record.len() as u64;
        let key = [sha256(tx_id.as_bytes()), sha256(&record[8..])].concat();
        if self.database.contains(Family::Transient, &key)? {
            return Ok(());
        }
        let before = self.private.transient.fetch_add(size, Ordering::Relaxed);
        let stored = if before + size > TRANSIENT_LIMIT {
            Err(LedgerError::TransientFull(before))
        } else {
            let mut batch = self.database.batch();
            batch.put(Family::Transient, &key, &record)?;
            // An endorsement is signed next: nobody else may ever have these values.
            batch.write(true)
        };
        if stored.is_err() {
            self.private.transient.fetch_sub(size, Ordering::Relaxed);
        }
        stored
    }

    /// The clear sets of a block's transactions that this peer has, by index in the block.
    pub fn private_data(
        &self,
        block: u64,
    ) -> Result<BTreeMap<u32, rwset::TxPvtReadWriteSet>, LedgerError> {
        let prefix = [b"d".as_slice(), &block.to_be_bytes()].concat();
        let end = match block.checked_add(1) {
            Some(next) => [b"d".as_slice(), &next.to_be_bytes()].concat(),
            None => b"e".to_vec(),
        };
        let records = self.database.scan(
            Family::PrivateData,
            &prefix,
            Some(end.as_slice()),
            usize::MAX,
        )?;
        let mut sets: BTreeMap<u32, rwset::TxPvtReadWriteSet> = BTreeMap::new();
        for (key, set) in records {
            let (index, namespace, collection) =
                parse_data_key(&key).ok_or_else(|| LedgerError::damaged("private data record"))?;
            let namespaces = &mut sets.entry(index).or_default().ns_pvt_rwset;
            // Records come in key order, so those of one namespace stand together.
            if namespaces
                .last()
                .is_none_or(|last| last.namespace != namespace)
            {
                namespaces.push(rwset::NsPvtReadWriteSet {
                    namespace,
                    collection_pvt_rwset: Vec::new(),
                });
            }
            if let Some(last) = namespaces.last_mut() {
                last.collection_pvt_rwset
                    .push(rwset::CollectionPvtReadWriteSet {
                        collection_name: collection,
                        rwset: Bytes::from(set.into_vec()),
                    });
            }
        }
        Ok(sets)
    }
}

fn data_key(block: u64, index: u32, namespace: &str, collection: &str) -> Vec<u8> {
    let mut key = b"d".to_vec();
    key.extend_from_slice(&block.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key.extend_from_slice(&collection_key(namespace, collection));
    key
}

fn parse_data_key(key: &[u8]) -> Option<(u32, String, String)> {
    let index = u32::from_be_bytes(key.get(9..13)?.try_into().ok()?);
    let mut names = key.get(13..)?.splitn(2, |byte| *byte == 0);
    let mut name = || String::from_utf8(names.next()?.to_vec()).ok();
    Some((index, name()?, name()?))
}

/// `namespace 0x00 collection`. Both were checked against a definition before they are written.
fn collection_key(namespace: &str, collection: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], collection.as_bytes()].concat()
}

/// Where the clear form of a private key is kept, by its hash.
fn clear_key(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    [
        b"k".as_slice(),
        &collection_key(namespace, collection),
        &[0],
        key_hash,
    ]
    .concat()
}

/// The first transaction of a block whose stored clear set is not the one that its hash is of.
pub(crate) fn first_foreign_set(
    database: &Database,
    block: &consilium_proto::common::Block,
) -> Result<Option<u32>, LedgerError> {
    let number = consilium_protocol::block::number(block);
    let envelopes = consilium_protocol::block::envelopes(block);
    for (index, envelope) in envelopes.iter().enumerate() {
        let TxContent::Endorsed(rwset) = PreparedTransaction::parse(envelope).content else {
            continue;
        };
        for namespace in &rwset.namespaces {
            for collection in &namespace.collections {
                let key = data_key(number, index as u32, &namespace.name, &collection.name);
                let set = database.get(Family::PrivateData, &key)?;
                if set.is_some_and(|set| sha256(&set)[..] != collection.pvt_rwset_hash[..]) {
                    return Ok(Some(index as u32));
                }
            }
        }
    }
    Ok(None)
}

/// A set that waits for its transaction.
struct Staged {
    key: Box<[u8]>,
    /// Size of the record in bytes.
    size: u64,
    set: rwset::TxPvtReadWriteSet,
}

/// Everything staged for a transaction.
fn staged(ledger: &Ledger, tx_id: &str) -> Result<Vec<Staged>, LedgerError> {
    if ledger.private.transient.load(Ordering::Relaxed) == 0 {
        return Ok(Vec::new());
    }
    let start = sha256(tx_id.as_bytes());
    let end = [start.as_slice(), &[0xff; 33]].concat();
    let records =
        ledger
            .database
            .scan(Family::Transient, &start, Some(end.as_slice()), usize::MAX)?;
    records
        .into_iter()
        .map(|(key, record)| {
            let set = record.get(8..).unwrap_or_default();
            let set = rwset::TxPvtReadWriteSet::decode(set)
                .map_err(|error| LedgerError::damaged(format!("staged private data: {error}")))?;
            Ok(Staged {
                key,
                size: record.len() as u64,
                set,
            })
        })
        .collect()
}

/// Finds staged sets that nobody came for.
fn sweep(ledger: &Ledger, block: u64, freed: &mut Freed) -> Result<(), LedgerError> {
    if !block.is_multiple_of(SWEEP) || ledger.private.transient.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let mut next = Vec::new();
    loop {
        let records = ledger.database.scan(Family::Transient, &next, None, 256)?;
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        next = last.to_vec();
        next.push(0);
        for (key, record) in &records {
            let staged_at = record.get(..8).and_then(be64).unwrap_or_default();
            if staged_at.saturating_add(RETENTION) < block {
                freed.add(key, record.len() as u64);
            }
        }
    }
}
