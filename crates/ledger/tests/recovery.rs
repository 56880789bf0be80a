//! Opening after a crash, with every kind of torn end: database and block files come back to one
//! whole block. What a crash cannot have done is refused, with its place.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{BlockStore, Ledger, LedgerError, StoreOptions};
use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;
use support::{commit, genesis, results, transaction, write};
use tempfile::TempDir;

/// Several blocks in each file.
fn small_files() -> StoreOptions {
    StoreOptions {
        file_size: 4000,
        ..StoreOptions::default()
    }
}

fn content(number: u64) -> Vec<Bytes> {
    let put = results("cc", |set| {
        let key = format!("key{}", number % 5);
        set.writes = vec![write(&key, format!("value of {number}").as_bytes())];
    });
    vec![
        transaction(number * 10, "cc", &put),
        transaction(number * 10 + 1, "cc", &put),
    ]
}

fn ledger_of(folder: &Path, blocks: u64) -> Arc<Ledger> {
    let ledger = Ledger::create_with(folder, &genesis(&[]), &small_files()).unwrap();
    while ledger.height() < blocks {
        commit(&ledger, content(ledger.height()));
    }
    ledger
}

fn open(folder: &Path) -> Result<Arc<Ledger>, LedgerError> {
    Ledger::open_with(folder, &small_files(), &mut |_| {})
}

/// Height, commit hash, state, blocks.
type Fingerprint = (u64, Option<[u8; 32]>, [u8; 32], Vec<Option<Bytes>>);

/// What has to be the same after a recovery.
fn fingerprint(ledger: &Ledger) -> Fingerprint {
    let blocks = (0..ledger.height()).map(|number| ledger.block_bytes(number).unwrap());
    (
        ledger.height(),
        ledger.commit_hash(),
        ledger.state_fingerprint().unwrap(),
        blocks.collect(),
    )
}

