//! A full disk: commits stop with an error that says so, reads go on, nothing is half-written, and
//! the same block goes in as soon as there is room.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_ledger::failpoint::{Action, Point};
use consilium_ledger::{Ledger, LedgerError, StoreOptions};
use consilium_proto::protos::TxValidationCode;
use consilium_testkit::SmallDisk;
use support::{commit, genesis, next_block, results, transaction, write};

fn content(number: u64, size: usize) -> Vec<Bytes> {
    let put = results("cc", |set| {
        set.writes = vec![write(&format!("key{number}"), &vec![number as u8; size])];
    });
    vec![transaction(number, "cc", &put)]
}

fn try_commit(ledger: &Ledger, size: usize) -> Result<u64, LedgerError> {
    let block = next_block(ledger, content(ledger.height(), size));
    let committed = ledger.commit(block, vec![TxValidationCode::Valid])?;
    Ok(committed.number)
}

fn reference(blocks: u64, size: usize) -> Option<[u8; 32]> {
    let folder = support::folder();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    while ledger.height() < blocks {
        commit(&ledger, content(ledger.height(), size));
    }
    ledger.commit_hash()
}

#[test]
fn a_commit_that_finds_no_room_changes_nothing_and_succeeds_when_there_is_some() {
    for point in [
        Point::FileCreated,
        Point::FileHeader,
        Point::FileSynced,
        Point::RecordWrite,
        Point::RecordWritten,
        Point::RecordSynced,
        Point::BatchWrite,
    ] {
        let folder = support::folder();
        let options = StoreOptions {
            file_size: 1500,
            ..StoreOptions::default()
        };
        let ledger = Ledger::create_with(folder.path(), &genesis(&[]), &options).unwrap();
        let mut refused = 0;
        while ledger.height() < 8 {
            let before = (ledger.info(), ledger.state_fingerprint().unwrap());
            options.failpoints.set(point, Action::Full);
            for _ in 0..3 {
                match try_commit(&ledger, 100) {
                    // Only some blocks begin a new file.
                    Ok(_) => break,
                    Err(error) => {
                        refused += 1;
                        assert!(error.is_disk_full(), "{point:?}: {error}");
                    }
                }
                let now = (ledger.info(), ledger.state_fingerprint().unwrap());
                assert_eq!(now, before, "{point:?}");
                let last = before.0.height - 1;
                assert!(ledger.block(last).unwrap().is_some(), "{point:?}");
            }
            options.failpoints.clear(point);
            if ledger.height() == before.0.height {
                try_commit(&ledger, 100).unwrap();
            }
        }
        assert!(refused >= 3, "{point:?}: only {refused} refusals");
        let expected = reference(8, 100);
        assert_eq!(ledger.commit_hash(), expected, "{point:?}");
        drop(ledger);
        let scratch = support::folder();
        let verified =
            consilium_ledger::verify(folder.path(), scratch.path(), &mut |_| Ok(()), &mut |_| {});
        let verified = verified.unwrap();
        assert_eq!((verified.blocks, verified.faults), (8, vec![]), "{point:?}");
    }
}

#[test]
fn a_ledger_that_ran_out_of_room_opens_without_what_was_not_committed() {
    let folder = support::folder();
    let options = StoreOptions::default();
    let ledger = Ledger::create_with(folder.path(), &genesis(&[]), &options).unwrap();
    try_commit(&ledger, 100).unwrap();
    options.failpoints.set(Point::RecordWrite, Action::Full);
    assert!(try_commit(&ledger, 100).unwrap_err().is_disk_full());
    drop(ledger);
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.height(), 2);
    try_commit(&ledger, 100).unwrap();
    assert_eq!(ledger.commit_hash(), reference(3, 100));
}

#[test]
fn commits_stop_before_the_disk_is_full() {
    let folder = support::folder();
    let options = StoreOptions {
        reserve: u64::MAX / 2,
        ..StoreOptions::default()
    };
    let refused = Ledger::create_with(folder.path(), &genesis(&[]), &options).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    assert!(refused.to_string().contains("are kept free"), "{refused}");
}

#[test]
fn a_real_full_disk_is_survived_and_left_behind() {
    const SIZE: usize = 30_000;
    let folder = support::folder();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 96 << 20) else {
        println!("skipped: mounting a file system is not allowed here");
        return;
    };
    // Without a reserve, so that RocksDB runs out of room, too.
    let options = StoreOptions {
        reserve: 0,
        ..StoreOptions::default()
    };
    let path = disk.path().join("ledger");
    let ledger = Ledger::create_with(&path, &genesis(&[]), &options).unwrap();
    disk.fill();
    let error = loop {
        match try_commit(&ledger, SIZE) {
            Ok(number) => assert!(number < 1000, "the disk does not get full"),
            Err(error) => break error,
        }
    };
    assert!(error.is_disk_full(), "{error}");
    let height = ledger.height();
    assert!(height > 5, "only {height} blocks fit");
    for _ in 0..5 {
        assert!(try_commit(&ledger, SIZE).unwrap_err().is_disk_full());
    }
    check_reads(&ledger, height);

    disk.free();
    let began = Instant::now();
    while let Err(error) = try_commit(&ledger, SIZE) {
        assert!(error.is_disk_full(), "{error}");
        assert!(began.elapsed() < Duration::from_secs(60), "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    while ledger.height() < height + 5 {
        try_commit(&ledger, SIZE).unwrap();
    }
    check_reads(&ledger, height + 5);
    let expected = reference(height + 5, SIZE);
    assert_eq!(ledger.commit_hash(), expected);
    drop(ledger);
    let ledger = Ledger::open_with(&path, &options, &mut |_| {}).unwrap();
    assert_eq!(
        (ledger.height(), ledger.commit_hash()),
        (height + 5, expected)
    );
    verify_clean(&path, height + 5);
}

fn check_reads(ledger: &Arc<Ledger>, height: u64) {
    let state = ledger.reader().unwrap();
    assert_eq!(ledger.height(), height);
    for number in 1..height {
        assert!(ledger.block(number).unwrap().is_some());
        assert!(state.get("cc", &format!("key{number}")).unwrap().is_some());
    }
    assert!(state.get("cc", &format!("key{height}")).unwrap().is_none());
}

fn verify_clean(path: &Path, blocks: u64) {
    let scratch = support::folder();
    let verified = consilium_ledger::verify(path, scratch.path(), &mut |_| Ok(()), &mut |_| {});
    let verified = verified.unwrap();
    assert_eq!((verified.blocks, verified.faults), (blocks, vec![]));
}
