//! Finding the next record behind a damaged place.
//!
//! Where a damaged record ends is known only if its header is whole. Else every place that looks like
//! a header is tried, and what stands in a block is anybody's: it may be made to look like headers.
//! So only numbers that can follow are tried, and not more bytes than a few times the file's.

use std::ops::RangeInclusive;

use super::files::BlockFiles;
use super::position::Position;
use super::record::{self, HEADER, Header};
use crate::error::LedgerError;

/// Bytes read at once.
const STEP: u64 = 1024 * 1024;
/// How many times the length of a file is read at most to find a record in it.
const TRIES: u64 = 4;

/// What lies behind a damaged place in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// A whole record begins here.
    Record(Position),
    /// No whole record.
    Nothing,
    /// Too much looks like records and is none.
    Unknown,
}

impl BlockFiles {
    /// Whether a whole record lies behind a damaged place, or another file. `plausible` are the
    /// numbers that records there may have.
    pub(crate) fn goes_on_after(
        &self,
        damage: Position,
        plausible: RangeInclusive<u64>,
    ) -> Result<bool, LedgerError> {
        // What cannot be told is not taken for a torn end: nothing is cut off then.
        Ok(self.last_file()? > Some(damage.file)
            || self.behind(damage, plausible)? != Behind::Nothing)
    }

    /// Where the next whole record begins behind a damaged place, at the latest in the next file.
    pub(crate) fn next_record_after(
        &self,
        damage: Position,
        plausible: RangeInclusive<u64>,
    ) -> Result<Option<Position>, LedgerError> {
        if let Behind::Record(next) = self.behind(damage, plausible)? {
            return Ok(Some(next));
        }
        let next = damage.file + 1;
        let is_there = self.last_file()? >= Some(next);
        Ok(is_there.then_some(Position::first_of(next)))
    }

    /// What lies behind a damaged place in its file.
    pub(super) fn behind(
        &self,
        damage: Position,
        plausible: RangeInclusive<u64>,
    ) -> Result<Behind, LedgerError> {
        let length = self.length(damage.file)?;
        let at = |offset| Position { offset, ..damage };
        let mut offset = damage.offset.saturating_add(1);
        // If the header is whole, it says where the record ends; what is within it is no record.
        if let Some(header) = self.read_at(damage, HEADER)?
            && let Ok(header) = Header::decode(&header)
        {
            offset = damage.offset.saturating_add(header.length());
        }
        let mut left = length.saturating_mul(TRIES);
        while offset.saturating_add(HEADER as u64) <= length {
            let size = (length - offset).min(STEP);
            let Some(bytes) = self.read_at(at(offset), size as usize)? else {
                break;
            };
            for begin in record::begins(&bytes) {
                let Ok(header) = Header::decode(&bytes[begin..]) else {
                    continue;
                };
                let begin = at(offset + begin as u64);
                let fits = header.length() <= length - begin.offset;
                if !fits || !plausible.contains(&header.number) {
                    continue;
                }
                let Some(rest) = left.checked_sub(header.length()) else {
                    return Ok(Behind::Unknown);
                };
                left = rest;
                if self.record_at(begin)?.is_ok() {
                    return Ok(Behind::Record(begin));
                }
            }
            // A header may straddle two steps.
            offset += size - (HEADER as u64 - 1);
        }
        Ok(Behind::Nothing)
    }
}
