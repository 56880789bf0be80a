//! Private data that is missing, may not be had, comes late, expired or was purged.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{
    IndexFile, Ledger, MissingData, MissingKind, PrivateBlock, PrivatePlace, Reconciled,
    ReconciledSet, SimulationResults, Simulator,
};
use consilium_proto::{kvrwset, lifecycle, protos};
use consilium_protocol::hash::sha256;
use proptest::prelude::*;
use prost::Message;
use support::{
    commit, encode, genesis, next_block, results, transaction, transaction_with_results, tx_id,
    write,
};

const CC: &str = "cc";

fn package(collections: &[(&str, u64)]) -> protos::CollectionConfigPackage {
    let collection = |(name, block_to_live): &(&str, u64)| protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(
            protos::StaticCollectionConfig {
                name: (*name).into(),
                block_to_live: *block_to_live,
                ..Default::default()
            },
        )),
    };
    protos::CollectionConfigPackage {
        config: collections.iter().map(collection).collect(),
    }
}

/// Defines `cc` with these collections, in a block of its own.
fn define(ledger: &Arc<Ledger>, nonce: u64, collections: &[(&str, u64)]) {
    let metadata = lifecycle::StateMetadata {
        datatype: "ChaincodeDefinition".into(),
        fields: Vec::new(),
    };
    let data = lifecycle::StateData {
        r#type: Some(lifecycle::state_data::Type::Bytes(encode(&package(
            collections,
        )))),
    };
    let definition = results("_lifecycle", |set| {
        set.writes = vec![
            write("namespaces/fields/cc/Sequence", &nonce.to_be_bytes()),
            write("namespaces/fields/cc/Collections", &encode(&data)),
            write("namespaces/metadata/cc", &encode(&metadata)),
        ];
    });
    commit(ledger, vec![transaction(nonce, "_lifecycle", &definition)]);
}

/// A ledger of two blocks where `cc` has the collections `long` and `short` (block to live 2).
fn start() -> (tempfile::TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&["Org1MSP"])).unwrap();
    define(&ledger, 1, &[("long", 0), ("short", 2)]);
    (folder, ledger)
}

fn simulate(ledger: &Ledger, run: impl FnOnce(&mut Simulator)) -> SimulationResults {
    let mut simulator = ledger.simulator("tx").unwrap();
    run(&mut simulator);
    simulator.finish().unwrap()
}

fn put(ledger: &Ledger, collection: &str, values: &[(&str, &str)]) -> SimulationResults {
    simulate(ledger, |simulator| {
        for (key, value) in values {
            let value = Bytes::copy_from_slice(value.as_bytes());
            simulator.put_private(CC, collection, key, value).unwrap();
        }
    })
}

/// The only clear set of a simulation.
fn set(results: &SimulationResults) -> Bytes {
    let private = results.private.as_ref().unwrap();
    private.ns_pvt_rwset[0].collection_pvt_rwset[0]
        .rwset
        .clone()
}

/// Commits without the clear values.
fn commit_missing(ledger: &Arc<Ledger>, nonce: u64, results: &SimulationResults) -> u64 {
    let public = results.public.clone();
    commit(ledger, vec![transaction_with_results(nonce, CC, public)]).number
}

fn commit_whole(ledger: &Arc<Ledger>, nonce: u64, results: &SimulationResults) -> u64 {
    let private = results.private.clone().unwrap();
    ledger.stage_private(&tx_id(nonce), private).unwrap();
    commit_missing(ledger, nonce, results)
}

fn nothing(ledger: &Arc<Ledger>, nonce: u64) {
    let put = results(CC, |set| set.writes = vec![write("public", &[nonce as u8])]);
    commit(ledger, vec![transaction(nonce, CC, &put)]);
}

fn place(collection: &str) -> PrivatePlace {
    PrivatePlace::new(0, CC, collection)
}

fn missing(block: u64, collection: &str) -> MissingData {
    MissingData {
        block,
        place: place(collection),
    }
}

fn noted(ledger: &Ledger, kind: MissingKind) -> Vec<MissingData> {
    ledger.missing_private(kind, None, 100).unwrap()
}

fn bring(ledger: &Ledger, block: u64, collection: &str, set: &Bytes) -> Reconciled {
    let sets = [ReconciledSet {
        missing: missing(block, collection),
        set: set.clone(),
    }];
    ledger.commit_reconciled(&sets).unwrap()
}

