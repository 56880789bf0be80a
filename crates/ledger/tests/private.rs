//! Private data: from simulation over the transient store into private state, and out of it again.

mod support;

use std::sync::{Arc, Barrier};

use bytes::Bytes;
use consilium_ledger::{IndexFile, Ledger, LedgerError, Origin, SimulationResults};
use consilium_proto::protos::TxValidationCode::{self, *};
use consilium_proto::transientstore::TxPvtReadWriteSetWithConfigInfo;
use consilium_proto::{kvrwset, lifecycle, protos};
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::TxRwSet;
use prost::Message;
use support::{
    commit, encode, genesis, next_block, results, transaction, transaction_with_results, tx_id,
    write,
};

const CC: &str = "cc";

/// A ledger where `cc` has the collections `long` and `short` (block to live 2).
fn ledger_with_collections() -> (tempfile::TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&["Org1MSP"])).unwrap();
    let collection = |name: &str, block_to_live| protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(
            protos::StaticCollectionConfig {
                name: name.into(),
                block_to_live,
                ..Default::default()
            },
        )),
    };
    let package = protos::CollectionConfigPackage {
        config: vec![collection("long", 0), collection("short", 2)],
    };
    let metadata = lifecycle::StateMetadata {
        datatype: "ChaincodeDefinition".into(),
        fields: Vec::new(),
    };
    let data = |value| lifecycle::StateData {
        r#type: Some(value),
    };
    let bytes = |value| encode(&data(lifecycle::state_data::Type::Bytes(value)));
    let definition = results("_lifecycle", |set| {
        set.writes = vec![
            write("namespaces/fields/cc/Collections", &bytes(encode(&package))),
            write("namespaces/fields/cc/EndorsementInfo", &bytes(Bytes::new())),
            write(
                "namespaces/fields/cc/Sequence",
                &encode(&data(lifecycle::state_data::Type::Int64(1))),
            ),
            write("namespaces/fields/cc/ValidationInfo", &bytes(Bytes::new())),
            write("namespaces/metadata/cc", &encode(&metadata)),
        ];
    });
    commit(&ledger, vec![transaction(1, "_lifecycle", &definition)]);
    (folder, ledger)
}

/// Simulates putting `key` = `value` in a collection.
fn put(ledger: &Ledger, collection: &str, key: &str, value: &str) -> SimulationResults {
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator
        .put_private(
            CC,
            collection,
            key,
            Bytes::copy_from_slice(value.as_bytes()),
        )
        .unwrap();
    simulator.finish().unwrap()
}

/// Commits simulation results as the only transaction of a block, with its private data at hand.
fn commit_staged(ledger: &Arc<Ledger>, nonce: u64, results: SimulationResults) {
    ledger
        .stage_private(&tx_id(nonce), results.private.unwrap())
        .unwrap();
    commit_public(ledger, nonce, results.public);
}

fn commit_public(ledger: &Arc<Ledger>, nonce: u64, public: Bytes) {
    let committed = commit(ledger, vec![transaction_with_results(nonce, CC, public)]);
    assert_eq!(committed.codes, [Valid]);
}

fn clear_value(ledger: &Ledger, collection: &str, key: &str) -> Result<Option<String>, String> {
    let state = ledger.reader().unwrap();
    match state.get_private(CC, collection, key) {
        Ok(value) => Ok(value.map(|value| String::from_utf8(value.value.to_vec()).unwrap())),
        Err(error) => Err(error.to_string()),
    }
}

fn hashed_value(ledger: &Ledger, collection: &str, key: &str) -> Option<Bytes> {
    let state = ledger.reader().unwrap();
    let value = state.get_hashed(CC, collection, &sha256(key.as_bytes()));
    value.unwrap().map(|value| value.value)
}

