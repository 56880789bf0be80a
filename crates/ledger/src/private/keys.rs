//! How records of private data are keyed in [`Family::PrivateData`](crate::database::Family):
//!
//! | key | value |
//! | --- | --- |
//! | `d block tx ns 0 coll` | a clear set |
//! | `k ns 0 coll 0 key-hash` | the clear key |
//! | `h ns 0 coll 0 key-hash block tx` | nothing: that stored set writes the key |
//! | `e block k ns 0 coll 0 key-hash` | version: the key expires with that block |
//! | `e block d` + data key | nothing: the set expires with that block |
//! | `m kind !block tx ns 0 coll` | nothing: a set that this peer does not have |
//! | `p ns 0 coll 0 key-hash` | version of the last purge |
//! | `w ns 0 coll 0 key-hash` | the same, while earlier values still have to be erased |
//! | `b block tx ns 0 coll 0 key-hash` | value hash, as the snapshot says that this ledger began with |
//! | `c ns 0 !block` | the collections that a chaincode got with that block |

use consilium_protocol::rwset::Version;

use crate::chain::be64;

/// A clear set of a committed block: which transaction wrote into which collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivatePlace {
    /// Index of the transaction in its block.
    pub index: u32,
    /// Chaincode.
    pub namespace: String,
    /// Collection.
    pub collection: String,
}

impl PrivatePlace {
    /// From its parts.
    pub fn new(index: u32, namespace: &str, collection: &str) -> Self {
        Self {
            index,
            namespace: namespace.to_owned(),
            collection: collection.to_owned(),
        }
    }
}

/// `namespace 0x00 collection`. Both were checked against a definition before they are written.
pub(super) fn collection_key(namespace: &str, collection: &str) -> Vec<u8> {
    [namespace.as_bytes(), &[0], collection.as_bytes()].concat()
}

pub(super) fn data_prefix(block: u64) -> Vec<u8> {
    [b"d".as_slice(), &block.to_be_bytes()].concat()
}

pub(super) fn data_key(block: u64, place: &PrivatePlace) -> Vec<u8> {
    let mut key = data_prefix(block);
    key.extend_from_slice(&place_bytes(place));
    key
}

/// Block and place of a data key.
pub(super) fn parse_data_key(key: &[u8]) -> Option<(u64, PrivatePlace)> {
    Some((be64(key.get(1..9)?)?, parse_place(key.get(9..)?)?))
}

fn place_bytes(place: &PrivatePlace) -> Vec<u8> {
    let mut bytes = place.index.to_be_bytes().to_vec();
    bytes.extend_from_slice(&collection_key(&place.namespace, &place.collection));
    bytes
}

fn parse_place(bytes: &[u8]) -> Option<PrivatePlace> {
    let (index, names) = bytes.split_at_checked(4)?;
    let mut names = names.splitn(2, |byte| *byte == 0);
    let mut name = || String::from_utf8(names.next()?.to_vec()).ok();
    Some(PrivatePlace {
        index: u32::from_be_bytes(index.try_into().ok()?),
        namespace: name()?,
        collection: name()?,
    })
}

/// What is kept under (namespace, collection, key hash), by the kind of the record.
fn hashed(kind: u8, namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    [
        &[kind],
        collection_key(namespace, collection).as_slice(),
        &[0],
        key_hash,
    ]
    .concat()
}

/// Where the clear form of a private key is kept, by its hash.
pub(super) fn clear_key(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    hashed(b'k', namespace, collection, key_hash)
}

/// The last purge of a key.
pub(super) fn marker_key(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    hashed(b'p', namespace, collection, key_hash)
}

/// A purge whose earlier values are still to be erased.
pub(super) fn erasure_key(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    hashed(b'w', namespace, collection, key_hash)
}

/// Namespace, collection and key hash of an erasure key.
pub(super) fn parse_erasure_key(key: &[u8]) -> Option<(String, String, &[u8])> {
    parse_hashed(key.get(1..)?)
}

/// Prefix of the sets that write a key.
pub(super) fn writers_prefix(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    hashed(b'h', namespace, collection, key_hash)
}

pub(super) fn writer_key(
    namespace: &str,
    collection: &str,
    key_hash: &[u8],
    version: Version,
) -> Vec<u8> {
    let mut key = writers_prefix(namespace, collection, key_hash);
    key.extend_from_slice(&encode_version(version));
    key
}

/// The version at the end of a writer key.
pub(super) fn writer_version(key: &[u8]) -> Option<Version> {
    decode_version(key.get(key.len().checked_sub(16)?..)?)
}

