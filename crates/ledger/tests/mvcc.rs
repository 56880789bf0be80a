//! MVCC against a model that executes transactions one after the other on a plain map, and tables
//! of what forged read-write sets do.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consilium_ledger::mvcc::{StateView, TxContent, VersionScan, decide};
use consilium_ledger::{LedgerError, VersionedValue};
use consilium_proto::kvrwset::{QueryReads, QueryReadsMerkleSummary, range_query_info::ReadsInfo};
use consilium_proto::protos::TxValidationCode::{self, *};
use consilium_protocol::rwset::merkle::RangeSummary;
use consilium_protocol::rwset::{KvMetadataWrite, NsRwSet, RangeQueryInfo, TxRwSet, Version};
use proptest::prelude::*;
use prost::Message;
use support::{metadata_write, read, results, write};

const NS: &str = "cc";
const BLOCK: u64 = 9;

#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<String, VersionedValue>);

impl StateView for Model {
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<VersionedValue>, LedgerError> {
        let key = std::str::from_utf8(key).unwrap();
        Ok(self.0.get(key).filter(|_| namespace == NS).cloned())
    }

    fn scan<'a>(
        &'a self,
        namespace: &str,
        start: &[u8],
        end: &[u8],
    ) -> Result<VersionScan<'a>, LedgerError> {
        let (start, end) = (start.to_vec(), end.to_vec());
        let is_ours = namespace == NS;
        Ok(Box::new(
            self.0
                .iter()
                .filter(move |(key, _)| {
                    is_ours
                        && key.as_bytes() >= start.as_slice()
                        && (end.is_empty() || key.as_bytes() < end.as_slice())
                })
                .map(|(key, value)| Ok((key.as_bytes().to_vec(), value.version))),
        ))
    }
}

impl Model {
    fn range(&self, start: &str, end: &str) -> Vec<(String, Version)> {
        self.0
            .iter()
            .filter(|(key, _)| key.as_str() >= start && (end.is_empty() || key.as_str() < end))
            .map(|(key, value)| (key.clone(), value.version))
            .collect()
    }

    /// What an iterator records that stops after `pulled` results, or sees its end.
    fn record(&self, start: &str, end: &str, pulled: usize) -> RangeQueryInfo {
        let found = self.range(start, end);
        let exhausted = found.len() < pulled;
        let taken = &found[..pulled.min(found.len())];
        let mut summary = RangeSummary::with_degree(2).unwrap();
        for (key, version) in taken {
            summary.push(read(key, Some((version.block, version.tx))));
        }
        RangeQueryInfo {
            start_key: start.into(),
            end_key: if exhausted {
                end.into()
            } else {
                taken.last().map(|(key, _)| key.clone()).unwrap_or_default()
            },
            itr_exhausted: exhausted,
            reads_info: summary.finish(),
        }
    }

    /// Whether the range still gives what was recorded, told from the keys alone.
    fn gives(&self, recorded: &RangeQueryInfo, before: &RecordedRange) -> bool {
        let mut now = self.range(&recorded.start_key, &recorded.end_key);
        if !recorded.itr_exhausted
            && let Some(last) = self.0.get(&recorded.end_key)
        {
            now.push((recorded.end_key.clone(), last.version));
        }
        now == before.0
    }

    fn apply(&mut self, rwset: &NsRwSet, version: Version) {
        for write in &rwset.writes {
            let metadata = self.0.get(&write.key).and_then(|old| old.metadata.clone());
            if write.is_delete {
                self.0.remove(&write.key);
            } else {
                let value = VersionedValue {
                    value: write.value.clone(),
                    metadata,
                    version,
                };
                self.0.insert(write.key.clone(), value);
            }
        }
        for write in &rwset.metadata_writes {
            if let Some(value) = self.0.get_mut(&write.key) {
                value.metadata = stored(&write.entries);
                value.version = version;
            }
        }
    }
}

/// The results that an endorser saw.
#[derive(Clone, Debug)]
struct RecordedRange(Vec<(String, Version)>);

fn stored(entries: &[consilium_protocol::rwset::KvMetadataEntry]) -> Option<Bytes> {
    (!entries.is_empty()).then(|| {
        let metadata = KvMetadataWrite {
            key: String::new(),
            entries: entries.to_vec(),
        };
        metadata.encode_to_vec().into()
    })
}

