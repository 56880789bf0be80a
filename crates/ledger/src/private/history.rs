//! Which collections a chaincode had when. fabric: core/ledger/confighistory

use bytes::Bytes;
use consilium_proto::{lifecycle, protos};
use prost::Message;

use super::keys;
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::update_batch::UpdateBatch;

const LIFECYCLE: &str = "_lifecycle";

/// Notes the collections that a block defines.
pub(super) fn note(
    block: u64,
    updates: &UpdateBatch,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let Some(definitions) = updates.keys(LIFECYCLE, None) else {
        return Ok(());
    };
    for (key, update) in definitions {
        let Some(chaincode) = defined_by(key) else {
            continue;
        };
        let value = update.content.as_ref().map(|content| content.value.clone());
        let package = value.and_then(package_of).unwrap_or_default();
        batch.put(
            Family::PrivateData,
            &keys::collections_key(chaincode, block),
            &package,
        )?;
    }
    Ok(())
}

/// The chaincode whose collections stand under a key of `_lifecycle`.
fn defined_by(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key)
        .ok()?
        .strip_prefix("namespaces/fields/")?
        .strip_suffix("/Collections")
        // An organization's approval stands under `<name>#<sequence>`.
        .filter(|name| !name.contains(['/', '#']))
}

fn package_of(value: Bytes) -> Option<Bytes> {
    match lifecycle::StateData::decode(value).ok()?.r#type? {
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
        protos::CollectionConfigPackage::decode(Bytes::from(package.into_vec()))
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
            ("namespaces/fields/cc/Collections", Some("cc")),
            ("namespaces/fields/cc#1/Collections", None),
            ("namespaces/fields/cc/Sequence", None),
            ("namespaces/metadata/cc", None),
            ("chaincode-sources/fields/cc/Collections", None),
        ] {
            assert_eq!(defined_by(key.as_bytes()), chaincode, "{key}");
        }
        assert_eq!(defined_by(&[0xff]), None);
    }
}
