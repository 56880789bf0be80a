//! Requests for snapshots, and their making beside the commits.
//!
//! When the block of a request is committed, the database as it is then is held and written out by a
//! thread of its own; commits go on meanwhile. A request lasts until its snapshot is there. One whose
//! making a stop of the process interrupts starts again if no block came since; else the state is
//! gone, which is logged, and the request ends.
//! fabric: core/ledger/kvledger/snapshot_mgmt.go

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::export::export;
use crate::blockfile::sync_folder;
use crate::chain::Tip;
use crate::database::{Database, Family, Snapshot};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// Prefix of the records of requests; the block number follows.
const REQUEST: &[u8] = b"snapshot/";

/// A ledger's requests, shared with the threads that fulfil them.
#[derive(Debug)]
pub(crate) struct Snapshots {
    channel: String,
    database: Arc<Database>,
    /// Where snapshots go; none can be made without.
    root: Option<PathBuf>,
    state: Mutex<State>,
    /// One snapshot is written at a time.
    writing: Mutex<()>,
    /// The ledger is being closed.
    closing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    pending: BTreeSet<u64>,
    under_way: BTreeSet<u64>,
}

/// The block that a request is for, or why it is refused; `last` is the last committed one, and
/// `is_there` says whether it has a snapshot.
fn decide(
    requested: u64,
    last: u64,
    is_there: bool,
    pending: &BTreeSet<u64>,
) -> Result<u64, String> {
    let block = if requested == 0 { last } else { requested };
    if block < last {
        return Err(format!(
            "requested snapshot for block number {block} cannot be less than the last committed block number {last}"
        ));
    }
    if block == last && is_there {
        return Err(format!(
            "snapshot already generated for block number {block}"
        ));
    }
    if pending.contains(&block) {
        return Err(format!(
            "duplicate snapshot request for block number {block}"
        ));
    }
    Ok(block)
}

fn decide_cancel(block: u64, state: &State) -> Result<(), String> {
    if state.under_way.contains(&block) {
        return Err("cannot cancel the snapshot request because it is under processing".into());
    }
    if !state.pending.contains(&block) {
        return Err(format!(
            "no snapshot request exists for block number {block}"
        ));
    }
    Ok(())
}

fn request_key(block: u64) -> Vec<u8> {
    [REQUEST, &block.to_be_bytes()].concat()
}

/// Folder of the finished snapshot of a channel at a block, below the root of all snapshots.
fn finished(root: &Path, channel: &str, block: u64) -> PathBuf {
    root.join("completed").join(channel).join(block.to_string())
}

