//! What a snapshot says about itself: two JSON files.
//! fabric: core/ledger/kvledger/snapshot.go

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::file::hash_file;
use crate::error::LedgerError;

const SIGNABLE: &str = "_snapshot_signable_metadata.json";
const ADDITIONAL: &str = "_snapshot_additional_metadata.json";
/// What Fabric calls a state database that is not CouchDB. Ours has its layout of values.
const STATE_DB: &str = "SimpleKeyValueDB";

/// What identifies a snapshot: equal on all peers of a channel at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signable {
    pub(crate) channel_name: String,
    pub(crate) last_block_number: u64,
    #[serde(with = "hex::serde")]
    pub(crate) last_block_hash: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub(crate) previous_block_hash: Vec<u8>,
    /// SHA-256 of each file, in hexadecimal digits.
    pub(crate) snapshot_files_raw_hashes: BTreeMap<String, String>,
    pub(crate) state_db_type: String,
}

/// What is said about the other file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Additional {
    #[serde(with = "hex::serde")]
    snapshot_hash: Vec<u8>,
    #[serde(with = "hex::serde")]
    last_block_commit_hash: Vec<u8>,
}

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) signable: Signable,
    pub(crate) commit_hash: Option<[u8; 32]>,
}

impl Metadata {
    pub(crate) fn new(
        channel_name: String,
        last_block_number: u64,
        hashes: (Vec<u8>, Vec<u8>),
        commit_hash: Option<[u8; 32]>,
        files: BTreeMap<String, [u8; 32]>,
    ) -> Self {
        let (last_block_hash, previous_block_hash) = hashes;
        let snapshot_files_raw_hashes = files
            .into_iter()
            .map(|(name, hash)| (name, hex::encode(hash)))
            .collect();
        Self {
            signable: Signable {
                channel_name,
                last_block_number,
                last_block_hash,
                previous_block_hash,
                snapshot_files_raw_hashes,
                state_db_type: STATE_DB.to_owned(),
            },
            commit_hash,
        }
    }

    /// Writes both files, durably.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let signable = json(&self.signable)?;
        create(&folder.join(SIGNABLE), &signable)?;
        let additional = Additional {
            snapshot_hash: Sha256::digest(&signable).to_vec(),
            last_block_commit_hash: self.commit_hash.map_or_else(Vec::new, Vec::from),
        };
        create(&folder.join(ADDITIONAL), &json(&additional)?)
    }

    /// The channel that the snapshot in `folder` says it is of; no hash is checked.
    pub(crate) fn channel(folder: &Path) -> Result<String, LedgerError> {
        let signable: Signable = parse(folder, SIGNABLE, &read(folder, SIGNABLE)?)?;
        let _: Additional = parse(folder, ADDITIONAL, &read(folder, ADDITIONAL)?)?;
        Ok(signable.channel_name)
    }

    /// Reads both files and checks every hash in them, unless told to stop.
    pub(crate) fn read_and_verify(
        folder: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, LedgerError> {
        let signable_bytes = read(folder, SIGNABLE)?;
        let signable: Signable = parse(folder, SIGNABLE, &signable_bytes)?;
        let additional: Additional = parse(folder, ADDITIONAL, &read(folder, ADDITIONAL)?)?;
        let refuse = |file: &str, expected: &str, actual: &[u8]| {
            LedgerError::Snapshot(format!(
                "error while verifying snapshot: hash mismatch for file [{file}]. \
                 Expected hash = [{expected}], Actual hash = [{}]",
                hex::encode(actual)
            ))
        };
        let hash = Sha256::digest(&signable_bytes);
        if hash[..] != additional.snapshot_hash[..] {
            let expected = hex::encode(&additional.snapshot_hash);
            return Err(refuse(SIGNABLE, &expected, &hash));
        }
        if signable.state_db_type != STATE_DB {
            return Err(LedgerError::Snapshot(format!(
                "the snapshot is of a peer with state database [{}]; \
                 only one of [{STATE_DB}] (goleveldb) can be taken over",
                signable.state_db_type
            )));
        }
        let is_first = signable.last_block_number == 0;
        for (what, hash, may_be_none) in [
            ("last block", &signable.last_block_hash, false),
            ("block before", &signable.previous_block_hash, is_first),
        ] {
            if hash.len() != 32 && !(may_be_none && hash.is_empty()) {
                return Err(LedgerError::Snapshot(format!(
                    "{SIGNABLE}: the hash of the {what} has {} bytes",
                    hash.len()
                )));
            }
        }
        for (file, expected) in &signable.snapshot_files_raw_hashes {
            if file.is_empty() || file.contains(['/', '\\']) || file.starts_with('.') {
                return Err(LedgerError::Snapshot(format!(
                    "the snapshot names a file [{file}], which is no file of a snapshot"
                )));
            }
            let path = folder.join(file);
            let hashed = hash_file(&path, stop).map_err(LedgerError::snapshot_file(&path))?;
            let actual = hashed.ok_or_else(given_up)?;
            if !hex::encode(actual).eq_ignore_ascii_case(expected) {
                return Err(refuse(file, expected, &actual));
            }
        }
        let commit_hash = match &additional.last_block_commit_hash[..] {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| {
                LedgerError::Snapshot(format!(
                    "{ADDITIONAL}: the commit hash has {} bytes",
                    hash.len()
                ))
            })?),
        };
        Ok(Self {
            signable,
            commit_hash,
        })
    }

    /// Whether the snapshot has a file of that name.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.signable.snapshot_files_raw_hashes.contains_key(file)
    }
}

/// The peer stops while it takes a snapshot over.
pub(crate) fn given_up() -> LedgerError {
    LedgerError::Snapshot("the peer gave up to take the snapshot over".into())
}

/// Indented by four spaces, fields in the order of the struct, as Go writes it.
fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, indent);
    value.serialize(&mut serializer)?;
    Ok(out)
}

fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, LedgerError> {
    let path = folder.join(name);
    fs::read(&path).map_err(LedgerError::snapshot_file(&path))
}

fn parse<T: for<'a> Deserialize<'a>>(
    folder: &Path,
    name: &str,
    json: &[u8],
) -> Result<T, LedgerError> {
    serde_json::from_slice(json)
        .map_err(|error| LedgerError::Snapshot(format!("{}: {error}", folder.join(name).display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_blocks_have_the_length_of_hashes() {
        for (last, lengths, is_right) in [
            (7, (32, 32), true),
            (0, (32, 0), true),
            (0, (32, 32), true),
            (7, (32, 0), false),
            (7, (0, 32), false),
            (0, (0, 0), false),
            (7, (33, 32), false),
            (7, (32, 300), false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let hashes = (vec![1; lengths.0], vec![2; lengths.1]);
            let metadata = Metadata::new(
                "channel".into(),
                last,
                hashes,
                Some([3; 32]),
                BTreeMap::new(),
            );
            metadata.write(folder.path()).unwrap();
            match Metadata::read_and_verify(folder.path(), &|| false) {
                Ok(read) => assert!(is_right && read == metadata, "{lengths:?} at {last}"),
                Err(error) => {
                    assert!(!is_right, "{lengths:?} at {last}: {error}");
                    assert!(error.to_string().contains("bytes"), "{error}");
                }
            }
        }
    }
}
