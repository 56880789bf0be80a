//! A channel's ledger on RocksDB.
//!
//! **Owns** blocks, current state, history, private data and their indexes; simulation (recording a
//! read-write set against a snapshot), MVCC and the atomic commit of a block with its commit hash.
//!
//! **Must not know** identities, policies, endorsement or the network: which transactions were well
//! endorsed comes in as codes. Of the lifecycle it knows only where a chaincode's collections stand.
//!
//! **Start reading** with [`Ledger::commit`], then [`mvcc::decide`] (pure), then [`Simulator`].
//! Everything here blocks its thread on the disk; call it off the reactor.

mod block_store;
mod blockfile;
mod chain;
mod collections;
mod commit;
mod compare;
mod database;
mod error;
mod extras;
pub mod failpoint;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod indexes;
mod ledger;
mod maintenance;
pub mod mvcc;
mod options;
mod prepared;
mod private;
mod recovery;
mod room;
mod simulator;
mod snapshot;
mod state;
mod tx_index;
mod update_batch;
mod verify;

pub use block_store::BlockStore;
pub use commit::Committed;
pub use error::LedgerError;
pub use indexes::IndexFile;
pub use ledger::{Ledger, UNFINISHED, unfinished};
pub use maintenance::Rebuilt;
pub use options::StoreOptions;
pub use prepared::PreparedTransaction;
pub use private::{
    MissingData, MissingKind, Origin, PrivateBlock, PrivatePlace, Reconciled, ReconciledSet,
};
pub use recovery::Progress;
pub use room::Room;
pub use simulator::{CursorId, SimulationResults, Simulator, TouchedCollection, TouchedNamespace};
pub use snapshot::{Joiner, SnapshotRecords, SnapshotState, StateRecord};
pub use state::{StateReader, VersionedValue};
pub use tx_index::TxStatus;
pub use update_batch::{Content, KeyUpdates, NamespaceUpdates, Update, UpdateBatch};
pub use verify::{BlockCheck, LedgerFault, Verified, verify};
