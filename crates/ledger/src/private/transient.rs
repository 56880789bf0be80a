//! Clear sets that wait for their transactions. fabric: core/transientstore/store.go

use std::sync::atomic::Ordering;

use bytes::Bytes;
use consilium_proto::{rwset, transientstore::TxPvtReadWriteSetWithConfigInfo};
use consilium_protocol::hash::sha256;
use prost::Message;

use super::apply::Freed;
use crate::chain::be64;
use crate::database::{Database, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// Clear sets wait in at most this many bytes; endorsing more is refused until blocks come.
const TRANSIENT_LIMIT: u64 = 256 * 1024 * 1024;
/// What other peers send may fill this much, so that they cannot stop the own endorsements.
const PUSHED_LIMIT: u64 = TRANSIENT_LIMIT / 2;
/// Sets whose transaction did not come within this many blocks are dropped
/// (`peer.gossip.pvtData.transientstoreMaxBlockRetention`), looked for every [`SWEEP`] blocks.
const RETENTION: u64 = 20_000;
const SWEEP: u64 = 1_000;

/// Where a clear set that waits for its transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This peer endorsed it.
    Endorsed,
    /// Another peer pushed it.
    Pushed,
}

/// Bytes of clear sets that wait.
pub(super) fn count(database: &Database) -> Result<u64, LedgerError> {
    let mut bytes = 0;
    each(database, |_, record| bytes += record.len() as u64)?;
    Ok(bytes)
}

fn each(database: &Database, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), LedgerError> {
    let mut next = Vec::new();
    loop {
        let records = database.scan(Family::Transient, &next, None, 256)?;
        let Some((last, _)) = records.last() else {
            return Ok(());
        };
        next = last.to_vec();
        next.push(0);
        for (key, record) in &records {
            visit(key, record);
        }
    }
}

impl Ledger {
    /// Keeps clear values until the transaction with that id commits; they are used then if their
    /// hash is the one in the block. Several different sets may be staged for one transaction.
    ///
    /// # Errors
    /// [`LedgerError::TransientFull`], or the database's.
    pub fn stage_private(
        &self,
        tx_id: &str,
        set: rwset::TxPvtReadWriteSet,
    ) -> Result<(), LedgerError> {
        let info = TxPvtReadWriteSetWithConfigInfo {
            endorsed_at: self.height(),
            pvt_rwset: Some(set),
            ..Default::default()
        };
        self.stage_private_from(tx_id, &info, Origin::Endorsed)
    }

    /// The same with the collections' configurations, which decide later who else may have the
    /// values. It waits since `info.endorsed_at`, or since now if that lies in the future.
    ///
    /// # Errors
    /// [`LedgerError::TransientFull`], or the database's.
    pub fn stage_private_from(
        &self,
        tx_id: &str,
        info: &TxPvtReadWriteSetWithConfigInfo,
        origin: Origin,
    ) -> Result<(), LedgerError> {
        let since = info.endorsed_at.min(self.height());
        let mut record = since.to_be_bytes().to_vec();
        info.encode(&mut record)
            .map_err(|error| LedgerError::Refused(format!("private data of {tx_id}: {error}")))?;
        let size = record.len() as u64;
        let key = [sha256(tx_id.as_bytes()), sha256(&record[8..])].concat();
        if self.database.contains(Family::Transient, &key)? {
            return Ok(());
        }
        let limit = match origin {
            Origin::Endorsed => TRANSIENT_LIMIT,
            Origin::Pushed => PUSHED_LIMIT,
        };
        let before = self.private.transient.fetch_add(size, Ordering::Relaxed);
        let stored = if before.saturating_add(size) > limit {
            Err(LedgerError::TransientFull(before))
        } else {
            let mut batch = self.database.batch();
            batch.put(Family::Transient, &key, &record)?;
            // An endorsement is signed next, or the sender relies on it: maybe nobody else has
            // these values.
            batch.write(true)
        };
        if stored.is_err() {
            self.private.transient.fetch_sub(size, Ordering::Relaxed);
        }
        stored
    }

    /// Everything that waits for the transaction with that id.
    ///
    /// # Errors
    /// The database's.
    pub fn staged_private(
        &self,
        tx_id: &str,
    ) -> Result<Vec<TxPvtReadWriteSetWithConfigInfo>, LedgerError> {
        Ok(staged(self, tx_id)?
            .into_iter()
            .map(|staged| staged.info)
            .collect())
    }
}

/// A set that waits for its transaction.
pub(super) struct Staged {
    pub(super) key: Box<[u8]>,
    /// Size of the record in bytes.
    pub(super) size: u64,
    pub(super) info: TxPvtReadWriteSetWithConfigInfo,
}

impl Staged {
    /// What it holds of a collection.
    pub(super) fn find(&self, namespace: &str, collection: &str) -> Option<&Bytes> {
        let set = self.info.pvt_rwset.as_ref()?;
        set.ns_pvt_rwset
            .iter()
            .filter(|entry| entry.namespace == namespace)
            .flat_map(|entry| &entry.collection_pvt_rwset)
            .find(|entry| entry.collection_name == collection)
            .map(|entry| &entry.rwset)
    }
}

/// Everything staged for a transaction.
pub(super) fn staged(ledger: &Ledger, tx_id: &str) -> Result<Vec<Staged>, LedgerError> {
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
            let info = record.get(8..).unwrap_or_default();
            let info = TxPvtReadWriteSetWithConfigInfo::decode(Bytes::copy_from_slice(info))
                .map_err(|error| LedgerError::damaged(format!("staged private data: {error}")))?;
            Ok(Staged {
                key,
                size: record.len() as u64,
                info,
            })
        })
        .collect()
}

/// Finds staged sets that nobody came for.
pub(super) fn sweep(ledger: &Ledger, block: u64, freed: &mut Freed) -> Result<(), LedgerError> {
    if !block.is_multiple_of(SWEEP) || ledger.private.transient.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    each(&ledger.database, |key, record| {
        let staged_at = record.get(..8).and_then(be64).unwrap_or_default();
        if staged_at.saturating_add(RETENTION) < block {
            freed.add(key, record.len() as u64);
        }
    })
}
