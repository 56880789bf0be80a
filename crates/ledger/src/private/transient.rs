//! Clear sets that wait for their transactions. fabric: core/transientstore/store.go

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use consilium_proto::{rwset, transientstore::TxPvtReadWriteSetWithConfigInfo};
use consilium_protocol::hash::sha256;
use parking_lot::{Condvar, Mutex};
use prost::Message;

use super::apply::Freed;
use super::keys::after;
use crate::chain::be64;
use crate::database::{Database, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

const MIB: u64 = 1024 * 1024;
/// Clear sets that this peer endorsed wait in at most this many bytes; endorsing more is refused
/// until blocks come.
const ENDORSED_LIMIT: u64 = 128 * MIB;
/// What other peers push is counted apart, so that they cannot stop the own endorsements. Each
/// organization has an equal share, so that none can take another's, but at least [`LEAST_SHARE`].
const PUSHED_LIMIT: u64 = 128 * MIB;
const LEAST_SHARE: u64 = 16 * MIB;
/// Different sets that wait for one transaction, of each organization.
const SETS: usize = 16;
/// Sets whose transaction did not come within this many blocks are dropped, unless
/// [`Ledger::keep_staged_for`] says otherwise; looked for every [`SWEEP`] blocks or more often.
pub(super) const RETENTION: u64 = 20_000;
const SWEEP: u64 = 1_000;

/// Where a clear set that waits for its transaction came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// This peer endorsed it.
    Endorsed,
    /// Another peer pushed it.
    Pushed {
        /// MSP id of that peer's organization.
        by: &'a str,
        /// How many organizations share the room.
        organizations: usize,
    },
}

impl Origin<'_> {
    fn organization(&self) -> &[u8] {
        match self {
            Origin::Endorsed => &[],
            Origin::Pushed { by, .. } => by.as_bytes(),
        }
    }

    fn limit(&self) -> u64 {
        match self {
            Origin::Endorsed => ENDORSED_LIMIT,
            Origin::Pushed { organizations, .. } => {
                let share = PUSHED_LIMIT / (*organizations as u64).max(1);
                share.max(LEAST_SHARE)
            }
        }
    }
}

/// Records are found by hashes of transaction id and set; then follows the organization that pushed
/// it, nothing if this peer endorsed it.
const HASHES: usize = 64;

fn organization(key: &[u8]) -> &[u8] {
    key.get(HASHES..).unwrap_or_default()
}

/// How much waits, and for which transactions sets are being stored.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    counted: Mutex<Counted>,
    stored: Condvar,
}

#[derive(Debug, Default)]
struct Counted {
    /// Bytes by organization that pushed them.
    bytes: BTreeMap<Box<[u8]>, u64>,
    /// Hashes of transaction ids.
    in_flight: HashSet<[u8; 32]>,
}

impl Waiting {
    pub(super) fn load(database: &Database) -> Result<Self, LedgerError> {
        let waiting = Self::default();
        each(database, |key, record| {
            waiting.add(organization(key), record.len() as u64);
        })?;
        Ok(waiting)
    }

    fn is_empty(&self) -> bool {
        self.counted.lock().bytes.is_empty()
    }

    fn bytes(&self) -> u64 {
        self.counted.lock().bytes.values().sum()
    }

    fn add(&self, organization: &[u8], size: u64) {
        let mut counted = self.counted.lock();
        *counted.bytes.entry(organization.into()).or_default() += size;
    }

    /// To be called once a record is gone.
    pub(super) fn free(&self, key: &[u8], size: u64) {
        let mut counted = self.counted.lock();
        let organization = organization(key);
        if let Some(bytes) = counted.bytes.get_mut(organization) {
            *bytes = bytes.saturating_sub(size);
            if *bytes == 0 {
                counted.bytes.remove(organization);
            }
        }
    }

