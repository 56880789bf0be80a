//! What inputs are checked against: the channel that two Fabric peers recorded, at its beginning.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consilium_orderer::configuration::Configuration;
use consilium_proto::common::Block;
use consilium_protocol::config::ChannelConfig;
use prost::Message;
use tempfile::TempDir;

/// The recorded channel's name.
pub(crate) const CHANNEL: &str = "mychannel";
/// A time at which the recorded channel's certificates are valid, in seconds since 1970.
pub(crate) const NOW: i64 = 1_780_000_000;

const GENESIS: &[u8] = include_bytes!("../../../fuzz/seeds/block/genesis");

/// The channel's first block.
pub(crate) fn genesis() -> Block {
    // Recorded, and decoded by every test of the recording.
    Block::decode(Bytes::from_static(GENESIS)).expect("the recorded genesis block")
}

/// The configuration that the first block brings.
pub(crate) fn config() -> &'static Arc<ChannelConfig> {
    &configuration().config
}

/// The same, as an orderer holds it.
pub(crate) fn configuration() -> &'static Configuration {
    static CONFIGURATION: OnceLock<Configuration> = OnceLock::new();
    CONFIGURATION.get_or_init(|| Configuration::of_block(&genesis()).expect("a configuration"))
}

/// A new folder, in memory where there is one.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && let Ok(folder) = tempfile::tempdir_in(memory)
    {
        return folder;
    }
    tempfile::tempdir().expect("a temporary folder")
}