/// One transaction as an endorser would have simulated it on `Model`, a little stale perhaps.
#[derive(Clone, Debug)]
struct Plan {
    reads: Vec<u8>,
    range: Option<(u8, u8, usize)>,
    writes: BTreeMap<u8, Option<u8>>,
    metadata: BTreeMap<u8, bool>,
    stale: bool,
}

fn name(key: u8) -> String {
    format!("k{key:02}")
}

fn plan() -> impl Strategy<Value = Plan> {
    let key = 0u8..12;
    (
        proptest::collection::vec(key.clone(), 0..3),
        proptest::option::of((key.clone(), key.clone(), 0usize..8)),
        proptest::collection::btree_map(key.clone(), proptest::option::of(any::<u8>()), 0..3),
        proptest::collection::btree_map(key, any::<bool>(), 0..2),
        proptest::bool::weighted(0.1),
    )
        .prop_map(|(reads, range, writes, metadata, stale)| Plan {
            reads,
            range,
            writes,
            metadata,
            stale,
        })
}

fn endorse(plan: &Plan, state: &Model) -> (NsRwSet, Vec<RecordedRange>) {
    let mut ranges = Vec::new();
    let mut recorded = Vec::new();
    if let Some((start, end, pulled)) = plan.range {
        let (start, end) = (name(start), name(end));
        let mut range = state.record(&start, &end, pulled.max(1));
        if end < start {
            range.itr_exhausted = true;
            range.end_key = end.clone();
        }
        let mut seen = state.range(&start, &end);
        seen.truncate(if range.itr_exhausted {
            usize::MAX
        } else {
            pulled.max(1)
        });
        ranges.push(range);
        recorded.push(RecordedRange(seen));
    }
    let reads: BTreeSet<u8> = plan.reads.iter().copied().collect();
    let reads = reads.into_iter().map(|key| {
        let version = state.0.get(&name(key)).map(|value| value.version);
        let version = version.map(|version| (version.block + u64::from(plan.stale), version.tx));
        read(&name(key), version)
    });
    let set = NsRwSet {
        name: NS.into(),
        reads: reads.collect(),
        ranges,
        writes: plan
            .writes
            .iter()
            .map(|(key, value)| {
                write(
                    &name(*key),
                    value.as_ref().map_or(&[][..], std::slice::from_ref),
                )
            })
            .collect(),
        metadata_writes: plan
            .metadata
            .iter()
            .map(|(key, set)| {
                let entries: &[(&str, &[u8])] = if *set { &[("p", b"policy")] } else { &[] };
                metadata_write(&name(*key), entries)
            })
            .collect(),
        collections: Vec::new(),
    };
    (set, recorded)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_block_is_decided_like_by_executing_it_step_by_step(
        committed in proptest::collection::btree_map(0u8..12, any::<u8>(), 0..12),
        plans in proptest::collection::vec(plan(), 1..8),
    ) {
        let state = Model(committed.iter().map(|(key, value)| {
            let version = Version::new(u64::from(*value) % BLOCK, u64::from(*key));
            let value = VersionedValue {
                value: Bytes::copy_from_slice(&[*value]),
                metadata: (value % 3 == 0).then(|| stored(&metadata_write("", &[("p", b"old")]).entries).unwrap()),
                version,
            };
            (name(*key), value)
        }).collect());
        let endorsed: Vec<_> = plans.iter().map(|plan| endorse(plan, &state)).collect();

        let mut expected = Vec::new();
        let mut current = state.clone();
        let mut touched = BTreeSet::new();
        for (index, (set, recorded)) in endorsed.iter().enumerate() {
            let reads_hold = set.reads.iter().all(|read| {
                let committed = state.0.get(&read.key).map(|value| value.version);
                !touched.contains(&read.key) && committed == read.version.map(Version::from)
            });
            let ranges_hold = set.ranges.iter().zip(recorded)
                .all(|(range, before)| current.gives(range, before));
            let code = match (reads_hold, ranges_hold) {
                (false, _) => MvccReadConflict,
                (true, false) => PhantomReadConflict,
                (true, true) => Valid,
            };
            if code == Valid {
                let before = current.clone();
                current.apply(set, Version::new(BLOCK, index as u64));
                touched.extend(set.writes.iter().map(|write| write.key.clone()));
                let metadata_only = set.metadata_writes.iter()
                    .filter(|write| before.0.contains_key(&write.key));
                touched.extend(metadata_only.map(|write| write.key.clone()));
            }
            expected.push(code);
        }

        let contents: Vec<_> = endorsed.into_iter()
            .map(|(set, _)| TxContent::Endorsed(TxRwSet { namespaces: vec![set] }))
            .collect();
        let mut codes = vec![Valid; contents.len()];
        let updates = decide(BLOCK, &contents, &mut codes, &state).unwrap();
        prop_assert_eq!(&codes, &expected);

        let mut result = state.clone();
        for (key, update) in updates.keys(NS, None).into_iter().flatten() {
            let key = String::from_utf8(key.to_vec()).unwrap();
            match &update.content {
                None => { result.0.remove(&key); }
                Some(content) => {
                    result.0.insert(key, VersionedValue {
                        value: content.value.clone(),
                        metadata: content.metadata.clone(),
                        version: update.version,
                    });
                }
            }
        }
        prop_assert_eq!(result.0, current.0);
    }

    #[test]
    fn no_read_write_set_makes_the_decision_panic(
        start in ".{0,3}", end in ".{0,3}", exhausted in any::<bool>(),
        degree in 0u32..4, level in any::<u32>(), hashed in any::<bool>(),
        writes in proptest::collection::vec((".{0,2}", any::<bool>(), any::<u8>()), 0..40),
    ) {
        let reads_info = if hashed {
            ReadsInfo::ReadsMerkleHashes(QueryReadsMerkleSummary {
                max_degree: degree,
                max_level: level,
                max_level_hashes: vec![Bytes::new()],
            })
        } else {
            ReadsInfo::RawReads(QueryReads { kv_reads: vec![read(&start, None)] })
        };
        let writing = results(NS, |set| {
            set.writes = writes.iter().map(|(key, is_delete, value)| {
                let mut write = write(key, &[*value]);
                write.is_delete = *is_delete;
                write
            }).collect();
        });
        let reading = results(NS, |set| set.ranges = vec![RangeQueryInfo {
            start_key: start, end_key: end, itr_exhausted: exhausted, reads_info: Some(reads_info),
        }]);
        let contents = [TxContent::Endorsed(writing), TxContent::Endorsed(reading)];
        let mut codes = [Valid, Valid];
        decide(BLOCK, &contents, &mut codes, &Model::default()).unwrap();
        // A read without version and a tree of one degree cannot have been recorded.
        prop_assert_eq!(codes[1], PhantomReadConflict);
    }
}

