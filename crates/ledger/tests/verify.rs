//! Verification finds a flipped bit anywhere in a ledger and names its place, while the ledger is
//! used or not; rebuild and rollback repair.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::failpoint::{Action, Point};
use consilium_ledger::{Ledger, LedgerError, StoreOptions, Verified};
use consilium_proto::common;
use support::{commit, genesis, results, transaction, write};

const TRANSACTIONS: u64 = 3;

fn options() -> StoreOptions {
    StoreOptions {
        file_size: 6000,
        ..StoreOptions::default()
    }
}

fn content(number: u64) -> Vec<Bytes> {
    (0..TRANSACTIONS)
        .map(|index| {
            let put = results("cc", |set| {
                let key = format!("key{}", (number + index) % 7);
                set.writes = vec![write(&key, format!("value of {number}").as_bytes())];
            });
            transaction(number * 10 + index, "cc", &put)
        })
        .collect()
}

fn ledger_of(folder: &Path, blocks: u64) -> Arc<Ledger> {
    let ledger = Ledger::create_with(folder, &genesis(&[]), &options()).unwrap();
    while ledger.height() < blocks {
        commit(&ledger, content(ledger.height()));
    }
    ledger
}

fn verify(folder: &Path) -> Verified {
    let scratch = support::folder();
    let mut last = 0;
    let verified = consilium_ledger::verify(folder, scratch.path(), &mut |_| Ok(()), &mut |p| {
        assert!(p.done > last && p.done <= p.total);
        last = p.done;
    });
    verified.unwrap()
}

fn files(folder: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| keep(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    paths.sort();
    paths
}

/// Flips a bit, does something, and flips it back.
fn with_flipped_bit<T>(path: &Path, bit: usize, work: impl FnOnce() -> T) -> T {
    let whole = std::fs::read(path).unwrap();
    let mut damaged = whole.clone();
    damaged[bit / 8] ^= 1 << (bit % 8);
    std::fs::write(path, damaged).unwrap();
    let outcome = work();
    std::fs::write(path, whole).unwrap();
    outcome
}

/// Bits spread over a file, the same in every run.
fn some_bits(path: &Path, count: usize) -> Vec<usize> {
    let bits = std::fs::metadata(path).unwrap().len() as usize * 8;
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    (0..count).map(|_| random() % bits).collect()
}

#[test]
fn a_whole_ledger_verifies_while_it_is_used_and_after() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 20);
    let expected = Verified {
        channel: support::CHANNEL.into(),
        blocks: 20,
        transactions: 19 * TRANSACTIONS + 1,
        ..Verified::default()
    };
    assert_eq!(verify(folder.path()), expected);
    let writer = {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            while ledger.height() < 400 {
                commit(&ledger, content(ledger.height()));
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        })
    };
    let mut before = 20;
    while !writer.is_finished() {
        let verified = verify(folder.path());
        assert_eq!(verified.faults, []);
        assert!(verified.blocks >= before);
        before = verified.blocks;
    }
    writer.join().unwrap();
    let height = ledger.height();
    drop(ledger);
    let verified = verify(folder.path());
    assert_eq!((verified.blocks, verified.faults), (height, vec![]));
}

