//! Client commands, and those on a peer's files.

pub mod bench;
pub mod call;
pub mod configtxgen;
pub mod configtxlator;
pub mod connect;
pub mod cryptogen;
pub mod discover;
pub mod events;
pub mod golang;
pub mod ledger;
pub mod orderer;
pub mod osnadmin;
pub mod peer;
pub mod programs;
pub mod protolator;
