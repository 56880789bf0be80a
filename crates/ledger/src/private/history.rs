//! Which collections a chaincode had when. fabric: core/ledger/confighistory

use bytes::Bytes;
use consilium_proto::{lifecycle, protos};

use super::keys;
use crate::database::{Batch, Family, Snapshot};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::state::StateReader;
use crate::update_batch::UpdateBatch;

const LIFECYCLE: &str = "_lifecycle";

/// Notes the collections of the chaincodes that a block defines, also where a definition leaves
/// them as they were.
pub(crate) fn note(
    block: u64,
    updates: &UpdateBatch,
    state: &StateReader,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let Some(definitions) = updates.keys(LIFECYCLE, None) else {
        return Ok(());
    };
    for key in definitions.keys() {
        let Some(chaincode) = defined_by(key) else {
            continue;
        };
        let collections = format!("namespaces/fields/{chaincode}/Collections");
        let value = match updates.get(LIFECYCLE, None, collections.as_bytes()) {
            Some(update) => update.content.as_ref().map(|content| content.value.clone()),
            None => state.get(LIFECYCLE, &collections)?.map(|value| value.value),
        };
        let package = value.and_then(package_of).unwrap_or_default();
        put_collections(batch, chaincode, block, &package)?;
    }
    Ok(())
}

/// Adds to a batch which collections a chaincode got with a block.
pub(crate) fn put_collections(
    batch: &mut Batch<'_>,
    chaincode: &str,
    block: u64,
    package: &[u8],
) -> Result<(), LedgerError> {
    let key = keys::collections_key(chaincode, block);
    batch.put(Family::PrivateData, &key, package)
}

/// The whole history: chaincode, block and the collections that it brought.
pub(crate) fn collection_history(
    database: &Snapshot,
) -> Result<Vec<(String, u64, protos::CollectionConfigPackage)>, LedgerError> {
    let mut history = Vec::new();
    let (mut next, end) = (b"c".to_vec(), b"d".as_slice());
    loop {
        let records = database.scan(Family::PrivateData, &next, Some(end), 256)?;
        let Some((last, _)) = records.last() else {
            return Ok(history);
        };
        next = last.to_vec();
        next.push(0);
        for (key, package) in records {
            let damaged = || LedgerError::damaged("record of collections");
            let (chaincode, block) = keys::parse_collections_key(&key).ok_or_else(damaged)?;
            let package = Bytes::from(package.into_vec());
            let package = consilium_proto::decode(&package);
            history.push((chaincode, block, package.map_err(|_| damaged())?));
        }
    }
}

/// The chaincode that a key of `_lifecycle` defines.
/// fabric: core/chaincode/lifecycle/deployedcc_infoprovider.go (SequenceMatcher)
fn defined_by(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key)
        .ok()?
        .strip_prefix("namespaces/fields/")?
        .strip_suffix("/Sequence")
        // An organization's approval stands under `<name>#<sequence>`.
        .filter(|name| !name.contains(['/', '#']))
}

fn package_of(value: Bytes) -> Option<Bytes> {
    match consilium_proto::decode::<lifecycle::StateData>(&value)
        .ok()?
        .r#type?
    {
        lifecycle::state_data::Type::Bytes(package) => Some(package),
        _ => None,
    }
}

impl Ledger {
    /// The explicit collections that `chaincode` had for transactions of block `block`: those of the
    /// last definition in an earlier block. `None` if there was none.
    ///
    /// # Errors
    /// The database's, or a definition that cannot be read.
    pub fn collections_below(
        &self,
        block: u64,
        chaincode: &str,
    ) -> Result<Option<protos::CollectionConfigPackage>, LedgerError> {
        let Some(last) = block.checked_sub(1) else {
            return Ok(None);
        };
        let start = keys::collections_key(chaincode, last);
        let end = keys::after(&keys::collections_prefix(chaincode));
        let found = self
            .database
            .scan(Family::PrivateData, &start, Some(end.as_slice()), 1)?;
        let Some((_, package)) = found.into_iter().next() else {
            return Ok(None);
        };
        consilium_proto::decode(&Bytes::from(package.into_vec()))
            .map(Some)
            .map_err(|error| {
                LedgerError::Refused(format!(
                    "collections of chaincode [{chaincode}] are unreadable: {error}"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_committed_definitions_count() {
        for (key, chaincode) in [
            ("namespaces/fields/cc/Sequence", Some("cc")),
            ("namespaces/fields/cc#1/Sequence", None),
            ("namespaces/fields/cc/Collections", None),
            ("namespaces/metadata/cc", None),
            ("chaincode-sources/fields/cc/Sequence", None),
        ] {
            assert_eq!(defined_by(key.as_bytes()), chaincode, "{key}");
        }
        assert_eq!(defined_by(&[0xff]), None);
    }
}
