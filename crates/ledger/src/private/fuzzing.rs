//! What must hold of keys of private data, whatever bytes they are read from.

use super::keys::{
    collections_key, data_key, erasure_key, missing_key, parse_collections_key, parse_data_key,
    parse_erasure_key, parse_missing_key,
};

/// Reads bytes as each kind of key; a key that can be read is the one that its parts make, but for
/// the byte of its kind, which whoever scans has asked for. Gives how many kinds it can be.
pub(crate) fn keys(bytes: &[u8]) -> usize {
    let mut found = 0;
    if let Some((block, place)) = parse_data_key(bytes) {
        assert_eq!(data_key(block, &place)[1..], bytes[1..], "a data key");
        found += 1;
    }
    if let Some((block, place)) = parse_missing_key(bytes) {
        let key = missing_key(bytes[1], block, &place);
        assert_eq!(key[1..], bytes[1..], "a key of missing data");
        found += 1;
    }
    if let Some((namespace, collection, hash)) = parse_erasure_key(bytes) {
        let key = erasure_key(&namespace, &collection, hash);
        assert_eq!(key[1..], bytes[1..], "an erasure key");
        found += 1;
    }
    if let Some((namespace, block)) = parse_collections_key(bytes) {
        assert_eq!(collections_key(&namespace, block), bytes, "collections");
        found += 1;
    }
    found
}
