//! Places in block files, and the first bytes of a file.

use crate::chain::be64;

/// Length of what a block file begins with.
pub(super) const FILE_HEADER: u64 = 24;

const MAGIC: [u8; 8] = *b"CBLOCKS1";

/// A place in block files; later places are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Number of the file.
    pub(crate) file: u32,
    /// Bytes from its beginning.
    pub(crate) offset: u64,
}

impl Position {
    /// Where the first record of a file begins.
    pub(crate) fn first_of(file: u32) -> Self {
        Position {
            file,
            offset: FILE_HEADER,
        }
    }

    pub(crate) fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.file.to_be_bytes());
        bytes[4..].copy_from_slice(&self.offset.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (file, offset) = bytes.split_at_checked(4)?;
        Some(Position {
            file: u32::from_be_bytes(file.try_into().ok()?),
            offset: be64(offset)?,
        })
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Its first byte.
    pub(crate) begin: Position,
    /// Its length.
    pub(crate) length: u32,
}

impl Location {
    /// The first byte behind it.
    pub(crate) fn end(self) -> Position {
        Position {
            offset: self.begin.offset + u64::from(self.length),
            ..self.begin
        }
    }

    pub(crate) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&self.begin.encode());
        bytes[12..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (begin, length) = bytes.split_at_checked(12)?;
        Some(Location {
            begin: Position::decode(begin)?,
            length: u32::from_be_bytes(length.try_into().ok()?),
        })
    }
}

/// What file `file` begins with.
pub(super) fn file_header(file: u32, first: u64) -> [u8; FILE_HEADER as usize] {
    let mut bytes = [0; FILE_HEADER as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&file.to_be_bytes());
    bytes[12..20].copy_from_slice(&first.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The number of the first block in a file, from what the file begins with.
pub(super) fn first_block(file: u32, header: &[u8]) -> Option<u64> {
    let first = be64(header.get(12..20)?)?;
    (header == file_header(file, first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_read_back_and_sort_like_their_bytes(
            a in any::<(u32, u64)>(), b in any::<(u32, u64)>(), length in any::<u32>(),
        ) {
            let position = |(file, offset)| Position { file, offset };
            let (a, b) = (position(a), position(b));
            prop_assert_eq!(Position::decode(&a.encode()), Some(a));
            prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
            let location = Location { begin: a, length };
            prop_assert_eq!(Location::decode(&location.encode()), Some(location));
        }

        #[test]
        fn a_flipped_bit_in_the_first_bytes_of_a_file_is_found(
            file in any::<u32>(), first in any::<u64>(), bit in 0..FILE_HEADER as usize * 8,
        ) {
            let mut header = file_header(file, first);
            prop_assert_eq!(first_block(file, &header), Some(first));
            header[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(first_block(file, &header), None);
        }
    }
}
