//! How a stored block becomes a response.

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::block;
use prost::Message;

use crate::frame::Frame;
use crate::request::SeekRequest;
use crate::source::BlockSource;

/// A block on its way to a client.
pub struct BlockReply<'a> {
    /// The channel it belongs to.
    pub source: &'a dyn BlockSource,
    /// What the client asked for, and who it is.
    pub request: &'a SeekRequest,
    /// The block's number.
    pub number: u64,
    /// The encoded `common.Block`.
    pub block: Bytes,
}

/// Turns blocks into responses.
pub trait Render: Send + Sync {
    /// The response that carries the block; an error ends the stream with INTERNAL_SERVER_ERROR.
    /// Runs off the reactor, unless [`Render::is_instant`].
    fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String>;

    /// What is sent: the label of the metrics that Fabric calls `data_type`.
    fn data_type(&self) -> &'static str {
        "block"
    }

    /// Whether responses of this data and content type are the same for all readers, so that one
    /// can be made for all of them.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether making the response costs next to nothing, whatever the block.
    fn is_instant(&self, _request: &SeekRequest) -> bool {
        false
    }
}

/// Whole blocks, or headers with signatures where the request asks for that: what
/// `AtomicBroadcast/Deliver` and a peer's `Deliver/Deliver` answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullBlocks;

impl Render for FullBlocks {
    fn is_shared(&self) -> bool {
        true
    }

    fn is_instant(&self, request: &SeekRequest) -> bool {
        !request.wants_headers()
    }

    fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String> {
        if !reply.request.wants_headers() {
            return Ok(Frame::block(reply.block));
        }
        let parsed = common::Block::decode(reply.block.clone())
            .map_err(|error| format!("block {} cannot be read: {error}", reply.number))?;
        // A reader of headers follows the configuration, so it needs config blocks whole.
        if block::is_config(&parsed) {
            return Ok(Frame::block(reply.block));
        }
        let attested = common::Block {
            data: None,
            ..parsed
        };
        Ok(Frame::block(attested.encode_to_vec().into()))
    }
}
