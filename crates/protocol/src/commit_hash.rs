//! The commit hash: a chain over validation flags and state updates that is equal on all honest
//! peers of a channel (hashing-and-signing, section 8).

use crate::hash::sha256_parts;
use crate::rwset::Version;
use crate::wire::{put_bool, put_bytes, put_prefix};
use bytes::Bytes;
use prost::encoding::encode_varint;

/// One key of a block's final update batch: its last write, public or hashed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpdateEntry<'a> {
    /// Chaincode name. The configuration's (empty) namespace is left out of the hash.
    pub namespace: &'a str,
    /// Collection name of a hashed write; empty for a public one.
    pub collection: &'a str,
    /// Key, or the 32 bytes of its hash.
    pub key: &'a [u8],
    /// New value (or value hash); `None` when the key was deleted.
    pub value: Option<&'a [u8]>,
    /// Height of the transaction that wrote it.
    pub version: Version,
}

/// Encodes an update batch as the commit hash covers it. The entries may come in any order; keys
/// must be unique within (namespace, collection). Metadata and clear private values do not belong
/// here.
pub fn update_bytes(mut entries: Vec<UpdateEntry<'_>>) -> Bytes {
    // The derived order is the one that is hashed: namespace, then public (no collection) before
    // collections by name, then key.
    entries.sort_unstable();
    let mut buffer = Vec::new();
    let mut encoded = Vec::new();
    let (mut last_namespace, mut last_collection) = ("", "");
    for entry in entries.iter().filter(|entry| !entry.namespace.is_empty()) {
        encoded.clear();
        if entry.namespace != last_namespace {
            put_bytes(&mut encoded, 1, entry.namespace.as_bytes());
            (last_namespace, last_collection) = (entry.namespace, "");
        }
        if entry.collection != last_collection {
            put_bytes(&mut encoded, 2, entry.collection.as_bytes());
            last_collection = entry.collection;
        }
        put_bytes(&mut encoded, 3, entry.key);
        put_bool(&mut encoded, 4, entry.value.is_none());
        put_bytes(&mut encoded, 5, entry.value.unwrap_or_default());
        put_bytes(&mut encoded, 6, &entry.version.to_bytes());
        put_prefix(&mut buffer, 1, encoded.len());
        buffer.extend_from_slice(&encoded);
    }
    buffer.into()
}

/// The commit hash of a block: `flags` is one byte per transaction, `updates` comes from
/// [`update_bytes`], `previous` is the hash of the block before (none for block 1; block 0 has no
/// commit hash at all).
pub fn commit_hash(flags: &[u8], updates: &[u8], previous: Option<&[u8]>) -> [u8; 32] {
    let mut length = Vec::with_capacity(10);
    encode_varint(flags.len() as u64, &mut length);
    sha256_parts(&[&length, flags, updates, previous.unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::txmgr;
    use prost::Message;

    fn entry<'a>(
        namespace: &'a str,
        collection: &'a str,
        key: &'a str,
        value: Option<&'a str>,
    ) -> UpdateEntry<'a> {
        UpdateEntry {
            namespace,
            collection,
            key: key.as_bytes(),
            value: value.map(str::as_bytes),
            version: Version::new(45, 300),
        }
    }

    #[test]
    fn entries_are_sorted_and_name_their_namespace_and_collection_once() {
        let bytes = update_bytes(vec![
            entry("b", "c", "hash", Some("h")),
            entry("b", "", "z", None),
            entry("", "", "CHANNEL_CONFIG_ENV_BYTES", Some("config")),
            entry("a", "d", "2", Some("v")),
            entry("a", "d", "1", Some("v")),
            entry("a", "c", "3", Some("v")),
            entry("b", "", "y", Some("v")),
        ]);
        let message = txmgr::Updates::decode(bytes.clone()).unwrap();
        let lines: Vec<String> = message
            .kvwrites
            .iter()
            .map(|w| {
                format!(
                    "{}|{}|{}|{}",
                    w.namespace,
                    w.collection,
                    String::from_utf8_lossy(&w.key),
                    w.is_delete
                )
            })
            .collect();
        let expected = [
            "a|c|3|false",
            "|d|1|false",
            "||2|false",
            "b||y|false",
            "||z|true",
            "|c|hash|false",
        ];
        assert_eq!(lines, expected);
        assert_eq!(message.kvwrites[0].version_bytes[..], [1, 45, 2, 1, 44]);
        assert_eq!(
            message.encode_to_vec(),
            bytes,
            "the plain protobuf encoding"
        );
    }

    #[test]
    fn the_hash_chains_over_length_flags_updates_and_the_previous_hash() {
        let flags = [0_u8; 300];
        let expected = sha256_parts(&[&[0xac, 0x02], &flags, b"updates", b"previous"]);
        assert_eq!(commit_hash(&flags, b"updates", Some(b"previous")), expected);
        assert_eq!(commit_hash(&[], b"", None), sha256_parts(&[&[0]]));
    }
}
