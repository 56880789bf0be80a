//! What a simulation records, refuses and tells about the policies it needs.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{Ledger, LedgerError, Simulator, TouchedNamespace};
use consilium_proto::kvrwset::{RangeQueryInfo, range_query_info::ReadsInfo};
use consilium_protocol::rwset::{NsRwSet, TxRwSet};
use proptest::prelude::*;
use support::{commit, genesis, metadata_write, results, transaction, write};

const CC: &str = "cc";

/// A ledger with the keys k000 … of chaincode `cc`; k000 has a key-level policy.
fn ledger(keys: usize) -> (tempfile::TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let put = results(CC, |set| {
        set.writes = (0..keys).map(|key| write(&name(key), b"v")).collect();
        set.metadata_writes = vec![metadata_write(
            &name(0),
            &[("VALIDATION_PARAMETER", b"policy")],
        )];
    });
    commit(&ledger, vec![transaction(1, CC, &put)]);
    (folder, ledger)
}

fn name(key: usize) -> String {
    format!("k{key:03}")
}

fn recorded(simulator: Simulator) -> NsRwSet {
    let public = simulator.finish().unwrap().public;
    let set = TxRwSet::parse(&public).unwrap();
    assert_eq!(set.encode(), public);
    set.namespace(CC).cloned().unwrap_or_default()
}

fn pull(simulator: &mut Simulator, start: &str, end: &str, count: usize) {
    let cursor = simulator.range(CC, start, end).unwrap();
    for _ in 0..count {
        simulator.next(cursor).unwrap();
    }
    simulator.close(cursor);
}

#[test]
fn reads_see_the_snapshot_and_not_the_own_writes() {
    let (_folder, ledger) = ledger(2);
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator
        .put_state(CC, "k001", Bytes::from_static(b"new"))
        .unwrap();
    assert_eq!(simulator.get_state(CC, "k001").unwrap().unwrap(), "v");
    simulator.delete_state(CC, "k001").unwrap();
    assert_eq!(simulator.get_state(CC, "missing").unwrap(), None);
    let set = recorded(simulator);
    assert_eq!(
        set.reads,
        [
            support::read("k001", Some((1, 0))),
            support::read("missing", None)
        ]
    );
    assert_eq!(set.writes, [write("k001", b"")], "the last write wins");
}

#[test]
fn a_range_is_recorded_as_far_as_it_was_pulled() {
    let (_folder, ledger) = ledger(120);
    // (pulled, recorded end, exhausted, raw reads or None for a Merkle summary)
    let cases = [
        (0, "", false, Some(0)),
        (1, "k000", false, Some(1)),
        (50, "k049", false, Some(50)),
        (51, "k050", false, None),
        (100, "k099", false, None),
        (101, "k100", true, None),
    ];
    for (pulled, end, exhausted, raw) in cases {
        let mut simulator = ledger.simulator("tx").unwrap();
        pull(&mut simulator, "", "k100", pulled);
        let [range] = &recorded(simulator).ranges[..] else {
            panic!("one range");
        };
        assert_eq!(
            (range.end_key.as_str(), range.itr_exhausted),
            (end, exhausted),
            "{pulled}"
        );
        let reads = match &range.reads_info {
            None => Some(0),
            Some(ReadsInfo::RawReads(reads)) => Some(reads.kv_reads.len()),
            Some(ReadsInfo::ReadsMerkleHashes(_)) => None,
        };
        assert_eq!(reads, raw, "{pulled} pulled");
    }
}

#[test]
fn ranges_stand_in_the_order_they_were_opened_and_equal_ones_once() {
    let (_folder, ledger) = ledger(10);
    let mut simulator = ledger.simulator("tx").unwrap();
    pull(&mut simulator, "k005", "k007", 9);
    pull(&mut simulator, "k001", "k003", 9);
    pull(&mut simulator, "k005", "k007", 9);
    pull(&mut simulator, "k005", "k007", 1);
    let bounds: Vec<_> = recorded(simulator)
        .ranges
        .into_iter()
        .map(
            |RangeQueryInfo {
                 start_key,
                 end_key,
                 itr_exhausted,
                 ..
             }| (start_key, end_key, itr_exhausted),
        )
        .collect();
    let want = [
        ("k005", "k007", true),
        ("k001", "k003", true),
        ("k005", "k005", false),
    ];
    assert_eq!(
        bounds,
        want.map(|(start, end, all)| (start.into(), end.into(), all))
    );
}

#[test]
fn a_page_ends_at_its_size_and_its_bookmark_is_the_next_key() {
    let (_folder, ledger) = ledger(5);
    // (page size, keys given, bookmark, recorded end, exhausted)
    let cases = [
        (2, 2, "k002", "k001", false),
        (5, 5, "", "k004", false),
        (9, 5, "", "", true),
        (0, 5, "", "", true),
    ];
    for (size, keys, bookmark, end, exhausted) in cases {
        let mut simulator = ledger.simulator("tx").unwrap();
        let cursor = simulator.paginated_range(CC, "", "", size).unwrap();
        let mut given = 0;
        while simulator.next(cursor).unwrap().is_some() {
            given += 1;
        }
        assert_eq!(given, keys, "page of {size}");
        assert_eq!(
            simulator.bookmark(cursor).unwrap(),
            bookmark,
            "page of {size}"
        );
        let range = recorded(simulator).ranges.remove(0);
        assert_eq!(
            (range.end_key.as_str(), range.itr_exhausted),
            (end, exhausted)
        );
    }
}

