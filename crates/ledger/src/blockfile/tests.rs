use std::path::Path;

use bytes::Bytes;
use consilium_protocol::block::new_block;
use prost::Message;

use super::record::Encoded;
use super::resync::Behind;
use super::*;
use crate::error::Owner;
use crate::options::StoreOptions;

fn open(folder: &Path) -> BlockFiles {
    let options = StoreOptions {
        file_size: 500,
        ..StoreOptions::default()
    };
    BlockFiles::open(folder, Owner::Peer, &options).unwrap()
}

fn append(files: &BlockFiles, number: u64) -> Location {
    let data = vec![Bytes::from(vec![number as u8; 60])];
    let block = new_block(number, Bytes::new(), data);
    let record = encode_block(number, &block, &[]).unwrap();
    let appended = files.append(&record, false).unwrap();
    files.taken();
    assert_eq!(
        files.read(appended.location, number).unwrap().block,
        block.encode_to_vec()
    );
    appended.location
}

fn whole(record: &Encoded<'_>) -> Vec<u8> {
    record.parts().collect::<Vec<_>>().concat()
}

/// Numbers of the records from the beginning on, and where they stop.
fn scanned(files: &BlockFiles) -> (Vec<u64>, Found) {
    let mut scan = Scan::new(files, Position::first_of(0)).unwrap();
    let mut numbers = Vec::new();
    loop {
        match scan.step().unwrap() {
            Found::Record(_, record) => numbers.push(record.number),
            other => return (numbers, other),
        }
    }
}

#[test]
fn a_scan_stops_where_a_file_is_cut_whichever_byte_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let places: Vec<_> = (0..8).map(|number| append(&files, number)).collect();
    let last = places.last().unwrap().end();
    assert!(last.file > 0, "all in one file");
    drop(files);
    let path = folder.path().join(format!("blocks_{:06}", last.file));
    let whole = std::fs::read(&path).unwrap();
    for length in (position::FILE_HEADER..=last.offset).rev() {
        std::fs::write(&path, &whole[..length as usize]).unwrap();
        let files = open(folder.path());
        let end = Position {
            file: last.file,
            offset: length,
        };
        let expected = places.iter().filter(|place| place.end() <= end).count();
        let (numbers, stopped) = scanned(&files);
        assert_eq!(numbers.len(), expected, "{length} bytes");
        let begin = match stopped {
            Found::End(at) => {
                assert_eq!(at, end);
                at
            }
            Found::Damage(at, fault) => {
                assert!(at < end, "{fault}");
                assert!(!files.goes_on_after(at, 0..=u64::MAX).unwrap());
                at
            }
            Found::Record(..) => unreachable!("the scan has stopped"),
        };
        // Cut off, the same block goes where it was.
        files.cut(begin).unwrap();
        if expected < places.len() {
            assert_eq!(append(&files, expected as u64), places[expected]);
        }
    }
}

#[test]
fn a_record_that_the_database_did_not_take_is_not_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    append(&files, 0);
    let block = |byte| new_block(1, Bytes::new(), vec![Bytes::from(vec![byte; 60])]);
    let (one, two) = (block(1), block(2));
    let record = |block| encode_block(1, block, &[]).unwrap();
    let first = files.append(&record(&one), true).unwrap().location;
    assert_eq!(files.append(&record(&one), true).unwrap().location, first);
    assert_eq!(files.end().unwrap(), first.end());
    // Another block with this number takes its place.
    let other = files.append(&record(&two), true).unwrap().location;
    assert_eq!(other, first);
    assert_eq!(files.read(other, 1).unwrap().block, two.encode_to_vec());
    assert_eq!(scanned(&files).0, [0, 1]);
}

