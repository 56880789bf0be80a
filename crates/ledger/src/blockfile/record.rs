//! How records lie in a block file: encoding, decoding and finding what is damaged. Pure.
//!
//! ```text
//! header    magic "CBRK" | kind u8 | 3 zeros | number u64 |
//!           lengths u32 of extras, table, block | CRC u32 of each | CRC u32 of this header
//! extras    (length u32, key, length u32, value) …   small records of the caller
//! table     (offset u32, length u32, CRC u32) …      the transactions within the block
//! block     the encoded `common.Block`
//! ```
//! Numbers are big-endian. Every byte is covered by a checksum.

use std::ops::Range;

use bytes::Bytes;
use consilium_proto::common;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Length of a record's header.
pub(crate) const HEADER: usize = 44;
/// Length of one transaction's entry in the table.
pub(crate) const ENTRY: usize = 12;

const MAGIC: [u8; 4] = *b"CBRK";
const BLOCK: u8 = 1;
const EXTRAS: u8 = 2;

/// A caller's (key, value).
pub(crate) type Extra = (Vec<u8>, Vec<u8>);

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A block, maybe with extras.
    Block,
    /// Extras alone; the number is that of the next block.
    Extras,
}

/// A record's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The block's number, or the next block's.
    pub(crate) number: u64,
    extras: u32,
    table: u32,
    block: u32,
    extras_crc: u32,
    table_crc: u32,
    block_crc: u32,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// There are fewer bytes than the record needs.
    #[error("the record is cut off")]
    CutOff,
    /// It does not begin like a record.
    #[error("no record begins here")]
    Magic,
    /// The header is damaged.
    #[error("the checksum of the record's header does not match")]
    Header,
    /// The caller's records are damaged.
    #[error("the checksum of the records beside the block does not match")]
    Extras,
    /// The table of transactions is damaged.
    #[error("the checksum of the table of transactions does not match")]
    Table,
    /// The first bytes of a file are damaged.
    #[error("the first bytes of the file are not those of a block file")]
    FileHeader,
    /// There is no such file, and there are later ones.
    #[error("the file is missing")]
    Missing,
    /// It is whole, and not the one that belongs there.
    #[error("another record lies here")]
    Other,
    /// The block is damaged, within this transaction or outside of all.
    #[error("the checksum of the block does not match")]
    Block(Option<u32>),
}

impl Fault {
    /// The damaged transaction, if it is known.
    pub(crate) fn transaction(self) -> Option<u32> {
        match self {
            Fault::Block(transaction) => transaction,
            _ => None,
        }
    }
}

/// A record ready to be written.
pub(crate) struct Encoded {
    /// All of it.
    pub(crate) bytes: Bytes,
    /// The block's number, or the next block's.
    pub(crate) number: u64,
    /// The block within it; empty without one.
    block: Range<usize>,
}

impl Encoded {
    /// The encoded block; shares memory with the record.
    pub(crate) fn block(&self) -> Bytes {
        self.bytes.slice(self.block.clone())
    }
}

/// Lays out a block with the caller's extras. `None` if a length does not fit in 32 bits.
pub(crate) fn encode_block(
    number: u64,
    block: &common::Block,
    extras: &[Extra],
) -> Option<Encoded> {
    let count = block.data.as_ref().map_or(0, |data| data.data.len());
    let block_length = block.encoded_len();
    let extras_length = extras_length(extras);
    let begin = HEADER + extras_length + count * ENTRY;
    // Everything is encoded once, in its place.
    let mut bytes = Vec::with_capacity(begin + block_length);
    bytes.resize(HEADER, 0);
    put_extras(&mut bytes, extras)?;
    bytes.resize(begin, 0);
    block.encode_raw(&mut bytes);
    let ranges = transactions(&bytes[begin..])?;
    if ranges.len() != count {
        return None;
    }
    for (index, range) in ranges.into_iter().enumerate() {
        let mut entry = [0; ENTRY];
        let crc = crc32fast::hash(&bytes[begin..][range.clone()]);
        entry[..4].copy_from_slice(&u32::try_from(range.start).ok()?.to_be_bytes());
        entry[4..8].copy_from_slice(&u32::try_from(range.len()).ok()?.to_be_bytes());
        entry[8..].copy_from_slice(&crc.to_be_bytes());
        let at = HEADER + extras_length + index * ENTRY;
        bytes[at..at + ENTRY].copy_from_slice(&entry);
    }
    finish(bytes, Kind::Block, number, extras_length, begin)
}

