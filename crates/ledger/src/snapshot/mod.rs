//! Snapshots: a channel's state at one height as files, from which another peer can start.
//!
//! The files are Fabric's, byte for byte: public state, hashes of private state, transaction ids and
//! the history of collections, with their hashes in a JSON file whose own hash names the snapshot.
//! Equal heights give equal snapshots on all peers. Blocks and clear private data are not in it.
//! fabric: core/ledger/kvledger/snapshot.go, snapshot_mgmt.go

mod export;
mod file;
mod import;
mod metadata;
mod records;
mod requests;

pub use import::Joiner;
pub(crate) use import::import;
#[cfg(feature = "fuzzing")]
pub(crate) use import::read;
pub(crate) use metadata::Metadata;
pub use records::{SnapshotRecords, SnapshotState, StateRecord};
pub(crate) use requests::Snapshots;

/// Names of files, without what comes after the dot.
const PUBLIC_STATE: &str = "public_state";
const PRIVATE_HASHES: &str = "private_state_hashes";
const TX_IDS: &str = "txids";
const CONFIG_HISTORY: &str = "confighistory";
