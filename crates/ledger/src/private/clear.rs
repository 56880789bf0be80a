//! The current clear value of a private key: the value, its name under the key's hash, and its
//! records in the collection's indexes change together, whoever changes them.

use consilium_protocol::hash::sha256;
use consilium_protocol::names::private_namespace;

use super::keys::clear_key;
use crate::database::{Batch, Family};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::state::{self, VersionedValue};

/// The clear value as it is stored.
pub(super) fn clear(
    ledger: &Ledger,
    namespace: &str,
    collection: &str,
    key: &str,
) -> Result<Option<VersionedValue>, LedgerError> {
    let key = state::key(&private_namespace(namespace, collection), key.as_bytes());
    ledger
        .database
        .get(Family::PrivateState, &key)?
        .map(VersionedValue::decode)
        .transpose()
}

/// Adds to a batch that the clear value of a key is `value` from now on; without one there is none
/// any more. One batch must not do that twice for a key: what it replaces is read from the database.
pub(super) fn put_clear(
    ledger: &Ledger,
    namespace: &str,
    collection: &str,
    key: &str,
    value: Option<VersionedValue>,
    batch: &mut Batch<'_>,
) -> Result<(), LedgerError> {
    let by_hash = clear_key(namespace, collection, &sha256(key.as_bytes()));
    let place = private_namespace(namespace, collection);
    let state_key = state::key(&place, key.as_bytes());
    if ledger.indexes.has(&place) {
        let before = clear(ledger, namespace, collection, key)?.map(|before| before.value);
        let after = value.as_ref().map(|after| after.value.as_ref());
        ledger
            .indexes
            .replace(batch, &place, key.as_bytes(), before.as_deref(), after)?;
    }
    match value {
        Some(value) => {
            batch.put(Family::PrivateState, &state_key, &value.encode())?;
            batch.put(Family::PrivateData, &by_hash, key.as_bytes())
        }
        None => {
            batch.delete(Family::PrivateState, &state_key)?;
            batch.delete(Family::PrivateData, &by_hash)
        }
    }
}
