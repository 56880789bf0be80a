use super::*;
use proptest::prelude::*;
use prost::Message;

fn header(number: u64) -> common::BlockHeader {
    common::BlockHeader {
        number,
        ..Default::default()
    }
}

fn envelope(payload: &'static [u8], signature: &'static [u8]) -> Bytes {
    let envelope = common::Envelope {
        payload: Bytes::from_static(payload),
        signature: Bytes::from_static(signature),
    };
    envelope.encode_to_vec().into()
}

#[test]
fn header_numbers_are_minimal_unsigned_integers() {
    let cases: [(u64, &[u8]); 6] = [
        (0, &[2, 1, 0]),
        (1, &[2, 1, 1]),
        (127, &[2, 1, 127]),
        (128, &[2, 2, 0, 128]),
        (256, &[2, 2, 1, 0]),
        (u64::MAX, &[2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ];
    for (number, integer) in cases {
        let expected = [&[0x30, integer.len() as u8 + 4], integer, &[4, 0, 4, 0]].concat();
        assert_eq!(header_bytes(&header(number)), expected, "{number}");
    }
}

#[test]
fn long_hashes_get_long_lengths() {
    let header = common::BlockHeader {
        number: 1,
        previous_hash: vec![1; 300].into(),
        data_hash: vec![2; 128].into(),
    };
    let bytes = header_bytes(&header);
    assert_eq!(
        bytes[..11],
        [0x30, 0x82, 0x01, 0xb6, 2, 1, 1, 4, 0x82, 0x01, 0x2c]
    );
    assert_eq!(bytes[311..314], [4, 0x81, 0x80]);
    assert_eq!(bytes.len(), 4 + 0x1b6);
}

#[test]
fn a_new_block_passes_its_own_checks_and_any_change_fails_them() {
    let block = new_block(
        7,
        Bytes::from_static(b"previous"),
        vec![envelope(b"a", b"s"), envelope(b"b", b"s")],
    );
    assert_eq!(check_structure(&block), Ok(()));
    let changed = |change: fn(&mut common::Block)| {
        let mut block = block.clone();
        change(&mut block);
        check_structure(&block).unwrap_err()
    };
    assert_eq!(changed(|b| b.header = None), BlockError::NoHeader);
    assert_eq!(changed(|b| b.data = None), BlockError::Empty);
    assert_eq!(
        changed(|b| b.data.as_mut().unwrap().data.clear()),
        BlockError::Empty
    );
    assert_eq!(changed(|b| b.metadata = None), BlockError::Metadata(7));
    assert_eq!(
        changed(|b| drop(b.metadata.as_mut().unwrap().metadata.pop())),
        BlockError::Metadata(7)
    );
    assert_eq!(
        changed(|b| b.data.as_mut().unwrap().data.swap(0, 1)),
        BlockError::DataHash(7)
    );
}

#[test]
fn a_block_continues_only_its_predecessor() {
    let first = new_block(0, Bytes::new(), vec![envelope(b"a", b"s")]);
    let header = first.header.unwrap();
    let hash = Bytes::copy_from_slice(&header_hash(&header));
    assert_eq!(
        check_successor(&new_block(1, hash.clone(), vec![]), &header),
        Ok(())
    );
    assert!(matches!(
        check_successor(&new_block(2, hash, vec![]), &header),
        Err(BlockError::Chain { number: 2, .. })
    ));
    let wrong =
        check_successor(&new_block(1, Bytes::from_static(&[1]), vec![]), &header).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "block [1] does not continue the chain: its previous hash is 01"
    );
    let last = common::BlockHeader {
        number: u64::MAX,
        ..header
    };
    assert!(check_successor(&new_block(0, Bytes::new(), vec![]), &last).is_err());
}

#[test]
fn only_canonical_envelopes_may_stand_in_a_block() {
    let check = |raw: &[u8]| {
        check_envelopes(&common::BlockData {
            data: vec![envelope(b"ok", b"s"), Bytes::copy_from_slice(raw)],
        })
    };
    assert_eq!(check(&envelope(b"p", b"s")), Ok(()));
    // Unknown fields after the known ones stay where they are when Go encodes the message again.
    assert_eq!(check(b"\x0a\x01p\x12\x01s\x18\x07\x22\x00"), Ok(()));
    assert!(matches!(
        check(b"\xff"),
        Err(BlockError::Envelope { index: 1, .. })
    ));
    assert_eq!(check(b"\x12\x01s"), Err(BlockError::NoPayload(1)));
    assert_eq!(check(b"\x0a\x01p"), Err(BlockError::NoSignature(1)));
    assert_eq!(
        check(b"\x12\x01s\x0a\x01p"),
        Err(BlockError::NotCanonical(1)),
        "wrong order"
    );
    assert_eq!(
        check(b"\x18\x07\x0a\x01p\x12\x01s"),
        Err(BlockError::NotCanonical(1)),
        "unknown field first"
    );
    assert_eq!(
        check(b"\x0a\x01x\x0a\x01p\x12\x01s"),
        Err(BlockError::TrailingBytes { index: 1, count: 3 })
    );
    assert_eq!(
        check(b"\x0a\x81\x00p\x12\x01s"),
        Err(BlockError::TrailingBytes { index: 1, count: 1 })
    );
    assert_eq!(
        check_envelopes(&common::BlockData::default()),
        Err(BlockError::Empty)
    );
}

#[test]
fn metadata_survives_missing_slots() {
    let mut block = common::Block::default();
    assert!(flags(&block).is_empty() && commit_hash(&block).is_none());
    assert_eq!(
        (last_config(&block), consenter_metadata(&block)),
        (Ok(0), Ok(Bytes::new()))
    );
    set_flags(&mut block, vec![0, 11]);
    set_commit_hash(&mut block, &[7; 32]);
    assert_eq!(flags(&block), [0, 11]);
    assert_eq!(commit_hash(&block).as_deref(), Some(&[7; 32][..]));
    assert_eq!(block.metadata.unwrap().metadata.len(), METADATA_SLOTS);
}

#[test]
fn blocks_from_before_1_4_1_have_their_last_config_in_its_own_slot() {
    let mut block = new_block(9, Bytes::new(), vec![]);
    let last = common::LastConfig { index: 5 }.encode_to_vec().into();
    let slots = &mut block.metadata.as_mut().unwrap().metadata;
    slots[1] = common::Metadata {
        value: last,
        signatures: vec![],
    }
    .encode_to_vec()
    .into();
    slots[3] = common::Metadata {
        value: Bytes::from_static(b"raft"),
        signatures: vec![],
    }
    .encode_to_vec()
    .into();
    assert_eq!(last_config(&block), Ok(5));
    assert_eq!(consenter_metadata(&block), Ok(Bytes::from_static(b"raft")));
}

#[test]
fn signatures_that_would_cover_far_more_bytes_than_the_block_has_are_refused() {
    let count = |value: usize, signatures: usize| {
        let mut block = new_block(9, Bytes::new(), vec![]);
        let one = common::MetadataSignature {
            signature_header: Bytes::from_static(b"\x0a\x01i"),
            ..Default::default()
        };
        let metadata = common::Metadata {
            value: vec![7; value].into(),
            signatures: vec![one; signatures],
        };
        block.metadata.as_mut().unwrap().metadata[0] = metadata.encode_to_vec().into();
        signature_parts(&block).map(|parts| parts.len())
    };
    let refused = Err(BlockError::Signatures(9));
    for (value, signatures, expected) in [
        (20_000, 300, Ok(300)),
        (1000, 10_000, Ok(10_000)),
        (20_000, 1000, refused.clone()),
        // One signature, of which everybody would keep as much.
        (2_000_000, 1, refused.clone()),
        (0, 500_000, refused),
    ] {
        assert_eq!(count(value, signatures), expected, "{value} {signatures}");
    }
}

#[test]
fn raft_metadata_is_wrapped_once_more() {
    let raft = consilium_proto::etcdraft::BlockMetadata {
        consenter_ids: vec![1, 2, 3],
        next_consenter_id: 4,
        raft_index: 5,
    };
    let wrapped = wrap_consenter_metadata(&raft);
    assert_eq!(
        wrapped[..],
        *b"\x0a\x09\x0a\x03\x01\x02\x03\x10\x04\x18\x05"
    );
    assert_eq!(unwrap_consenter_metadata(&wrapped), Ok(raft));
    assert!(unwrap_consenter_metadata(&Bytes::from_static(b"\xff")).is_err());
}

proptest! {
    #[test]
    fn every_envelope_that_prost_encodes_is_canonical(payload in "\\PC{1,50}", signature in "\\PC{1,200}") {
        let envelope = common::Envelope { payload: payload.into(), signature: signature.into() };
        let data = common::BlockData { data: vec![envelope.encode_to_vec().into()] };
        prop_assert_eq!(check_envelopes(&data), Ok(()));
    }

    #[test]
    fn no_bytes_make_the_checks_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        let _ = check_envelopes(&common::BlockData { data: vec![bytes.clone()] });
        let mut block = new_block(1, Bytes::new(), vec![bytes.clone()]);
        block.metadata = Some(common::BlockMetadata { metadata: vec![bytes; 5] });
        let _ = (is_config(&block), config_envelope(&block), signature_parts(&block), last_config(&block), commit_hash(&block));
    }
}