fn one_key_state() -> Model {
    let value = VersionedValue {
        value: Bytes::from_static(b"old"),
        metadata: stored(&metadata_write("", &[("p", b"old")]).entries),
        version: Version::new(1, 0),
    };
    Model([("k".to_owned(), value)].into())
}

/// New value and metadata entry of key "k" after one transaction; `None` if it was not updated.
fn outcome(fill: impl FnOnce(&mut NsRwSet)) -> Option<Option<(Vec<u8>, bool)>> {
    let contents = [TxContent::Endorsed(results(NS, fill))];
    let mut codes = [TxValidationCode::Valid];
    let updates = decide(BLOCK, &contents, &mut codes, &one_key_state()).unwrap();
    assert_eq!(codes, [Valid]);
    updates.get(NS, None, b"k").map(|update| {
        update
            .content
            .as_ref()
            .map(|content| (content.value.to_vec(), content.metadata.is_some()))
    })
}

#[test]
fn flags_of_a_key_are_added_as_numbers() {
    let put = || write("k", b"new");
    let delete = || write("k", b"");
    let policy = || metadata_write("k", &[("p", b"new")]);
    let clear = || metadata_write("k", &[]);
    type Case = (
        &'static str,
        usize,
        usize,
        usize,
        usize,
        Option<Option<(&'static [u8], bool)>>,
    );
    let cases: [Case; 10] = [
        (
            "a write keeps metadata",
            1,
            0,
            0,
            0,
            Some(Some((b"new", true))),
        ),
        ("a delete takes both", 0, 1, 0, 0, Some(None)),
        (
            "metadata alone keeps the value",
            0,
            0,
            1,
            0,
            Some(Some((b"old", true))),
        ),
        (
            "clearing metadata keeps the value",
            0,
            0,
            0,
            1,
            Some(Some((b"old", false))),
        ),
        ("value and metadata", 1, 0, 1, 0, Some(Some((b"new", true)))),
        (
            "value and cleared metadata",
            1,
            0,
            0,
            1,
            Some(Some((b"new", false))),
        ),
        (
            "two writes (2) count as a metadata update without metadata",
            2,
            0,
            0,
            0,
            Some(Some((b"old", false))),
        ),
        (
            "two deletes (16) count as nothing but drop metadata",
            0,
            2,
            0,
            0,
            Some(Some((b"old", false))),
        ),
        ("write and delete (9) delete", 1, 1, 0, 0, Some(None)),
        (
            "32 deletes wrap to 0, an upsert without value",
            0,
            32,
            0,
            0,
            None,
        ),
    ];
    for (case, puts, deletes, policies, clears, want) in cases {
        let got = outcome(|set| {
            set.writes.extend(std::iter::repeat_with(put).take(puts));
            set.writes
                .extend(std::iter::repeat_with(delete).take(deletes));
            set.metadata_writes
                .extend(std::iter::repeat_with(policy).take(policies));
            set.metadata_writes
                .extend(std::iter::repeat_with(clear).take(clears));
        });
        let want = want.map(|content| content.map(|(value, has)| (value.to_vec(), has)));
        assert_eq!(got, want, "{case}");
    }
}

#[test]
fn metadata_of_a_missing_or_just_deleted_key_is_dropped() {
    let policy = |key: &str| {
        results(NS, |set| {
            set.metadata_writes = vec![metadata_write(key, &[("p", b"x")])]
        })
    };
    let delete = results(NS, |set| set.writes = vec![write("k", b"")]);
    let contents = [policy("missing"), delete, policy("k")].map(TxContent::Endorsed);
    let mut codes = [Valid; 3];
    let updates = decide(BLOCK, &contents, &mut codes, &one_key_state()).unwrap();
    assert_eq!(codes, [Valid; 3]);
    assert!(updates.get(NS, None, b"missing").is_none());
    assert!(updates.get(NS, None, b"k").unwrap().content.is_none());
}

#[test]
fn a_refused_transaction_changes_nothing_for_the_next_one() {
    let stale = results(NS, |set| {
        set.reads = vec![read("k", None)];
        set.writes = vec![write("k", b"stale")];
    });
    let fresh = results(NS, |set| set.reads = vec![read("k", Some((1, 0)))]);
    let contents = [stale, fresh].map(TxContent::Endorsed);
    let mut codes = [Valid; 2];
    let updates = decide(BLOCK, &contents, &mut codes, &one_key_state()).unwrap();
    assert_eq!(codes, [MvccReadConflict, Valid]);
    assert_eq!(updates, Default::default());
}

#[test]
fn hashed_reads_conflict_within_their_collection_only() {
    use consilium_protocol::rwset::{CollectionRwSet, KvReadHash, KvWriteHash};
    let hash = Bytes::from_static(&[7; 32]);
    let writing = results(NS, |set| {
        set.collections = vec![CollectionRwSet {
            name: "a".into(),
            hashed_writes: vec![KvWriteHash {
                key_hash: hash.clone(),
                value_hash: hash.clone(),
                ..Default::default()
            }],
            ..Default::default()
        }];
    });
    let reading = |collection: &str| {
        results(NS, |set| {
            set.collections = vec![CollectionRwSet {
                name: collection.into(),
                hashed_reads: vec![KvReadHash {
                    key_hash: hash.clone(),
                    version: None,
                }],
                ..Default::default()
            }];
        })
    };
    let contents = [writing, reading("a"), reading("b")].map(TxContent::Endorsed);
    let mut codes = [Valid; 3];
    decide(BLOCK, &contents, &mut codes, &Model::default()).unwrap();
    assert_eq!(codes, [Valid, MvccReadConflict, Valid]);
}
