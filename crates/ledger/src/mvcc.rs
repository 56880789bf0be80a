//! Multi-version concurrency control: which transactions of a block still see the world that they
//! were endorsed in, and what the block changes.
//!
//! Pure: a function of the block's read-write sets, the codes so far and committed state. It runs in
//! block order, as each valid transaction changes what the next one may have read.
//! fabric: core/ledger/kvledger/txmgmt/validation

mod apply;
mod range;

use consilium_proto::kvrwset;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::names::hashed_namespace;
use consilium_protocol::rwset::{NsRwSet, TxRwSet, Version};

use crate::error::LedgerError;
use crate::state::VersionedValue;
use crate::update_batch::{KeyUpdates, UpdateBatch};

/// Keys and versions in byte order.
pub type VersionScan<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Version), LedgerError>> + 'a>;

/// Committed state before the block. Namespaces are those of the state database: the hashed keys of
/// a collection are in `<ns>$$h<collection>`.
pub trait StateView {
    /// The committed value of a key.
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<VersionedValue>, LedgerError>;

    /// The committed version of a key.
    fn version(&self, namespace: &str, key: &[u8]) -> Result<Option<Version>, LedgerError> {
        Ok(self.get(namespace, key)?.map(|value| value.version))
    }

    /// Keys in `[start, end)`; an empty `end` means to the last key.
    fn scan<'a>(
        &'a self,
        namespace: &str,
        start: &[u8],
        end: &[u8],
    ) -> Result<VersionScan<'a>, LedgerError>;
}

/// What a transaction brings to the decision.
#[derive(Clone, Debug, PartialEq)]
pub enum TxContent {
    /// The results of an endorser transaction.
    Endorsed(TxRwSet),
    /// A config transaction: the `ConfigEnvelope` bytes that become the channel's configuration.
    Config(bytes::Bytes),
    /// Anything else: neither reads nor writes.
    Nothing,
}

/// Decides the block: transactions whose code is `Valid` are checked in order against `state` and
/// the valid ones before them; `codes` gets the refusals, and the merged updates come back.
///
/// Errors are those of `state`: hostile read-write sets give codes, never errors or panics.
/// `transactions` and `codes` are parallel; a transaction without code is left out.
pub fn decide<'a>(
    block: u64,
    transactions: impl IntoIterator<Item = &'a TxContent>,
    codes: &mut [TxValidationCode],
    state: &impl StateView,
) -> Result<UpdateBatch, LedgerError> {
    let mut updates = UpdateBatch::default();
    for (index, (content, code)) in transactions.into_iter().zip(codes).enumerate() {
        if *code != TxValidationCode::Valid {
            continue;
        }
        let version = Version::new(block, index as u64);
        match content {
            TxContent::Endorsed(rwset) => {
                *code = check(rwset, &updates, state)?;
                if *code == TxValidationCode::Valid {
                    apply::results(rwset, version, &mut updates, state)?;
                }
            }
            TxContent::Config(envelope) => apply::config(envelope.clone(), version, &mut updates),
            TxContent::Nothing => {}
        }
    }
    Ok(updates)
}

fn check(
    rwset: &TxRwSet,
    updates: &UpdateBatch,
    state: &impl StateView,
) -> Result<TxValidationCode, LedgerError> {
    for namespace in &rwset.namespaces {
        if !public_reads_hold(namespace, updates, state)? {
            return Ok(TxValidationCode::MvccReadConflict);
        }
        for recorded in &namespace.ranges {
            if !range::holds(&namespace.name, recorded, updates, state)? {
                return Ok(TxValidationCode::PhantomReadConflict);
            }
        }
        if !hashed_reads_hold(namespace, updates, state)? {
            return Ok(TxValidationCode::MvccReadConflict);
        }
    }
    Ok(TxValidationCode::Valid)
}

fn public_reads_hold(
    namespace: &NsRwSet,
    updates: &UpdateBatch,
    state: &impl StateView,
) -> Result<bool, LedgerError> {
    let updated = updates.keys(&namespace.name, None);
    for read in &namespace.reads {
        let key = read.key.as_bytes();
        if is_updated(updated, key)
            || state.version(&namespace.name, key)? != version_of(&read.version)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn hashed_reads_hold(
    namespace: &NsRwSet,
    updates: &UpdateBatch,
    state: &impl StateView,
) -> Result<bool, LedgerError> {
    for collection in &namespace.collections {
        let updated = updates.keys(&namespace.name, Some(&collection.name));
        let state_namespace = hashed_namespace(&namespace.name, &collection.name);
        for read in &collection.hashed_reads {
            if is_updated(updated, &read.key_hash)
                || state.version(&state_namespace, &read.key_hash)? != version_of(&read.version)
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn is_updated(updates: Option<&KeyUpdates>, key: &[u8]) -> bool {
    updates.is_some_and(|updates| updates.contains_key(key))
}

fn version_of(version: &Option<kvrwset::Version>) -> Option<Version> {
    version
        .as_ref()
        .map(|version| Version::new(version.block_num, version.tx_num))
}