fn value(ledger: &Ledger, collection: &str, key: &str) -> Result<Option<String>, String> {
    match ledger.reader().unwrap().get_private(CC, collection, key) {
        Ok(value) => Ok(value.map(|value| String::from_utf8(value.value.to_vec()).unwrap())),
        Err(error) => Err(error.to_string()),
    }
}

fn keys_of(set: &Bytes) -> Vec<String> {
    let set = kvrwset::KvrwSet::decode(set.clone()).unwrap();
    set.writes.into_iter().map(|write| write.key).collect()
}

#[test]
fn what_does_not_come_is_noted_and_what_comes_late_becomes_readable() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "long", &[("k", "secret")]);
    let block = commit_missing(&ledger, 2, &results);
    assert_eq!(
        noted(&ledger, MissingKind::Eligible),
        [missing(block, "long")]
    );
    value(&ledger, "long", "k").unwrap_err();

    let outcome = bring(&ledger, block, "long", &set(&results));
    assert_eq!(outcome.stored, [missing(block, "long")]);
    assert_eq!(value(&ledger, "long", "k"), Ok(Some("secret".into())));
    assert_eq!(noted(&ledger, MissingKind::Eligible), []);
    assert_eq!(
        ledger.private_set(block, &place("long")).unwrap(),
        Some(set(&results))
    );
    // Once more changes nothing.
    assert_eq!(
        bring(&ledger, block, "long", &set(&results)),
        Reconciled::default()
    );
}

#[test]
fn late_data_that_is_not_what_the_chain_says_is_refused() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "long", &[("a", "1"), ("b", "2")]);
    let block = commit_missing(&ledger, 2, &results);
    let whole = set(&results);
    let forged = set(&put(&ledger, "long", &[("a", "1"), ("b", "3")]));
    let partial = set(&put(&ledger, "long", &[("a", "1")]));
    let more = set(&put(&ledger, "long", &[("a", "1"), ("b", "2"), ("c", "3")]));
    for bad in [
        forged,
        partial,
        Bytes::new(),
        Bytes::from_static(b"\xff\xffgarbage"),
    ] {
        let outcome = bring(&ledger, block, "long", &bad);
        assert_eq!(
            (outcome.stored.len(), outcome.refused.len()),
            (0, 1),
            "{bad:?}"
        );
        value(&ledger, "long", "a").unwrap_err();
    }
    // Keys that the block does not know never enter, whatever else is right.
    assert_eq!(bring(&ledger, block, "long", &more).stored.len(), 1);
    assert_eq!(value(&ledger, "long", "a"), Ok(Some("1".into())));
    assert_eq!(value(&ledger, "long", "c"), Ok(None));
    // Places that were never missing are passed over, also those beyond the chain.
    for (number, collection) in [(block, "short"), (block + 100, "long"), (0, "long")] {
        assert_eq!(
            bring(&ledger, number, collection, &whole),
            Reconciled::default()
        );
    }
}

#[test]
fn a_peer_that_may_not_have_it_keeps_nothing_until_it_may() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "long", &[("k", "secret")]);
    // It endorsed the transaction, so that the values wait here.
    ledger
        .stage_private(&tx_id(2), results.private.clone().unwrap())
        .unwrap();
    let block = next_block(
        &ledger,
        vec![transaction_with_results(2, CC, results.public.clone())],
    );
    let contents = vec![consilium_ledger::PreparedTransaction::parse(
        &block.data.as_ref().unwrap().data[0],
    )];
    let private = PrivateBlock {
        ineligible: BTreeSet::from([place("long")]),
        ..PrivateBlock::default()
    };
    let codes = vec![protos::TxValidationCode::Valid];
    let number = ledger
        .commit_with_private(block, codes, &contents, &private)
        .unwrap()
        .number;
    assert_eq!(
        noted(&ledger, MissingKind::Ineligible),
        [missing(number, "long")]
    );
    assert_eq!(noted(&ledger, MissingKind::Eligible), []);
    assert!(ledger.private_data(number).unwrap().is_empty());
    assert!(ledger.staged_private(&tx_id(2)).unwrap().is_empty());
    value(&ledger, "long", "k").unwrap_err();
    assert_eq!(
        bring(&ledger, number, "long", &set(&results)),
        Reconciled::default()
    );

    let all = noted(&ledger, MissingKind::Ineligible);
    ledger
        .move_missing_private(&all, MissingKind::Ineligible, MissingKind::Eligible)
        .unwrap();
    assert_eq!(noted(&ledger, MissingKind::Ineligible), []);
    assert_eq!(
        bring(&ledger, number, "long", &set(&results)).stored.len(),
        1
    );
    assert_eq!(value(&ledger, "long", "k"), Ok(Some("secret".into())));
}