#[test]
fn staged_values_become_readable_when_their_transaction_commits() {
    let (_folder, ledger) = ledger_with_collections();
    commit_staged(&ledger, 2, put(&ledger, "long", "k", "secret"));
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(Some("secret".into())));
    assert_eq!(
        hashed_value(&ledger, "long", "k").unwrap(),
        sha256(b"secret")[..]
    );

    let stored = ledger.private_data(2).unwrap();
    let set = &stored[&0].ns_pvt_rwset[0];
    assert_eq!((stored.len(), set.namespace.as_str()), (1, CC));
    let clear = kvrwset::KvrwSet::decode(set.collection_pvt_rwset[0].rwset.clone()).unwrap();
    assert_eq!(clear.writes, [write("k", b"secret")]);

    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.private_range(CC, "long", "", "").unwrap();
    assert_eq!(
        simulator.next(cursor).unwrap(),
        Some(("k".into(), Bytes::from_static(b"secret")))
    );
    assert_eq!(simulator.next(cursor).unwrap(), None);
}

#[test]
fn without_the_clear_values_the_hash_is_there_and_reading_says_which_version_is_missing() {
    let (_folder, ledger) = ledger_with_collections();
    let results = put(&ledger, "long", "k", "secret");
    // Something else is staged under the same id: its hash is not the one in the block.
    let forged = put(&ledger, "long", "k", "forged").private.unwrap();
    ledger.stage_private(&tx_id(2), forged).unwrap();
    commit_public(&ledger, 2, results.public);
    assert!(hashed_value(&ledger, "long", "k").is_some());
    assert_eq!(
        clear_value(&ledger, "long", "k"),
        Err("private data matching public hash version is not available. Public hash version = {BlockNum: 2, TxNum: 0}, Private data version = <nil>".into())
    );
    assert_eq!(clear_value(&ledger, "long", "other"), Ok(None));
    assert!(ledger.private_data(2).unwrap().is_empty());
}

#[test]
fn private_data_of_an_invalid_transaction_is_kept_but_not_applied() {
    let (_folder, ledger) = ledger_with_collections();
    let results = put(&ledger, "long", "k", "secret");
    ledger
        .stage_private(&tx_id(2), results.private.unwrap())
        .unwrap();
    let block = next_block(
        &ledger,
        vec![transaction_with_results(2, CC, results.public)],
    );
    let codes: Vec<TxValidationCode> = vec![EndorsementPolicyFailure];
    ledger.commit(block, codes).unwrap();
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(None));
    assert_eq!(ledger.private_data(2).unwrap().len(), 1);
}

#[test]
fn staged_values_survive_a_restart() {
    let (folder, ledger) = ledger_with_collections();
    let results = put(&ledger, "long", "k", "secret");
    ledger
        .stage_private(&tx_id(2), results.private.unwrap())
        .unwrap();
    drop(ledger);
    let ledger = Ledger::open(folder.path()).unwrap();
    commit_public(&ledger, 2, results.public);
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(Some("secret".into())));
}

#[test]
fn a_metadata_change_alone_takes_the_clear_value_to_its_version() {
    let (_folder, ledger) = ledger_with_collections();
    commit_staged(&ledger, 2, put(&ledger, "long", "k", "secret"));
    let mut simulator = ledger.simulator("tx").unwrap();
    let policy = [("VALIDATION_PARAMETER".to_owned(), Bytes::from_static(b"p"))];
    simulator
        .put_private_metadata(CC, "long", "k", policy.into())
        .unwrap();
    commit_staged(&ledger, 3, simulator.finish().unwrap());
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(Some("secret".into())));
    let mut simulator = ledger.simulator("tx").unwrap();
    let metadata = simulator.get_private_metadata(CC, "long", "k").unwrap();
    assert_eq!(metadata["VALIDATION_PARAMETER"], "p");
}

