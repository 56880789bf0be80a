//! A whole ordering service in one thread, with every choice made by a seed: which task goes on
//! next, how long messages and writes take and which are lost, when nodes are killed, lose power or
//! their disks, are cut off from one another, and how the set of consenters changes.
//!
//! Everything above the seams is the real thing: [`Orderer`](crate::Orderer) with its channels,
//! Raft, the log, block writing and the replication protocol, its encoding included. The seams are
//! time and tasks (`rt`), the disk (`storage`) and the network (`cluster`). Clients hand messages to
//! nodes behind the signature filters, which have tests of their own.

mod clients;
mod consortium;
pub(crate) mod disk;
pub(crate) mod executor;
mod faults;
mod network;
mod recovery;
pub(crate) mod runtime;
mod scenario;
mod verdict;
mod world;

pub use consortium::{Consortium, Keys, Outcome, UpdateOf};
pub use scenario::{Scenario, play};
pub use world::run;