pub(super) fn due_prefix(block: u64, kind: u8) -> Vec<u8> {
    let mut key = b"e".to_vec();
    key.extend_from_slice(&block.to_be_bytes());
    key.push(kind);
    key
}

/// Namespace, collection and key hash after the prefix of a record about a key.
pub(super) fn parse_hashed(rest: &[u8]) -> Option<(String, String, &[u8])> {
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let namespace = String::from_utf8(parts.next()?.to_vec()).ok()?;
    let collection = String::from_utf8(parts.next()?.to_vec()).ok()?;
    Some((namespace, collection, parts.next()?))
}

/// Missing sets come newest block first.
pub(super) fn missing_key(kind: u8, block: u64, place: &PrivatePlace) -> Vec<u8> {
    let mut key = vec![b'm', kind];
    key.extend_from_slice(&(!block).to_be_bytes());
    key.extend_from_slice(&place_bytes(place));
    key
}

pub(super) fn parse_missing_key(key: &[u8]) -> Option<(u64, PrivatePlace)> {
    Some((!be64(key.get(2..10)?)?, parse_place(key.get(10..)?)?))
}

/// Collections of a chaincode as of blocks up to `block`, newest first.
pub(super) fn collections_key(namespace: &str, block: u64) -> Vec<u8> {
    let mut key = collections_prefix(namespace);
    key.extend_from_slice(&(!block).to_be_bytes());
    key
}

pub(super) fn parse_collections_key(key: &[u8]) -> Option<(String, u64)> {
    let rest = key.strip_prefix(b"c")?;
    let (name, block) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let name = name.strip_suffix(&[0])?;
    Some((String::from_utf8(name.to_vec()).ok()?, !be64(block)?))
}

/// What a snapshot says of a transaction's private writes.
pub(super) fn boot_prefix(block: u64, place: &PrivatePlace) -> Vec<u8> {
    let mut key = b"b".to_vec();
    key.extend_from_slice(&block.to_be_bytes());
    key.extend_from_slice(&place_bytes(place));
    key.push(0);
    key
}

pub(super) fn collections_prefix(namespace: &str) -> Vec<u8> {
    [b"c".as_slice(), namespace.as_bytes(), &[0]].concat()
}

/// The smallest key that does not start with `prefix`; `prefix` must not be all 0xff.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

pub(super) fn encode_version(version: Version) -> [u8; 16] {
    let mut record = [0; 16];
    record[..8].copy_from_slice(&version.block.to_be_bytes());
    record[8..].copy_from_slice(&version.tx.to_be_bytes());
    record
}

pub(super) fn decode_version(record: &[u8]) -> Option<Version> {
    let (block, tx) = record.split_at_checked(8)?;
    Some(Version::new(be64(block)?, be64(tx)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = PrivatePlace> {
        (any::<u32>(), "[a-z~]{1,8}", "[A-Za-z0-9_-]{1,8}").prop_map(
            |(index, namespace, collection)| PrivatePlace::new(index, &namespace, &collection),
        )
    }

    proptest! {
        #[test]
        fn keys_read_back(block in any::<u64>(), place in places(), hash in any::<[u8; 32]>(), tx in any::<u64>()) {
            prop_assert_eq!(parse_data_key(&data_key(block, &place)), Some((block, place.clone())));
            prop_assert_eq!(parse_missing_key(&missing_key(b'e', block, &place)), Some((block, place.clone())));
            let (namespace, collection) = (place.namespace.as_str(), place.collection.as_str());
            let erasure = erasure_key(namespace, collection, &hash);
            prop_assert_eq!(
                parse_erasure_key(&erasure),
                Some((namespace.to_owned(), collection.to_owned(), hash.as_slice()))
            );
            let version = Version::new(block, tx);
            let writer = writer_key(namespace, collection, &hash, version);
            prop_assert_eq!(writer_version(&writer), Some(version));
            let prefix = writers_prefix(namespace, collection, &hash);
            prop_assert!(prefix <= writer && writer < after(&prefix));
        }

        #[test]
        fn newer_blocks_come_first_among_missing_sets(a in any::<u64>(), b in any::<u64>(), place in places()) {
            prop_assert_eq!(missing_key(b'e', a, &place).cmp(&missing_key(b'e', b, &place)), b.cmp(&a));
        }

        #[test]
        fn garbage_keys_are_refused_without_a_panic(key in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (parse_data_key(&key), parse_missing_key(&key), parse_erasure_key(&key), writer_version(&key));
        }
    }
}
