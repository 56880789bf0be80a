//! Walking through block files, record by record.

use super::files::BlockFiles;
use super::position::{Location, Position};
use super::record::{Fault, Record};
use crate::error::LedgerError;

/// What a step of a scan finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole record.
    Record(Location, Record),
    /// Something that is no record; what follows it in the file cannot be told apart.
    Damage(Position, Fault),
    /// The end of the last file.
    End(Position),
}

/// A walk through block files.
pub(crate) struct Scan<'a> {
    files: &'a BlockFiles,
    next: Position,
    /// The last file when the scan began.
    last: Option<u32>,
}

impl<'a> Scan<'a> {
    /// Begins at `from`, where a record begins or the files end.
    pub(crate) fn new(files: &'a BlockFiles, from: Position) -> Result<Self, LedgerError> {
        Ok(Scan {
            files,
            next: from,
            last: files.last_file()?,
        })
    }

    /// The next record.
    pub(crate) fn step(&mut self) -> Result<Found, LedgerError> {
        let Some(last) = self.last else {
            return Ok(Found::End(self.next));
        };
        if self.next.offset == self.files.length(self.next.file)? {
            if self.next.file >= last {
                return Ok(Found::End(self.next));
            }
            let file = self.next.file + 1;
            let begin = Position { file, offset: 0 };
            // A file that is missing between others is damage, too.
            if !self.files.path(file).exists() || self.files.first_block(file).is_err() {
                return Ok(Found::Damage(begin, Fault::FileHeader));
            }
            self.next = Position::first_of(file);
            return self.step();
        }
        match self.files.record_at(self.next)? {
            Ok((location, record)) => {
                self.next = location.end();
                Ok(Found::Record(location, record))
            }
            Err(fault) => Ok(Found::Damage(self.next, fault)),
        }
    }

    /// Goes on at `at`.
    pub(crate) fn skip_to(&mut self, at: Position) {
        self.next = at;
    }
}
