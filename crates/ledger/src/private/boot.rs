//! What a ledger that began with a snapshot knows of private data from before: hashes of the values
//! that were in state. They say what is missing, what expires, and what a late set has to match.
//! fabric: core/ledger/pvtdatastorage/snapshot_data_importer.go

use bytes::Bytes;
use consilium_proto::kvrwset;
use consilium_protocol::rwset::Version;

use super::keys::{
    PrivatePlace, after, boot_prefix, collection_key, data_key, due_prefix, encode_version,
};
use super::missing::{self, MissingKind};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// A hashed key of a snapshot.
pub(crate) struct BootKey<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) key_hash: &'a [u8],
    pub(crate) value_hash: &'a [u8],
    pub(crate) version: Version,
}

/// Notes that the clear value of a key is missing, its hashes, and when it expires: `lives` blocks
/// after it was written, never if 0.
pub(crate) fn note_boot_key(
    key: &BootKey<'_>,
    eligible: bool,
    lives: u64,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let block = key.version.block;
    let index = u32::try_from(key.version.tx)
        .map_err(|_| LedgerError::Snapshot(format!("version {} of a key", key.version)))?;
    let place = PrivatePlace::new(index, key.namespace, key.collection);
    let kind = if eligible {
        MissingKind::Eligible
    } else {
        MissingKind::Ineligible
    };
    missing::put(batch, kind, block, &place)?;
    let mut boot = boot_prefix(block, &place);
    boot.extend_from_slice(key.key_hash);
    batch.put(Family::PrivateData, &boot, key.value_hash)?;
    let due = block.checked_add(lives).and_then(|due| due.checked_add(1));
    let Some(due) = due.filter(|_| lives > 0) else {
        return Ok(());
    };
    let mut record = due_prefix(due, b'k');
    record.extend_from_slice(&collection_key(key.namespace, key.collection));
    record.push(0);
    record.extend_from_slice(key.key_hash);
    batch.put(Family::PrivateData, &record, &encode_version(key.version))?;
    let mut record = due_prefix(due, b'd');
    record.extend_from_slice(&data_key(block, &place));
    batch.put(Family::PrivateData, &record, &[])
}

/// The writes of a transaction before the first block whose values were in state at the snapshot.
pub(super) fn writes(
    ledger: &Ledger,
    block: u64,
    place: &PrivatePlace,
) -> Result<Vec<kvrwset::KvWriteHash>, LedgerError> {
    let prefix = boot_prefix(block, place);
    let end = after(&prefix);
    let records = ledger
        .database
        .scan(Family::PrivateData, &prefix, Some(&end), usize::MAX)?;
    let write = |(key, value): (Box<[u8]>, Box<[u8]>)| kvrwset::KvWriteHash {
        key_hash: Bytes::copy_from_slice(key.get(prefix.len()..).unwrap_or_default()),
        value_hash: Bytes::from(value.into_vec()),
        ..kvrwset::KvWriteHash::default()
    };
    Ok(records.into_iter().map(write).collect())
}
