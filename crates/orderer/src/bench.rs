//! What benches measure of the parts that are private otherwise.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;

use crate::raft::Proposal;
use crate::raft::store::{Change, Store};
use crate::raft::types::{Entry, LogId};
use crate::storage::{FileDisk, NodeDisk};

/// Entries of a channel's log before the older ones are purged.
const KEPT: u64 = 64;

/// A node's Raft log, on its real disk, with channels in which nothing else happens.
pub struct RaftLog {
    store: Arc<Store>,
    channels: Vec<Arc<str>>,
    next: u64,
}

impl RaftLog {
    /// Opens an empty log in a folder.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(folder: &Path, channels: usize) -> io::Result<Self> {
        let disk = FileDisk::new(folder)?;
        let log = disk.open_log().map_err(io::Error::other)?;
        Ok(Self {
            store: Store::new(log),
            channels: (0..channels)
                .map(|number| format!("channel{number}").into())
                .collect(),
            next: 1,
        })
    }

    /// Appends an entry of these envelopes to every channel's log, and waits until all of them are
    /// on disk: one write with one sync. Now and then it purges, so that the log does not grow.
    ///
    /// # Errors
    /// The disk's.
    pub async fn append(&mut self, envelopes: &Arc<Vec<Bytes>>) -> io::Result<()> {
        let index = self.next;
        self.next += 1;
        let mut changes = Vec::new();
        for channel in &self.channels {
            changes.push(Change::Entries {
                channel: channel.clone(),
                entries: vec![Entry {
                    log_id: LogId::new_term_index(1, index),
                    payload: EntryPayload::Normal(Proposal::Batch(envelopes.clone())),
                }],
            });
            if index.is_multiple_of(KEPT) {
                changes.push(Change::Remove {
                    channel: channel.clone(),
                    first: 0,
                    last: index - KEPT,
                });
            }
        }
        self.store.write_durably(changes).await
    }
}