#[test]
fn a_flipped_bit_in_a_block_file_is_found_with_its_block_and_transaction() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 12));
    let mut named = 0;
    for path in files(&folder.path().join("blocks"), |_| true) {
        for bit in some_bits(&path, 25) {
            let verified = with_flipped_bit(&path, bit, || verify(folder.path()));
            let context = format!("bit {bit} of {}: {:?}", path.display(), verified.faults);
            let fault = verified.faults.first().expect(&context);
            assert_eq!(fault.file.as_ref(), Some(&path), "{context}");
            let offset = fault.offset.expect(&context) as usize;
            assert!(offset <= bit / 8, "{context}");
            if bit / 8 < 24 {
                assert_eq!((offset, fault.block), (0, None), "{context}");
                continue;
            }
            // The whole record that begins there is block N: read it from the undamaged file.
            let record = &std::fs::read(&path).unwrap()[offset..];
            let number = u64::from_be_bytes(record[8..16].try_into().unwrap());
            assert_eq!(fault.block, Some(number), "{context}");
            let length = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
            let (extras, table) = (length(16) as usize, length(20) as usize);
            let block = 44 + extras + table;
            assert!(bit / 8 - offset < block + length(24) as usize, "{context}");
            let hit = (0..table / 12).find(|index| {
                let entry = 44 + extras + index * 12;
                let begin = block + length(entry) as usize;
                (begin..begin + length(entry + 4) as usize).contains(&(bit / 8 - offset))
            });
            assert_eq!(
                fault.transaction,
                hit.map(|index| index as u32),
                "{context}"
            );
            named += usize::from(hit.is_some());
        }
    }
    assert!(named > 20, "only {named} bits within transactions");
    assert_eq!(verify(folder.path()).faults, []);
}

#[test]
fn a_flipped_bit_in_the_records_of_the_database_is_found() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 30));
    // Opening moves what is in the log into tables.
    drop(Ledger::open_with(folder.path(), &options(), &mut |_| {}).unwrap());
    let tables = files(&folder.path().join("database"), |name| {
        name.ends_with(".sst")
    });
    assert!(tables.len() >= 4, "only {} tables", tables.len());
    assert_eq!(verify(folder.path()).faults, []);
    let (mut found, mut tried) = (0, 0);
    for path in tables {
        // Records come first; behind them are filters and statistics, which a scan does not read.
        let records = 90 * 8;
        for bit in some_bits(&path, 6).iter().map(|bit| bit % records) {
            tried += 1;
            let verified = with_flipped_bit(&path, bit, || verify(folder.path()));
            found += usize::from(!verified.faults.is_empty());
        }
    }
    assert_eq!(found, tried);
}

#[test]
fn a_block_that_its_orderer_did_not_sign_is_found() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 5));
    let scratch = support::folder();
    let mut check = |block: &common::Block| {
        let number = consilium_protocol::block::number(block);
        if number == 3 {
            return Err("nobody signed it".to_owned());
        }
        Ok(())
    };
    let verified =
        consilium_ledger::verify(folder.path(), scratch.path(), &mut check, &mut |_| {}).unwrap();
    let [fault] = &verified.faults[..] else {
        panic!("{:?}", verified.faults);
    };
    assert!(
        fault.to_string().ends_with("block 3, nobody signed it"),
        "{fault}"
    );
}

#[test]
fn a_rollback_cuts_a_damaged_block_out_and_the_ledger_goes_on() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 20);
    let hash = ledger.commit_hash();
    let state = ledger.state_fingerprint().unwrap();
    drop(ledger);
    let path = files(&folder.path().join("blocks"), |_| true)[1].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let damaged = verify(folder.path()).faults[0].block.unwrap();

    let error = Ledger::rollback(folder.path(), damaged, &options(), &mut |_| {}).unwrap_err();
    let advice = format!("rollback --block {}", damaged - 1);
    assert!(error.to_string().contains(&advice), "{error}");
    let before = Ledger::rollback(folder.path(), damaged - 1, &options(), &mut |_| {}).unwrap();
    assert_eq!(before, 20);
    assert_eq!(verify(folder.path()).faults, []);
    let ledger = Ledger::open_with(folder.path(), &options(), &mut |_| {}).unwrap();
    assert_eq!(ledger.height(), damaged);
    assert_eq!(ledger.height_before_reset(), Some(20));
    while ledger.height() < 20 {
        assert!(ledger.height_before_reset().is_some());
        commit(&ledger, content(ledger.height()));
    }
    assert_eq!(ledger.height_before_reset(), None);
    assert_eq!(ledger.commit_hash(), hash);
    assert_eq!(ledger.state_fingerprint().unwrap(), state);
    drop(ledger);
    let ledger = Ledger::open_with(folder.path(), &options(), &mut |_| {}).unwrap();
    assert_eq!(ledger.height_before_reset(), None);
}

