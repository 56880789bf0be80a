//! The gossip protocol of Fabric's peers, as far as this product speaks it: authenticated streams,
//! who is alive, who is at which height in which channel, the exchange of private data and of blocks,
//! and the election of who pulls these from the ordering service.
//!
//! **Owns** the wire messages of `gossip.Gossip` and their signatures, connections with their
//! bounded queues, and the table of members. **Must not know** ledgers, collections or policies:
//! what a private write set means, who may have it, and whether a block is a good one, is asked of the
//! [`Host`].
//!
//! **Start reading** at [`Gossip::start`], then [`handshake`] for whom we talk to, [`membership`]
//! for whom we know, [`election`] for who leads (all pure), `node.rs` for what happens to a message
//! that comes in, [`blocks`] for how blocks travel.

pub mod blocks;
mod connections;
pub mod directory;
pub mod election;
mod exchange;
mod gate;
pub mod handshake;
pub mod membership;
mod node;
mod options;
mod own_identity;
mod service;
mod upkeep;
pub mod wire;

pub use blocks::{Offered, Taken};
pub use exchange::ExchangeError;
pub use gate::GatedServer;
pub use membership::Member;
pub use node::{ChannelView, Gossip, Host, RemotePeer};
pub use options::{BlockOptions, GossipOptions, Leadership};
pub use service::GossipService;