/// Lays out extras that come without a block, before block `next`.
pub(crate) fn encode_extras(next: u64, extras: &[Extra]) -> Option<Encoded> {
    let mut bytes = vec![0; HEADER];
    put_extras(&mut bytes, extras)?;
    let end = bytes.len();
    finish(bytes, Kind::Extras, next, end - HEADER, end)
}

fn finish(
    mut bytes: Vec<u8>,
    kind: Kind,
    number: u64,
    extras_length: usize,
    begin: usize,
) -> Option<Encoded> {
    let (extras, rest) = bytes[HEADER..].split_at(extras_length);
    let (table, block) = rest.split_at(begin - HEADER - extras_length);
    let header = Header {
        kind,
        number,
        extras: u32::try_from(extras.len()).ok()?,
        table: u32::try_from(table.len()).ok()?,
        block: u32::try_from(block.len()).ok()?,
        extras_crc: crc32fast::hash(extras),
        table_crc: crc32fast::hash(table),
        block_crc: crc32fast::hash(block),
    };
    // One record is read as one: its length is 32 bits, too.
    u32::try_from(bytes.len()).ok()?;
    bytes[..HEADER].copy_from_slice(&header.encode());
    let end = bytes.len();
    Some(Encoded {
        bytes: bytes.into(),
        number,
        block: begin..end,
    })
}

fn extras_length(extras: &[Extra]) -> usize {
    let length = |(key, value): &Extra| key.len() + value.len() + 8;
    extras.iter().map(length).sum()
}

fn put_extras(bytes: &mut Vec<u8>, extras: &[Extra]) -> Option<()> {
    for part in extras.iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Some(())
}

/// Where records might begin in bytes out of a file.
pub(crate) fn begins(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let windows = bytes.windows(MAGIC.len()).enumerate();
    windows.filter_map(|(at, window)| (window == MAGIC).then_some(at))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest).map(u32::from_be_bytes)
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = match self.kind {
            Kind::Block => BLOCK,
            Kind::Extras => EXTRAS,
        };
        bytes[8..16].copy_from_slice(&self.number.to_be_bytes());
        let numbers = [
            self.extras,
            self.table,
            self.block,
            self.extras_crc,
            self.table_crc,
            self.block_crc,
        ];
        for (slot, number) in bytes[16..40].chunks_exact_mut(4).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let header = bytes.get(..HEADER).ok_or(Fault::CutOff)?;
        if header[..4] != MAGIC {
            return Err(Fault::Magic);
        }
        let (covered, crc) = header.split_at(40);
        if crc32fast::hash(covered).to_be_bytes() != crc {
            return Err(Fault::Header);
        }
        let mut rest = &covered[4..];
        let mut parse = || {
            let kind = match take::<4>(&mut rest)?[0] {
                BLOCK => Kind::Block,
                EXTRAS => Kind::Extras,
                _ => return None,
            };
            Some(Header {
                kind,
                number: take(&mut rest).map(u64::from_be_bytes)?,
                extras: take_u32(&mut rest)?,
                table: take_u32(&mut rest)?,
                block: take_u32(&mut rest)?,
                extras_crc: take_u32(&mut rest)?,
                table_crc: take_u32(&mut rest)?,
                block_crc: take_u32(&mut rest)?,
            })
        };
        parse().ok_or(Fault::Magic)
    }

    /// Length of the whole record.
    pub(crate) fn length(&self) -> u64 {
        HEADER as u64 + u64::from(self.extras) + u64::from(self.table) + u64::from(self.block)
    }

    /// Where the table lies, from the beginning of the record.
    pub(crate) fn table(&self) -> Range<u64> {
        let begin = HEADER as u64 + u64::from(self.extras);
        begin..begin + u64::from(self.table)
    }

    /// Where a transaction lies, from the beginning of the record, and its checksum; `None` if the
    /// block has no such transaction.
    pub(crate) fn transaction(
        &self,
        table: &[u8],
        index: u32,
    ) -> Result<Option<(Range<u64>, u32)>, Fault> {
        if crc32fast::hash(table) != self.table_crc {
            return Err(Fault::Table);
        }
        let Some(entry) = entries(table).nth(index as usize) else {
            return Ok(None);
        };
        let begin = self.table().end + u64::from(entry.offset);
        Ok(Some((begin..begin + u64::from(entry.length), entry.crc)))
    }
}