    /// Makes others that store a set of this transaction wait until the turn is dropped: what one
    /// of them has found out about the records stays true until it has written its own.
    fn turn(&self, tx: [u8; 32]) -> Turn<'_> {
        let mut counted = self.counted.lock();
        while !counted.in_flight.insert(tx) {
            self.stored.wait(&mut counted);
        }
        Turn { waiting: self, tx }
    }

    /// Takes room for a record, or says how much there is.
    fn reserve(&self, key: &[u8], size: u64, limit: u64) -> Result<Reserved<'_>, LedgerError> {
        let mut counted = self.counted.lock();
        let bytes = counted.bytes.get(organization(key)).copied();
        let bytes = bytes.unwrap_or_default();
        if bytes.saturating_add(size) > limit {
            return Err(LedgerError::TransientFull(bytes));
        }
        counted.bytes.insert(organization(key).into(), bytes + size);
        Ok(Reserved {
            waiting: self,
            key: key.into(),
            size,
            is_used: false,
        })
    }
}

struct Turn<'a> {
    waiting: &'a Waiting,
    tx: [u8; 32],
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.counted.lock().in_flight.remove(&self.tx);
        self.waiting.stored.notify_all();
    }
}

/// Room for a record that is given back unless the record is written.
struct Reserved<'a> {
    waiting: &'a Waiting,
    key: Box<[u8]>,
    size: u64,
    is_used: bool,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.waiting.free(&self.key, self.size);
        }
    }
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
    /// As [`stage_private_from`](Self::stage_private_from).
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
    /// values. It waits since `info.endorsed_at`, or since now if that lies in the future. What waits
    /// already is not stored again.
    ///
    /// # Errors
    /// [`LedgerError::TransientFull`], [`LedgerError::Refused`] if too many different sets wait for
    /// the transaction, or the database's.
    pub fn stage_private_from(
        &self,
        tx_id: &str,
        info: &TxPvtReadWriteSetWithConfigInfo,
        origin: Origin<'_>,
    ) -> Result<(), LedgerError> {
        let since = info.endorsed_at.min(self.height());
        let mut record = since.to_be_bytes().to_vec();
        info.encode(&mut record)
            .map_err(|error| LedgerError::Refused(format!("private data of {tx_id}: {error}")))?;
        let size = record.len() as u64;
        let tx = sha256(tx_id.as_bytes());
        let hashes = [tx, sha256(&record[8..])].concat();
        let _turn = self.private.transient.turn(tx);
        let known = self
            .database
            .keys(Family::Transient, &tx, &after(&tx), usize::MAX)?;
        if known.iter().any(|key| key.starts_with(&hashes)) {
            return Ok(());
        }
        let of_origin = known
            .iter()
            .filter(|key| organization(key) == origin.organization());
        if of_origin.count() >= SETS {
            return Err(LedgerError::Refused(format!(
                "{SETS} different sets of private data wait for transaction {tx_id} already"
            )));
        }
        let key = [&hashes, origin.organization()].concat();
        let mut reserved = self.private.transient.reserve(&key, size, origin.limit())?;
        let mut batch = self.database.batch();
        batch.put(Family::Transient, &key, &record)?;
        // An endorsement is signed next, or the sender relies on it: maybe nobody else has these
        // values.
        batch.write(true)?;
        reserved.is_used = true;
        Ok(())
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

    /// How many bytes of clear sets wait for their transactions.
    pub fn staged_private_bytes(&self) -> u64 {
        self.private.transient.bytes()
    }

    /// For how many blocks clear sets wait for their transaction, 20000 if never called
    /// (`peer.gossip.pvtData.transientstoreMaxBlockRetention`).
    pub fn keep_staged_for(&self, blocks: u64) {
        self.private.retention.store(blocks, Ordering::Relaxed);
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
    if ledger.private.transient.is_empty() {
        return Ok(Vec::new());
    }
    let start = sha256(tx_id.as_bytes());
    let end = after(&start);
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
    let retention = ledger.private.retention.load(Ordering::Relaxed);
    if !block.is_multiple_of(retention.clamp(1, SWEEP)) || ledger.private.transient.is_empty() {
        return Ok(());
    }
    each(&ledger.database, |key, record| {
        let staged_at = record.get(..8).and_then(be64).unwrap_or_default();
        if staged_at.saturating_add(retention) < block {
            freed.add(key, record.len() as u64);
        }
    })
}
