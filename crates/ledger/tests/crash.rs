//! `kill -9` while blocks are committed: the ledger reopens at a whole block that was not told to
//! anybody before it was durable.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::{IndexFile, Ledger};
use support::{commit, genesis, results, transaction, write};

const FOLDER: &str = "LEDGER_CRASH_FOLDER";
const ROUNDS: u64 = 12;

/// Block `number` is the same in every process.
fn content(number: u64) -> Vec<Bytes> {
    (0..20)
        .map(|index| {
            let results = results("cc", |set| {
                let key = format!("key{}", (number * 7 + index * 3) % 50);
                let text = "x".repeat(300);
                let value = format!(r#"{{"n":{},"text":"{text}"}}"#, number * 20 + index);
                set.writes = vec![write(&key, value.as_bytes())];
            });
            transaction(number * 100 + index, "cc", &results)
        })
        .collect()
}

fn open_or_create(folder: &Path) -> Arc<Ledger> {
    match Ledger::open(folder) {
        Ok(ledger) => ledger,
        Err(_) => Ledger::create(folder, &genesis(&[])).unwrap(),
    }
}

/// Only does something in the child process that the other test starts.
#[test]
#[ignore = "run by the test below, in a process that gets killed"]
fn commit_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let ledger = open_or_create(folder.as_ref());
    declare(&ledger);
    loop {
        let committed = commit(&ledger, content(ledger.height()));
        println!("\ncommitted {}", committed.number);
    }
}

#[test]
fn a_ledger_killed_while_committing_reopens_at_a_whole_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let reference_folder = tempfile::tempdir().unwrap();
    let reference = Ledger::create(reference_folder.path(), &genesis(&[])).unwrap();
    for round in 0..ROUNDS {
        let acknowledged = commit_and_kill(&path, round);

        let ledger = Ledger::open(&path).unwrap();
        let height = ledger.height();
        assert!(
            height > acknowledged,
            "block {acknowledged} was acknowledged and is gone"
        );
        assert!(
            height > reference.height(),
            "round {round} made no progress"
        );
        while reference.height() < height {
            commit(&reference, content(reference.height()));
        }
        for number in 0..height {
            assert_eq!(
                ledger.block_bytes(number).unwrap(),
                reference.block_bytes(number).unwrap(),
                "block {number}"
            );
        }
        assert_eq!(ledger.commit_hash(), reference.commit_hash());
        assert_eq!(
            ledger.state_fingerprint().unwrap(),
            reference.state_fingerprint().unwrap()
        );
        let last = support::tx_id((height - 1) * 100);
        assert_eq!(ledger.tx_status(&last).unwrap().unwrap().block, height - 1);
        let state = ledger.reader().unwrap();
        let of_reference = reference.reader().unwrap();
        let history = |state: &consilium_ledger::StateReader| {
            let history = state.history("cc", "key1").map(Result::unwrap);
            history.collect::<Vec<_>>()
        };
        assert_eq!(history(&state), history(&of_reference));
        declare(&ledger);
        assert_eq!(through_index(&ledger), through_scan(&ledger));
    }
}

fn declare(ledger: &Ledger) {
    let file = IndexFile {
        collection: None,
        name: "n.json".into(),
        content: Bytes::from_static(br#"{"index":{"fields":["n"]},"ddoc":"d","name":"n"}"#),
    };
    ledger.declare_indexes("cc", &[file]).unwrap();
}

/// Keys in the order of the index, sorted afterwards.
fn through_index(ledger: &Ledger) -> Vec<String> {
    let mut simulator = ledger.simulator("tx").unwrap();
    let query = r#"{"selector":{},"sort":["n"]}"#;
    let cursor = simulator.query("cc", query).unwrap();
    let mut keys = Vec::new();
    while let Some((key, _)) = simulator.next(cursor).unwrap() {
        keys.push(key);
    }
    keys.sort();
    keys
}

fn through_scan(ledger: &Ledger) -> Vec<String> {
    let state = ledger.reader().unwrap();
    let keys = state.range("cc", "", "").map(|entry| entry.unwrap().0);
    keys.collect()
}

/// Lets a process commit a while and kills it. Gives back the last block that it acknowledged.
fn commit_and_kill(path: &Path, round: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "commit_until_killed", "--nocapture"])
        .env(FOLDER, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..=round {
        acknowledged = next_acknowledged(&mut lines).expect("the child committed a block");
    }
    // Another moment, so that the kill falls somewhere within a commit.
    std::thread::sleep(Duration::from_micros(round * 700));
    child.kill().unwrap();
    child.wait().unwrap();
    while let Some(number) = next_acknowledged(&mut lines) {
        acknowledged = number;
    }
    acknowledged
}

fn next_acknowledged(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<u64> {
    lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("committed ")?.parse().ok())
}
