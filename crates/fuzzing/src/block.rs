//! Blocks: their structure and metadata, their signatures, and how they are stored.

use std::sync::{Mutex, OnceLock};

use bytes::Bytes;
use consilium_proto::common::Block;
use consilium_protocol::block::{self, check_structure, check_successor, signature_parts};
use consilium_protocol::transaction;
use tempfile::TempDir;

use crate::agree::decoded;
use crate::world;

pub(crate) fn run(data: &[u8]) -> bool {
    let Some(found) = decoded::<Block>(&Bytes::copy_from_slice(data)) else {
        return false;
    };
    metadata(&found);
    signatures(&found);
    let is_whole = check_structure(&found).is_ok();
    if is_whole {
        whole(&found);
    }
    for envelope in block::envelopes(&found) {
        let _ = transaction::check_syntax(envelope);
    }
    stored(&found);
    is_whole
}

fn metadata(found: &Block) {
    let _ = signature_parts(found);
    let _ = block::last_config(found);
    if let Ok(consenter) = block::consenter_metadata(found) {
        let _ = block::unwrap_consenter_metadata(&consenter);
    }
    let _ = block::commit_hash(found);
    if block::is_config(found) {
        assert_eq!(block::envelopes(found).len(), 1);
        let _ = block::config_envelope(found);
    }
    let mut flagged = found.clone();
    block::set_flags(&mut flagged, vec![7u8; 3]);
    block::set_commit_hash(&mut flagged, b"hash");
    assert_eq!(block::flags(&flagged), [7; 3], "flags read back");
    let hash = block::commit_hash(&flagged);
    assert_eq!(
        hash.as_deref(),
        Some(&b"hash"[..]),
        "a commit hash reads back"
    );
    assert_eq!(flagged.header, found.header);
    assert_eq!(flagged.data, found.data);
}

/// Signatures of the recorded orderers hold for their blocks, and for no other header.
fn signatures(found: &Block) {
    if world::config().verify_block_signatures(found).is_err() {
        return;
    }
    let mut other = found.clone();
    if let Some(header) = &mut other.header {
        header.number ^= 1;
    }
    assert!(
        world::config().verify_block_signatures(&other).is_err(),
        "signatures of another block hold"
    );
}

/// A block whose structure is right has the hash of its data, and no other block follows itself.
fn whole(found: &Block) {
    let header = found.header.clone().unwrap_or_default();
    let data = found.data.clone().unwrap_or_default();
    assert_eq!(header.data_hash, block::data_hash(&data)[..]);
    assert!(check_successor(found, &header).is_err(), "after itself");
    let mut other = found.clone();
    if let Some(data) = &mut other.data {
        data.data.push(Bytes::from_static(b"one more"));
    }
    assert!(check_structure(&other).is_err(), "one more transaction");
}

fn stored(found: &Block) {
    static FOLDER: OnceLock<Mutex<TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| Mutex::new(world::folder()));
    // Another input may have panicked; the folder is made anew then.
    let mut folder = folder.lock().unwrap_or_else(|poisoned| {
        let mut folder = poisoned.into_inner();
        *folder = world::folder();
        folder
    });
    let stored = consilium_ledger::fuzzing::block_record(folder.path(), found);
    if let Err(error) = stored {
        *folder = world::folder();
        panic!("a block cannot be stored: {error}");
    }
}
