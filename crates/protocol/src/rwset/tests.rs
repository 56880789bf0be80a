use super::*;
use consilium_proto::kvrwset::{QueryReads, QueryReadsMerkleSummary, range_query_info::ReadsInfo};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn version() -> impl Strategy<Value = Option<kvrwset::Version>> {
    option::of(
        any::<(u64, u64)>().prop_map(|(block_num, tx_num)| kvrwset::Version { block_num, tx_num }),
    )
}

fn read() -> impl Strategy<Value = KvRead> {
    ("\\PC{0,6}", version()).prop_map(|(key, version)| KvRead { key, version })
}

fn range() -> impl Strategy<Value = RangeQueryInfo> {
    let summary = (2..60_u32, 1..4_u32, vec(blob(), 0..3)).prop_map(
        |(max_degree, max_level, max_level_hashes)| {
            ReadsInfo::ReadsMerkleHashes(QueryReadsMerkleSummary {
                max_degree,
                max_level,
                max_level_hashes,
            })
        },
    );
    let raw = vec(read(), 0..4).prop_map(|kv_reads| ReadsInfo::RawReads(QueryReads { kv_reads }));
    (
        "[a-z]{0,3}",
        "[a-z]{0,3}",
        any::<bool>(),
        option::of(prop_oneof![raw, summary]),
    )
        .prop_map(
            |(start_key, end_key, itr_exhausted, reads_info)| RangeQueryInfo {
                start_key,
                end_key,
                itr_exhausted,
                reads_info,
            },
        )
}

fn entries() -> impl Strategy<Value = Vec<KvMetadataEntry>> {
    vec(
        ("[A-Z_]{1,5}", blob()).prop_map(|(name, value)| KvMetadataEntry { name, value }),
        0..3,
    )
}

fn collection() -> impl Strategy<Value = CollectionRwSet> {
    let reads = vec(
        (blob(), version()).prop_map(|(key_hash, version)| KvReadHash { key_hash, version }),
        0..3,
    );
    let writes = vec(
        (blob(), any::<bool>(), blob(), any::<bool>()).prop_map(
            |(key_hash, is_delete, value_hash, is_purge)| KvWriteHash {
                key_hash,
                is_delete,
                value_hash,
                is_purge,
            },
        ),
        0..3,
    );
    let metadata = vec(
        (blob(), entries())
            .prop_map(|(key_hash, entries)| KvMetadataWriteHash { key_hash, entries }),
        0..2,
    );
    ("[a-z]{0,4}", reads, writes, metadata, blob()).prop_map(
        |(name, hashed_reads, hashed_writes, metadata_writes, pvt_rwset_hash)| CollectionRwSet {
            name,
            hashed_reads,
            hashed_writes,
            metadata_writes,
            pvt_rwset_hash,
        },
    )
}

fn namespace() -> impl Strategy<Value = NsRwSet> {
    let writes = vec(
        ("\\PC{0,6}", any::<bool>(), blob()).prop_map(|(key, is_delete, value)| KvWrite {
            key,
            is_delete,
            value,
        }),
        0..4,
    );
    let metadata = vec(
        ("[a-z]{0,4}", entries()).prop_map(|(key, entries)| KvMetadataWrite { key, entries }),
        0..2,
    );
    (
        "[a-z_]{0,6}",
        vec(read(), 0..4),
        vec(range(), 0..2),
        writes,
        metadata,
        vec(collection(), 0..3),
    )
        .prop_map(
            |(name, reads, ranges, writes, metadata_writes, collections)| NsRwSet {
                name,
                reads,
                ranges,
                writes,
                metadata_writes,
                collections,
            },
        )
}

proptest! {
    #[test]
    fn what_is_encoded_parses_back_and_is_the_plain_protobuf_encoding(namespaces in vec(namespace(), 0..4)) {
        let set = TxRwSet { namespaces };
        let bytes = set.encode();
        prop_assert_eq!(&TxRwSet::parse(&bytes).unwrap(), &set);
        let plain = rwset::TxReadWriteSet::decode(bytes.clone()).unwrap();
        prop_assert_eq!(Bytes::from(plain.encode_to_vec()), bytes);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = TxRwSet::parse(&Bytes::from(bytes));
    }

    #[test]
    fn version_bytes_read_back_and_order_as_the_versions_do(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
        let (a, b) = (Version::new(a.0, a.1), Version::new(b.0, b.1));
        let mut bytes = a.to_bytes();
        prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        let length = bytes.len();
        bytes.push(9);
        prop_assert_eq!(Version::from_bytes(&bytes), Some((a, length)));
    }

    #[test]
    fn ordered_varints_read_back(number in any::<u64>(), shift in 0..64_u32) {
        let number = number >> shift;
        let mut bytes = Vec::new();
        append_ordered_varint(&mut bytes, number);
        prop_assert_eq!(read_ordered_varint(&bytes), Some((number, bytes.len())));
    }
}

#[test]
fn ordered_varints_have_fixed_bytes() {
    let cases: [(u64, &[u8]); 4] = [
        (0, &[0]),
        (45, &[1, 45]),
        (300, &[2, 1, 0x2c]),
        (u64::MAX, &[8, 255, 255, 255, 255, 255, 255, 255, 255]),
    ];
    for (number, expected) in cases {
        let mut bytes = Vec::new();
        append_ordered_varint(&mut bytes, number);
        assert_eq!(bytes, expected);
    }
}

#[test]
fn ordered_varints_that_are_not_canonical_are_refused() {
    let bad: [&[u8]; 5] = [
        &[],
        &[1],
        &[1, 0],
        &[9, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        &[2, 0, 7],
    ];
    for bytes in bad {
        assert_eq!(read_ordered_varint(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_broken_nested_message_refuses_the_whole_set() {
    let broken = Bytes::from_static(b"\xff");
    let sets = [
        rwset::NsReadWriteSet {
            rwset: broken.clone(),
            ..Default::default()
        },
        rwset::NsReadWriteSet {
            collection_hashed_rwset: vec![rwset::CollectionHashedReadWriteSet {
                hashed_rwset: broken,
                ..Default::default()
            }],
            ..Default::default()
        },
    ];
    for namespace in sets {
        let set = rwset::TxReadWriteSet {
            data_model: 0,
            ns_rwset: vec![namespace],
        };
        assert!(TxRwSet::parse(&set.encode_to_vec().into()).is_err());
    }
}

#[test]
fn only_writes_make_a_namespace_written() {
    let mut namespace = NsRwSet {
        reads: vec![KvRead::default()],
        ..Default::default()
    };
    namespace.collections.push(CollectionRwSet {
        hashed_reads: vec![KvReadHash::default()],
        ..Default::default()
    });
    assert!(!namespace.has_writes());
    let mut hashed = namespace.clone();
    hashed.collections[0]
        .metadata_writes
        .push(KvMetadataWriteHash::default());
    assert!(hashed.has_writes());
    namespace.writes.push(KvWrite::default());
    assert!(namespace.has_writes());
}
