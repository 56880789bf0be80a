//! JSON queries: results through indexes and without, what is recorded, pages, and indexes that
//! agree with the state whatever happens.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::{IndexFile, Ledger, LedgerError, Simulator};
use consilium_protocol::rwset::TxRwSet;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{commit, genesis, results, transaction, write};

const CC: &str = "cc";

fn ledger() -> (tempfile::TempDir, Arc<Ledger>) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&["Org1MSP"])).unwrap();
    (folder, ledger)
}

/// Commits one block; `None` deletes.
fn put(ledger: &Arc<Ledger>, values: &[(&str, Option<&str>)]) {
    let written = results(CC, |set| {
        set.writes = values
            .iter()
            .map(|(key, value)| write(key, value.unwrap_or_default().as_bytes()))
            .collect();
    });
    commit(ledger, vec![transaction(ledger.height(), CC, &written)]);
}

fn file(name: &str, definition: Value) -> IndexFile {
    IndexFile {
        collection: None,
        name: name.into(),
        content: definition.to_string().into(),
    }
}

fn by(name: &str, fields: Value) -> IndexFile {
    file(
        &format!("{name}.json"),
        json!({"index": {"fields": fields}, "ddoc": "d", "name": name, "type": "json"}),
    )
}

fn pull(simulator: &mut Simulator, cursor: consilium_ledger::CursorId) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((key, value)) = simulator.next(cursor).unwrap() {
        found.push((key, String::from_utf8(value.to_vec()).unwrap()));
    }
    found
}

fn keys(ledger: &Ledger, query: &Value) -> Result<Vec<String>, String> {
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator
        .query(CC, &query.to_string())
        .map_err(|error| error.to_string())?;
    let found = pull(&mut simulator, cursor);
    Ok(found.into_iter().map(|(key, _)| key).collect())
}

const NO_INDEX: &str = "error handling CouchDB request. Error:no_usable_index,  Status Code:400,  Reason:No index exists for this sort, try indexing by the sort fields.";

