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
use crc32fast::Hasher as Crc;
use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint};

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

/// A record ready to be written. Its transactions are where they came in: they are not copied.
pub(crate) struct Encoded<'a> {
    /// The block's number, or the next block's.
    pub(crate) number: u64,
    /// Everything but the transactions.
    layout: Vec<u8>,
    /// The transactions, each with the place in `layout` before which it lies.
    transactions: Vec<(usize, &'a [u8])>,
    length: u32,
}

impl Encoded<'_> {
    /// Length of the whole record.
    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    /// What makes the record, one behind the other.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut done = 0;
        let pairs = self.transactions.iter().flat_map(move |&(place, bytes)| {
            let before = &self.layout[done..place];
            done = place;
            [before, bytes]
        });
        let end = self.transactions.last().map_or(0, |&(place, _)| place);
        pairs.chain([&self.layout[end..]])
    }

    /// Whether these bytes are this record.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        self.parts().all(|part| {
            let found = rest.strip_prefix(part);
            rest = found.unwrap_or_default();
            found.is_some()
        }) && rest.is_empty()
    }
}

/// Lays out a block with the caller's extras. `None` if a length does not fit in 32 bits.
pub(crate) fn encode_block<'a>(
    number: u64,
    block: &'a common::Block,
    extras: &[Extra],
) -> Option<Encoded<'a>> {
    let envelopes = envelopes(block);
    let begin = HEADER + extras_length(extras) + envelopes.len() * ENTRY;
    let framing = 6 * (envelopes.len() + 3);
    let metadata = block.metadata.as_ref().map_or(0, Message::encoded_len);
    let mut layout = Vec::with_capacity(begin + framing + metadata);
    layout.resize(HEADER, 0);
    put_extras(&mut layout, extras)?;
    let table = layout.len();
    layout.resize(begin, 0);

    // Block { header = 1, data = 2, metadata = 3 }, BlockData { data = 1 }: as prost encodes them,
    // but for the transactions.
    let mut transactions = Vec::with_capacity(envelopes.len());
    let mut crc = Crc::new();
    let mut length = 0;
    if let Some(header) = &block.header {
        encoding::message::encode(1, header, &mut layout);
    }
    if let Some(data) = &block.data {
        encode_key(2, WireType::LengthDelimited, &mut layout);
        encode_varint(data.encoded_len() as u64, &mut layout);
    }
    let mut hashed = begin;
    for (index, envelope) in envelopes.iter().enumerate() {
        encode_key(1, WireType::LengthDelimited, &mut layout);
        encode_varint(envelope.len() as u64, &mut layout);
        crc.update(&layout[hashed..]);
        length += layout.len() - hashed;
        hashed = layout.len();
        let at = table + index * ENTRY;
        layout[at..at + 4].copy_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
        layout[at + 4..at + 8].copy_from_slice(&u32::try_from(envelope.len()).ok()?.to_be_bytes());
        layout[at + 8..at + ENTRY].copy_from_slice(&crc32fast::hash(envelope).to_be_bytes());
        crc.update(envelope);
        length += envelope.len();
        transactions.push((hashed, &envelope[..]));
    }
    if let Some(metadata) = &block.metadata {
        encoding::message::encode(3, metadata, &mut layout);
    }
    crc.update(&layout[hashed..]);
    length += layout.len() - hashed;
    let block = Part {
        length,
        crc: crc.finalize(),
    };
    finish(
        Kind::Block,
        number,
        layout,
        (table, begin),
        block,
        transactions,
    )
}

/// Lays out extras that come without a block, before block `next`.
pub(crate) fn encode_extras(next: u64, extras: &[Extra]) -> Option<Encoded<'static>> {
    let mut layout = vec![0; HEADER];
    put_extras(&mut layout, extras)?;
    let end = layout.len();
    finish(
        Kind::Extras,
        next,
        layout,
        (end, end),
        Part::of(&[]),
        Vec::new(),
    )
}

fn envelopes(block: &common::Block) -> &[Bytes] {
    block.data.as_ref().map_or(&[], |data| &data.data)
}

/// What a header says of a part of its record.
struct Part {
    length: usize,
    crc: u32,
}

impl Part {
    fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len(),
            crc: crc32fast::hash(bytes),
        }
    }
}

/// Writes the header. The table begins at the first of the places in `layout` and ends at the second.
fn finish<'a>(
    kind: Kind,
    number: u64,
    mut layout: Vec<u8>,
    table: (usize, usize),
    block: Part,
    transactions: Vec<(usize, &'a [u8])>,
) -> Option<Encoded<'a>> {
    let extras = Part::of(&layout[HEADER..table.0]);
    let length = table.1 + block.length;
    let table = Part::of(&layout[table.0..table.1]);
    let header = Header {
        kind,
        number,
        extras: u32::try_from(extras.length).ok()?,
        table: u32::try_from(table.length).ok()?,
        block: u32::try_from(block.length).ok()?,
        extras_crc: extras.crc,
        table_crc: table.crc,
        block_crc: block.crc,
    };
    layout[..HEADER].copy_from_slice(&header.encode());
    Some(Encoded {
        number,
        layout,
        transactions,
        // One record is read as one: its length is 32 bits, too.
        length: u32::try_from(length).ok()?,
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

#[cfg(test)]
mod tests;
