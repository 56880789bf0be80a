//! Read-write sets: every namespace with its public and hashed parts, and private sets.

use bytes::Bytes;
use consilium_proto::{kvrwset, rwset};
use consilium_protocol::names::hashed_collection;
use consilium_protocol::rwset::{TxRwSet, Version, read_ordered_varint};

use crate::agree::decoded;

pub(crate) fn run(data: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(data);
    let set = TxRwSet::parse(&bytes);
    if let Ok(set) = &set {
        let encoded = set.encode();
        let again = TxRwSet::parse(&encoded);
        assert_eq!(again.as_ref().ok(), Some(set), "a set reads back");
        assert_eq!(set.encode(), encoded);
        for namespace in &set.namespaces {
            assert!(set.namespace(&namespace.name).is_some());
            let _ = namespace.has_writes();
            let _ = hashed_collection(&namespace.name);
        }
    }
    decoded::<rwset::TxReadWriteSet>(&bytes);
    decoded::<kvrwset::KvrwSet>(&bytes);
    decoded::<kvrwset::HashedRwSet>(&bytes);
    decoded::<rwset::TxPvtReadWriteSet>(&bytes);
    versions(data);
    set.is_ok_and(|set| !set.namespaces.is_empty())
}

/// Only one encoding of a version is taken.
fn versions(data: &[u8]) {
    if let Some((version, length)) = Version::from_bytes(data) {
        assert_eq!(version.to_bytes(), data[..length], "a version");
    }
    if let Some((number, length)) = read_ordered_varint(data) {
        let mut bytes = Vec::new();
        consilium_protocol::rwset::append_ordered_varint(&mut bytes, number);
        assert_eq!(bytes, data[..length], "a number");
    }
}
