//! Block files: what a restart finds.

use crate::input::{Input, number};
use crate::world;

/// Length of what a file begins with, and of what a record does. docs/ledger.md
const FILE_HEADER: usize = 24;
const HEADER: usize = 44;

/// The first byte says what is done with what follows: with bit 0 checksums are made right, with
/// bit 1 there are two files, the first of them a part.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut input = Input::new(data);
    let mode = input.byte();
    let mut files = Vec::new();
    if mode & 2 != 0 {
        files.push(input.part().to_vec());
    }
    files.push(input.rest().to_vec());
    let folder = world::folder();
    for (index, mut content) in files.into_iter().enumerate() {
        if mode & 1 != 0 {
            mend(&mut content);
        }
        let path = folder.path().join(format!("blocks_{index:06}"));
        std::fs::write(path, content).expect("a temporary file");
    }
    let found = consilium_ledger::fuzzing::block_files(folder.path(), number(data));
    found.is_ok_and(|records| records > 0)
}

/// Makes the checksums right of the file's beginning and of whatever looks like a record.
fn mend(file: &mut [u8]) {
    put_checksum(file, 0, 20, 20);
    let mut at = FILE_HEADER;
    while at + HEADER <= file.len() {
        if file[at..at + 4] != *b"CBRK" {
            at += 1;
            continue;
        }
        let length = |slot: usize| {
            let begin = at + 16 + slot * 4;
            number(&file[begin..begin + 4])
        };
        let lengths = [length(0), length(1), length(2)];
        let mut begin = at + HEADER;
        for (slot, length) in lengths.into_iter().enumerate() {
            let end = begin.saturating_add(length);
            if end > file.len() {
                break;
            }
            put_checksum(file, begin, end, at + 28 + slot * 4);
            begin = end;
        }
        put_checksum(file, at, at + 40, at + 40);
        at += HEADER;
    }
}

/// Puts the checksum of `file[begin..end]` to `at`.
fn put_checksum(file: &mut [u8], begin: usize, end: usize, at: usize) {
    if let Some(covered) = file.get(begin..end) {
        let checksum = crc32fast::hash(covered).to_be_bytes();
        if let Some(place) = file.get_mut(at..at + 4) {
            place.copy_from_slice(&checksum);
        }
    }
}
