//! Death at every step of storage, and `kill -9` at hundreds of random moments: each time the ledger
//! reopens at a whole block, no block that was told is lost, it goes on to the same hashes, and its
//! JSON indexes agree with its state. A peer's whole process, with its network, is killed in
//! `consilium/tests/kill`.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::failpoint::{Action, Failpoints, Point};
use consilium_ledger::{IndexFile, Ledger, StoreOptions};
use consilium_proto::common;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use consilium_testkit::recorded::{self, Recording, as_delivered};
use serde_json::{Value, json};
use support::{genesis, results, transaction, write};

const FOLDER: &str = "LEDGER_CRASH_FOLDER";
const TASK: &str = "LEDGER_CRASH_TASK";
const POINT: &str = "LEDGER_CRASH_POINT";
/// How many indexes the child declares while it commits; then the chain is one of our own.
const INDEXED: &str = "LEDGER_CRASH_INDEXED";
const KILLS: u32 = 200;
const KILLS_WITH_INDEXES: u32 = 60;

/// Indexes of the documents in a chain of our own, each of one field.
const INDEXES: [&str; 2] = ["n", "m"];

/// Small, so that files are closed and made all the time.
const FILE_SIZE: u64 = 60_000;

/// Steps of a commit, and how much is written before death where something is being written.
const COMMIT_STEPS: &[(Point, &[Option<usize>])] = &[
    (Point::FileCreated, &[None]),
    (Point::FileHeader, &[Some(0), Some(1), Some(23), Some(24)]),
    (Point::FileSynced, &[None]),
    (
        Point::RecordWrite,
        &[
            Some(0),
            Some(1),
            Some(43),
            Some(44),
            Some(500),
            Some(usize::MAX),
        ],
    ),
    (Point::RecordWritten, &[None]),
    (Point::RecordSynced, &[None]),
    (Point::BatchWrite, &[None]),
    (Point::BatchWritten, &[None]),
];

/// Steps of opening, and at which time death comes.
const RECOVERY_STEPS: &[(Point, u32)] = &[
    (Point::TailFound, 1),
    (Point::TailCut, 1),
    (Point::Reapplied, 1),
    (Point::Reapplied, 17),
];

/// Steps of maintenance of 40 blocks, and the height afterwards.
const MAINTENANCE_STEPS: &[(&str, Point, u64)] = &[
    ("rebuild", Point::RebuildMarked, 40),
    ("rebuild", Point::RebuildDropped, 40),
    ("rebuild", Point::RebuildReset, 40),
    ("rebuild", Point::Reapplied, 40),
    ("rollback", Point::RollbackMarked, 21),
    ("rollback", Point::RollbackCut, 21),
    ("rollback", Point::RebuildDropped, 21),
    ("rollback", Point::RebuildReset, 21),
    ("rollback", Point::Reapplied, 21),
];

/// Blocks of one channel, as an orderer delivers them, and the codes that validation gives them: a
/// channel that Fabric peers recorded, if it is here, else one of our own.
fn chain() -> Vec<(common::Block, Vec<TxValidationCode>)> {
    let Some(recording) = Recording::open() else {
        println!("a chain of our own");
        return own_chain();
    };
    (0..recording.height())
        .map(|number| {
            let block = recording.block(number);
            let codes = recorded::codes_before_mvcc(&block);
            (as_delivered(block), codes)
        })
        .collect()
}

/// JSON documents that are written, deleted and written again.
fn own_chain() -> Vec<(common::Block, Vec<TxValidationCode>)> {
    let mut blocks = vec![(genesis(&[]), vec![TxValidationCode::Valid])];
    for number in 1..60 {
        let data: Vec<Bytes> = (0..20)
            .map(|index| {
                let results = results("cc", |set| {
                    let key = format!("key{}", (number * 7 + index * 3) % 50);
                    let document = json!({
                        "n": (number * 13 + index) % 40, "m": index, "text": "x".repeat(300),
                    });
                    let value = match (number + index) % 9 {
                        0 => String::new(),
                        _ => document.to_string(),
                    };
                    set.writes = vec![write(&key, value.as_bytes())];
                });
                transaction(number * 100 + index, "cc", &results)
            })
            .collect();
        let before = blocks.last().unwrap().0.header.as_ref().unwrap();
        let hash = Bytes::copy_from_slice(&block::header_hash(before));
        let codes = vec![TxValidationCode::Valid; data.len()];
        blocks.push((block::new_block(number, hash, data), codes));
    }
    blocks
}

