//! What running chaincode needs from the peer around it.

use consilium_ledger::Ledger;
use consilium_msp::Msp;
use consilium_proto::common;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::proposal::ParsedProposal;
use std::sync::Arc;

/// The peer as chaincodes see it. All calls are quick; none of them waits for the network.
pub trait PeerSupport: Send + Sync {
    /// The ledger of a channel that this peer has joined.
    fn ledger(&self, channel: &str) -> Option<Arc<Ledger>>;
    /// The channel's configuration in force.
    fn config(&self, channel: &str) -> Option<Arc<ChannelConfig>>;
    /// The channels that this peer has joined.
    fn channels(&self) -> Vec<String>;
    /// Joins a channel by its genesis block.
    ///
    /// # Errors
    /// The text that the client of `cscc` `JoinChain` gets.
    fn join(&self, genesis: common::Block) -> Result<(), String>;
    /// Begins to join a channel by the snapshot in a folder of the peer's machine, and goes on with
    /// that in the background.
    ///
    /// # Errors
    /// The text that the client of `cscc` `JoinChainBySnapshot` gets, when it cannot begin.
    fn join_by_snapshot(&self, folder: &str) -> Result<(), String>;
    /// The folder of the snapshot by which the peer is joining a channel now.
    fn joining_by_snapshot(&self) -> Option<String>;
    /// The peer's own MSP, for calls without a channel.
    fn local_msp(&self) -> Arc<Msp>;
    /// The peer's own organization.
    fn msp_id(&self) -> &str;
    /// Whether the creator of `proposal` may use `resource` on `channel` (empty: on the peer).
    ///
    /// # Errors
    /// Why not, in the words of msp-and-policies.md §8.
    fn check_acl(
        &self,
        resource: &str,
        channel: &str,
        proposal: &ParsedProposal,
    ) -> Result<(), String>;
}