#[test]
fn a_purge_takes_the_clear_value_away_also_where_the_clear_set_is_missing() {
    let (_folder, ledger) = ledger_with_collections();
    commit_staged(&ledger, 2, put(&ledger, "long", "k", "secret"));
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator.purge_private(CC, "long", "k").unwrap();
    commit_public(&ledger, 3, simulator.finish().unwrap().public);
    assert_eq!(hashed_value(&ledger, "long", "k"), None);
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(None));
}

#[test]
fn a_collection_with_block_to_live_forgets_keys_that_nobody_rewrote() {
    let (_folder, ledger) = ledger_with_collections();
    commit_staged(&ledger, 2, put(&ledger, "short", "k", "first"));
    commit_staged(&ledger, 3, put(&ledger, "short", "rewritten", "first"));
    let nothing = |nonce| {
        let put = results(CC, |set| set.writes = vec![write("public", &[nonce as u8])]);
        commit(&ledger, vec![transaction(nonce, CC, &put)])
    };
    // Block 4: `k` was written in block 2 and lives through block 4.
    commit_staged(&ledger, 4, put(&ledger, "short", "rewritten", "second"));
    assert_eq!(clear_value(&ledger, "short", "k"), Ok(Some("first".into())));
    assert!(ledger.private_data(2).unwrap().contains_key(&0));
    // Block 5 = 2 + 2 + 1.
    nothing(5);
    assert_eq!(clear_value(&ledger, "short", "k"), Ok(None));
    assert_eq!(hashed_value(&ledger, "short", "k"), None);
    assert!(ledger.private_data(2).unwrap().is_empty());
    // Block 6 would expire what block 3 wrote, but block 4 rewrote it.
    nothing(6);
    assert_eq!(
        clear_value(&ledger, "short", "rewritten"),
        Ok(Some("second".into()))
    );
    nothing(7);
    assert_eq!(hashed_value(&ledger, "short", "rewritten"), None);
}

#[test]
fn touching_a_collection_reads_the_whole_definition_once() {
    let (_folder, ledger) = ledger_with_collections();
    let public = put(&ledger, "long", "k", "secret").public;
    let set = TxRwSet::parse(&public).unwrap();
    let reads = |namespace: &str| -> Vec<String> {
        let namespace = set.namespace(namespace).unwrap();
        namespace
            .reads
            .iter()
            .map(|read| read.key.clone())
            .collect()
    };
    assert_eq!(
        reads("_lifecycle"),
        [
            "namespaces/fields/cc/Collections",
            "namespaces/fields/cc/EndorsementInfo",
            "namespaces/fields/cc/Sequence",
            "namespaces/fields/cc/ValidationInfo",
            "namespaces/metadata/cc",
        ]
    );
    assert!(reads(CC).is_empty());
}

#[test]
fn collections_that_are_not_defined_are_refused_with_fabrics_words() {
    let (_folder, ledger) = ledger_with_collections();
    let text = |namespace: &str, collection: &str| {
        let mut simulator = ledger.simulator("tx").unwrap();
        let read = simulator.get_private_hash(namespace, collection, "k");
        read.err().map(|error: LedgerError| error.to_string())
    };
    let cases = [
        (CC, "long", None),
        (CC, "_implicit_org_Org1MSP", None),
        ("_lifecycle", "_implicit_org_Org1MSP", None),
        (
            CC,
            "none",
            Some("collection [none] not defined in the collection config for chaincode [cc]"),
        ),
        (
            CC,
            "_implicit_org_Org9MSP",
            Some(
                "collection [_implicit_org_Org9MSP] not defined in the collection config for chaincode [cc]",
            ),
        ),
        (
            "unknown",
            "long",
            Some(
                "collection config not defined for chaincode [unknown], pass the collection configuration upon chaincode definition/instantiation",
            ),
        ),
    ];
    for (namespace, collection, want) in cases {
        assert_eq!(
            text(namespace, collection).as_deref(),
            want,
            "{namespace} {collection}"
        );
    }
}