fn options() -> StoreOptions {
    StoreOptions {
        file_size: FILE_SIZE,
        ..StoreOptions::default()
    }
}

fn open(folder: &Path, options: &StoreOptions) -> Arc<Ledger> {
    Ledger::open_with(folder, options, &mut |_| {}).unwrap()
}

fn commit_next(ledger: &Ledger, chain: &[(common::Block, Vec<TxValidationCode>)]) -> u64 {
    let (block, codes) = chain[ledger.height() as usize].clone();
    ledger.commit(block, codes).unwrap().number
}

/// Only does something in a child process that another test starts.
#[test]
#[ignore = "run by the tests below, in a process that dies"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let options = options();
    if let Ok(point) = std::env::var(POINT) {
        arm(&options.failpoints, &point);
    }
    match std::env::var(TASK).unwrap().as_str() {
        "commit" => {
            let indexed = std::env::var(INDEXED).ok();
            let chain = match indexed {
                Some(_) => own_chain(),
                None => chain(),
            };
            let ledger = if folder.exists() {
                open(&folder, &options)
            } else {
                // As a peer joins: aside, and moved into place when it is whole.
                let aside = folder.with_extension("joining");
                let _ = std::fs::remove_dir_all(&aside);
                drop(Ledger::create_with(&aside, &chain[0].0, &options).unwrap());
                std::fs::rename(&aside, &folder).unwrap();
                open(&folder, &options)
            };
            let reading = ledger.clone();
            // Load: whoever reads sees whole blocks only.
            std::thread::spawn(move || {
                loop {
                    let state = reading.reader().unwrap();
                    let last = reading.block(state.height() - 1).unwrap().unwrap();
                    assert_eq!(block::number(&last), state.height() - 1);
                }
            });
            if let Some(count) = indexed {
                let declaring = ledger.clone();
                // Beside the commits, as a peer does.
                std::thread::spawn(move || declare(&declaring, count.parse().unwrap()));
            }
            println!("\nopened");
            while (ledger.height() as usize) < chain.len() {
                println!("\ncommitted {}", commit_next(&ledger, &chain));
            }
        }
        "open" => drop(open(&folder, &options)),
        "rebuild" => drop(Ledger::rebuild(&folder, &options, &mut |_| {}).unwrap()),
        "rollback" => drop(Ledger::rollback(&folder, 20, &options, &mut |_| {}).unwrap()),
        task => panic!("{task}"),
    }
}

/// Makes the first so many of [`INDEXES`] those of the chaincode.
fn declare(ledger: &Ledger, count: usize) {
    let file = |field: &&str| IndexFile {
        collection: None,
        name: format!("{field}.json"),
        content: json!({"index": {"fields": [field]}, "ddoc": "d", "name": field})
            .to_string()
            .into(),
    };
    let files: Vec<IndexFile> = INDEXES[..count].iter().map(file).collect();
    ledger.declare_indexes("cc", &files).unwrap();
}

/// Asks each index that is complete for everything in its order, and compares that with the state.
/// Gives how many there were.
fn compare_indexes(ledger: &Arc<Ledger>, context: &str) -> usize {
    let state = ledger.reader().unwrap();
    let documents: Vec<(String, Value)> = (0..50)
        .map(|number| format!("key{number}"))
        .filter_map(|key| {
            let stored = state.get("cc", &key).unwrap()?;
            Some((key, serde_json::from_slice(&stored.value).unwrap()))
        })
        .collect();
    let ready = ledger.ready_indexes("cc", None);
    for field in INDEXES {
        if !ready.contains(&format!("d/{field}")) {
            continue;
        }
        let mut expected: Vec<(u64, &str)> = documents
            .iter()
            .map(|(key, document)| (document[field].as_u64().unwrap(), key.as_str()))
            .collect();
        expected.sort();
        let mut simulator = ledger.simulator("query").unwrap();
        let query = json!({"selector": {}, "sort": [field]}).to_string();
        let cursor = simulator.query("cc", &query).unwrap();
        let mut found = Vec::new();
        while let Some((key, _)) = simulator.next(cursor).unwrap() {
            found.push(key);
        }
        let expected: Vec<&str> = expected.into_iter().map(|(_, key)| key).collect();
        assert_eq!(found, expected, "{context}: index {field}");
    }
    ready.len()
}

