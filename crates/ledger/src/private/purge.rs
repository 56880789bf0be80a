//! Purged keys. The mark of a purge stays for ever: it hides earlier values in stored sets, keeps
//! reconciliation from bringing them back, and leads [`Ledger::erase_purged`] to them.
//! fabric: core/ledger/pvtdatastorage/store.go

use consilium_proto::kvrwset;
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::{CollectionRwSet, Version};
use prost::Message;

use super::keys::{self, PrivatePlace};
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// Whether any key of a collection was ever purged.
pub(super) fn any(ledger: &Ledger, namespace: &str, collection: &str) -> Result<bool, LedgerError> {
    let start = keys::marker_key(namespace, collection, &[]);
    let end = keys::after(&start);
    let found = ledger
        .database
        .scan(Family::PrivateData, &start, Some(end.as_slice()), 1)?;
    Ok(!found.is_empty())
}

/// Whether a key was purged at or after `version`.
pub(super) fn is_purged(
    ledger: &Ledger,
    place: &PrivatePlace,
    key_hash: &[u8],
    version: Version,
) -> Result<bool, LedgerError> {
    let marker = keys::marker_key(&place.namespace, &place.collection, key_hash);
    let Some(marker) = ledger.database.get(Family::PrivateData, &marker)? else {
        return Ok(false);
    };
    let marker =
        keys::decode_version(&marker).ok_or_else(|| LedgerError::damaged("purge marker"))?;
    Ok(version <= marker)
}

/// Notes the purges of a valid transaction.
pub(super) fn mark(
    namespace: &str,
    collection: &CollectionRwSet,
    version: Version,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let record = keys::encode_version(version);
    for write in collection.hashed_writes.iter().filter(|w| w.is_purge) {
        for key in [
            keys::marker_key(namespace, &collection.name, &write.key_hash),
            keys::erasure_key(namespace, &collection.name, &write.key_hash),
        ] {
            batch.put(Family::PrivateData, &key, &record)?;
        }
    }
    Ok(())
}

impl Ledger {
    /// Erases earlier values of purged keys from stored sets, in at most `limit` sets; whether more
    /// remains. Nobody can read them any more, only the disk has them. With `logs` each is told.
    ///
    /// # Errors
    /// The database's.
    pub fn erase_purged(&self, limit: usize, logs: bool) -> Result<bool, LedgerError> {
        let _turn = self.committing.lock();
        let damaged = || LedgerError::damaged("purge record");
        let work = self
            .database
            .scan(Family::PrivateData, b"w", Some(b"x".as_slice()), 1)?;
        let Some((work_key, record)) = work.into_iter().next() else {
            return Ok(false);
        };
        let (namespace, collection, key_hash) =
            keys::parse_erasure_key(&work_key).ok_or_else(damaged)?;
        let purged = keys::decode_version(&record).ok_or_else(damaged)?;
        let start = keys::writers_prefix(&namespace, &collection, key_hash);
        let mut end = start.clone();
        end.extend_from_slice(&keys::encode_version(purged));
        // Up to and with the purge itself.
        end.push(0);
        let writers =
            self.database
                .scan(Family::PrivateData, &start, Some(end.as_slice()), limit)?;
        let mut batch = self.database.batch();
        for (writer_key, _) in &writers {
            let version = keys::writer_version(writer_key).ok_or_else(damaged)?;
            let index = u32::try_from(version.tx).map_err(|_| damaged())?;
            let place = PrivatePlace::new(index, &namespace, &collection);
            let data_key = keys::data_key(version.block, &place);
            if let Some(set) = self.database.get(Family::PrivateData, &data_key)?
                && let Ok(mut set) = kvrwset::KvrwSet::decode(set.as_slice())
            {
                set.writes
                    .retain(|write| sha256(write.key.as_bytes())[..] != *key_hash);
                batch.put(Family::PrivateData, &data_key, &set.encode_to_vec())?;
            }
            batch.delete(Family::PrivateData, writer_key)?;
            if !logs {
                continue;
            }
            tracing::info!(
                channel = self.channel,
                chaincode = namespace,
                collection,
                key_hash = hex::encode(key_hash),
                block = version.block,
                transaction = version.tx,
                "erased a purged private key"
            );
        }
        if writers.len() < limit {
            batch.delete(Family::PrivateData, &work_key)?;
        }
        // Two purged keys may stand in one set: the next one has to see this one's erasure.
        batch.write(true)?;
        let more = self
            .database
            .scan(Family::PrivateData, b"w", Some(b"x".as_slice()), 1)?;
        Ok(!more.is_empty())
    }
}
