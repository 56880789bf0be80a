use super::*;
use consilium_protocol::block::{new_block, set_flags};
use proptest::prelude::*;

fn blocks() -> impl Strategy<Value = (common::Block, Vec<Extra>)> {
    let data = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..6);
    let extra = proptest::collection::vec(any::<u8>(), 0..12);
    let extras = proptest::collection::vec((extra.clone(), extra), 0..3);
    let lacks = proptest::bits::u8::between(0, 2);
    (any::<u64>(), data, extras, lacks).prop_map(|(number, data, extras, lacks)| {
        let data: Vec<Bytes> = data.into_iter().map(Bytes::from).collect();
        let flags = vec![0; data.len()];
        let mut block = new_block(number, Bytes::from_static(b"previous"), data);
        set_flags(&mut block, flags);
        if lacks & 1 > 0 {
            block.metadata = None;
        }
        if lacks & 2 > 0 {
            block.data = None;
        }
        (block, extras)
    })
}

fn encoded((block, extras): &(common::Block, Vec<Extra>)) -> Bytes {
    let number = block.header.as_ref().unwrap().number;
    whole(&encode_block(number, block, extras).unwrap())
}

/// What lies in the file.
fn whole(record: &Encoded<'_>) -> Bytes {
    let bytes = record.parts().collect::<Vec<_>>().concat();
    assert_eq!(bytes.len(), record.length() as usize);
    assert!(record.is(&bytes));
    bytes.into()
}

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was_written(written in blocks()) {
        let (block, extras) = &written;
        let record = encoded(&written);
        let read = decode(&record).unwrap();
        prop_assert_eq!(read.kind, Kind::Block);
        prop_assert_eq!(read.number, block.header.as_ref().unwrap().number);
        prop_assert_eq!(&read.block, &block.encode_to_vec());
        let read_extras: Vec<Extra> =
            read.extras.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(&read_extras, extras);

        let header = Header::decode(&record).unwrap();
        let range = |range: Range<u64>| &record[range.start as usize..range.end as usize];
        let table = range(header.table());
        let data = envelopes(block);
        for (index, envelope) in data.iter().enumerate() {
            let (place, crc) = header.transaction(table, index as u32).unwrap().unwrap();
            prop_assert_eq!(range(place), &envelope[..]);
            prop_assert_eq!(crc, crc32fast::hash(envelope));
        }
        prop_assert_eq!(header.transaction(table, data.len() as u32), Ok(None));
    }

    #[test]
    fn extras_alone_read_back(next in any::<u64>(), extras in blocks().prop_map(|b| b.1)) {
        let record = decode(&whole(&encode_extras(next, &extras).unwrap())).unwrap();
        prop_assert_eq!((record.kind, record.number), (Kind::Extras, next));
        prop_assert_eq!(record.extras.len(), extras.len());
        prop_assert!(record.block.is_empty());
    }

    #[test]
    fn a_record_cut_off_anywhere_is_no_record(written in blocks()) {
        let record = encoded(&written);
        for length in 0..record.len() {
            prop_assert!(decode(&record.slice(..length)).is_err(), "{} bytes", length);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found(written in blocks()) {
        let record = encoded(&written);
        let header = Header::decode(&record).unwrap();
        let table = header.table();
        let table = &record[table.start as usize..table.end as usize];
        let count = envelopes(&written.0).len() as u32;
        let places: Vec<_> = (0..count)
            .map(|index| header.transaction(table, index).unwrap().unwrap().0)
            .collect();
        for bit in 0..record.len() * 8 {
            let mut damaged = record.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let fault = decode(&damaged.into()).unwrap_err();
            let hit = places.iter().position(|place| place.contains(&(bit as u64 / 8)));
            prop_assert_eq!(fault.transaction(), hit.map(|index| index as u32), "bit {}", bit);
        }
    }

    #[test]
    fn only_its_own_bytes_are_a_record(written in blocks(), other in blocks()) {
        let number = written.0.header.as_ref().unwrap().number;
        let record = encode_block(number, &written.0, &written.1).unwrap();
        let bytes = whole(&record);
        prop_assert!(!record.is(&bytes[..bytes.len() - 1]));
        prop_assert!(!record.is(&[&bytes[..], &[0]].concat()));
        prop_assert_eq!(record.is(&encoded(&other)), written == other);
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            prop_assert!(!record.is(&damaged), "byte {}", at);
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(decode(&bytes.into()).is_err());
    }
}
