//! Doors for the fuzz targets to what nothing outside decodes: block files, the files of a
//! snapshot, records of the database. Each panics where something does not hold that must hold for
//! any bytes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block::new_block;
use prost::Message;

use crate::blockfile::{BlockFiles, Found, Location, Position, Record, Scan, encode_block};
use crate::database::Database;
use crate::error::{LedgerError, Owner};
use crate::options::StoreOptions;
use crate::snapshot::{self, Joiner};
use crate::state::VersionedValue;
use crate::tx_index::{self, TxStatus};

/// Steps that a walk may take for each byte of the files, and some at the ends of files.
const STEPS: u64 = 16;

/// Walks through the block files in `folder` as a restart and `ledger verify` do: over damage to
/// what comes next. Then takes what is behind the first damage for torn off, as a restart may, and
/// appends a block. `bit` chooses what is damaged additionally in each record found. Gives how many
/// records there were.
pub fn block_files(folder: &Path, bit: usize) -> Result<usize, LedgerError> {
    let options = StoreOptions {
        reserve: 0,
        ..StoreOptions::default()
    };
    let files = BlockFiles::open(folder, Owner::Peer, &options)?;
    let records = walk(&files)?;
    for (location, record) in &records {
        let read = files.read(*location, record.number)?;
        assert_eq!(read, *record, "a record reads back as it was scanned");
        other_bits(&files, *location, record, bit);
    }
    append_behind(&files, &records)?;
    Ok(records.len())
}

fn walk(files: &BlockFiles) -> Result<Vec<(Location, Record)>, LedgerError> {
    let mut bytes = 0;
    for file in 0..=files.last_file()?.unwrap_or_default() {
        bytes += files.length_if_there(file)?.unwrap_or_default();
    }
    let mut scan = Scan::new(files, Position::first_of(0))?;
    let mut records = Vec::new();
    let mut reached = Position { file: 0, offset: 0 };
    for _ in 0..=bytes + STEPS {
        let at = match scan.step()? {
            Found::Record(location, record) => {
                records.push((location, record));
                location.begin
            }
            Found::Damage(at, _) => match files.next_record_after(at, 0..=u64::MAX)? {
                Some(next) => {
                    assert!(next > at, "the search for the next record goes on");
                    scan.skip_to(next);
                    at
                }
                None => return Ok(records),
            },
            Found::End(_) => return Ok(records),
        };
        assert!(at >= reached, "a scan never goes back");
        reached = at;
    }
    panic!("a scan does not end");
}

/// One bit that is not what it was makes a record unreadable.
fn other_bits(files: &BlockFiles, location: Location, record: &Record, bit: usize) {
    let path = files.path(location.begin.file);
    // It was read a moment ago.
    let whole = std::fs::read(&path).expect("the block file");
    let begin = location.begin.offset as usize;
    let mut bytes = whole[begin..begin + location.length as usize].to_vec();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let damaged = crate::blockfile::decode(&Bytes::from(bytes));
    assert!(damaged.is_err(), "bit {bit} of {record:?} does not matter");
}

/// After the cut the next block finds its place and can be read.
fn append_behind(files: &BlockFiles, records: &[(Location, Record)]) -> Result<(), LedgerError> {
    let mut end = Position::first_of(0);
    for (location, _) in records {
        if location.begin != end {
            break;
        }
        end = location.end();
    }
    if files.last_file()?.is_none() || files.first_block(0).is_err() {
        return Ok(());
    }
    files.cut(end)?;
    let number = 7;
    let block = new_block(number, Bytes::new(), vec![Bytes::from_static(b"envelope")]);
    let record = encode_block(number, &block, &[]).ok_or_else(|| LedgerError::damaged("block"))?;
    let appended = files.append(&record, false)?;
    files.taken();
    assert_eq!(
        files.read(appended.location, number)?.block,
        block.encode_to_vec(),
        "a block goes behind the whole records"
    );
    Ok(())
}

/// Lays a block out as a record and reads it back, with each of its transactions.
pub fn block_record(folder: &Path, block: &common::Block) -> Result<(), LedgerError> {
    let number = consilium_protocol::block::number(block);
    let extras = [(b"key".to_vec(), b"value".to_vec())];
    let Some(record) = encode_block(number, block, &extras) else {
        return Ok(());
    };
    let options = StoreOptions {
        reserve: 0,
        ..StoreOptions::default()
    };
    let files = BlockFiles::open(folder, Owner::Peer, &options)?;
    let location = files.append(&record, false)?.location;
    files.taken();
    let read = files.read(location, number)?;
    let decoded = crate::chain::decode(number, read.block)?;
    assert_eq!(decoded, *block, "a block reads back as it was appended");
    let envelopes = consilium_protocol::block::envelopes(block);
    for (index, envelope) in envelopes.iter().enumerate() {
        let read = files.read_transaction(location, number, index as u32)?;
        assert_eq!(read.as_ref(), Some(envelope), "transaction {index}");
    }
    let none = files.read_transaction(location, number, envelopes.len() as u32)?;
    assert_eq!(none, None, "there are no more transactions");
    files.cut(location.begin)
}

/// Reads snapshots into a database that forgets them.
pub struct SnapshotReader(Arc<Database>);

impl SnapshotReader {
    /// With an empty database in `folder`.
    pub fn new(folder: &Path) -> Result<Self, LedgerError> {
        let options = StoreOptions::default();
        Database::open(folder, Owner::Peer, &options).map(Self)
    }

    /// Verifies and reads the snapshot in `folder` as an import does, up to the last write. Gives
    /// the channel's name.
    pub fn read(&self, folder: &Path, joiner: &dyn Joiner) -> Result<String, LedgerError> {
        snapshot::read(&self.0, folder, joiner)
    }

    /// Whether anything was written nevertheless.
    pub fn is_empty(&self) -> Result<bool, LedgerError> {
        let family = crate::database::Family::Meta;
        Ok(self.0.scan(family, &[], None, 1)?.is_empty())
    }
}

/// Reads bytes as each kind of record and key that the database holds. What can be read is written
/// again as something that reads the same. Gives how many kinds it can be.
pub fn records(bytes: &[u8]) -> usize {
    let mut found = crate::private::fuzzing::keys(bytes);
    if let Ok(value) = VersionedValue::decode(bytes.to_vec()) {
        let again = VersionedValue::decode(value.encode());
        assert_eq!(again.ok().as_ref(), Some(&value), "a value in the state");
        let _ = value.metadata_entry("VALIDATION_PARAMETER");
        found += 1;
    }
    if let Ok(status) = TxStatus::decode(bytes) {
        assert_eq!(status.encode()[..], bytes[..13], "a transaction's place");
        found += 1;
    }
    if let Ok(id) = tx_index::long_id(bytes) {
        assert!(!id.is_empty() && bytes.ends_with(id), "a long id");
        found += 1;
    }
    if let Some(position) = Position::decode(bytes) {
        assert_eq!(position.encode()[..], *bytes, "a position");
        found += 1;
    }
    if let Some(location) = Location::decode(bytes) {
        assert_eq!(location.encode()[..], *bytes, "a location");
        found += 1;
    }
    found
}
