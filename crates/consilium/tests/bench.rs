//! `consilium bench` on parts of a peer: what it counts is right. Never how fast it is.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_consilium"))
        .arg("bench")
        .args(args)
        .output()
        .expect("the binary runs")
}

fn report(args: &[&str]) -> Value {
    let output = bench(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn replay(chain: &Path, transactions: &str) -> Vec<String> {
    let chain = chain.to_str().expect("a path in UTF-8");
    [
        "replay",
        "--transactions",
        transactions,
        "--block-size",
        "40",
        "--ceiling",
        "20ms",
        "--json",
        "--chain",
        chain,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn a_replay_commits_every_transaction_and_a_kept_chain_gives_the_same_commit_hash_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = folder.path().join("chain");
    let args = replay(&chain, "300");
    let first = report(&refs(&args));
    assert_eq!(first["transactions"], 300);
    // With the definition of the chaincode, which is block 1.
    assert_eq!(first["valid"], 301);
    assert_eq!(first["blocks"], 2 + 8);
    for positive in [
        "transactions_per_second",
        "ceiling_per_second",
        "ceiling_before",
        "ceiling_after",
        "percent_of_ceiling",
        "peak_memory_bytes",
        "block_file_bytes_per_transaction",
        "database_bytes_per_transaction",
    ] {
        let value = first[positive].as_f64().unwrap_or_default();
        assert!(value > 0.0, "{positive}: {}", first[positive]);
    }
    let hash = first["commit_hash"].as_str().expect("a hash");
    assert_eq!(hash.len(), 64);

    let again = report(&refs(&args));
    assert_eq!(again["commit_hash"], first["commit_hash"]);

    let other = bench(&refs(&replay(&chain, "301")));
    assert!(!other.status.success());
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(said.contains("holds a chain of 300 transactions"), "{said}");
}

#[test]
fn a_chain_that_was_tampered_with_is_not_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = folder.path().join("chain");
    let args = replay(&chain, "100");
    report(&refs(&args));
    let file = chain.join("blocks/blocks/blocks_000000");
    let mut bytes = std::fs::read(&file).expect("a block file");
    let middle = bytes.len() * 9 / 10;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let output = bench(&refs(&args));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("checksum"), "{said}");
}

#[test]
fn a_ledger_of_many_small_blocks_is_made_once_and_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    let ledger = ledger.to_str().expect("a path in UTF-8");
    let args = ["cold-start", "--blocks", "50", "--json", "--ledger", ledger];
    for _ in 0..2 {
        let report = report(&args);
        assert_eq!(report["blocks"], 50);
        for positive in ["block_file_bytes", "database_bytes", "cold_ms", "warm_ms"] {
            let value = report[positive].as_f64().unwrap_or_default();
            assert!(value > 0.0, "{positive}: {}", report[positive]);
        }
    }
    let other = bench(&["cold-start", "--blocks", "51", "--ledger", ledger]);
    assert!(!other.status.success());
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(said.contains("has 50 blocks"), "{said}");
}
