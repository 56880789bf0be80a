//! `consilium ledger …` on a small ledger: what each command does, says and ends with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use consilium_ledger::Ledger;
use consilium_peer::maintenance::LedgersLock;
use consilium_proto::protos::TxValidationCode;
use consilium_testkit::validation::{CHANNEL, Generator};

/// A peer's data with one channel.
struct Data {
    folder: tempfile::TempDir,
    blocks: u64,
    transactions: usize,
}

impl Data {
    fn new() -> Self {
        let generator = Generator::new();
        let chain = generator.chain(1, 60);
        let folder = tempfile::tempdir().expect("a folder");
        let ledgers = folder.path().join("ledgers");
        fs::create_dir(&ledgers).expect("a folder");
        let ledger = Ledger::create(ledgers.join(CHANNEL), generator.genesis()).expect("a ledger");
        for (block, expected) in chain.blocks.iter().zip(&chain.expected) {
            // Conflicts are the ledger's to find.
            let codes = expected.codes.iter().map(|code| match code {
                TxValidationCode::MvccReadConflict | TxValidationCode::PhantomReadConflict => {
                    TxValidationCode::Valid
                }
                code => *code,
            });
            let committed = ledger.commit(block.clone(), codes.collect());
            committed.expect("committed");
        }
        let hash = chain.expected.last().map(|expected| expected.commit_hash);
        assert_eq!(ledger.commit_hash(), hash);
        Self {
            folder,
            blocks: ledger.height(),
            transactions: chain.transactions() + 1,
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn channel(&self) -> PathBuf {
        self.path().join("ledgers").join(CHANNEL)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_consilium"))
            .arg("ledger")
            .args(arguments)
            .arg("--data")
            .arg(self.path())
            .output()
            .expect("the program starts")
    }

    /// The same by `peer node`, under the name `peer`, with the folder in the environment.
    fn peer_node(&self, arguments: &[&str]) -> Output {
        let peer = self.path().join("peer");
        if !peer.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_consilium"), &peer).expect("a link");
        }
        Command::new(peer)
            .arg("node")
            .args(arguments)
            .current_dir(self.path())
            .env_remove("FABRIC_CFG_PATH")
            .env("CORE_PEER_FILESYSTEMPATH", self.path())
            .output()
            .expect("the program starts")
    }

    /// Runs a command that succeeds; gives what it says.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("a text")
    }

    /// Runs a command that fails; gives what it says, and the error.
    fn refused(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stdout).expect("a text");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        (said, String::from_utf8(output.stderr).expect("a text"))
    }

    fn height(&self) -> u64 {
        Ledger::open(self.channel()).expect("a ledger").height()
    }
}