fn copy(from: &Path) -> TempDir {
    let to = support::folder();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_into(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn sorted(folder: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| keep(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    paths.sort();
    paths
}

fn block_files(folder: &Path) -> Vec<PathBuf> {
    sorted(&folder.join("blocks"), |name| name.starts_with("blocks_"))
}

fn truncate(path: &Path, length: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

fn flip(path: &Path, byte: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[byte as usize] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn blocks_fill_one_file_after_another_and_are_found_again() {
    let folder = support::folder();
    let before = fingerprint(&ledger_of(folder.path(), 30));
    let files = block_files(folder.path());
    assert!(files.len() > 3, "only {} files", files.len());
    for file in &files {
        assert!(length(file) <= 4000, "{} is too large", file.display());
    }
    let ledger = open(folder.path()).unwrap();
    assert_eq!(fingerprint(&ledger), before);
    for number in 0..30 {
        let block = ledger.block(number).unwrap().unwrap();
        let hash = block::header_hash(block.header.as_ref().unwrap());
        assert_eq!(ledger.block_by_hash(&hash).unwrap().unwrap(), block);
    }
    let found = ledger.transaction(&support::tx_id(171)).unwrap().unwrap();
    assert_eq!(
        found.transaction_envelope.unwrap().encode_to_vec(),
        content(17)[1]
    );
}

#[test]
fn a_database_that_lost_its_last_writes_follows_the_block_files() {
    let folder = support::folder();
    let before = fingerprint(&ledger_of(folder.path(), 20));
    let logs = sorted(&folder.path().join("database"), |n| n.ends_with(".log"));
    let full = length(logs.last().unwrap());
    let mut fell_behind = 0;
    for part in 0..8 {
        let crashed = copy(folder.path());
        let logs = sorted(&crashed.path().join("database"), |n| n.ends_with(".log"));
        truncate(logs.last().unwrap(), full * part / 8);
        let mut applied = 0;
        let ledger = Ledger::open_with(crashed.path(), &small_files(), &mut |progress| {
            applied += 1;
            assert!(progress.done <= progress.total);
        });
        assert_eq!(fingerprint(&ledger.unwrap()), before, "part {part}");
        fell_behind += usize::from(applied > 0);
    }
    assert!(fell_behind > 5, "only {fell_behind} were behind");
}

#[test]
fn a_database_that_is_gone_is_made_again_from_the_block_files() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 20);
    let before = fingerprint(&ledger);
    drop(ledger);
    std::fs::remove_dir_all(folder.path().join("database")).unwrap();
    let ledger = open(folder.path()).unwrap();
    assert_eq!(fingerprint(&ledger), before);
    assert_eq!(ledger.channel_id(), support::CHANNEL);
    let mut reference = commit(&ledger, content(20)).commit_hash;
    let other = support::folder();
    assert_eq!(ledger_of(other.path(), 21).commit_hash(), reference.take());
}

#[test]
fn a_block_torn_at_any_byte_is_cut_off_and_committed_again() {
    let folder = support::folder();
    let ledger = ledger_of(folder.path(), 8);
    let before = fingerprint(&ledger);
    let database = support::folder();
    drop(ledger);
    copy_into(&folder.path().join("database"), database.path());
    let whole = length(block_files(folder.path()).last().unwrap());
    let ledger = open(folder.path()).unwrap();
    commit(&ledger, content(8));
    let after = fingerprint(&ledger);
    drop(ledger);
    // The block is in the file, and the database has not heard of it.
    std::fs::remove_dir_all(folder.path().join("database")).unwrap();
    copy_into(database.path(), &folder.path().join("database"));
    let torn = length(block_files(folder.path()).last().unwrap());
    assert!(torn > whole, "block 8 began a new file");
    for length in (whole..torn).step_by(41) {
        let crashed = copy(folder.path());
        truncate(block_files(crashed.path()).last().unwrap(), length);
        let ledger = open(crashed.path()).unwrap();
        assert_eq!(fingerprint(&ledger), before, "{length} of {torn} bytes");
        commit(&ledger, content(8));
        assert_eq!(fingerprint(&ledger), after, "{length} of {torn} bytes");
    }
    // The whole record counts.
    assert_eq!(fingerprint(&open(folder.path()).unwrap()), after);
}

#[test]
fn a_file_that_a_crash_left_without_a_beginning_is_made_again() {
    let folder = support::folder();
    let before = fingerprint(&ledger_of(folder.path(), 10));
    let next = block_files(folder.path()).len();
    for length in [0, 1, 23, 24] {
        let crashed = copy(folder.path());
        let path = crashed.path().join(format!("blocks/blocks_{next:06}"));
        std::fs::write(&path, vec![0; length]).unwrap();
        let ledger = open(crashed.path()).unwrap();
        assert_eq!(fingerprint(&ledger), before);
        while !path.exists() {
            commit(&ledger, content(ledger.height()));
        }
        let before = fingerprint(&ledger);
        drop(ledger);
        assert_eq!(fingerprint(&open(crashed.path()).unwrap()), before);
    }
}

#[test]
fn damage_that_no_crash_can_do_is_refused_with_its_place_and_its_repair() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 20));
    let files = block_files(folder.path());

    // Where the database stands, within what was synced.
    let shorter = copy(folder.path());
    let last = block_files(shorter.path()).pop().unwrap();
    truncate(&last, length(&last) - 1);
    let error = open(shorter.path()).unwrap_err().to_string();
    assert!(error.contains(last.to_str().unwrap()), "{error}");
    assert!(error.contains("consilium ledger rebuild"), "{error}");

    // With the database gone, everything is read again.
    for file in [0, 1] {
        let damaged = copy(folder.path());
        std::fs::remove_dir_all(damaged.path().join("database")).unwrap();
        let path = &block_files(damaged.path())[file];
        flip(path, length(&files[file]) / 2);
        let error = open(damaged.path()).unwrap_err();
        let LedgerError::CorruptBlockFile {
            file,
            offset,
            repair,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(file, path);
        assert!(*offset > 0 && *offset < length(path) / 2, "{error}");
        assert!(repair.contains("consilium ledger"), "{error}");
    }

    let missing = copy(folder.path());
    std::fs::remove_dir_all(missing.path().join("database")).unwrap();
    std::fs::remove_file(missing.path().join("blocks/blocks_000001")).unwrap();
    let error = open(missing.path()).unwrap_err().to_string();
    assert!(error.contains("blocks_000001"), "{error}");

    // A block is checked whenever it is read.
    let damaged = copy(folder.path());
    flip(&block_files(damaged.path())[0], length(&files[0]) / 2);
    let ledger = open(damaged.path()).unwrap();
    let failed: Vec<_> = (0..20)
        .filter_map(|number| Some((number, ledger.block_bytes(number).err()?)))
        .collect();
    let [(number, error)] = &failed[..] else {
        panic!("{failed:?}");
    };
    assert!(error.to_string().contains(&format!("block {number}")));
}

#[test]
fn a_damaged_database_is_refused_with_its_repair() {
    let folder = support::folder();
    drop(ledger_of(folder.path(), 5));
    let manifests = sorted(&folder.path().join("database"), |n| {
        n.starts_with("MANIFEST")
    });
    let manifest = manifests.last().unwrap();
    flip(manifest, length(manifest) / 2);
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("consilium ledger rebuild"), "{error}");
    assert!(
        error.contains(folder.path().join("database").to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn a_ledger_that_somebody_has_open_is_refused() {
    let folder = support::folder();
    let _open = ledger_of(folder.path(), 2);
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, LedgerError::InUse(_)), "{error}");
}

/// Blocks of an orderer: `(number, with an extra "applied" = number)`.
fn orderer_block(store: &BlockStore) -> common::Block {
    let number = store.height();
    let previous = store.last_header_hash().unwrap_or_default();
    block::new_block(number, previous, vec![Bytes::from(format!("tx {number}"))])
}

fn append(store: &BlockStore, sync: bool) {
    let applied = (b"applied".to_vec(), store.height().to_string().into_bytes());
    store
        .append(&orderer_block(store), &[applied], sync)
        .unwrap();
}

fn extra(store: &BlockStore, key: &str) -> Option<String> {
    let value = store.extra(key.as_bytes()).unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn put(store: &BlockStore, key: &str, value: &str, sync: bool) {
    let record = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    store.put_extra(&[record], sync).unwrap();
}

#[test]
fn an_orderer_that_lost_power_has_its_records_as_of_its_last_block() {
    let folder = support::folder();
    let file = folder.path().join("blocks/blocks_000000");
    // (length of the file, height, applied, note) after each write.
    let mut stages = Vec::new();
    {
        let store = BlockStore::open(folder.path()).unwrap();
        let mut staged = |store: &BlockStore| {
            let (applied, note) = (extra(store, "applied"), extra(store, "note"));
            stages.push((length(&file), store.height(), applied, note));
        };
        append(&store, false);
        put(&store, "note", "one", false);
        append(&store, false);
        put(&store, "mark", "x", true);
        staged(&store);
        append(&store, false);
        staged(&store);
        put(&store, "note", "two", false);
        staged(&store);
        // Without records beside it.
        store.append(&orderer_block(&store), &[], false).unwrap();
        staged(&store);
        put(&store, "note", "three", false);
        staged(&store);
        append(&store, false);
        staged(&store);
    }
    let (from, to) = (stages[0].0, stages.last().unwrap().0);
    let logs = sorted(&folder.path().join("database"), |n| n.ends_with(".log"));
    let log = length(logs.last().unwrap());
    for length in (from..=to)
        .step_by(7)
        .chain(stages.iter().map(|stage| stage.0))
    {
        let want = stages.iter().rfind(|stage| stage.0 <= length).unwrap();
        // Alone, and with a database that lost a part, too.
        for kept in [log, log * (length % 11) / 11] {
            let crashed = copy(folder.path());
            truncate(&block_files(crashed.path())[0], length);
            let logs = sorted(&crashed.path().join("database"), |n| n.ends_with(".log"));
            truncate(logs.last().unwrap(), kept);
            let store = BlockStore::open(crashed.path()).unwrap();
            let context = format!("{length} of {to} bytes, {kept} of {log} in the log");
            assert_eq!(store.height(), want.1, "{context}");
            assert_eq!(extra(&store, "applied"), want.2, "{context}");
            assert_eq!(extra(&store, "note"), want.3, "{context}");
            assert_eq!(extra(&store, "mark").as_deref(), Some("x"), "{context}");
            assert_eq!(store.block_bytes(want.1).unwrap(), None, "{context}");
            append(&store, false);
            let (height, hash) = (store.height(), store.last_header_hash());
            drop(store);
            let store = BlockStore::open(crashed.path()).unwrap();
            assert_eq!((store.height(), store.last_header_hash()), (height, hash));
        }
    }
}

#[test]
fn an_orderer_that_lost_what_it_had_synced_is_refused() {
    let folder = support::folder();
    {
        let store = BlockStore::open(folder.path()).unwrap();
        append(&store, false);
        append(&store, true);
        append(&store, false);
    }
    let file = folder.path().join("blocks/blocks_000000");
    flip(&file, length(&file) / 3);
    // It opens as long as nobody looks, and says where it is damaged when somebody does.
    let store = BlockStore::open(folder.path()).unwrap();
    let error = (0..3).find_map(|number| store.block(number).err()).unwrap();
    assert!(error.to_string().contains("blocks_000000"), "{error}");
    drop(store);
    truncate(&file, 30);
    let error = BlockStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("join it again"), "{error}");
}
