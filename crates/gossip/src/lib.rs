//! The gossip protocol of Fabric's peers, as far as this product speaks it: authenticated streams,
//! who is alive, who is at which height in which channel, and the exchange of private data.
//!
//! **Owns** the wire messages of `gossip.Gossip` and their signatures, connections with their
//! bounded queues, and the table of members. **Must not know** ledgers, collections or policies:
//! what a private write set means, and who may have it, is asked of the [`Host`].
//!
//! **Start reading** at [`Gossip::start`], then [`handshake`] for whom we talk to, [`membership`]
//! for whom we know (both pure), `node.rs` for what happens to a message that comes in.
//!
//! Blocks are not gossiped: peers pull them from the ordering service.

mod connections;
pub mod directory;
mod exchange;
mod gate;
pub mod handshake;
pub mod membership;
mod node;
mod options;
mod service;
mod upkeep;
pub mod wire;

pub use exchange::ExchangeError;
pub use gate::GatedServer;
pub use membership::Member;
pub use node::{ChannelView, Gossip, Host, RemotePeer};
pub use options::GossipOptions;
pub use service::GossipService;
