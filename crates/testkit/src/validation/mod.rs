//! Random chains of a channel, and what a peer has to make of them.
//!
//! [`Reference`] is validation, MVCC and commit hash written down from the rules
//! (`fabric: core/committer/txvalidator/v20`, `core/ledger/kvledger/txmgmt/validation`) as plainly as
//! possible: one transaction after the other, maps, no cache. Of the product it shares the generated messages
//! and the form of read-write sets (`consilium_protocol::rwset`); decoding, endorsement, conflicts and hashes
//! are its own. [`Generator`] makes chains from a seed that meet every rule often: [`Plan`]s of
//! transactions, encoded and signed. A test feeds the chain to a peer and compares flags, commit hashes
//! and state.

mod encode;
mod endorsement;
mod generate;
mod people;
mod plan;
mod reference;
mod trust;

pub use encode::CHANNEL;
pub use generate::{Chain, Expected, Generator};
pub use people::People;
pub use plan::{Change, Endorsing, Fault, Plan};
pub use reference::{Entry, Reference, StateKey};
pub use trust::Trust;
