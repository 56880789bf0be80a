//! Whether an organization approved the committed definition, and with which package.

use super::LifecycleError;
use super::agree::source;
use super::definition::Definition;
use super::record::{self, CommittedOfOrg, DEFINITIONS, HashedState, SOURCES};
use bytes::Bytes;
use consilium_ledger::StateReader;
use consilium_protocol::hash::sha256;
use consilium_protocol::names::implicit_collection;

/// What the hashes on the ledger say about an organization's approval of a definition.
/// Hashes suffice: a peer that misses the clear data still knows whether it may run a chaincode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// Nothing, or something else, was approved.
    Missing,
    /// Exactly this definition was approved.
    Given {
        /// SHA-256 of the stored package id, see [`Approval::names_package`].
        package: Option<Bytes>,
    },
}

impl Approval {
    /// Whether the approval goes with the package `id`.
    pub fn names_package(&self, id: &str) -> bool {
        match self {
            Self::Given {
                package: Some(hash),
            } => {
                let (_, stored) = &source(id).fields[0];
                hash[..] == sha256(stored)
            }
            _ => false,
        }
    }
}

/// Whether `msp_id` approved the committed `definition`.
///
/// # Errors
/// The ledger's.
pub fn approval(
    state: &StateReader,
    definition: &Definition,
    msp_id: &str,
) -> Result<Approval, LifecycleError> {
    let collection = implicit_collection(msp_id);
    let mut hashes = CommittedOfOrg {
        state,
        collection: &collection,
    };
    let name = record::approval_name(&definition.name, definition.sequence);
    let differences = definition
        .parameters()
        .differences(DEFINITIONS, &name, &mut hashes)?;
    if !differences.is_empty() {
        return Ok(Approval::Missing);
    }
    let package = hashes.get_hash(&record::field_key(SOURCES, &name, "PackageID"))?;
    Ok(Approval::Given { package })
}
