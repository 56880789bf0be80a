//! What the engine needs from a node: channels, their blocks and their configuration.

use std::sync::Arc;

use bytes::Bytes;
use consilium_protocol::config::ChannelConfig;
use tokio::sync::watch;

/// One channel's chain of blocks, as the engine reads it.
pub trait BlockSource: Send + Sync {
    /// Name of the channel.
    fn channel_id(&self) -> &str;

    /// Number of blocks, which is the number of the next block to come.
    fn height(&self) -> u64;

    /// Number of the first block that is stored: above 0 only on a chain that began with a
    /// snapshot.
    fn first_block(&self) -> u64 {
        0
    }

    /// The height, watched.
    fn subscribe(&self) -> watch::Receiver<u64>;

    /// Encoded `common.Block` number `number`; `None` when it is not stored. May block on disk:
    /// the engine calls it off the reactor.
    fn block_bytes(&self, number: u64) -> Result<Option<Bytes>, String>;

    /// The configuration in force.
    fn config(&self) -> Arc<ChannelConfig>;

    /// Whether consensus works; an error ends streams that asked for STRICT error responses.
    fn healthy(&self) -> Result<(), String>;
}

/// The channels of a node.
pub trait Sources: Send + Sync {
    /// The channel's blocks, or `None` when this node does not have the channel.
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>>;
}
