//! Places where a test can stop or disturb storage. Without the feature `failpoints` they do
//! nothing and cost nothing.

use std::fs::File;
use std::io::{self, IoSlice};
#[cfg(feature = "failpoints")]
use std::os::unix::fs::FileExt;

use crate::blockfile::write_all_at;

/// A step of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A new block file is there, empty.
    FileCreated,
    /// The first bytes of a new block file are being written.
    FileHeader,
    /// A new block file and its folder are synced.
    FileSynced,
    /// A record is being written to a block file.
    RecordWrite,
    /// A record is written, and not synced.
    RecordWritten,
    /// A record is synced, and the database does not know it.
    RecordSynced,
    /// The database is about to take what belongs to a record.
    BatchWrite,
    /// The database has it, and the height is not shown.
    BatchWritten,
    /// Recovery has found a torn end and is about to cut it off.
    TailFound,
    /// Recovery has cut off a torn end.
    TailCut,
    /// A block that the database lacked has been applied again.
    Reapplied,
    /// The database is marked as about to lose what follows from blocks.
    RebuildMarked,
    /// What follows from blocks is dropped, and the mark is there.
    RebuildDropped,
    /// The mark is gone, nothing is applied again.
    RebuildReset,
    /// A rollback is marked, and no block is cut.
    RollbackMarked,
    /// A rollback has cut the block files.
    RollbackCut,
}

impl Point {
    /// All of them.
    pub const ALL: &[Point] = &[
        Point::FileCreated,
        Point::FileHeader,
        Point::FileSynced,
        Point::RecordWrite,
        Point::RecordWritten,
        Point::RecordSynced,
        Point::BatchWrite,
        Point::BatchWritten,
        Point::TailFound,
        Point::TailCut,
        Point::Reapplied,
        Point::RebuildMarked,
        Point::RebuildDropped,
        Point::RebuildReset,
        Point::RollbackMarked,
        Point::RollbackCut,
    ];
}

/// What happens at a point.
#[cfg(feature = "failpoints")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process ends as by `kill -9`, the so-many-th time.
    Abort(u32),
    /// Only so many bytes are written, then the process ends; for points that write.
    Tear(u32, usize),
    /// Every time there is no room on the disk; what is written before is written in part.
    Full,
}

/// The points of one ledger or block store; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Failpoints {
    #[cfg(feature = "failpoints")]
    actions: std::sync::Arc<parking_lot::Mutex<std::collections::BTreeMap<Point, Action>>>,
}

#[cfg(feature = "failpoints")]
impl Failpoints {
    /// From now on `action` happens at `point`.
    pub fn set(&self, point: Point, action: Action) {
        self.actions.lock().insert(point, action);
    }

    /// Nothing happens at `point` any more.
    pub fn clear(&self, point: Point) {
        self.actions.lock().remove(&point);
    }

    /// The action that is due.
    fn due(&self, point: Point) -> Option<Action> {
        let mut actions = self.actions.lock();
        let action = actions.get_mut(&point)?;
        if let Action::Abort(times) | Action::Tear(times, _) = action {
            *times = times.saturating_sub(1);
            if *times > 0 {
                return None;
            }
        }
        Some(*action)
    }

    pub(crate) fn hit(&self, point: Point) -> io::Result<()> {
        match self.due(point) {
            None => Ok(()),
            Some(Action::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Action::Abort(_) | Action::Tear(..)) => std::process::abort(),
        }
    }

    /// Writes at a point.
    pub(crate) fn write(
        &self,
        point: Point,
        file: &File,
        parts: &mut [IoSlice<'_>],
        offset: u64,
    ) -> io::Result<()> {
        let Some(action) = self.due(point) else {
            return write_all_at(file, parts, offset);
        };
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let written = match action {
            Action::Full => bytes.len() / 2,
            Action::Abort(_) => 0,
            Action::Tear(_, length) => length.min(bytes.len()),
        };
        file.write_all_at(&bytes[..written], offset)?;
        if action == Action::Full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        std::process::abort()
    }
}

#[cfg(not(feature = "failpoints"))]
impl Failpoints {
    #[inline]
    pub(crate) fn hit(&self, _: Point) -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(crate) fn write(
        &self,
        _: Point,
        file: &File,
        parts: &mut [IoSlice<'_>],
        offset: u64,
    ) -> io::Result<()> {
        write_all_at(file, parts, offset)
    }
}