#[test]
fn what_follows_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let first = append(&files, 0);
    let second = append(&files, 1);
    assert_eq!(first.begin.file, second.begin.file);
    let path = files.path(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[first.begin.offset as usize + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(files.goes_on_after(first.begin, 0..=1).unwrap());
    assert!(!files.goes_on_after(first.begin, 2..=u64::MAX).unwrap());
    assert!(!files.goes_on_after(second.begin, 0..=1).unwrap());
}

/// A block file whose first record is a block of one transaction with these bytes, and its header
/// damaged; another block may follow.
fn damaged_before(folder: &Path, content: Vec<u8>, next: bool) -> BlockFiles {
    let options = StoreOptions::default();
    let files = BlockFiles::open(folder, Owner::Peer, &options).unwrap();
    let block = new_block(0, Bytes::new(), vec![Bytes::from(content)]);
    let record = encode_block(0, &block, &[]).unwrap();
    files.append(&record, false).unwrap();
    files.taken();
    if next {
        append(&files, 1);
    }
    let path = files.path(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[position::FILE_HEADER as usize + 9] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    files
}

/// The header of a record with these numbers and lengths, and no right checksum of what follows.
fn forged_header(number: u64, length: u32) -> Vec<u8> {
    let mut header = whole(&encode_extras(number, &[]).unwrap());
    header[16..20].copy_from_slice(&length.to_be_bytes());
    let crc = crc32fast::hash(&header[..40]);
    header[40..].copy_from_slice(&crc.to_be_bytes());
    header
}

#[test]
fn what_looks_like_records_within_a_damaged_block_does_not_hold_up_the_search() {
    const LENGTH: u32 = 2_000_000;
    let behind = |content: Vec<u8>, next: bool| {
        let folder = tempfile::tempdir().unwrap();
        let files = damaged_before(folder.path(), content, next);
        files.behind(Position::first_of(0), 0..=1).unwrap()
    };
    // Each would have to be read to its end.
    let forged = |number| {
        let mut content = forged_header(number, LENGTH).repeat(30_000);
        content.resize(content.len() + LENGTH as usize, 0);
        content
    };
    assert_eq!(behind(forged(1), true), Behind::Unknown);
    // Numbers that cannot be there are not tried.
    assert!(matches!(behind(forged(7), true), Behind::Record(_)));
    assert_eq!(behind(forged(7), false), Behind::Nothing);
    // A header may lie across two steps of the search.
    for padding in (1 << 20) - 200..=1 << 20 {
        if padding % 7 == 0 {
            let found = behind(vec![0; padding], true);
            assert!(matches!(found, Behind::Record(_)), "{padding}");
        }
    }
}

#[test]
fn a_torn_block_is_not_searched_for_records_as_long_as_its_header_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let inner = Bytes::from(whole(&encode_extras(1, &[]).unwrap()));
    let block = new_block(0, Bytes::new(), vec![inner, Bytes::from(vec![1; 60])]);
    let record = encode_block(0, &block, &[]).unwrap();
    let location = files.append(&record, false).unwrap().location;
    drop(files);
    let path = folder.path().join("blocks_000000");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    let files = open(folder.path());
    assert!(!files.goes_on_after(location.begin, 0..=u64::MAX).unwrap());
}

#[test]
fn nothing_of_a_record_that_took_anothers_place_counts_as_synced() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    append(&files, 0);
    let block = |byte| new_block(1, Bytes::new(), vec![Bytes::from(vec![byte; 60])]);
    let (one, two) = (block(1), block(2));
    let record = |block| encode_block(1, block, &[]).unwrap();
    let first = files.append(&record(&one), true).unwrap();
    assert_eq!(first.synced, first.location.end());
    let other = files.append(&record(&two), false).unwrap();
    assert_eq!(other.location, first.location);
    assert_eq!(other.synced, first.location.begin);
    let synced = files.append(&record(&two), true).unwrap();
    assert_eq!(synced.synced, synced.location.end());
}

#[test]
fn an_untaken_record_that_cannot_be_read_back_now_is_not_written_twice_later() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(folder.path());
    let block = new_block(0, Bytes::new(), vec![Bytes::from(vec![1; 60])]);
    let record = encode_block(0, &block, &[]).unwrap();
    let first = files.append(&record, true).unwrap().location;
    let (path, away) = (files.path(0), folder.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    assert!(files.append(&record, true).is_err());
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(files.append(&record, true).unwrap().location, first);
    assert_eq!(scanned(&files).0, [0]);
}