#[test]
fn a_transaction_id_that_stands_twice_in_a_block_frees_its_private_data_once() {
    let (_folder, ledger) = ledger_with_collections();
    let results = put(&ledger, "long", "k", "secret");
    let other = put(&ledger, "long", "k", "other");
    ledger
        .stage_private(&tx_id(2), results.private.clone().unwrap())
        .unwrap();
    let twice = vec![transaction_with_results(2, CC, results.public); 2];
    let block = next_block(&ledger, twice);
    ledger.commit(block, vec![Valid, DuplicateTxid]).unwrap();
    assert_eq!(clear_value(&ledger, "long", "k"), Ok(Some("secret".into())));
    // The count of what waits did not go below zero: there is room for more.
    ledger
        .stage_private(&tx_id(3), other.private.unwrap())
        .unwrap();
}

/// Keys in the order of an index on `n`, or the refusal.
fn by_index(ledger: &Ledger, collection: &str) -> Vec<String> {
    let mut simulator = ledger.simulator("tx").unwrap();
    let query = r#"{"selector":{},"sort":["n"]}"#;
    let cursor = simulator.private_query(CC, collection, query).unwrap();
    let mut keys = Vec::new();
    while let Some((key, _)) = simulator.next(cursor).unwrap() {
        keys.push(key);
    }
    keys
}

