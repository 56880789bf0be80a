//! Everything that knows openraft: types, storage, network, state machine.
//!
//! One Raft group per channel. A log entry is a batch of envelopes (or one config envelope); a
//! block comes to be when an entry is applied. All channels of a node share one database for logs
//! and votes, and one thread that makes them durable ([`log`]).

pub(crate) mod codec;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod receive;
pub(crate) mod store;
pub(crate) mod types;

pub use types::Timing;
pub(crate) use types::{Applied, Proposal, Raft, TypeConfig};
