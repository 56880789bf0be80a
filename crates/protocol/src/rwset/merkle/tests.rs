use super::*;
use consilium_proto::kvrwset::Version;
use proptest::prelude::*;
use std::convert::Infallible;

fn read(number: u64) -> KvRead {
    KvRead {
        key: format!("key{number:05}"),
        version: Some(Version {
            block_num: 1,
            tx_num: number,
        }),
    }
}

fn summary(degree: u32, count: u64) -> Option<ReadsInfo> {
    let mut summary = RangeSummary::with_degree(degree).unwrap();
    (0..count).for_each(|number| summary.push(read(number)));
    summary.finish()
}

fn leaf(numbers: impl Iterator<Item = u64>) -> [u8; 32] {
    sha256(
        &QueryReads {
            kv_reads: numbers.map(read).collect(),
        }
        .encode_to_vec(),
    )
}

fn merkle(info: Option<ReadsInfo>) -> (u32, Vec<Bytes>) {
    match info {
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
            (summary.max_level, summary.max_level_hashes)
        }
        other => panic!("not a summary: {other:?}"),
    }
}

#[test]
fn up_to_the_degree_results_are_recorded_as_they_are() {
    assert_eq!(summary(50, 0), None);
    for count in [1, 50] {
        let expected = QueryReads {
            kv_reads: (0..count).map(read).collect(),
        };
        assert_eq!(summary(50, count), Some(ReadsInfo::RawReads(expected)));
    }
    assert_eq!(
        merkle(summary(50, 51)),
        (1, vec![Bytes::copy_from_slice(&leaf(0..51))])
    );
}

#[test]
fn a_remainder_is_a_leaf_of_its_own() {
    let hashes = vec![
        Bytes::copy_from_slice(&leaf(0..3)),
        Bytes::copy_from_slice(&leaf(3..4)),
    ];
    assert_eq!(merkle(summary(2, 4)), (1, hashes));
}

#[test]
fn a_full_level_is_combined_one_level_up() {
    // Degree 2: leaves of three reads; the third leaf closes the level.
    let node = combine(&[leaf(0..3), leaf(3..6), leaf(6..9)]);
    assert_eq!(
        merkle(summary(2, 9)),
        (2, vec![Bytes::copy_from_slice(&node)])
    );
    // A lone leaf left over moves up as it is; two are combined.
    let one = vec![
        Bytes::copy_from_slice(&node),
        Bytes::copy_from_slice(&leaf(9..10)),
    ];
    assert_eq!(merkle(summary(2, 10)), (2, one));
    let two = vec![
        Bytes::copy_from_slice(&node),
        Bytes::copy_from_slice(&combine(&[leaf(9..12), leaf(12..13)])),
    ];
    assert_eq!(merkle(summary(2, 13)), (2, two));
}

#[test]
fn a_top_level_that_overflows_at_the_end_becomes_one_hash_higher_up() {
    // Two leaves at level 1 and a remainder: three hashes under degree 2.
    let level = [leaf(0..3), leaf(3..6), leaf(6..7)];
    let (max_level, hashes) = merkle(summary(2, 7));
    assert_eq!(
        (max_level, hashes),
        (2, vec![Bytes::copy_from_slice(&combine(&level))])
    );
}

#[test]
fn a_degree_below_two_is_refused_and_never_the_same_result() {
    assert_eq!(
        RangeSummary::with_degree(1).unwrap_err().to_string(),
        "maxDegree [1] should not be less than 2 in the merkle tree"
    );
    let recorded = ReadsInfo::ReadsMerkleHashes(QueryReadsMerkleSummary {
        max_degree: 1,
        ..Default::default()
    });
    let now = (0..3).map(read).map(Ok::<_, Infallible>);
    assert_eq!(same_results(Some(&recorded), now), Ok(false));
}

#[test]
fn a_recorded_read_without_version_is_never_the_same_result() {
    let lost = KvRead {
        key: "k".into(),
        version: None,
    };
    let recorded = ReadsInfo::RawReads(QueryReads {
        kv_reads: vec![lost.clone()],
    });
    assert_eq!(
        same_results(Some(&recorded), [Ok::<_, Infallible>(lost)].into_iter()),
        Ok(false)
    );
}

#[test]
fn an_error_of_the_state_is_passed_on() {
    assert_eq!(same_results(None, [Err("lost")].into_iter()), Err("lost"));
}

proptest! {
    #[test]
    fn a_range_equals_itself_and_nothing_else(degree in 2..6_u32, count in 0..120_u64, change in 0..120_u64, kind in 0..3) {
        let recorded = summary(degree, count);
        let now: Vec<KvRead> = (0..count).map(read).collect();
        let same = |reads: Vec<KvRead>| same_results(recorded.as_ref(), reads.into_iter().map(Ok::<_, Infallible>)).unwrap();
        prop_assert!(same(now.clone()));
        let mut other = now.clone();
        let at = usize::try_from(change % (count + 1)).unwrap();
        match kind {
            0 => other.insert(at, read(1000)),
            1 if at < other.len() => { other.remove(at); }
            2 if at < other.len() => other[at].version = Some(Version { block_num: 2, tx_num: 0 }),
            _ => return Ok(()),
        }
        prop_assert!(!same(other));
    }
}