#[test]
fn indexes_of_a_collection_follow_its_clear_values() {
    let (_folder, ledger) = ledger_with_collections();
    let file = |collection: &str| IndexFile {
        collection: Some(collection.into()),
        name: "n.json".into(),
        content: Bytes::from_static(br#"{"index":{"fields":["n"]},"ddoc":"d","name":"n"}"#),
    };
    commit_staged(&ledger, 2, put(&ledger, "short", "first", r#"{"n":2}"#));
    ledger
        .declare_indexes(CC, &[file("long"), file("short")])
        .unwrap();
    assert_eq!(by_index(&ledger, "short"), ["first"]);
    commit_staged(&ledger, 3, put(&ledger, "short", "second", r#"{"n":1}"#));
    commit_staged(&ledger, 4, put(&ledger, "long", "long", r#"{"n":1}"#));
    assert_eq!(by_index(&ledger, "short"), ["second", "first"]);
    // Block 5 is the last of what block 2 wrote.
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator.purge_private(CC, "long", "long").unwrap();
    commit_public(&ledger, 5, simulator.finish().unwrap().public);
    assert_eq!(by_index(&ledger, "long"), [""; 0]);
    assert_eq!(by_index(&ledger, "short"), ["second"]);
}

#[test]
fn queries_of_a_collection_are_not_recorded_and_exclude_writes() {
    let (_folder, ledger) = ledger_with_collections();
    commit_staged(&ledger, 2, put(&ledger, "long", "k", r#"{"n":2}"#));
    let all = r#"{"selector":{}}"#;
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.private_query(CC, "long", all).unwrap();
    assert_eq!(simulator.next(cursor).unwrap().unwrap().0, "k");
    assert_eq!(
        simulator
            .put_private(CC, "long", "k", Bytes::new())
            .unwrap_err()
            .to_string(),
        "txid [tx]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed"
    );
    let recorded = TxRwSet::parse(&simulator.finish().unwrap().public).unwrap();
    assert!(recorded.namespaces.iter().all(|set| set.name != CC));
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator
        .put_state(CC, "k", Bytes::from_static(b"v"))
        .unwrap();
    assert_eq!(
        simulator
            .private_query(CC, "long", all)
            .unwrap_err()
            .to_string(),
        "txid [tx]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    );
}

/// A set that waits since `endorsed_at`, with a value of `size` bytes.
fn waiting(ledger: &Ledger, endorsed_at: u64, size: usize) -> TxPvtReadWriteSetWithConfigInfo {
    TxPvtReadWriteSetWithConfigInfo {
        endorsed_at,
        pvt_rwset: put(ledger, "long", "k", &"v".repeat(size)).private,
        ..Default::default()
    }
}

fn pushed(by: &str, organizations: usize) -> Origin<'_> {
    Origin::Pushed { by, organizations }
}

#[test]
fn a_set_that_comes_twice_at_once_is_counted_once() {
    let (_folder, ledger) = ledger_with_collections();
    let start = Barrier::new(2);
    let results = put(&ledger, "long", "k", "secret");
    let info = TxPvtReadWriteSetWithConfigInfo {
        endorsed_at: 1,
        pvt_rwset: results.private.clone(),
        ..Default::default()
    };
    for nonce in 2..30 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    let origin = pushed("Org1MSP", 2);
                    ledger.stage_private_from(&tx_id(nonce), &info, origin)
                });
            }
        });
        assert_eq!(ledger.staged_private(&tx_id(nonce)).unwrap().len(), 1);
        commit_public(&ledger, nonce, results.public.clone());
        assert_eq!(ledger.staged_private_bytes(), 0, "{nonce}");
    }
}

#[test]
fn an_organization_fills_its_own_share_alone() {
    let (folder, ledger) = ledger_with_collections();
    let big = waiting(&ledger, 1, 9 * 1024 * 1024);
    let stage = |ledger: &Ledger, nonce, origin| {
        let staged = ledger.stage_private_from(&tx_id(nonce), &big, origin);
        assert!(matches!(
            staged,
            Ok(()) | Err(LedgerError::TransientFull(_))
        ));
        staged.is_ok()
    };
    // Eight organizations have 16 MiB each.
    assert!(stage(&ledger, 2, pushed("Org1MSP", 8)));
    assert!(!stage(&ledger, 3, pushed("Org1MSP", 8)));
    assert!(stage(&ledger, 3, pushed("Org2MSP", 8)));
    assert!(stage(&ledger, 3, Origin::Endorsed), "it waits already");
    for nonce in 4..10 {
        assert!(stage(&ledger, nonce, Origin::Endorsed), "{nonce}");
    }
    // Whose share it is outlives the process.
    drop(ledger);
    let ledger = Ledger::open(folder.path()).unwrap();
    assert!(!stage(&ledger, 10, pushed("Org1MSP", 8)));
    assert!(stage(&ledger, 10, pushed("Org3MSP", 8)));
}

#[test]
fn few_sets_of_an_organization_wait_for_one_transaction() {
    let (_folder, ledger) = ledger_with_collections();
    let stage = |endorsed_at, by| {
        let info = waiting(&ledger, endorsed_at, 1);
        ledger.stage_private_from(&tx_id(2), &info, pushed(by, 2))
    };
    for endorsed_at in 0..16 {
        stage(endorsed_at, "Org1MSP").unwrap();
    }
    let refused = stage(16, "Org1MSP").unwrap_err();
    assert!(matches!(refused, LedgerError::Refused(_)), "{refused}");
    stage(15, "Org1MSP").expect("it waits already");
    stage(16, "Org2MSP").unwrap();
    assert_eq!(ledger.staged_private(&tx_id(2)).unwrap().len(), 17);
}

#[test]
fn sets_that_nobody_comes_for_are_dropped_when_they_are_told_to() {
    let (_folder, ledger) = ledger_with_collections();
    ledger.keep_staged_for(2);
    let results = put(&ledger, "long", "k", "secret");
    ledger
        .stage_private(&tx_id(100), results.private.unwrap())
        .unwrap();
    let mut dropped_at = None;
    for nonce in 2..8 {
        commit_staged(&ledger, nonce, put(&ledger, "long", "k", "other"));
        if ledger.staged_private(&tx_id(100)).unwrap().is_empty() {
            dropped_at.get_or_insert(ledger.height() - 1);
        }
    }
    // It waits since height 2; every second block is looked at.
    assert_eq!(dropped_at, Some(6));
    assert_eq!(ledger.staged_private_bytes(), 0);
}
