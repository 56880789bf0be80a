//! The types that openraft is instantiated with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use super::machine::Machine;

openraft::declare_raft_types!(
    /// openraft with batches of envelopes as data. Standard Raft: one leader per term. Nodes carry
    /// no address: addresses and certificates are read from the channel configuration in force.
    pub TypeConfig:
        D = Proposal,
        R = Applied,
        NodeId = u64,
        Node = openraft::impls::EmptyNode,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::rt::Runtime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::type_config::alias::PayloadOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, openraft::impls::EmptyNode>;

/// What one log entry orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Proposal {
    /// Encoded envelopes that make one block.
    Batch(Arc<Vec<Bytes>>),
    /// One encoded CONFIG envelope, alone in its block.
    Config(Bytes),
}

impl Proposal {
    /// Size of the envelopes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Proposal::Batch(envelopes) => envelopes.iter().map(|one| one.len() as u64).sum(),
            Proposal::Config(envelope) => envelope.len() as u64,
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proposal::Batch(envelopes) => write!(f, "batch of {} envelopes", envelopes.len()),
            Proposal::Config(_) => f.write_str("config"),
        }
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// It is in the block with this number.
    Block(u64),
    /// No block was made of it, on any node.
    Refused(String),
    /// It carries no envelopes.
    Nothing,
}

/// Term and index of a log position.
pub(crate) fn position(id: &LogId) -> (u64, u64) {
    (id.committed_leader_id().term, id.index())
}

/// Timing of Raft, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader tells that it is there.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower asks for an election.
    pub election_min: Duration,
    /// Longest such silence; each follower draws its own.
    pub election_max: Duration,
}
