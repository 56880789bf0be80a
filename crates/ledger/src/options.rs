//! How a ledger or a block store keeps its files.

use std::path::PathBuf;

use crate::failpoint::Failpoints;

const MIB: u64 = 1024 * 1024;

/// How a ledger or a block store keeps its files; the defaults are for production.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// A block file is closed before it grows beyond this many bytes; one record may be larger.
    pub file_size: u64,
    /// Appending stops while fewer bytes than this are free on the disk.
    pub reserve: u64,
    /// Where snapshots go (`ledger.snapshots.rootDir`); none are made without.
    pub snapshots: Option<PathBuf>,
    /// Where tests stop it.
    pub failpoints: Failpoints,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            file_size: 64 * MIB,
            reserve: 64 * MIB,
            snapshots: None,
            failpoints: Failpoints::default(),
        }
    }
}