#[test]
fn queries_that_record_too_little_and_writes_exclude_each_other() {
    let (_folder, ledger) = ledger(1);
    let simulator = || ledger.simulator("ID").unwrap();
    let text = |result: Result<(), LedgerError>| result.unwrap_err().to_string();
    let put = |simulator: &mut Simulator| simulator.put_state(CC, "k", Bytes::from_static(b"v"));
    let implicit_collection_range = |simulator: &mut Simulator| {
        // `_lifecycle` needs no definition.
        simulator
            .private_range("_lifecycle", "_implicit_org_Org1MSP", "", "")
            .map(drop)
    };

    let mut paged = simulator();
    paged.paginated_range(CC, "", "", 1).unwrap();
    assert_eq!(
        text(put(&mut paged)),
        "txid [ID]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    );
    let mut wrote = simulator();
    put(&mut wrote).unwrap();
    assert_eq!(
        text(wrote.paginated_range(CC, "", "", 1).map(drop)),
        "txid [ID]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    );
    // The channel of this ledger has no organizations, so the collection is refused first.
    assert_eq!(
        text(implicit_collection_range(&mut wrote)),
        "collection [_implicit_org_Org1MSP] not defined in the collection config for chaincode [_lifecycle]"
    );

    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&["Org1MSP"])).unwrap();
    let simulator = || ledger.simulator("ID").unwrap();
    let mut queried = simulator();
    implicit_collection_range(&mut queried).unwrap();
    assert_eq!(
        text(put(&mut queried)),
        "txid [ID]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed"
    );
    let mut wrote = simulator();
    put(&mut wrote).unwrap();
    assert_eq!(
        text(implicit_collection_range(&mut wrote)),
        "txid [ID]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction"
    );
}

#[test]
fn a_closed_cursor_is_unknown() {
    let (_folder, ledger) = ledger(1);
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.range(CC, "", "").unwrap();
    simulator.close(cursor);
    simulator.close(cursor);
    assert_eq!(
        simulator.next(cursor).unwrap_err().to_string(),
        "query iterator not found"
    );
}

#[test]
fn the_policies_that_endorsers_need_follow_from_what_was_written() {
    let (_folder, ledger) = ledger(3);
    type Step = fn(&mut Simulator);
    let put_open: Step = |simulator| {
        simulator
            .put_state(CC, "k001", Bytes::from_static(b"new"))
            .unwrap();
    };
    let put_guarded: Step = |simulator| {
        simulator
            .put_state(CC, "k000", Bytes::from_static(b"new"))
            .unwrap();
    };
    let read: Step = |simulator| {
        simulator.get_state(CC, "k000").unwrap();
    };
    let range: Step = |simulator| pull(simulator, "", "", 1);
    // (steps, namespace policy needed, key-level policies)
    let cases: [(&[Step], bool, usize); 5] = [
        (&[read], true, 0),
        (&[range], true, 0),
        (&[put_open], true, 0),
        (&[put_guarded, read], false, 1),
        (&[put_guarded, put_open], true, 1),
    ];
    for (index, (steps, needed, policies)) in cases.into_iter().enumerate() {
        let mut simulator = ledger.simulator("tx").unwrap();
        steps.iter().for_each(|step| step(&mut simulator));
        let want = TouchedNamespace {
            name: CC.into(),
            needs_namespace_policy: needed,
            key_policies: vec![Bytes::from_static(b"policy"); policies],
            collections: Vec::new(),
        };
        assert_eq!(
            simulator.finish().unwrap().namespaces,
            [want],
            "case {index}"
        );
    }
}

#[test]
fn metadata_replaces_metadata_and_reading_it_reads_the_key() {
    let (_folder, ledger) = ledger(1);
    let mut simulator = ledger.simulator("tx").unwrap();
    let metadata = simulator.get_metadata(CC, "k000").unwrap();
    assert_eq!(metadata["VALIDATION_PARAMETER"], "policy");
    let entry = |name: &str| (name.to_owned(), Bytes::from_static(b"x"));
    simulator
        .put_metadata(CC, "k000", [entry("b"), entry("a")].into())
        .unwrap();
    let set = recorded(simulator);
    assert_eq!(set.reads, [support::read("k000", Some((1, 0)))]);
    assert_eq!(
        set.metadata_writes,
        [metadata_write("k000", &[("a", b"x"), ("b", b"x")])]
    );
    assert!(set.writes.is_empty());
}

#[test]
fn large_ranges_are_read_in_steps_without_gaps() {
    let (_folder, ledger) = ledger(1000);
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.range(CC, "k010", "k990").unwrap();
    let mut keys = Vec::new();
    while let Some((key, _)) = simulator.next(cursor).unwrap() {
        keys.push(key);
    }
    assert_eq!(keys, (10..990).map(name).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_was_simulated_on_the_latest_state_is_valid_in_the_next_block(
        keys in 0usize..150,
        ranges in proptest::collection::vec((0usize..160, 0usize..160, 0usize..160), 1..4),
        reads in proptest::collection::vec(0usize..160, 0..4),
    ) {
        let (_folder, ledger) = ledger(keys);
        let mut simulator = ledger.simulator("tx").unwrap();
        for (start, end, count) in ranges {
            pull(&mut simulator, &name(start), &name(end), count + 1);
        }
        for key in reads {
            simulator.get_state(CC, &name(key)).unwrap();
            simulator.put_state(CC, &name(key), Bytes::from_static(b"w")).unwrap();
        }
        let public = simulator.finish().unwrap().public;
        let envelope = support::transaction_with_results(2, CC, public);
        let committed = commit(&ledger, vec![envelope]);
        prop_assert_eq!(committed.codes, [consilium_proto::protos::TxValidationCode::Valid]);
    }
}
