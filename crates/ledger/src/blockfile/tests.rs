use std::path::Path;

use bytes::Bytes;
use consilium_protocol::block::new_block;

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
        record.block()
    );
    appended.location
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
                assert!(!files.goes_on_after(at).unwrap());
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
    let record = |byte| {
        let data = vec![Bytes::from(vec![byte; 60])];
        encode_block(1, &new_block(1, Bytes::new(), data), &[]).unwrap()
    };
    let first = files.append(&record(1), true).unwrap().location;
    assert_eq!(files.append(&record(1), true).unwrap().location, first);
    assert_eq!(files.end().unwrap(), first.end());
    // Another block with this number takes its place.
    let other = files.append(&record(2), true).unwrap().location;
    assert_eq!(other, first);
    assert_eq!(files.read(other, 1).unwrap().block, record(2).block());
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
    assert!(files.goes_on_after(first.begin).unwrap());
    assert!(!files.goes_on_after(second.begin).unwrap());
}