struct Entry {
    offset: u32,
    length: u32,
    crc: u32,
}

fn entries(table: &[u8]) -> impl Iterator<Item = Entry> {
    table.chunks_exact(ENTRY).filter_map(|mut entry| {
        Some(Entry {
            offset: take_u32(&mut entry)?,
            length: take_u32(&mut entry)?,
            crc: take_u32(&mut entry)?,
        })
    })
}

/// A whole record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) extras: Vec<(Bytes, Bytes)>,
    /// The encoded block; empty in a record of extras.
    pub(crate) block: Bytes,
}

/// Reads a record; `bytes` are all of it. Copies nothing.
pub(crate) fn decode(bytes: &Bytes) -> Result<Record, Fault> {
    let header = Header::decode(bytes)?;
    if bytes.len() as u64 != header.length() {
        return Err(Fault::CutOff);
    }
    let mut rest = bytes.slice(HEADER..);
    let extras = rest.split_to(header.extras as usize);
    let table = rest.split_to(header.table as usize);
    if crc32fast::hash(&extras) != header.extras_crc {
        return Err(Fault::Extras);
    }
    if crc32fast::hash(&table) != header.table_crc {
        return Err(Fault::Table);
    }
    if crc32fast::hash(&rest) != header.block_crc {
        return Err(Fault::Block(damaged_transaction(&table, &rest)));
    }
    Ok(Record {
        kind: header.kind,
        number: header.number,
        extras: parse_extras(extras).ok_or(Fault::Extras)?,
        block: rest,
    })
}

/// The first transaction whose bytes are not the ones that were written.
fn damaged_transaction(table: &[u8], block: &[u8]) -> Option<u32> {
    let damaged = |entry: Entry| {
        let begin = entry.offset as usize;
        let bytes = block.get(begin..begin + entry.length as usize);
        bytes.map(crc32fast::hash) != Some(entry.crc)
    };
    entries(table).position(damaged).map(|index| index as u32)
}

fn parse_extras(mut rest: Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut part = || {
        let mut length = rest.get(..4)?;
        let length = take_u32(&mut length)? as usize;
        let end = length.checked_add(4).filter(|end| *end <= rest.len())?;
        Some(rest.split_to(end).slice(4..))
    };
    let mut extras = Vec::new();
    while let Some(key) = part() {
        extras.push((key, part()?));
    }
    rest.is_empty().then_some(extras)
}

/// Where the transactions lie in an encoded block.
fn transactions(encoded: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((field, content)) = next_field(encoded, &mut at)? {
        // Block { header = 1, data = 2, metadata = 3 }, BlockData { data = 1 }.
        if field == 2 {
            let (data, mut at) = (&encoded[..content.end], content.start);
            while let Some((field, envelope)) = next_field(data, &mut at)? {
                if field == 1 {
                    found.push(envelope);
                }
            }
        }
    }
    Some(found)
}

/// The field that begins at `at` in a message of length-delimited fields only; `bytes` end where the
/// message does. The outer `None` means that it is no such message.
fn next_field(bytes: &[u8], at: &mut usize) -> Option<Option<(u32, Range<usize>)>> {
    let mut rest = bytes.get(*at..)?;
    if rest.is_empty() {
        return Some(None);
    }
    let (field, wire_type) = decode_key(&mut rest).ok()?;
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let begin = bytes.len() - rest.len();
    let end = begin
        .checked_add(length)
        .filter(|end| *end <= bytes.len())?;
    *at = end;
    Some(Some((field, begin..end)))
}

#[cfg(test)]
mod tests;