#[test]
fn a_rollback_to_the_last_block_or_behind_it_is_refused() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 5));
    for target in [4, 5, u64::MAX] {
        let refused = Ledger::rollback(folder.path(), target, &options(), &mut |_| {});
        let text = refused.unwrap_err().to_string();
        let expected = format!(
            "target block number [{target}] should be less than the biggest block number [4]"
        );
        assert_eq!(text, expected);
    }
    let ledger = ledger_open(folder.path());
    assert!(matches!(
        Ledger::rollback(folder.path(), 1, &options(), &mut |_| {}),
        Err(LedgerError::InUse(_))
    ));
    assert_eq!(ledger.height(), 5);
}

fn ledger_open(folder: &Path) -> Arc<Ledger> {
    Ledger::open_with(folder, &options(), &mut |_| {}).unwrap()
}

#[test]
fn a_rebuild_repairs_whatever_is_wrong_in_the_database() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 25);
    let state = ledger.state_fingerprint().unwrap();
    drop(ledger);
    drop(ledger_open(folder.path()));
    let database = folder.path().join("database");
    let damages: [fn(&str) -> bool; 3] = [
        |name| name.ends_with(".sst"),
        |name| name.starts_with("MANIFEST"),
        |name| name == "CURRENT",
    ];
    for damage in damages {
        for path in files(&database, damage) {
            let mut bytes = std::fs::read(&path).unwrap();
            for byte in bytes.iter_mut().skip(10).step_by(50) {
                *byte ^= 1;
            }
            if bytes.len() < 30 {
                bytes.clear();
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let rebuilt = Ledger::rebuild(folder.path(), &options(), &mut |_| {}).unwrap();
        assert_eq!(rebuilt.ledger.height(), 25);
        assert_eq!(rebuilt.ledger.state_fingerprint().unwrap(), state);
        drop(rebuilt);
        assert_eq!(verify(folder.path()).faults, []);
    }
}

/// Moves what is in the log into tables, and reads none of them: this process keeps what it has read.
fn fill_tables(database: &Path) -> Vec<PathBuf> {
    let before = files(database, |name| name.ends_with(".sst"));
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, database).unwrap();
    drop(rocksdb::DB::open_cf(&options, database, families).unwrap());
    let after = files(database, |name| name.ends_with(".sst"));
    let new: Vec<_> = after
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    assert!(new.len() >= 4, "only {} new tables", new.len());
    new
}

#[test]
fn a_rebuild_repairs_a_flipped_bit_in_the_records_of_any_one_table() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 25);
    let state = ledger.state_fingerprint().unwrap();
    drop(ledger);
    let database = folder.path().join("database");
    for index in 0.. {
        let tables = fill_tables(&database);
        let Some(path) = tables.get(index) else {
            break;
        };
        let mut bytes = std::fs::read(path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(path, bytes).unwrap();
        let rebuilt = Ledger::rebuild(folder.path(), &options(), &mut |_| {});
        let rebuilt = rebuilt.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(rebuilt.ledger.height(), 25);
        assert_eq!(rebuilt.ledger.state_fingerprint().unwrap(), state);
        drop(rebuilt);
        assert_eq!(verify(folder.path()).faults, []);
    }
}