#[test]
fn each_command_does_what_it_says() {
    let data = Data::new();
    let (blocks, last) = (data.blocks, data.blocks - 1);
    let verified = data.done(&["verify"]);
    let whole = format!(
        "{CHANNEL}: {blocks} blocks, {} transactions: everything is as it was written\n",
        data.transactions
    );
    assert_eq!(verified, whole);
    assert_eq!(data.done(&["verify", "-c", CHANNEL]), whole);

    fs::remove_dir_all(data.channel().join("database")).expect("removed");
    let rebuilt = data.done(&["rebuild"]);
    assert!(
        rebuilt.contains(&format!("{CHANNEL}: rebuilt up to block {last}\n")),
        "{rebuilt}"
    );
    assert_eq!(data.done(&["verify"]), whole);

    let back = data.done(&["rollback", "--channelID", CHANNEL, "--blockNumber", "2"]);
    let told = format!("{CHANNEL}: rolled back from block {last} to block 2\n");
    assert_eq!(back, told);
    assert_eq!(data.height(), 3);
    assert!(data.done(&["verify"]).contains(": 3 blocks, "));

    let reset = data.done(&["reset"]);
    assert_eq!(
        reset,
        format!("{CHANNEL}: rolled back from block 2 to block 0\n")
    );
    assert_eq!(data.height(), 1);
    let again = data.done(&["reset"]);
    assert_eq!(again, format!("{CHANNEL}: at block 0 already\n"));

    let paused = data.channel().join("paused");
    assert!(data.done(&["pause", "-c", CHANNEL]).contains("paused; "));
    assert!(paused.exists());
    assert!(data.done(&["resume", "-c", CHANNEL]).contains("resumed; "));
    assert!(!paused.exists());

    let removed = data.done(&["unjoin", "-c", CHANNEL]);
    assert_eq!(removed, format!("{CHANNEL}: removed\n"));
    assert!(!data.channel().exists());
    assert_eq!(data.done(&["verify"]), "");
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_and_leaves_everything() {
    let data = Data::new();
    for command in ["verify", "rebuild", "pause", "resume", "unjoin"] {
        let (_, error) = data.refused(&[command, "-c", "nothing"]);
        assert_eq!(
            error, "Error: ledgerID [nothing] does not exist\n",
            "{command}"
        );
    }
    let beyond = data.blocks.to_string();
    let (_, error) = data.refused(&["rollback", "-c", CHANNEL, "-b", &beyond]);
    assert!(error.starts_with("Error: "), "{error}");
    assert!(error.contains(&beyond), "{error}");

    // As a running peer has them.
    let lock = LedgersLock::take(data.path()).expect("the lock");
    for arguments in [
        &["rebuild"][..],
        &["rollback", "-c", CHANNEL, "-b", "1"],
        &["reset"],
        &["pause", "-c", CHANNEL],
        &["resume", "-c", CHANNEL],
        &["unjoin", "-c", CHANNEL],
    ] {
        let (_, error) = data.refused(arguments);
        assert!(error.contains("stop the peer"), "{arguments:?}: {error}");
    }
    assert!(data.done(&["verify"]).contains("as it was written"));
    drop(lock);
    assert_eq!(data.height(), data.blocks);
    assert!(!data.channel().join("paused").exists());

    let elsewhere = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_consilium"))
        .args(["ledger", "reset", "--data"])
        .arg(elsewhere.path())
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("is not the data folder of a peer"),
        "{error}"
    );
    // Not a use of the program: 2, as everywhere.
    let output = data.run(&["rollback", "-c", CHANNEL]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn peer_node_does_the_same_with_fabrics_names_flags_and_environment() {
    let data = Data::new();
    let last = data.blocks - 1;
    let done = |arguments: &[&str]| {
        let output = data.peer_node(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).expect("a text") + &errors
    };
    assert!(done(&["rebuild-dbs"]).contains(&format!("rebuilt up to block {last}\n")));
    done(&["rollback", "-c", CHANNEL, "-b", "2"]);
    assert_eq!(data.height(), 3);
    done(&["reset"]);
    assert_eq!(data.height(), 1);
    done(&["pause", "--channelID", CHANNEL]);
    assert!(data.channel().join("paused").exists());
    done(&["resume", "-c", CHANNEL]);
    assert!(!data.channel().join("paused").exists());
    assert!(done(&["upgrade-dbs"]).contains("nothing to upgrade"));
    done(&["unjoin", "-c", CHANNEL]);
    assert!(!data.channel().exists());

    for (arguments, reason) in [
        (&["rollback"][..], "Error: Must supply channel ID\n"),
        (&["pause"], "Error: Must supply channel ID\n"),
        (&["resume"], "Error: Must supply channel ID\n"),
        (&["unjoin"], "Error: Must supply channel ID\n"),
        (
            &["unjoin", "-c", "nothing"],
            "Error: ledgerID [nothing] does not exist\n",
        ),
        (
            &["reset", "--nonsense"],
            "Error: unknown flag: --nonsense\n",
        ),
    ] {
        let output = data.peer_node(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.starts_with(reason), "{arguments:?}: {error}");
    }
}

#[test]
fn damage_is_named_and_repaired_by_what_it_says() {
    let data = Data::new();
    let file = data.channel().join("blocks/blocks_000000");
    let mut bytes = fs::read(&file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("written");
    let (said, error) = data.refused(&["verify"]);
    assert!(error.contains("faults found"), "{error}");
    assert!(
        said.contains("blocks_000000, offset ") && said.contains(", block "),
        "{said}"
    );
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).expect("written");
    assert!(data.done(&["verify"]).contains("as it was written"));
}

#[test]
fn a_peers_data_is_where_the_file_says_unless_the_environment_says_otherwise() {
    let data = Data::new();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let config = elsewhere.path().join("core.yaml");
    let tls = "{enabled: true, cert: {file: a}, key: {file: b}, rootcert: {file: c}}";
    let settings = format!(
        "{{peer: {{id: p, listenAddress: 'a:1', address: 'a:1', mspConfigPath: msp, localMspId: P, \
         fileSystemPath: nowhere, tls: {tls}}}, vm: {{endpoint: none}}}}"
    );
    fs::write(&config, settings).expect("written");
    let verify = |variable: &str| {
        Command::new(env!("CARGO_BIN_EXE_consilium"))
            .args(["ledger", "verify", "--config"])
            .arg(&config)
            .env(variable, data.path())
            .output()
            .expect("the program starts")
    };
    let output = verify("CORE_PEER_FILESYSTEMPATH");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = verify("ORDERER_PEER_FILESYSTEMPATH");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nowhere"), "{error}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn ledgerutil_checks_chains_and_finds_who_wrote_a_key() {
    let data = Data::new();
    let results = data.path().join("results");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_consilium"))
            .arg("ledgerutil")
            .args(arguments)
            .arg(data.path())
            .arg("-o")
            .arg(&results)
            .output()
            .expect("the program starts");
        let said = String::from_utf8(output.stdout).expect("a text");
        (output.status.code(), said)
    };
    let read = |file: &str| -> serde_json::Value {
        let text = fs::read_to_string(results.join(file)).expect("a result");
        serde_json::from_str(&text).expect("JSON")
    };
    let (code, said) = run(&["verify"]);
    let expected = "\nSuccessfully executed verify tool. No error is found.\n";
    assert_eq!((code, said.as_str()), (Some(0), expected));
    let blocks = format!("{CHANNEL}_verification_result/blocks.json");
    assert_eq!(read(&blocks), serde_json::json!([]));
    let (code, said) = run(&["verify"]);
    assert!(
        code == Some(1) && said.contains("already exists in"),
        "{said}"
    );

    let (name, held, key) = {
        let ledger = Ledger::open(data.channel()).expect("a ledger");
        let state = ledger.reader().expect("a state");
        let names = ["cc1", "cc2", "cc3"]
            .into_iter()
            .flat_map(|name| (0..10).map(move |number| (name, format!("k{number}"))));
        let mut held = names
            .filter_map(|(name, key)| Some((name, state.get(name, &key).expect("read")?, key)));
        held.next().expect("the chain has written something")
    };

    let records = data.path().join("records.json");
    let text = format!(
        r#"{{"ledgerid": "{CHANNEL}", "diffRecords": [{{"namespace": "{name}", "key": "{key}"}}, {{"namespace": "cc1", "key": "never"}}]}}"#
    );
    fs::write(&records, text).expect("written");
    let (code, said) = run(&["identifytxs", &records.to_string_lossy()]);
    let last = data.blocks - 1;
    let expected = format!("Transactions were checked between blocks 1 and {last}.");
    assert!(code == Some(0) && said.ends_with(&expected), "{said}");
    let folder = format!("{CHANNEL}_identified_transactions");
    let never = read(&format!("{folder}/txlist2.json"));
    assert_eq!(
        never,
        serde_json::json!({
            "namespace": "cc1", "key": "never", "txs": [], "blockStoreHeightSufficient": false,
        })
    );
    let found = read(&format!("{folder}/txlist1.json"));
    let found = found["txs"].as_array().expect("a list").clone();
    assert!(!found.is_empty());
    let ledger = Ledger::open(data.channel()).expect("a ledger");
    for transaction in &found {
        let id = transaction["txid"].as_str().expect("an id");
        let status = ledger.tx_status(id).expect("read").expect("known");
        assert_eq!(transaction["txValidationStatus"], status.code.as_str_name());
    }
    // The last valid one wrote what the state holds.
    let valid = found
        .iter()
        .rfind(|transaction| transaction["txValidationStatus"] == "VALID")
        .expect("a valid one");
    let value = String::from_utf8_lossy(&held.value);
    assert_eq!(valid["keyWrite"], value.as_ref());
    assert_eq!(valid["blockNum"], held.version.block);
}
