//! A client of the Gateway, Endorser, Deliver and Snapshot services of any Fabric-compatible peer, and
//! of its orderers.
//!
//! Owns: building and signing what an application or an administrator sends, and turning gRPC
//! statuses and validation codes into errors that say what to do. Must not know: how a node works
//! inside, where keys and configuration files lie.
//!
//! Start at [`Gateway`]: `evaluate` reads, `submit` writes and waits for the commit. [`Admin`] sends
//! proposals straight to one peer, as lifecycle and join commands need; [`Snapshots`] asks it for
//! snapshots. Who does without a gateway collects endorsements with [`Endorser`], submits with
//! [`Orderer`], sees with [`Commits`] what came of it, and reads whole blocks with [`Blocks`];
//! [`Discovery`] tells who there is to ask.

mod admin;
mod blocks;
mod commits;
mod definition;
mod discovery;
mod endorser;
mod error;
mod gateway;
mod orderer;
mod snapshots;

pub use admin::Admin;
pub use blocks::{BlockAt, Blocks};
pub use commits::Commits;
pub use definition::{ApprovedDefinition, LIFECYCLE, lifecycle_args};
pub use discovery::Discovery;
pub use endorser::Endorser;
pub use error::{ClientError, Step};
pub use gateway::{Call, Committed, Endorsed, Gateway, Timeouts};
pub use orderer::Orderer;
pub use snapshots::Snapshots;