#[test]
fn unwanted_data_is_neither_kept_nor_noted() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "long", &[("k", "secret")]);
    let block = next_block(
        &ledger,
        vec![transaction_with_results(2, CC, results.public.clone())],
    );
    let contents = vec![consilium_ledger::PreparedTransaction::parse(
        &block.data.as_ref().unwrap().data[0],
    )];
    let private = PrivateBlock {
        found: [(place("long"), set(&results))].into(),
        unwanted: BTreeSet::from([place("long")]),
        ..PrivateBlock::default()
    };
    let codes = vec![protos::TxValidationCode::EndorsementPolicyFailure];
    ledger
        .commit_with_private(block, codes, &contents, &private)
        .unwrap();
    assert!(ledger.private_data(2).unwrap().is_empty());
    for kind in [MissingKind::Eligible, MissingKind::Ineligible] {
        assert_eq!(noted(&ledger, kind), []);
    }
}

#[test]
fn late_values_do_not_come_back_over_newer_ones_or_deletions() {
    let (_folder, ledger) = start();
    let first = put(&ledger, "long", &[("k", "first"), ("gone", "x")]);
    let old = commit_missing(&ledger, 2, &first);
    let second = put(&ledger, "long", &[("k", "second")]);
    commit_whole(&ledger, 3, &second);
    let deletion = simulate(&ledger, |simulator| {
        simulator.delete_private(CC, "long", "gone").unwrap();
    });
    commit_missing(&ledger, 4, &deletion);
    assert_eq!(bring(&ledger, old, "long", &set(&first)).stored.len(), 1);
    assert_eq!(value(&ledger, "long", "k"), Ok(Some("second".into())));
    assert_eq!(value(&ledger, "long", "gone"), Ok(None));
    // The history is whole all the same.
    assert_eq!(
        ledger.private_set(old, &place("long")).unwrap(),
        Some(set(&first))
    );
}

#[test]
fn a_late_deletion_takes_away_the_stale_value() {
    let (_folder, ledger) = start();
    commit_whole(&ledger, 2, &put(&ledger, "long", &[("k", "v")]));
    let deletion = simulate(&ledger, |simulator| {
        simulator.delete_private(CC, "long", "k").unwrap();
    });
    let block = commit_missing(&ledger, 3, &deletion);
    value(&ledger, "long", "k").unwrap_err();
    assert_eq!(
        bring(&ledger, block, "long", &set(&deletion)).stored.len(),
        1
    );
    assert_eq!(value(&ledger, "long", "k"), Ok(None));
}

/// The keys of the documents in `long` that have an `n`, by it.
fn by_n(ledger: &Ledger) -> Vec<String> {
    let mut simulator = ledger.simulator("tx").unwrap();
    let query = r#"{"selector":{"n":{"$gte":0}},"sort":["n"]}"#;
    let cursor = simulator.private_query(CC, "long", query).unwrap();
    let mut keys = Vec::new();
    while let Some((key, _)) = simulator.next(cursor).unwrap() {
        keys.push(key);
    }
    keys
}

