//! Private data at this peer: clear sets that wait for their transactions ([`transient`]), clear
//! sets of committed transactions ([`stored`]), what is missing of them ([`missing`]) and how it
//! comes later ([`reconcile`]), what expires when ([`expiry`]) and what was purged ([`purge`]).
//!
//! Whatever enters here from outside was compared with a hash in a block before it is kept.
//! fabric: core/transientstore, core/ledger/pvtdatastorage, txmgmt/pvtstatepurgemgmt

mod apply;
mod boot;
mod clear;
mod expiry;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod keys;
mod missing;
mod purge;
mod reconcile;
mod stored;
mod transient;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block;

use crate::database::{Database, Family};
use crate::error::LedgerError;
use crate::mvcc::TxContent;
use crate::prepared::PreparedTransaction;

pub(crate) use apply::{Freed, apply};
pub(crate) use boot::{BootKey, note_boot_key};
pub(crate) use expiry::expire;
pub(crate) use history::{collection_history, note as note_collections, put_collections};
pub use keys::PrivatePlace;
pub use missing::{MissingData, MissingKind};
pub use reconcile::{Reconciled, ReconciledSet};
pub use transient::Origin;

/// What is known about the private data of a block when it is committed. Without anything known,
/// this peer may have all of it and looks for it among what waits here.
#[derive(Clone, Debug, Default)]
pub struct PrivateBlock {
    /// Sets that came from elsewhere; used where their hash is the one in the block.
    pub found: BTreeMap<PrivatePlace, Bytes>,
    /// Sets that this peer may not have by their collection's policy: noted as missing, in case
    /// that the policy changes.
    pub ineligible: BTreeSet<PrivatePlace>,
    /// Sets that are neither kept nor noted.
    pub unwanted: BTreeSet<PrivatePlace>,
}

/// What has to be known without reading the database.
#[derive(Debug)]
pub(crate) struct PrivateStore {
    transient: transient::Waiting,
    /// For how many blocks clear sets wait.
    retention: AtomicU64,
}

impl PrivateStore {
    pub(crate) fn load(database: &Database) -> Result<Self, LedgerError> {
        Ok(PrivateStore {
            transient: transient::Waiting::load(database)?,
            retention: AtomicU64::new(transient::RETENTION),
        })
    }
}

/// The first transaction of a block whose stored clear set holds anything that its hashes do not
/// vouch for.
pub(crate) fn first_foreign_set(
    database: &Database,
    block: &common::Block,
) -> Result<Option<u32>, LedgerError> {
    let number = block::number(block);
    for (index, envelope) in block::envelopes(block).iter().enumerate() {
        let TxContent::Endorsed(rwset) = PreparedTransaction::parse(envelope).content else {
            continue;
        };
        for namespace in &rwset.namespaces {
            for collection in &namespace.collections {
                let place = PrivatePlace::new(index as u32, &namespace.name, &collection.name);
                let key = keys::data_key(number, &place);
                let set = database.get(Family::PrivateData, &key)?;
                if set.is_some_and(|set| !reconcile::is_part_of(&set.into(), collection)) {
                    return Ok(Some(index as u32));
                }
            }
        }
    }
    Ok(None)
}
