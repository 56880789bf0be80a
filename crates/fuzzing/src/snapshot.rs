//! The files of a snapshot.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use consilium_ledger::Joiner;
use consilium_ledger::fuzzing::SnapshotReader;
use consilium_proto::{
    common, privacyenabledstate::SnapshotRecord, protos::StaticCollectionConfig,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::hash::sha256;
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;

use crate::input::{Input, number, with_other_bit};
use crate::world;

pub(crate) const SIGNABLE: &str = "_snapshot_signable_metadata.json";
pub(crate) const ADDITIONAL: &str = "_snapshot_additional_metadata.json";

const STATE: &str = "public_state.data";
const STATE_METADATA: &str = "public_state.metadata";

/// Files by their number in an input.
pub(crate) const FILES: [&str; 10] = [
    "txids.data",
    "txids.metadata",
    "confighistory.data",
    "confighistory.metadata",
    STATE,
    STATE_METADATA,
    "private_state_hashes.data",
    "private_state_hashes.metadata",
    SIGNABLE,
    ADDITIONAL,
];

struct Member;

impl Joiner for Member {
    fn is_member(&self, collection: &StaticCollectionConfig) -> bool {
        collection.name.len().is_multiple_of(2)
    }

    fn msp_id(&self) -> &str {
        "Org1MSP"
    }

    fn check_config(&self, channel: &str, config: &common::Config) -> Result<(), String> {
        ChannelConfig::new(channel, config.clone())
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    fn has_given_up(&self) -> bool {
        false
    }
}

/// Files: the number of each, then its content as a part. What is not given of the two that describe
/// the others is made to fit; without a public state there is one with the channel's configuration,
/// which no peer does without.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut input = Input::new(data);
    while !input.is_empty() {
        let name = FILES[usize::from(input.byte()) % FILES.len()];
        files.insert(name, input.part().to_vec());
    }
    if !files.contains_key(STATE) {
        configure(&mut files);
    }
    describe(&mut files);
    let folder = world::folder();
    write(folder.path(), &files);
    let (reader, _) = reader();
    let Ok(channel) = reader.read(folder.path(), &Member) else {
        return false;
    };
    consilium_protocol::names::validate_channel_id(&channel).expect("a channel's name");
    assert!(
        reader.is_empty().expect("a database"),
        "nothing is left of it"
    );
    // One bit of any file that is not what it was is noticed.
    let index = number(data) % files.len();
    let (name, content) = files.iter().nth(index).expect("a file");
    if *name != ADDITIONAL && !content.is_empty() {
        let path = folder.path().join(name);
        std::fs::write(path, with_other_bit(content, number(content))).expect("a file");
        let read = reader.read(folder.path(), &Member);
        assert!(read.is_err(), "a damaged {name} is taken");
    }
    true
}

fn reader() -> &'static (SnapshotReader, TempDir) {
    static READER: OnceLock<(SnapshotReader, TempDir)> = OnceLock::new();
    READER.get_or_init(|| {
        let folder = world::folder();
        let reader = SnapshotReader::new(folder.path()).expect("a database");
        (reader, folder)
    })
}

/// The public state of a channel that has nothing but its configuration.
fn configure(files: &mut BTreeMap<&str, Vec<u8>>) {
    let config = common::ConfigEnvelope {
        config: Some(world::config().config().clone()),
        last_update: None,
    };
    let record = SnapshotRecord {
        key: Bytes::from_static(b"CHANNEL_CONFIG_ENV_BYTES"),
        value: config.encode_to_vec().into(),
        metadata: Bytes::new(),
        // Two zeros, each with its length.
        version: Bytes::from_static(b"\0\0"),
    };
    // The format's version, then the one record behind its length.
    let mut state = vec![1];
    state.extend(record.encode_length_delimited_to_vec());
    files.insert(STATE, state);
    // One namespace, without a name, of one record.
    files.insert(STATE_METADATA, vec![1, 1, 0, 1]);
}

fn describe(files: &mut BTreeMap<&str, Vec<u8>>) {
    if !files.contains_key(SIGNABLE) {
        let hashes: BTreeMap<&str, String> = files
            .iter()
            .filter(|(name, _)| **name != ADDITIONAL)
            .map(|(name, content)| (*name, hex::encode(sha256(content))))
            .collect();
        let signable = json!({
            "channel_name": world::CHANNEL,
            "last_block_number": 66,
            "last_block_hash": hex::encode([1; 32]),
            "previous_block_hash": hex::encode([2; 32]),
            "snapshot_files_raw_hashes": hashes,
            "state_db_type": "SimpleKeyValueDB",
        });
        files.insert(SIGNABLE, signable.to_string().into_bytes());
    }
    if !files.contains_key(ADDITIONAL) {
        let additional = json!({
            "snapshot_hash": hex::encode(sha256(&files[SIGNABLE])),
            "last_block_commit_hash": hex::encode([3; 32]),
        });
        files.insert(ADDITIONAL, additional.to_string().into_bytes());
    }
}

fn write(folder: &Path, files: &BTreeMap<&str, Vec<u8>>) {
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("a temporary file");
    }
}
