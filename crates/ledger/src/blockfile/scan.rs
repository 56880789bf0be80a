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
    /// A file that is missing, and was told to be.
    missing: Option<u32>,
}

impl<'a> Scan<'a> {
    /// Begins at `from`, where a record begins or the files end.
    pub(crate) fn new(files: &'a BlockFiles, from: Position) -> Result<Self, LedgerError> {
        Ok(Scan {
            files,
            next: from,
            last: files.last_file()?,
            missing: None,
        })
    }

    /// The next record.
    pub(crate) fn step(&mut self) -> Result<Found, LedgerError> {
        let Some(last) = self.last else {
            return Ok(Found::End(self.next));
        };
        let length = match self.files.length_if_there(self.next.file)? {
            Some(length) => length,
            // Whoever goes on nevertheless finds nothing in it.
            None if self.missing == Some(self.next.file) => self.next.offset,
            None => return Ok(self.is_missing(self.next.file)),
        };
        if self.next.offset == length {
            if self.next.file >= last {
                return Ok(Found::End(self.next));
            }
            let file = self.next.file + 1;
            if self.files.length_if_there(file)?.is_none() {
                return Ok(self.is_missing(file));
            }
            if self.files.first_block(file).is_err() {
                let begin = Position { file, offset: 0 };
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

    /// A file that is missing between others is damage, too.
    fn is_missing(&mut self, file: u32) -> Found {
        self.missing = Some(file);
        Found::Damage(Position { file, offset: 0 }, Fault::Missing)
    }

    /// Goes on at `at`.
    pub(crate) fn skip_to(&mut self, at: Position) {
        self.next = at;
    }
}
