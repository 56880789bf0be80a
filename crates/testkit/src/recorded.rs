//! A channel that Fabric's peers recorded: its blocks with their flags and commit hashes, a manifest and a
//! snapshot. It lies beside the repository and is not part of it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use consilium_proto::common::Block;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use prost::Message as _;

/// The recorded channel.
pub struct Recording {
    folder: PathBuf,
}

impl Recording {
    /// The recording; `None`, and a line that says so, where it is absent.
    pub fn open() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fabric-chain");
        if folder.join("manifest.json").exists() {
            return Some(Self { folder });
        }
        println!("skipped: no recorded channel at {}", folder.display());
        None
    }

    /// A file or folder of the recording.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The manifest: a JSON list with an entry per block.
    pub fn manifest(&self) -> Vec<u8> {
        std::fs::read(self.path("manifest.json")).expect("a manifest")
    }

    /// How many blocks there are.
    pub fn height(&self) -> u64 {
        let files = std::fs::read_dir(self.path("blocks")).expect("blocks");
        files.count() as u64
    }

    /// A block as peers stored it.
    pub fn block(&self, number: u64) -> Block {
        let path = self.path(&format!("blocks/{number:05}.block"));
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Block::decode(Bytes::from(bytes)).expect("a block")
    }

    /// A block as the orderer delivered it.
    pub fn delivered(&self, number: u64) -> Block {
        as_delivered(self.block(number))
    }
}

/// A block as an orderer sends it: without what peers write into it.
pub fn as_delivered(mut block: Block) -> Block {
    block::set_flags(&mut block, Bytes::new());
    block::set_commit_hash(&mut block, &[]);
    block
}

/// The codes in a stored block.
pub fn codes(block: &Block) -> Vec<TxValidationCode> {
    block::flags(block)
        .iter()
        .map(|flag| TxValidationCode::try_from(i32::from(*flag)).expect("a code"))
        .collect()
}

/// What validation had decided before read conflicts were looked for.
pub fn codes_before_mvcc(block: &Block) -> Vec<TxValidationCode> {
    use TxValidationCode::{MvccReadConflict, PhantomReadConflict, Valid};
    let codes = codes(block).into_iter().map(|code| match code {
        MvccReadConflict | PhantomReadConflict => Valid,
        code => code,
    });
    codes.collect()
}