impl Snapshots {
    /// Those that the database of `channel` knows; snapshots go below `root`.
    pub(crate) fn load(
        channel: &str,
        database: &Arc<Database>,
        root: Option<PathBuf>,
    ) -> Result<Arc<Self>, LedgerError> {
        let mut end = REQUEST.to_vec();
        end.push(0xff);
        let records = database.scan(Family::Meta, REQUEST, Some(&end), usize::MAX)?;
        let pending = records
            .iter()
            .map(|(key, _)| {
                key.get(REQUEST.len()..)
                    .and_then(crate::chain::be64)
                    .ok_or_else(|| LedgerError::damaged("record of a snapshot request"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            channel: channel.to_owned(),
            database: database.clone(),
            root,
            state: Mutex::new(State {
                pending,
                under_way: BTreeSet::new(),
            }),
            writing: Mutex::new(()),
            closing: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
        }))
    }

    /// Lets the threads end; what they are writing is given up.
    pub(crate) fn give_up(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Waits for the threads, which were let end.
    fn close(&self) {
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // One that panicked has nothing more to write.
            let _ = thread.join();
        }
    }

    fn note(&self, block: u64) -> Result<(), LedgerError> {
        let mut batch = self.database.batch();
        batch.put(Family::Meta, &request_key(block), &[])?;
        batch.write(true)?;
        self.state.lock().pending.insert(block);
        Ok(())
    }

    fn forget(&self, block: u64) -> Result<(), LedgerError> {
        let mut batch = self.database.batch();
        batch.delete(Family::Meta, &request_key(block))?;
        batch.write(true)?;
        // At once: a request that waits and is not under way could be started again.
        let mut state = self.state.lock();
        state.pending.remove(&block);
        state.under_way.remove(&block);
        Ok(())
    }

    /// To be called when the block of `tip` is the last one, before any other is committed: starts
    /// the snapshot if it was asked for. Not for blocks that are applied again: what waits then is
    /// decided by [`resume`](Self::resume).
    pub(crate) fn committed(self: &Arc<Self>, tip: &Tip) {
        if self.root.is_none() || self.closing.load(Ordering::Relaxed) {
            return;
        }
        let Some(block) = tip.height.checked_sub(1) else {
            return;
        };
        if self.state.lock().pending.contains(&block) {
            self.start(block, tip.clone());
        }
    }

    /// Goes on with what a stop has interrupted, when the ledger was opened at `tip`.
    pub(crate) fn resume(self: &Arc<Self>, tip: &Tip) -> Result<(), LedgerError> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        clear_temporary(root, &self.channel);
        let last = tip.height.saturating_sub(1);
        let passed: Vec<u64> = {
            let state = self.state.lock();
            state.pending.range(..=last).copied().collect()
        };
        for block in passed {
            if finished(root, &self.channel, block).exists() {
                self.forget(block)?;
            } else if block == last {
                self.start(block, tip.clone());
            } else {
                tracing::error!(
                    channel = self.channel,
                    block,
                    "the snapshot was interrupted and the channel has gone on: ask for a later one"
                );
                self.forget(block)?;
            }
        }
        Ok(())
    }

    /// Holds the database as it is and has it written out, unless that is under way.
    fn start(self: &Arc<Self>, block: u64, tip: Tip) {
        if !self.state.lock().under_way.insert(block) {
            return;
        }
        let seen = self.database.snapshot();
        let shared = self.clone();
        let spawned = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || shared.fulfil(block, &tip, &seen));
        match spawned {
            Ok(thread) => {
                let mut threads = self.threads.lock();
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that writes a snapshot");
                self.state.lock().under_way.remove(&block);
            }
        }
    }

    fn fulfil(&self, block: u64, tip: &Tip, seen: &Snapshot) {
        let _turn = self.writing.lock();
        let channel = &self.channel;
        tracing::info!(channel, block, "generating snapshot");
        let outcome = self.write(block, tip, seen);
        let is_given_up = self.closing.load(Ordering::Relaxed);
        match &outcome {
            Ok(folder) => {
                let folder = folder.display();
                tracing::info!(channel, block, %folder, "generated snapshot");
            }
            Err(_) if is_given_up => {}
            Err(error) => tracing::error!(channel, block, %error, "failed to generate snapshot"),
        }
        if outcome.is_err() && is_given_up {
            // The request stays.
            self.state.lock().under_way.remove(&block);
            return;
        }
        if let Err(error) = self.forget(block) {
            tracing::error!(channel, block, %error, "cannot remove the snapshot's request");
            self.state.lock().under_way.remove(&block);
        }
    }

    fn write(&self, block: u64, tip: &Tip, seen: &Snapshot) -> Result<PathBuf, LedgerError> {
        let Some(root) = self.root.as_deref() else {
            return Err(no_root());
        };
        let temporary = temporary(root, &self.channel, block);
        let folder = finished(root, &self.channel, block);
        let parent = folder.parent().unwrap_or(root);
        let fail = |error| LedgerError::io("writing", &temporary, error);
        fs::create_dir_all(&temporary).map_err(fail)?;
        let written = export(&self.channel, tip, seen, &temporary, &self.closing).and_then(|()| {
            fs::create_dir_all(parent).map_err(fail)?;
            sync_folder(&temporary)?;
            fs::rename(&temporary, &folder).map_err(fail)?;
            // The folder of the channel may be new, and the one above.
            let above = parent.ancestors().take_while(|above| *above != root);
            above.chain([root]).try_for_each(sync_folder)
        });
        if written.is_err() {
            // The next start removes it, too.
            let _ = fs::remove_dir_all(&temporary);
        }
        written.map(|()| folder)
    }
}

