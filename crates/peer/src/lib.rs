//! A peer: it endorses proposals, pulls blocks from orderers or gets them from other peers, validates and commits them, and
//! serves them to applications.
//!
//! Owns: the path of a proposal to an endorsement ([`endorse`]), the path of a block from an orderer
//! to the ledger ([`intake`], [`pipeline`], [`validate`]), access control on a channel's resources
//! ([`acl`]), joining channels ([`join`]), and the services `protos.Endorser`, `protos.Deliver` and
//! `protos.Snapshot`.
//!
//! Must not know: how state is stored (`consilium-ledger`), how a chaincode runs
//! (`consilium-chaincode`), how clients assemble transactions (`consilium-gateway`), where
//! configuration files are.
//!
//! Start reading at [`Peer::open`], then follow a proposal through `endorse/mod.rs` or a block through
//! `intake.rs`, `entrance.rs`, `feed.rs`, `pipeline.rs` and `validate/mod.rs`. Validation is pure: it sees a block, the
//! channel's configuration and a view of committed state, and answers with one code per transaction.

pub mod acl;
mod advertise;
mod channel;
mod crypto;
mod deliver;
mod endorse;
mod entrance;
mod events;
mod feed;
mod hearsay;
mod indexes;
mod intake;
mod join;
pub mod maintenance;
mod options;
mod peer;
mod pipeline;
mod private;
mod reorder;
mod snapshots;
pub mod validate;
mod verify;

pub use channel::{ChannelError, PeerChannel};
pub use crypto::{SignatureMemory, VerificationPool};
pub use deliver::DeliverService;
pub use endorse::{EndorseError, EndorserService};
pub use events::{CommittedBlock, CommittedTransaction};
pub use feed::{BlockFeed, FeedError};
pub use options::{OrdererOverride, PeerOptions, ReconnectBackoff};
pub use peer::{Peer, PeerError, SIGNATURES_REMEMBERED};
pub use private::{DisseminationPolicy, PrivateOptions};
pub use snapshots::SnapshotService;
pub use verify::{VerifiedBlock, VerifyError, verify};