#[test]
fn a_rebuild_cuts_off_what_a_crash_tore_whatever_is_wrong_in_the_database() {
    let nothing: fn(&Path) = |_| {};
    let ruined: fn(&Path) = |database| {
        for path in files(database, |name| {
            name == "CURRENT" || name.starts_with("MANIFEST")
        }) {
            std::fs::write(path, b"ruined").unwrap();
        }
    };
    let gone: fn(&Path) = |database| std::fs::remove_dir_all(database).unwrap();
    for damage in [nothing, ruined, gone] {
        let folder = support::folder();
        let ledger = ledger_of(folder.path(), 12);
        let state = ledger.state_fingerprint().unwrap();
        drop(ledger);
        let last = files(&folder.path().join("blocks"), |_| true)
            .pop()
            .unwrap();
        let mut bytes = std::fs::read(&last).unwrap();
        let torn = bytes[24..].to_vec();
        bytes.extend_from_slice(&torn[..torn.len().min(300)]);
        std::fs::write(&last, bytes).unwrap();
        damage(&folder.path().join("database"));
        let rebuilt = Ledger::rebuild(folder.path(), &options(), &mut |_| {}).unwrap();
        assert_eq!(rebuilt.ledger.height(), 12);
        assert_eq!(rebuilt.ledger.state_fingerprint().unwrap(), state);
    }
}

#[test]
fn damage_behind_a_rebuild_that_died_is_not_taken_for_a_torn_end() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 12));
    let options = options();
    options.failpoints.set(Point::Reapplied, Action::Full);
    Ledger::rebuild(folder.path(), &options, &mut |_| {}).unwrap_err();
    options.failpoints.clear(Point::Reapplied);
    let blocks = folder.path().join("blocks");
    let path = &files(&blocks, |_| true)[1];
    let length = std::fs::metadata(path).unwrap().len() as usize;
    with_flipped_bit(path, length * 4, || {
        let error = Ledger::open_with(folder.path(), &options, &mut |_| {}).unwrap_err();
        assert!(
            matches!(error, LedgerError::CorruptBlockFile { .. }),
            "{error}"
        );
    });
    assert_eq!(ledger_open(folder.path()).height(), 12);
}

#[test]
fn a_missing_block_file_is_found_and_what_is_behind_it_is_looked_at() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 20));
    let blocks = files(&folder.path().join("blocks"), |_| true);
    assert!(blocks.len() > 3, "only {} files", blocks.len());
    let away = folder.path().join("away");
    for missing in 0..blocks.len() - 1 {
        let path = &blocks[missing];
        std::fs::rename(path, &away).unwrap();
        let verified = verify(folder.path());
        std::fs::rename(&away, path).unwrap();
        let [file, gap, rest @ ..] = &verified.faults[..] else {
            panic!("{:?}", verified.faults);
        };
        assert_eq!((file.file.as_ref(), file.offset), (Some(path), Some(0)));
        assert_eq!(file.what, "the file is missing");
        assert_eq!(gap.file.as_ref(), Some(&blocks[missing + 1]));
        assert!(gap.what.ends_with("should be here"), "{gap}");
        // One gap is one fault, and the blocks behind are read.
        assert_eq!(rest, []);
        assert!(verified.blocks >= 10, "{} blocks", verified.blocks);
        assert!(!verified.unchecked.is_empty());
    }
    // The last one is what the database knows blocks in.
    std::fs::remove_file(blocks.last().unwrap()).unwrap();
    let faults = verify(folder.path()).faults;
    assert!(faults[0].what.contains("ends here"), "{faults:?}");
}

#[test]
fn what_fails_beside_the_ledger_is_no_fault_of_it() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 5));
    let verify_in = |scratch: &Path| {
        consilium_ledger::verify(folder.path(), scratch, &mut |_| Ok(()), &mut |_| {})
    };
    let scratch = support::folder();
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = verify_in(&file).unwrap_err();
    assert!(matches!(error, LedgerError::Storage { .. }), "{error}");
    // A file of the database that is missing is one.
    let database = folder.path().join("database");
    let table = fill_tables(&database).pop().unwrap();
    std::fs::remove_file(table).unwrap();
    assert_ne!(verify_in(scratch.path()).unwrap().faults, []);
    std::fs::remove_file(database.join("CURRENT")).unwrap();
    let faults = verify_in(support::folder().path()).unwrap().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
}
