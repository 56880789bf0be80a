//! Seek semantics of the Deliver service, shared by orderer and peer.
//!
//! Owns: reading seek envelopes, who may read, resolving positions, waiting for blocks, and the
//! frames that carry blocks to a client. Must not know: where blocks are stored (a
//! [`BlockSource`] gives their bytes), how they came to be, or what a filtered block looks like
//! (a [`Render`] makes the response).
//!
//! Stored block bytes reach the wire without being decoded: a [`Frame`] is a few bytes of protobuf
//! key and length in front of them.
//!
//! Streams of one channel share its newest blocks and one watch over its source ([`Feeds`]), so that
//! thousands of them cost whoever appends blocks no more than one.
//!
//! Start reading at [`serve`], then [`positions::resolve`].

mod access;
mod body;
mod engine;
mod expiry;
mod feed;
mod frame;
mod grpc;
mod metering;
pub mod positions;
mod recent;
mod render;
mod request;
mod source;

pub use engine::{FrameStream, Options, PolicyChooser, serve};
pub use feed::Feeds;
pub use frame::Frame;
pub use grpc::respond;
pub use metering::describe_metrics;
pub use render::{BlockReply, FullBlocks, Render};
pub use request::{RequestError, SeekRequest, TlsBinding, open};
pub use source::{BlockSource, Sources};