/// `index times [bytes]`: dies at a point the so-many-th time, after so many bytes.
fn arm(failpoints: &Failpoints, point: &str) {
    let numbers: Vec<usize> = point.split(' ').map(|n| n.parse().unwrap()).collect();
    let times = numbers[1] as u32;
    let action = match numbers.get(2) {
        Some(bytes) => Action::Tear(times, *bytes),
        None => Action::Abort(times),
    };
    failpoints.set(Point::ALL[numbers[0]], action);
}

fn start(folder: &Path, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(TASK, task)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn die_at(folder: &Path, task: &str, point: Point, times: u32, bytes: Option<usize>) -> ExitStatus {
    let index = Point::ALL.iter().position(|p| *p == point).unwrap();
    let bytes = bytes.map(|bytes| format!(" {bytes}")).unwrap_or_default();
    start(folder, task)
        .env(POINT, format!("{index} {times}{bytes}"))
        .output()
        .unwrap()
        .status
}

/// What a ledger that never crashed has at each height.
struct Reference {
    chain: Vec<(common::Block, Vec<TxValidationCode>)>,
    at: Vec<(Option<[u8; 32]>, [u8; 32], Bytes)>,
}

impl Reference {
    fn new() -> Self {
        Self::of(chain())
    }

    fn of(chain: Vec<(common::Block, Vec<TxValidationCode>)>) -> Self {
        let folder = support::folder();
        let ledger = Ledger::create_with(folder.path(), &chain[0].0, &options()).unwrap();
        let mut at = Vec::new();
        loop {
            let height = ledger.height();
            let last = ledger.block_bytes(height - 1).unwrap().unwrap();
            let state = ledger.state_fingerprint().unwrap();
            at.push((ledger.commit_hash(), state, last));
            if height as usize == chain.len() {
                return Reference { chain, at };
            }
            commit_next(&ledger, &chain);
        }
    }

    /// A ledger with the first so many blocks.
    fn ledger(&self, folder: &Path, blocks: u64) {
        let ledger = Ledger::create_with(folder, &self.chain[0].0, &options()).unwrap();
        while ledger.height() < blocks {
            commit_next(&ledger, &self.chain);
        }
    }

    /// Opens a ledger and compares all of it. Gives its height.
    fn check(&self, folder: &Path, context: &str) -> u64 {
        let ledger = open(folder, &options());
        self.compare(&ledger, context);
        ledger.height()
    }

    fn compare(&self, ledger: &Ledger, context: &str) {
        let height = ledger.height();
        let (hash, state, _) = &self.at[height as usize - 1];
        assert_eq!(ledger.commit_hash(), *hash, "{context}");
        assert_eq!(ledger.state_fingerprint().unwrap(), *state, "{context}");
        for number in 0..height {
            let bytes = ledger.block_bytes(number).unwrap();
            assert_eq!(
                bytes.as_ref(),
                Some(&self.at[number as usize].2),
                "{context}"
            );
        }
        assert_eq!(ledger.block_bytes(height).unwrap(), None, "{context}");
    }

    /// Opens a ledger, compares it, and commits the rest of the chain.
    fn go_on(&self, folder: &Path, context: &str) {
        let ledger = open(folder, &options());
        self.compare(&ledger, context);
        while (ledger.height() as usize) < self.chain.len() {
            commit_next(&ledger, &self.chain);
        }
        self.compare(&ledger, context);
    }
}

#[test]
fn death_at_any_step_of_a_commit_leaves_a_whole_block() {
    let reference = Reference::new();
    for (point, cuts) in COMMIT_STEPS {
        for bytes in *cuts {
            let folder = support::folder();
            let path = folder.path().join("ledger");
            reference.ledger(&path, 10);
            let context = format!("{point:?}, {bytes:?} bytes");
            let status = die_at(&path, "commit", *point, 2, *bytes);
            assert!(!status.success(), "{context}: nothing happened");
            let height = reference.check(&path, &context);
            assert!(height >= 10, "{context}");
            reference.go_on(&path, &context);
        }
    }
}

#[test]
fn death_while_a_ledger_recovers_changes_nothing() {
    let reference = Reference::new();
    for (point, times) in RECOVERY_STEPS.iter().copied() {
        let folder = support::folder();
        let path = folder.path().join("ledger");
        reference.ledger(&path, 30);
        let context = format!("{point:?}, time {times}");
        if point == Point::Reapplied {
            std::fs::remove_dir_all(path.join("database")).unwrap();
        } else {
            die_at(&path, "commit", Point::RecordWrite, 1, Some(300));
        }
        let status = die_at(&path, "open", point, times, None);
        assert!(!status.success(), "{context}: nothing happened");
        assert_eq!(reference.check(&path, &context), 30, "{context}");
        reference.go_on(&path, &context);
    }
}

#[test]
fn death_while_a_ledger_is_rebuilt_or_rolled_back_is_made_good_when_it_opens() {
    let reference = Reference::new();
    for (task, point, height) in MAINTENANCE_STEPS.iter().copied() {
        let folder = support::folder();
        let path = folder.path().join("ledger");
        reference.ledger(&path, 40);
        let context = format!("{task}, {point:?}");
        let status = die_at(&path, task, point, 1, None);
        assert!(!status.success(), "{context}: nothing happened");
        assert_eq!(reference.check(&path, &context), height, "{context}");
        reference.go_on(&path, &context);
    }
}

#[test]
fn every_step_has_its_death() {
    let commit = COMMIT_STEPS.iter().map(|step| step.0);
    let recovery = RECOVERY_STEPS.iter().map(|step| step.0);
    let maintenance = MAINTENANCE_STEPS.iter().map(|step| step.1);
    let tried: Vec<Point> = commit.chain(recovery).chain(maintenance).collect();
    for point in Point::ALL {
        assert!(tried.contains(point), "{point:?}");
    }
}

#[test]
fn a_ledger_killed_at_hundreds_of_moments_goes_on_to_the_same_hashes() {
    let reference = Reference::new();
    let folder = support::folder();
    let path = folder.path().join("ledger");
    let (mut finished, mut progress, mut within) = (0, 0, 0);
    let mut height = 0;
    for round in 0..KILLS {
        let acknowledged = run_and_kill(start(&path, "commit"), round);
        if !path.exists() {
            continue;
        }
        let context = format!("kill {round}");
        let reached = reference.check(&path, &context);
        if let Some(acknowledged) = acknowledged {
            assert!(
                reached > acknowledged,
                "{context}: block {acknowledged} is gone"
            );
            within += u32::from(reached > acknowledged + 1);
        }
        assert!(reached >= height, "{context}");
        progress += reached - height;
        height = reached;
        if height as usize == reference.chain.len() {
            finished += 1;
            height = 0;
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
    println!(
        "{progress} blocks, {finished} chains, {within} kills after a block was durable and not told"
    );
    assert!(progress > u64::from(KILLS), "only {progress} blocks");
}

#[test]
fn indexes_agree_with_the_state_whenever_a_ledger_is_killed() {
    let reference = Reference::of(own_chain());
    let folder = support::folder();
    let path = folder.path().join("ledger");
    let (mut complete, mut building) = (0, 0);
    for round in 0..KILLS_WITH_INDEXES {
        // The second one goes and comes back.
        let declared = 1 + (round / 2) as usize % 2;
        let mut command = start(&path, "commit");
        command.env(INDEXED, declared.to_string());
        run_and_kill(command, round);
        if !path.exists() {
            continue;
        }
        let context = format!("kill {round}");
        let ledger = open(&path, &options());
        reference.compare(&ledger, &context);
        let ready = compare_indexes(&ledger, &context);
        complete += ready;
        building += declared.saturating_sub(ready);
        if round.is_multiple_of(5) {
            // What was interrupted is taken up.
            declare(&ledger, INDEXES.len());
            assert_eq!(compare_indexes(&ledger, &context), INDEXES.len());
        }
        let height = ledger.height();
        drop(ledger);
        if height as usize == reference.chain.len() {
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
    println!("{complete} complete indexes compared, {building} were not complete");
    assert!(
        complete >= KILLS_WITH_INDEXES as usize / 2,
        "only {complete}"
    );
}

/// Lets a process commit a while and kills it. Gives the last block that it acknowledged.
fn run_and_kill(mut command: Command, round: u32) -> Option<u64> {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Now and then while it opens; else some blocks later, and a moment more.
    if !round.is_multiple_of(10) {
        let _ = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line == "opened");
        for _ in 0..round % 7 {
            let _ = next_acknowledged(&mut lines);
        }
    }
    std::thread::sleep(Duration::from_micros(u64::from(round) * 7919 % 3000));
    child.kill().unwrap();
    child.wait().unwrap();
    std::iter::from_fn(|| next_acknowledged(&mut lines)).last()
}

fn next_acknowledged(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<u64> {
    lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("committed ")?.parse().ok())
}
