//! The ordering service: messages in, signed blocks out, equal on every orderer.
//!
//! Owns: Broadcast and its filters, config updates on their way into the order, cutting batches,
//! one Raft group per channel, making blocks, pulling blocks from other orderers, the channel
//! participation API. Must not know: endorsement, validation or state of transactions, which are
//! the peers'; how blocks are read by clients (`consilium_deliver`); where it listens (the binary
//! wires [`Orderer`]'s services to listeners).
//!
//! A message is acknowledged when it is in a block that a quorum of orderers has on disk. Follow
//! one through `broadcast.rs` → [`filters`] → `order.rs` with [`cutter`] → `raft/` → `blocks.rs` →
//! Deliver (`service.rs`). Decisions are pure functions; everything that waits is in the tasks of
//! `broadcast.rs`, `order.rs` and `raft/`.

mod ahead;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod bench;
mod blocks;
mod broadcast;
mod chain;
mod check;
mod cluster;
pub mod config_update;
pub mod configuration;
pub mod consenters;
pub mod cutter;
#[cfg_attr(not(feature = "simulation"), allow(unreachable_pub))]
pub mod deliberate;
mod error;
pub mod filters;
mod follower;
mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod member;
mod metrics;
pub mod multipart;
mod order;
mod orderer;
mod participation;
mod raft;
mod refusal;
mod rt;
mod service;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state;
mod storage;
mod submission;
mod throttle;

pub use error::OrdererError;
pub use metrics::describe as describe_metrics;
pub use orderer::{
    ChannelInfo, JoinError, Orderer, OrdererOptions, Participation, RaftStatus, Relation,
    RemoveError, Standing, UpdateError,
};
pub use raft::Timing as RaftTiming;
pub use raft::receive::ReplicationService;
pub use refusal::Refusal;
pub use service::BroadcastService;
