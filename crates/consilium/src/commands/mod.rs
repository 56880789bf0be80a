//! Client commands, and those on a peer's files.

pub mod bench;
pub mod call;
pub mod connect;
pub mod events;
pub mod ledger;
pub mod peer;
