//! A client of the Gateway, Endorser, Deliver and Snapshot services of any Fabric-compatible peer.
//!
//! Owns: building and signing what an application or an administrator sends, and turning gRPC
//! statuses and validation codes into errors that say what to do. Must not know: how a node works
//! inside, where keys and configuration files lie.
//!
//! Start at [`Gateway`]: `evaluate` reads, `submit` writes and waits for the commit. [`Admin`] sends
//! proposals straight to one peer, as lifecycle and join commands need; [`Snapshots`] asks it for
//! snapshots.

mod admin;
mod error;
mod gateway;
mod snapshots;

pub use admin::{Admin, ApprovedDefinition};
pub use error::{ClientError, Step};
pub use gateway::{Call, Committed, Endorsed, Gateway, Timeouts};
pub use snapshots::Snapshots;
