//! Client commands, and those on a peer's files.

pub mod bench;
pub mod call;
pub mod channel;
pub mod connect;
pub mod discover;
pub mod events;
pub mod golang;
pub mod ledger;
pub mod peer;