/// Where a snapshot is written before it is whole.
fn temporary(root: &Path, channel: &str, block: u64) -> PathBuf {
    root.join("temp").join(format!("{channel}-{block}"))
}

/// Removes what a stop of the process has left.
fn clear_temporary(root: &Path, channel: &str) {
    let Ok(entries) = fs::read_dir(root.join("temp")) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let block = name
            .to_str()
            .and_then(|name| name.strip_prefix(channel)?.strip_prefix('-'));
        if block.is_some_and(|block| block.parse::<u64>().is_ok()) {
            // Writing fails over it, with an error that names it, if it cannot be removed.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn no_root() -> LedgerError {
    LedgerError::Snapshot(
        "this peer has no folder for snapshots: set ledger.snapshots.rootDir".into(),
    )
}

impl Ledger {
    /// Gives up the snapshots that are being written, and waits until nothing is: they start again
    /// when the ledger is opened, if no block came since. Blocks the thread. Dropping a ledger gives
    /// them up, too, without waiting, so that for a moment the ledger is still in use afterwards.
    pub fn close(&self) {
        self.snapshots.give_up();
        // From the next commit on none is started.
        drop(self.committing.lock());
        self.snapshots.close();
    }

    /// Asks for a snapshot once `block` is committed; 0 is for the last block that is committed now.
    ///
    /// # Errors
    /// With Fabric's texts, when the block is behind, the snapshot is there or asked for already;
    /// when no folder for snapshots is configured.
    pub fn request_snapshot(&self, block: u64) -> Result<(), LedgerError> {
        let snapshots = &self.snapshots;
        let Some(root) = &snapshots.root else {
            return Err(no_root());
        };
        let _turn = self.committing.lock();
        let tip = self.tip.read().clone();
        let last = tip.height.saturating_sub(1);
        // Only of the last block can there be a snapshot already that matters.
        let is_there = finished(root, &self.channel, last).exists();
        let decided = decide(block, last, is_there, &snapshots.state.lock().pending);
        let block = decided.map_err(LedgerError::Snapshot)?;
        snapshots.note(block)?;
        tracing::info!(channel = self.channel, block, "a snapshot was asked for");
        snapshots.committed(&tip);
        Ok(())
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// With Fabric's texts, when there is none, or its snapshot is being written.
    pub fn cancel_snapshot(&self, block: u64) -> Result<(), LedgerError> {
        let _turn = self.committing.lock();
        let decided = decide_cancel(block, &self.snapshots.state.lock());
        decided.map_err(LedgerError::Snapshot)?;
        self.snapshots.forget(block)
    }

    /// Blocks for which snapshots are asked for or being written, in order.
    pub fn pending_snapshots(&self) -> Vec<u64> {
        let state = self.snapshots.state.lock();
        state.pending.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_decided_as_in_fabric() {
        let pending = BTreeSet::from([9, 12]);
        for (requested, last, outcome) in [
            (0, 8, Ok(8)),
            (8, 8, Ok(8)),
            (10, 8, Ok(10)),
            (0, 7, Err("snapshot already generated for block number 7")),
            (
                6,
                8,
                Err(
                    "requested snapshot for block number 6 cannot be less than the last committed block number 8",
                ),
            ),
            (12, 8, Err("duplicate snapshot request for block number 12")),
        ] {
            let decided = decide(requested, last, last == 7, &pending);
            assert_eq!(
                decided,
                outcome.map_err(str::to_owned),
                "{requested} at {last}"
            );
        }
    }

    #[test]
    fn only_requests_that_wait_are_taken_back() {
        let state = State {
            pending: BTreeSet::from([5, 9]),
            under_way: BTreeSet::from([5]),
        };
        assert_eq!(decide_cancel(9, &state), Ok(()));
        assert_eq!(
            decide_cancel(5, &state).unwrap_err(),
            "cannot cancel the snapshot request because it is under processing"
        );
        assert_eq!(
            decide_cancel(6, &state).unwrap_err(),
            "no snapshot request exists for block number 6"
        );
    }
}