#[test]
fn a_query_finds_json_objects_and_gives_them_as_fabric_does() {
    let (_folder, ledger) = ledger();
    put(
        &ledger,
        &[
            ("a", Some(r#"{ "size": 3, "color": "red" }"#)),
            ("b", Some(r#"{"size":1,"color":"blue"}"#)),
            ("c", Some("no JSON")),
            ("d", Some("[1]")),
            ("e", Some(r#"{"size":2,"color":"<red>"}"#)),
        ],
    );
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator
        .query(CC, r#"{"selector":{"size":{"$gte":2}}}"#)
        .unwrap();
    assert_eq!(
        pull(&mut simulator, cursor),
        [
            ("a".into(), r#"{"color":"red","size":3}"#.into()),
            ("e".into(), r#"{"color":"\u003cred\u003e","size":2}"#.into()),
        ]
    );
    let cursor = simulator
        .query(
            CC,
            r#"{"selector":{"_id":"b"},"fields":["size","_id"],"limit":0}"#,
        )
        .unwrap();
    assert_eq!(
        pull(&mut simulator, cursor),
        [("b".into(), r#"{"size":1}"#.into())]
    );
    // Every result is a read, what did not match is none, and there is no range.
    let recorded = TxRwSet::parse(&simulator.finish().unwrap().public).unwrap();
    let [namespace] = recorded.namespaces.as_slice() else {
        panic!("{recorded:?}");
    };
    let read: Vec<&str> = namespace
        .reads
        .iter()
        .map(|read| read.key.as_str())
        .collect();
    assert_eq!(read, ["a", "b", "e"]);
    assert!(namespace.reads.iter().all(|read| read.version.is_some()));
    assert!(namespace.ranges.is_empty());
}

#[test]
fn sorting_needs_an_index_and_gets_its_order() {
    let (_folder, ledger) = ledger();
    put(
        &ledger,
        &[
            ("a", Some(r#"{"size":3}"#)),
            ("b", Some(r#"{"size":1}"#)),
            ("c", Some(r#"{"color":"red"}"#)),
        ],
    );
    let ascending = json!({"selector": {}, "sort": ["size"]});
    let descending = json!({"selector": {}, "sort": [{"size": "desc"}]});
    assert_eq!(keys(&ledger, &ascending), Err(NO_INDEX.into()));
    ledger
        .declare_indexes(
            CC,
            &[by("size", json!(["size"])), file("bad.json", json!({}))],
        )
        .unwrap();
    assert_eq!(ledger.ready_indexes(CC, None), ["d/size"]);
    assert_eq!(keys(&ledger, &ascending).unwrap(), ["b", "a"]);
    assert_eq!(keys(&ledger, &descending).unwrap(), ["a", "b"]);
    put(
        &ledger,
        &[
            ("a", Some(r#"{"size":0}"#)),
            ("b", None),
            ("c", Some(r#"{"size":"x"}"#)),
            ("d", Some(r#"{"size":null}"#)),
        ],
    );
    assert_eq!(keys(&ledger, &ascending).unwrap(), ["d", "a", "c"]);
    // Only the file changed its name.
    ledger
        .declare_indexes(
            CC,
            &[file(
                "other.json",
                json!({"index": {"fields": ["size"]}, "ddoc": "d", "name": "size"}),
            )],
        )
        .unwrap();
    assert_eq!(keys(&ledger, &descending).unwrap(), ["c", "a", "d"]);
    // A definition without the index takes it away.
    ledger
        .declare_indexes(CC, &[by("color", json!(["color"]))])
        .unwrap();
    assert_eq!(ledger.ready_indexes(CC, None), ["d/color"]);
    assert_eq!(keys(&ledger, &ascending), Err(NO_INDEX.into()));
}

#[test]
fn of_two_files_for_one_index_the_last_one_counts() {
    let (_folder, ledger) = ledger();
    let definition = |field| json!({"index": {"fields": [field]}, "ddoc": "d", "name": "n"});
    ledger
        .declare_indexes(
            CC,
            &[
                file("2.json", definition("b")),
                file("1.json", definition("a")),
            ],
        )
        .unwrap();
    put(&ledger, &[("k", Some(r#"{"a":1,"b":1}"#))]);
    assert_eq!(
        keys(&ledger, &json!({"selector": {}, "sort": ["b"]})).unwrap(),
        ["k"]
    );
    assert!(keys(&ledger, &json!({"selector": {}, "sort": ["a"]})).is_err());
}

#[test]
fn pages_follow_one_another_by_bookmark() {
    let (_folder, ledger) = ledger();
    let values: Vec<(String, String)> = (0..150)
        .map(|n| {
            (
                format!("k{n:03}"),
                format!(r#"{{"n":{},"even":{}}}"#, n / 7, n % 2 == 0),
            )
        })
        .collect();
    let written: Vec<(&str, Option<&str>)> = values
        .iter()
        .map(|(key, value)| (key.as_str(), Some(value.as_str())))
        .collect();
    put(&ledger, &written);
    ledger
        .declare_indexes(CC, &[by("n", json!(["n"]))])
        .unwrap();
    for query in [
        json!({"selector": {"even": true}}),
        json!({"selector": {"n": {"$gt": 2}}}),
        json!({"selector": {"even": true}, "sort": ["n"]}),
        json!({"selector": {"n": {"$lt": 9}}, "sort": [{"n": "desc"}]}),
    ] {
        let expected = keys(&ledger, &query).unwrap();
        let (mut bookmark, mut found, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let mut simulator = ledger.simulator("tx").unwrap();
            let cursor = simulator
                .paginated_query(CC, &query.to_string(), &bookmark, 20)
                .unwrap();
            let page = pull(&mut simulator, cursor);
            let next = simulator.bookmark(cursor).unwrap();
            assert!(page.len() <= 20);
            if page.is_empty() {
                // Nothing more: the bookmark stays where it was.
                assert_eq!(next, bookmark);
                break;
            }
            assert_ne!(next, bookmark);
            found.extend(page.into_iter().map(|(key, _)| key));
            bookmark = next;
            pages += 1;
        }
        assert_eq!(found, expected, "{query}");
        assert_eq!(pages, expected.len().div_ceil(20));
    }
    let mut simulator = ledger.simulator("tx").unwrap();
    let nothing = simulator
        .paginated_query(CC, r#"{"selector":{"n":-1}}"#, "", 5)
        .unwrap();
    assert_eq!(pull(&mut simulator, nothing), []);
    assert_eq!(simulator.bookmark(nothing).unwrap(), "nil");
    // A bookmark of an index does not fit a scan, and text is none at all.
    let last = simulator
        .paginated_query(CC, r#"{"selector":{"n":1}}"#, "", 1)
        .unwrap();
    pull(&mut simulator, last);
    let of_index = simulator.bookmark(last).unwrap();
    for bookmark in [of_index.as_str(), "nil", "x"] {
        let refused = simulator
            .paginated_query(CC, r#"{"selector":{"even":true}}"#, bookmark, 5)
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "error handling CouchDB request. Error:invalid_bookmark,  Status Code:400,  Reason:Invalid bookmark value: \"{bookmark}\""
            )
        );
    }
    let skipped = json!({"selector": {"n": {"$gte": 0}}, "sort": ["n"], "skip": 148});
    assert_eq!(keys(&ledger, &skipped).unwrap(), ["k148", "k149"]);
}

#[test]
fn paginated_queries_and_writes_exclude_each_other_and_others_do_not() {
    let (_folder, ledger) = ledger();
    let all = r#"{"selector":{}}"#;
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator.query(CC, all).unwrap();
    simulator
        .put_state(CC, "k", Bytes::from_static(b"v"))
        .unwrap();
    simulator.query(CC, all).unwrap();
    assert_eq!(
        simulator
            .paginated_query(CC, all, "", 5)
            .unwrap_err()
            .to_string(),
        "txid [tx]: unsuppored transaction. Paginated queries are supported only in a read-only transaction"
    );
    let mut simulator = ledger.simulator("tx").unwrap();
    simulator.paginated_query(CC, all, "", 5).unwrap();
    assert_eq!(
        simulator
            .put_state(CC, "k", Bytes::new())
            .unwrap_err()
            .to_string(),
        "txid [tx]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"
    );
}

#[test]
fn a_query_ends_when_its_transaction_is_over() {
    let (_folder, ledger) = ledger();
    put(&ledger, &[("a", Some("{}"))]);
    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.query(CC, r#"{"selector":{}}"#).unwrap();
    simulator
        .stop_signal()
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(
        simulator.next(cursor),
        Err(LedgerError::Refused(_))
    ));
}

#[test]
fn a_simulation_uses_the_indexes_of_its_snapshot() {
    let (_folder, ledger) = ledger();
    put(
        &ledger,
        &[("a", Some(r#"{"n":2}"#)), ("b", Some(r#"{"n":1}"#))],
    );
    let sorted = r#"{"selector":{},"sort":["n"]}"#;
    let mut before = ledger.simulator("tx").unwrap();
    ledger
        .declare_indexes(CC, &[by("n", json!(["n"]))])
        .unwrap();
    let mut between = ledger.simulator("tx").unwrap();
    ledger.declare_indexes(CC, &[]).unwrap();
    put(&ledger, &[("a", None)]);
    let mut after = ledger.simulator("tx").unwrap();
    for without in [&mut before, &mut after] {
        assert_eq!(without.query(CC, sorted).unwrap_err().to_string(), NO_INDEX);
    }
    let cursor = between.query(CC, sorted).unwrap();
    let found = pull(&mut between, cursor);
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b", "a"]);
}

#[test]
fn an_index_built_while_blocks_commit_is_complete() {
    let (_folder, ledger) = ledger();
    let value = |n: usize| format!(r#"{{"n":{n}}}"#);
    for block in 0..4 {
        let values: Vec<(String, String)> = (0..400)
            .map(|n| (format!("k{:04}", block * 400 + n), value(n)))
            .collect();
        let written: Vec<(&str, Option<&str>)> = values
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_str())))
            .collect();
        put(&ledger, &written);
    }
    let writer = {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            for n in 0..60 {
                let (gone, new) = (format!("k{:04}", n * 26), format!("new{n:02}"));
                let (changed, value) = (format!("k{:04}", n * 26 + 1), value(1000 + n));
                put(
                    &ledger,
                    &[
                        (&gone, None),
                        (&new, Some(&value)),
                        (&changed, Some(&value)),
                    ],
                );
            }
        })
    };
    ledger
        .declare_indexes(CC, &[by("n", json!(["n"]))])
        .unwrap();
    writer.join().unwrap();
    let mut through_index = keys(&ledger, &json!({"selector": {}, "sort": ["n"]})).unwrap();
    assert_eq!(through_index.len(), 1600);
    through_index.sort();
    assert_eq!(
        through_index,
        keys(&ledger, &json!({"selector": {}})).unwrap()
    );
}

/// A change of one key, or a declaration of indexes by these fields.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, Option<String>),
    Declare(Vec<&'static str>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        6 => (0..4, 0..4).prop_map(|(a, b)| Some(format!(r#"{{"a":{a},"b":{b}}}"#))),
        1 => (0..4).prop_map(|a| Some(format!(r#"{{"a":{a}}}"#))),
        1 => Just(Some("text".to_owned())),
        2 => Just(None),
    ];
    prop_oneof![
        12 => (0..6usize, value).prop_map(|(key, value)| Step::Put(key, value)),
        3 => prop::sample::subsequence(vec!["a", "b"], 0..=2).prop_map(Step::Declare),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn indexes_agree_with_the_state_after_every_block(steps in prop::collection::vec(step(), 1..25)) {
        let (folder, mut ledger) = ledger();
        let (mut state, mut declared) = (BTreeMap::new(), Vec::new());
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    let key = format!("k{key}");
                    put(&ledger, &[(&key, value.as_deref())]);
                    match value {
                        Some(value) => state.insert(key, value),
                        None => state.remove(&key),
                    };
                }
                Step::Declare(fields) => {
                    let files: Vec<IndexFile> =
                        fields.iter().map(|field| by(field, json!([field]))).collect();
                    ledger.declare_indexes(CC, &files).unwrap();
                    declared = fields;
                }
                Step::Reopen => {
                    drop(ledger);
                    ledger = Ledger::open(folder.path()).unwrap();
                }
            }
            for field in ["a", "b"] {
                let found = keys(&ledger, &json!({"selector": {}, "sort": [field]}));
                let mut expected: Vec<(i64, &String)> = state
                    .iter()
                    .filter_map(|(key, value)| {
                        let value: Value = serde_json::from_str(value).ok()?;
                        Some((value.get(field)?.as_i64()?, key))
                    })
                    .collect();
                expected.sort();
                let expected: Vec<String> =
                    expected.into_iter().map(|(_, key)| key.clone()).collect();
                if declared.contains(&field) {
                    prop_assert_eq!(found, Ok(expected));
                } else {
                    prop_assert_eq!(found, Err(NO_INDEX.to_owned()));
                }
            }
        }
    }
}