#[test]
fn indexes_of_a_collection_follow_what_comes_late() {
    let (_folder, ledger) = start();
    let index = IndexFile {
        collection: Some("long".into()),
        name: "n.json".into(),
        content: Bytes::from_static(br#"{"index":{"fields":["n"]},"ddoc":"d","name":"n"}"#),
    };
    ledger.declare_indexes(CC, &[index]).unwrap();
    let documents = [
        ("a", r#"{"n":2}"#),
        ("b", r#"{"n":1}"#),
        ("c", r#"{"n":3}"#),
    ];
    let first = put(&ledger, "long", &documents);
    let block = commit_missing(&ledger, 2, &first);
    assert_eq!(bring(&ledger, block, "long", &set(&first)).stored.len(), 1);
    assert_eq!(by_n(&ledger), ["b", "a", "c"]);
    // Deletions and changes that come with their block, and such that come late.
    let delete = |key: &str| {
        simulate(&ledger, |simulator| {
            simulator.delete_private(CC, "long", key).unwrap();
        })
    };
    commit_whole(&ledger, 3, &delete("a"));
    assert_eq!(by_n(&ledger), ["b", "c"]);
    let deletion = delete("b");
    let block = commit_missing(&ledger, 4, &deletion);
    assert_eq!(
        bring(&ledger, block, "long", &set(&deletion)).stored.len(),
        1
    );
    assert_eq!(by_n(&ledger), ["c"]);
    commit_whole(&ledger, 5, &put(&ledger, "long", &[("d", r#"{"n":2}"#)]));
    let change = put(&ledger, "long", &[("c", r#"{"n":1}"#)]);
    let block = commit_missing(&ledger, 6, &change);
    assert_eq!(bring(&ledger, block, "long", &set(&change)).stored.len(), 1);
    assert_eq!(by_n(&ledger), ["c", "d"]);
}

#[test]
fn of_two_late_versions_the_newer_one_counts_in_any_order() {
    let (_folder, ledger) = start();
    let first = put(&ledger, "long", &[("k", "first")]);
    let older = commit_missing(&ledger, 2, &first);
    let second = put(&ledger, "long", &[("k", "second")]);
    let newer = commit_missing(&ledger, 3, &second);
    assert_eq!(
        noted(&ledger, MissingKind::Eligible),
        [missing(newer, "long"), missing(older, "long")],
        "newest first"
    );
    let late = |block, results| ReconciledSet {
        missing: missing(block, "long"),
        set: set(results),
    };
    let sets = [late(newer, &second), late(older, &first)];
    assert_eq!(ledger.commit_reconciled(&sets).unwrap().stored.len(), 2);
    assert_eq!(value(&ledger, "long", "k"), Ok(Some("second".into())));
}

#[test]
fn expired_data_is_no_longer_missing_and_does_not_come_back() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "short", &[("k", "secret")]);
    let block = commit_missing(&ledger, 2, &results);
    nothing(&ledger, 3);
    nothing(&ledger, 4);
    assert_eq!(noted(&ledger, MissingKind::Eligible).len(), 1);
    nothing(&ledger, 5);
    assert_eq!(noted(&ledger, MissingKind::Eligible), []);
    assert_eq!(
        bring(&ledger, block, "short", &set(&results)),
        Reconciled::default()
    );
    assert_eq!(value(&ledger, "short", "k"), Ok(None));
    assert_eq!(ledger.private_set(block, &place("short")).unwrap(), None);
}

#[test]
fn late_data_expires_with_the_rest() {
    let (_folder, ledger) = start();
    let results = put(&ledger, "short", &[("k", "secret")]);
    let block = commit_missing(&ledger, 2, &results);
    bring(&ledger, block, "short", &set(&results));
    assert_eq!(value(&ledger, "short", "k"), Ok(Some("secret".into())));
    for nonce in 3..6 {
        nothing(&ledger, nonce);
    }
    assert_eq!(value(&ledger, "short", "k"), Ok(None));
    assert_eq!(ledger.private_set(block, &place("short")).unwrap(), None);
}

#[test]
fn a_purge_hides_earlier_values_at_once_and_erases_them_afterwards() {
    let (folder, ledger) = start();
    let both = put(&ledger, "long", &[("k", "one"), ("other", "1")]);
    let first = commit_whole(&ledger, 2, &both);
    let second = commit_whole(&ledger, 3, &put(&ledger, "long", &[("k", "two")]));
    let purge = simulate(&ledger, |simulator| {
        simulator.purge_private(CC, "long", "k").unwrap();
    });
    let third = commit_whole(&ledger, 4, &purge);
    let after = put(&ledger, "long", &[("k", "three")]);
    let fourth = commit_whole(&ledger, 5, &after);
    let seen = |ledger: &Ledger| {
        [first, second, third, fourth]
            .map(|block| keys_of(&ledger.private_set(block, &place("long")).unwrap().unwrap()))
    };
    let expected = [vec!["other"], vec![], vec![], vec!["k"]];
    assert_eq!(seen(&ledger), expected);
    let whole = ledger.private_data(first).unwrap();
    assert_eq!(
        keys_of(&whole[&0].ns_pvt_rwset[0].collection_pvt_rwset[0].rwset),
        ["other"]
    );

    // One step at a time, and again after a restart: nothing remains on disk.
    assert!(ledger.erase_purged(1, true).unwrap());
    drop(ledger);
    let ledger = Ledger::open(folder.path()).unwrap();
    while ledger.erase_purged(1, true).unwrap() {}
    assert!(!ledger.erase_purged(1, true).unwrap());
    assert_eq!(seen(&ledger), expected);
    assert_eq!(value(&ledger, "long", "k"), Ok(Some("three".into())));
    assert_eq!(value(&ledger, "long", "other"), Ok(Some("1".into())));
}

#[test]
fn reconciliation_brings_no_purged_key_back_but_the_others() {
    let (_folder, ledger) = start();
    let both = put(&ledger, "long", &[("k", "secret"), ("other", "1")]);
    let alone = put(&ledger, "long", &[("k", "later")]);
    let first = commit_missing(&ledger, 2, &both);
    let second = commit_missing(&ledger, 3, &alone);
    let purge = simulate(&ledger, |simulator| {
        simulator.purge_private(CC, "long", "k").unwrap();
    });
    commit_whole(&ledger, 4, &purge);

    // From a peer that has not seen the purge: everything.
    assert_eq!(bring(&ledger, first, "long", &set(&both)).stored.len(), 1);
    let stored = ledger.private_set(first, &place("long")).unwrap().unwrap();
    assert_eq!(keys_of(&stored), ["other"]);
    // From one that has: nothing of it is left.
    assert_eq!(
        bring(&ledger, second, "long", &Bytes::new()).stored.len(),
        1
    );
    assert_eq!(noted(&ledger, MissingKind::Eligible), []);
    assert_eq!(value(&ledger, "long", "k"), Ok(None));
    assert_eq!(value(&ledger, "long", "other"), Ok(Some("1".into())));
}

#[test]
fn a_sender_that_has_seen_more_purges_is_asked_again_later() {
    let (_folder, ledger) = start();
    let both = put(&ledger, "long", &[("k", "secret"), ("other", "1")]);
    let block = commit_missing(&ledger, 2, &both);
    let trimmed = set(&put(&ledger, "long", &[("other", "1")]));
    assert_eq!(bring(&ledger, block, "long", &trimmed).refused.len(), 1);
    assert_eq!(
        noted(&ledger, MissingKind::Eligible),
        [missing(block, "long")]
    );
    let purge = simulate(&ledger, |simulator| {
        simulator.purge_private(CC, "long", "k").unwrap();
    });
    commit_whole(&ledger, 3, &purge);
    assert_eq!(bring(&ledger, block, "long", &trimmed).stored.len(), 1);
    assert_eq!(value(&ledger, "long", "other"), Ok(Some("1".into())));
}

#[test]
fn a_purge_in_the_block_that_wrote_the_key_leaves_nothing() {
    let (_folder, ledger) = start();
    let written = put(&ledger, "long", &[("k", "secret")]);
    let purge = simulate(&ledger, |simulator| {
        simulator.purge_private(CC, "long", "k").unwrap();
    });
    ledger
        .stage_private(&tx_id(2), written.private.clone().unwrap())
        .unwrap();
    // The purge's own set is missing.
    let block = commit(
        &ledger,
        vec![
            transaction_with_results(2, CC, written.public.clone()),
            transaction_with_results(3, CC, purge.public),
        ],
    );
    assert_eq!(value(&ledger, "long", "k"), Ok(None));
    let stored = ledger.private_set(block.number, &place("long")).unwrap();
    assert_eq!(keys_of(&stored.unwrap()), [""; 0]);
}

#[test]
fn the_collections_of_a_block_are_those_defined_before_it() {
    let (_folder, ledger) = start();
    nothing(&ledger, 2);
    define(&ledger, 3, &[("long", 0), ("added", 0)]);
    nothing(&ledger, 4);
    let names = |block| {
        let package = ledger.collections_below(block, CC).unwrap()?;
        Some(package.config.len())
            .filter(|_| package == self::package(&[("long", 0), ("short", 2)]))
            .or_else(|| (package == self::package(&[("long", 0), ("added", 0)])).then_some(100))
    };
    // Defined in blocks 1 and 3.
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(names),
        [None, None, Some(2), Some(2), Some(100), Some(100)]
    );
    assert_eq!(ledger.collections_below(5, "unknown").unwrap(), None);
}

#[test]
fn a_rebuild_and_a_rollback_keep_private_data_and_what_is_known_to_be_missing() {
    let (folder, ledger) = start();
    let first = put(&ledger, "long", &[("k", "one"), ("other", "1")]);
    commit_whole(&ledger, 2, &first);
    commit_whole(&ledger, 3, &put(&ledger, "short", &[("s", "expires")]));
    let purge = simulate(&ledger, |simulator| {
        simulator.purge_private(CC, "long", "k").unwrap();
    });
    commit_whole(&ledger, 4, &purge);
    while ledger.erase_purged(10, false).unwrap() {}
    let late = put(&ledger, "long", &[("late", "came")]);
    let late_block = commit_missing(&ledger, 5, &late);
    assert_eq!(bring(&ledger, late_block, "long", &set(&late)).refused, []);
    commit_missing(&ledger, 6, &put(&ledger, "long", &[("gone", "never came")]));
    let lost = put(&ledger, "long", &[("unlikely", "?")]);
    commit_missing(&ledger, 7, &lost);
    let unlikely = noted(&ledger, MissingKind::Eligible)[0].clone();
    ledger
        .move_missing_private(
            std::slice::from_ref(&unlikely),
            MissingKind::Eligible,
            MissingKind::Deprioritized,
        )
        .unwrap();
    let alive = put(&ledger, "short", &[("t", "alive")]);
    commit_whole(&ledger, 8, &alive);

    let seen = |ledger: &Ledger| {
        let keys = [
            ("long", "k"),
            ("long", "other"),
            ("long", "late"),
            ("long", "gone"),
            ("long", "unlikely"),
            ("short", "s"),
            ("short", "t"),
        ];
        let values = keys.map(|(collection, key)| value(ledger, collection, key));
        let missing = [
            noted(ledger, MissingKind::Eligible),
            noted(ledger, MissingKind::Deprioritized),
        ];
        let sets: Vec<_> = (0..ledger.height())
            .map(|block| ledger.private_data(block).unwrap())
            .collect();
        (values, missing, sets, ledger.state_fingerprint().unwrap())
    };
    let before = seen(&ledger);
    assert_eq!(before.0[1], Ok(Some("1".into())));
    assert_eq!(before.0[2], Ok(Some("came".into())));
    assert_eq!(before.0[6], Ok(Some("alive".into())));
    assert_eq!(before.1.each_ref().map(Vec::len), [1, 1]);
    let blocks: Vec<_> = (0..ledger.height())
        .map(|number| ledger.block(number).unwrap().unwrap())
        .collect();
    drop(ledger);

    let options = consilium_ledger::StoreOptions::default();
    let ledger = Ledger::rebuild(folder.path(), &options, &mut |_| {})
        .unwrap()
        .ledger;
    assert_eq!(seen(&ledger), before);
    drop(ledger);
    let scratch = tempfile::tempdir().unwrap();
    let verified =
        consilium_ledger::verify(folder.path(), scratch.path(), &mut |_| Ok(()), &mut |_| {});
    assert_eq!(verified.unwrap().faults, []);

    // The same blocks come again without their clear values, which are here.
    Ledger::rollback(folder.path(), 2, &options, &mut |_| {}).unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.height(), 3);
    for block in blocks.into_iter().skip(3) {
        let codes = vec![consilium_proto::protos::TxValidationCode::Valid; 1];
        ledger.commit(block, codes).unwrap();
    }
    let after = seen(&ledger);
    assert_eq!((after.0, after.2, after.3), (before.0, before.2, before.3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn whatever_a_peer_sends_late_only_the_chains_values_enter(
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0usize..60,
    ) {
        let (_folder, ledger) = start();
        let results = put(&ledger, "long", &[("k", "secret"), ("l", "other")]);
        let block = commit_missing(&ledger, 2, &results);
        let whole = set(&results);
        let mut cut_short = whole.to_vec();
        cut_short.truncate(cut.min(whole.len() - 1));
        for bad in [Bytes::from(garbage), Bytes::from(cut_short)] {
            if sha256(&bad) != sha256(&whole) {
                prop_assert_eq!(bring(&ledger, block, "long", &bad).stored.len(), 0);
            }
        }
        prop_assert_eq!(bring(&ledger, block, "long", &whole).stored.len(), 1);
        prop_assert_eq!(value(&ledger, "long", "k"), Ok(Some("secret".to_owned())));
    }
}
